// SPDX-License-Identifier: Apache-2.0

// Package dns holds the VPC resolver against DNS servers of others: its test
// serves the same zones with unbound and NSD and compares every answer.
package dns
