// SPDX-License-Identifier: Apache-2.0

// Package explain says what becomes of a packet, in plain Go, from a snapshot
// of the domain and nothing else. It is the reference model: the datapath's
// programs are run beside it in property tests and must agree with it on every
// verdict and every byte. It is written from what AWS documents and from
// docs/packet-path.md, never from the programs, and shares no code with them
// or with internal/desired; two who make the same mistake in the same place
// would agree.
//
// Words:
//
//   - A port is where frames come from and go to: an interface (its id),
//     ServicePort or UplinkPort.
//   - A site is what is at an address: a workload's interface, an endpoint's,
//     a balancer's node, a NAT gateway's, a subnet's router or the resolver.
//   - A space is where an address means something: a VPC, a peering connection
//     (both VPCs at once), the service namespace, or the outside.
//   - A connection is what is remembered of a flow; a translated one has two
//     keys, one as the client and one as the target sees it.
//
// Where the datapath is free (which of the targets, which source port) a
// Decision has several Outcomes, or one with a Choice. Observe takes what the
// datapath did, checks that it was allowed to, and remembers it.
package explain
