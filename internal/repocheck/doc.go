// SPDX-License-Identifier: Apache-2.0

// Package repocheck holds the rules of this repository and the tests that keep
// them: who may import whom and why, what every source file must carry, which
// modules we depend on and under which licences.
//
// A rule is a row of a table with its reason. When a rule is in the way, change
// the row and the reason together, in the commit that needs it.
//
// The package is imported by nothing but its own commands: licences writes the
// licence list, testreport sums up a test run.
package repocheck

//go:generate go run ./licences
