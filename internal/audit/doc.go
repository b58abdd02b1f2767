// SPDX-License-Identifier: Apache-2.0

// Package audit keeps the record of who asked the API for what: one JSON
// object on a line for every call, in a file that is rotated by size.
//
// Words:
//
//   - A Record is one call: who, from where, what, with which parameters, and
//     how it ended. It is made for calls that were refused too; of a caller
//     whose signature did not hold it says only what was claimed.
//   - A Log writes records. A call waits for the disk only for a moment, and
//     no line is lost without a line that says how many were.
//
// Promises: no secret is in a record (see Parameters for what counts as one),
// everything a client chose is bounded, and a line that is in the file is
// whole: a reader that finds a file's end without a newline knows that the
// line is still being written.
package audit
