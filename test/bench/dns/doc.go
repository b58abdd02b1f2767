// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command dns compares the VPC resolver with CoreDNS and unbound on the same
// names, in one run on one machine, with dnsperf:
//
//	postern   a process of this program: internal/resolver with a VPC of so many
//	          names, on a socket opened as the agent opens the resolver's; the
//	          asker is fixed, so the datapath is not in it
//	again     a second such process; its ratio to postern is the noise of the run
//	program   the datapath's program on a workload's device, which has been left
//	          the answers to all questions; dnsperf is the workload
//	coredns   the file plugin, and minimal, so that its answers are no longer
//	          than the others'; built from its module, and left
//	          out where that cannot be had
//	unbound   local-data, one thread
//
// each with 1, 1,000 and 100,000 names, all of which are asked for in the same
// shuffled order. The servers run in one network namespace and dnsperf in
// another; one veth pair between them is the path of all, and its addresses
// exist nowhere else.
//
// Every server stays on one CPU. A sample is three runs of dnsperf: as many
// queries as it gets answered from a second CPU and from the same CPU, and so
// many a second as all can answer, for the latency. The CPU time of an answer
// is the server's user and system time in the first of these; the program's is what
// the kernel says that it has run (with the kernel's taking the time, which slows
// it a little), on whatever CPU sent the question. Where a server is
// not busy all the time in it ("busy"), dnsperf was the limit, or other work on
// the machine: the ratio of the rates then says little, that of the CPU times
// still does.
//
// All servers run all the time and wait; one at a time is asked, in a shuffled
// order that is then run backwards. Ratios are taken inside one round, and the
// table shows the median of the rounds with the least and the greatest.
//
// The namespaces are named pbench-dns and removed at the end, also after
// Ctrl-C; what a killed run left is removed by the next one.
package main
