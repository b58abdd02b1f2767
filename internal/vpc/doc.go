// SPDX-License-Identifier: Apache-2.0

// Package vpc is the domain: the resources of a VPC, their ids, states and
// invariants, in AWS's words. It imports only the standard library and has no
// clock, no randomness and no I/O: ids and times come in as arguments.
//
// Words:
//
//   - An Object is one stored resource: one key in the store, one value.
//     Objects read from a View are shared and must never be changed; Edit
//     gives a private copy.
//   - A View is a consistent, read-only picture of every object at one
//     revision. The store's snapshot and a running transaction are both Views,
//     so a rule written against View holds in either.
//   - Refs name the objects an object cannot live without: the store refuses
//     to write an object whose refs are missing and to delete one that is
//     still referenced (AWS's DependencyViolation).
//   - Claims are names only one object may hold at a time: an address in a
//     subnet, a group name in a VPC, a VNI.
package vpc
