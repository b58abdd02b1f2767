// SPDX-License-Identifier: Apache-2.0

// Package resolver is the VPC resolver: the DNS server every workload finds at
// the base of its VPC's range plus two and at 169.254.169.253.
//
// # Words
//
// An asker is whoever sent a query, as the datapath knows it: the VNI of its
// VPC, its interface and its private address, and whether the query came
// through an inbound resolver endpoint. A view is everything that VPCs answer
// themselves, compiled from the desired state; a space is one VPC's part of it.
// A private zone is a name whose answers are ours alone: a missing name there
// does not exist. A hosted zone is a private zone that several VPCs may share.
// All records outside private zones are in the outer zone; names missing there
// go to the upstreams: those of the longest forward rule, or the host's.
//
// # Order of answers
//
//  1. The most specific private zone of the asker's VPC that holds the name,
//     unless a forward rule is as specific. Missing names are NXDOMAIN, missing
//     types NODATA, never forwarded. Of zones with one name the VPC's own comes
//     first, then the hosted zone with the lowest id. A delegation inside a
//     zone is a record like others.
//  2. The VPC's other records; an exact name beats a wildcard, as in RFC 4592.
//  3. Reverse names of the VPC's own blocks and of private ranges: NXDOMAIN
//     when there is no record, never forwarded (RFC 6303), unless a rule is
//     for such a name itself.
//  4. The upstreams, through the VPC's own cache.
//
// A CNAME begins again at 1 with its target. An alias is what the asker's VPC
// says of the name it leads to, and nothing if it says nothing.
//
// # Promises
//
// The view is chosen by the asker's VNI, never by anything in the query. A VPC
// whose DNS support is off gets no answer; neither does an unknown asker. What
// one VPC learnt from upstreams is never given to another, nor is it faster for
// that. Names are packed, about a hundred bytes each, and an answer from the
// view is written without allocating. An interface is held to AWS's 1024
// packets per second or what the operator set, and can occupy only a share of
// the queries waiting for an upstream, so a tenant whose names resolve slowly
// delays nobody else; answers from the view never wait. What is dropped for
// that is counted. Messages are bounded by what the asker's EDNS0 option
// offers, at most 1232 bytes over UDP. An upstream is believed over UDP when it
// repeats port, id and the letters' case, and over TCP; answers whose time is
// over are given while none answers (RFC 8767).
// A forward rule, which a tenant writes, leads to no address of the host itself
// (Options.MayLeadTo).
package resolver
