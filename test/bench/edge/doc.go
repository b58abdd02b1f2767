// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command edge compares the policy proxy with nginx and HAProxy in front of the
// same backend, in one run on one machine:
//
//	direct   the client to the backend: the floor
//	again    the same once more; its ratio to direct is the noise of the run
//	nginx    proxy_pass with connections kept, one worker, access log in a file
//	haproxy  mode http with http-reuse always, one thread, access log in a file
//	postern  a process of this program: internal/edge with one endpoint whose
//	         policy has 100 statements, of which the last one allows, on
//	         conditions; records in a file. Who connects is fixed, so the
//	         datapath is not in it
//
// There are two backends. The plain one answers without looking: it costs
// little, so that the proxy is what is measured. The other one, s3, is the S3
// that Postern brings along, behind a unix socket as there: the ratios to it
// are what users see. It is left out where bin/postern-s3 is not built.
//
// The operations are get and put, of 4 KiB over some connections at a time,
// and download and upload, of 64 MiB over one. Requests are signed, and that
// is done before a sample begins. The generator is this program with plain
// blocking sockets, a process for each sample and a thread for each connection.
//
// A proxy stays on one CPU. Client and backend share another ("two CPUs") or are
// on the same ("one CPU"), where the rate is the work that a request costs in
// all. The CPU time of a request is what the proxy's threads ran meanwhile. All
// paths are asked in a shuffled order that is then run backwards (A B C C B A);
// a ratio is taken inside one round, and the tables have the median of the
// rounds with the least and the greatest.
//
// The decision is timed by itself, in CPU time of the thread, with that policy
// and the keys that the edge fills in, once each round: its share is of what one
// get costs the proxy.
//
// Memory is measured in proxies of its own: how much the resident set of one
// grows while a single large upload passes, and what it is with 1, 10, 100 and
// 1,000 bodies on their way that hardly move, half of them up and half of them
// down.
//
// All of it runs in a network namespace without a name, in which there is
// nothing but loopback; it goes when the last process of the run does, and those
// end with the first.
package main
