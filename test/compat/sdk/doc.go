// SPDX-License-Identifier: Apache-2.0

// Package sdk runs what AWS's SDK for Go does on its own around calls:
// paginators over many objects, waiters, and the correction of a clock that is
// off.
package sdk
