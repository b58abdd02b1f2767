// SPDX-License-Identifier: Apache-2.0

// Package terraform makes the calls of the Terraform AWS provider's resources,
// on Terraform's own layer over the SDK: its configuration, credentials check,
// retries and error tests, in the order of the provider's create, read, update
// and delete functions, with the states its waiters take as legal and the error
// codes it takes as "gone".
//
// Each resource goes through create, read, update, read, import and delete. A
// read gives what the resource's schema would hold; reading twice gives the same
// (no plan difference), an update shows exactly its change, an import by id
// gives the same state.
//
// The provider waits between polls, and in places for a fixed time, because
// AWS's answers take a while to agree. None of it waits here: what it polls for
// has to be so, or come, without help.
package terraform
