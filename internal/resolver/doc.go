// SPDX-License-Identifier: Apache-2.0

// Package resolver is the VPC resolver: the DNS server every workload finds at
// the base of its VPC's range plus two and at 169.254.169.253.
//
// # Words
//
// An asker is whoever sent a query, as the datapath knows it: the VNI of its
// VPC and its private address. A view is everything that VPCs answer
// themselves, compiled from the desired state. A zone is a name whose answers
// are ours alone: a private zone, in which a missing name does not exist. All
// records outside private zones are in the zone with the empty name; names
// missing there go to the upstreams.
//
// # Order of answers
//
//  1. The most specific private zone of the asker's VPC that holds the name.
//     Missing names are NXDOMAIN, missing types NODATA, never forwarded.
//  2. The VPC's other records; an exact name beats a wildcard, as in RFC 4592.
//  3. Reverse names of the VPC's own blocks and of private ranges: NXDOMAIN
//     when there is no record, never forwarded (RFC 6303).
//  4. The upstreams, through a cache.
//
// # Promises
//
// The view is chosen by the asker's VNI, never by anything in the query. A VPC
// whose DNS support is off gets no answer; neither does an unknown asker. A
// lookup costs a few map reads, however many records there are. An asker is
// held to AWS's 1024 packets per second, and can occupy only a share of the
// queries waiting for an upstream, so a tenant whose names resolve slowly delays
// nobody else; answers from the view never wait. Messages are bounded by
// what the asker's EDNS0 option offers, at most 1232 bytes over UDP.
package resolver
