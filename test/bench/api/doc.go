// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command api measures the API: how many endpoints a second the server makes
// and describes, against moto's server on the same calls and against puts into
// an etcd of its own, in one run on one machine.
//
//	postern   bin/postern serve --datapath=none: every call signed and verified,
//	          the endpoint written to the store and brought to available
//	moto      moto's server, if Python has it
//	etcd      puts of 1 KiB into the same embedded etcd, through its own client
//	          from another process: the least a create could cost
//
// Each is started afresh for each sample, in a shuffled order that is then run
// backwards; ratios are taken inside one round. Clients and server share the
// machine, and the clients' work (signing, HTTP) is in every figure.
//
// The second part asks whether calls get dearer with what is stored: two
// servers run side by side, one with 100 endpoints and one with 100,000, and
// the same calls go to one and the other in turn.
package main
