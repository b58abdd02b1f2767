// SPDX-License-Identifier: Apache-2.0

// Package datapath loads the eBPF programs that carry packets and owns their
// maps. It turns a desired.Host into map entries, attaches the programs to
// devices and reads back what they counted. It is the only importer of bpf/
// and of the eBPF library; docs/packet-path.md tells the same story from the
// packet's side.
//
// Words:
//
//   - A port is a device whose packets enter the datapath: the host's end of a
//     workload's veth or tap, or that of the service namespace.
//   - A number is vpc.Num of an AWS id; maps hold numbers, never strings.
//   - A rule set is a compiled list of allowing or ordered rules, known by a
//     hash of its content; so is a Maglev table.
//   - A connection is what the programs remember of one flow. A translated
//     flow has two entries, the consumer half and the provider half.
//
// Promises:
//
//   - Everything is pinned: without this process packets go on, and a new
//     Open takes over maps and links without losing a packet, also those of
//     the layout before (migrate.go).
//   - Apply is level-triggered: it compares with what the maps hold and writes
//     the difference. What must stop goes first; new data is written before
//     what refers to it, and old data is deleted only when no packet can still
//     be reading it: lists of rules and targets not by Apply but by Collect.
//   - An id or list the programs do not know carries nothing.
package datapath
