// SPDX-License-Identifier: Apache-2.0

// Package link makes the devices and network namespaces of one host's
// workloads, and is the only importer of the netlink libraries.
//
// Words. An installation is one data directory; its tag is 4 to 6 hexadecimal
// digits. The host side is the end of a veth pair that stays in the host's
// namespace and carries the datapath's program; the inside is the end in the
// workload's namespace. The service namespace holds the host's own door into
// the datapath, where the edge's sockets listen. The uplink is the pair that
// leads from the datapath to a network outside, most often the host's. The
// overlay is the VXLAN device that leads to other hosts.
//
// Promises.
//
//   - Apply is level-triggered: the whole wish goes in, the kernel is brought
//     to it, and repeating it changes nothing. A workload that is as it should
//     be costs its share of one dump of the links, not system calls of its own.
//   - Ownership is written in the kernel: a device is ours when its ifalias
//     says "postern <tag> <interface id>", or "service", "uplink" or
//     "overlay" there, a namespace when its name is
//     "postern-<tag>-...", a bpffs when its mount source is "postern-<tag>".
//     Nothing else is ever changed or deleted, and a device that merely has
//     a name we would use is refused.
//   - Because of that no record on disk is needed: Inventory and Reset work
//     after every process of the installation was killed.
//   - No goroutine of the program is left in a foreign namespace.
//
// The host-side alias has one field more, written last: a digest of what was
// configured. A device without it was interrupted half way and is finished by
// the next Apply.
package link
