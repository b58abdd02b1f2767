// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command bench compares an interface endpoint with the ordinary ways to reach
// a service, in one run on one machine:
//
//	direct    one veth pair between client and server: the floor
//	again     a second such pair; its ratio to direct is the noise of the run
//	nftables  a router namespace with DNAT, masquerade and three filter rules
//	haproxy   a router namespace with HAProxy in TCP mode
//	nginx     a router namespace with nginx's stream module
//	postern   an interface endpoint to another account's endpoint service,
//	          among 20,000 rules, routes and endpoints that concern no packet
//	proxied   the same endpoint, another port: with the PROXY protocol on
//
// Its result is ratios, because absolute numbers say more about the machine
// than about the path. What makes them comparable: every path is measured in
// every round, in a shuffled order that is then run backwards (A B C C B A), so
// a slow drift of the machine cancels; a ratio is taken inside one round, and
// the table shows the median of the rounds with the least and the greatest.
// Client, server and proxy are pinned to one CPU, so what is measured is the
// work a path costs and not how fast the host wakes a second virtual CPU.
//
// A second table, growth, compares datapaths that differ in the number of one
// thing: endpoints, rules, routes, connections. A third one, flood, has what a
// client keeps of some paths while somebody else floods from another CPU. After the tables come the time
// from AcceptVpcEndpointConnections to the first byte (with -accept nothing
// else is measured), that from CreateVpcEndpoint to the first answer with its
// address (the same with -resolve) and that in which 1,000 workloads start.
//
// The words: a path is a way from client to server; a metric is what is
// measured on it (echo, connect, stream, streams, segments, packets); a figure
// is a number that a sample of it gives; a sample is one client process; a
// pass is one direction through the order; a round is both. An aim is a ratio
// that is judged.
//
// The files: main.go what is done in which order, series.go how samples are
// taken, figures.go and aims.go what is made of them, report.go how it is told;
// lab.go, launch.go and offload.go namespaces, processes and devices; paths.go
// the paths, installation.go, endpoint.go and filler.go that of Postern,
// growth.go those of different sizes; flood.go and attackers.go who floods beside
// some; accept.go, resolve.go and workloads.go the three times;
// traffic.go, packets.go, proxy.go and flooder.go the generator.
//
// Benchmarks of their own are api, of the server's calls, dns, of the VPC
// resolver, and edge, of the policy proxy.
//
// Everything it makes is named pbench and removed at the end, also after
// Ctrl-C; what a killed run left is removed by the next one.
package main
