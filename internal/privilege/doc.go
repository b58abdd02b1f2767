// SPDX-License-Identifier: Apache-2.0

// Package privilege takes privileges away from the running process, so that a
// mistake in code that reads tenants' bytes gives nothing.
//
// Words. To drop is to become an ordinary user for good. To limit is to stay
// root by number and keep only named capabilities.
//
// Promises. After DropTo or LimitCapabilities returned nil no thread of the
// process has more than was asked for, none can get it back, and that was
// read from the kernel, not assumed. On an error the process must end: part
// of it may have been done.
//
// Numbers. Where the system has no user of the wanted name, fixed numbers are
// used: ServerUID (64220) for the server and EdgeUID (64221) for the edge,
// each with a group of the same number. Both are above what systems give to
// people and services by default and below the 65534 of nobody.
package privilege
