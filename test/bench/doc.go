// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command bench compares an interface endpoint with the ordinary ways to reach
// a service, in one run on one machine:
//
//	direct    one veth pair between client and server: the floor
//	again     a second such pair; its ratio to direct is the noise of the run
//	nftables  a router namespace with DNAT, masquerade and three filter rules
//	haproxy   a router namespace with HAProxy in TCP mode
//	postern   an interface endpoint to another account's endpoint service
//
// Its result is ratios, because absolute numbers say more about the machine
// than about the path. What makes them comparable: every path is measured in
// every round, in a shuffled order that is then run backwards (A B C C B A), so
// a slow drift of the machine cancels; a ratio is taken inside one round, and
// the table shows the median of the rounds with the least and the greatest.
// Client, server and proxy are pinned to one CPU, so what is measured is the
// work a path costs and not how fast the host wakes a second virtual CPU.
//
// With -accept it measures the time from AcceptVpcEndpointConnections to the
// first byte, and nothing else.
//
// The words: a path is a way from client to server; a metric is what is
// measured on it (stream, echo, connect); a sample is one client process; a
// pass is one direction through the order; a round is both.
//
// Everything it makes is named pbench and removed at the end, also after
// Ctrl-C; what a killed run left is removed by the next one.
package main
