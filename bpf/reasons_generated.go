// SPDX-License-Identifier: Apache-2.0

// Code generated from drop_reasons.h by internal/reasons; DO NOT EDIT.

package bpf

// Reasons a packet is dropped for, by number.
const (
	DropNone             = 0  // The packet was not dropped.
	DropNoPort           = 1  // The device the packet came from belongs to no known interface.
	DropTooShort         = 2  // The frame is shorter than its headers.
	DropEthertype        = 3  // The frame carries neither IPv4, IPv6 nor ARP, or has a VLAN tag.
	DropIPv6             = 4  // The frame carried IPv6, which earlier versions did not.
	DropMulticast        = 5  // The packet is for a multicast or broadcast address, which a VPC does not carry.
	DropFragment         = 6  // The packet is a later fragment whose first one has not been seen, or a fragment of something that is not carried in pieces.
	DropIPOptions        = 7  // The IPv4 header has options.
	DropBadLength        = 8  // The lengths in the headers contradict each other or the frame.
	DropBadTCP           = 9  // The TCP flags are a combination that no connection uses.
	DropSourceMAC        = 10 // The source MAC address is not the interface's.
	DropSourceAddress    = 11 // The source address is not the interface's and its source/destination check is on, or it is the destination's.
	DropARP              = 12 // The ARP packet is no question, or asks for an address that nothing in the subnet has.
	DropGroupEgress      = 13 // No outbound rule of the sender's security groups allows the packet.
	DropACLOut           = 14 // The outbound network ACL of the subnet that the packet leaves denies it.
	DropNoRoute          = 15 // The subnet's route table has no route for the destination.
	DropBlackhole        = 16 // The route for the destination leads to something that is gone.
	DropNoInterface      = 17 // Nothing in the VPC has the destination address.
	DropDestinationCheck = 18 // A route leads to an interface that does not have the destination address and whose source/destination check is on.
	DropACLIn            = 19 // The inbound network ACL of the subnet that the packet enters denies it.
	DropGroupIngress     = 20 // No inbound rule of the destination's security groups allows the packet.
	DropProtocol         = 21 // Endpoints, load balancer nodes and the resolver take TCP and UDP only.
	DropRouter           = 22 // The packet is for the subnet's router, which answers ARP and neighbour discovery and nothing else.
	DropNoListener       = 23 // Nothing listens on the destination port behind the endpoint or load balancer.
	DropNoTarget         = 24 // The listener has no target.
	DropNoConnection     = 25 // A TCP packet other than a SYN belongs to no connection; the sender got a reset.
	DropEndpointGone     = 26 // The endpoint that carried the connection no longer does; a TCP sender got a reset.
	DropEndpointInactive = 27 // The endpoint does not carry packets in its present state.
	DropQuota            = 28 // The interface has as many tracked connections as it may have.
	DropPortsExhausted   = 29 // No free source port was found between the load balancer node and the target.
	DropTableFull        = 30 // The connection table is full, or the kernel had no memory for an entry at once.
	DropTupleInUse       = 31 // The same addresses and ports already belong to another kind of connection.
	DropStale            = 32 // The connection no longer fits what is at its destination; the next packet starts a new one.
	DropEmbeddedNAT      = 33 // An ICMP error was about a translated connection, which earlier versions did not translate.
	DropRemoteHost       = 34 // The destination is on another host and there is no overlay to it.
	DropTooBig           = 35 // The packet is larger than an endpoint carries.
	DropRewrite          = 36 // The kernel refused to change the packet.
	DropNodeIngress      = 37 // No inbound rule of the load balancer node's security groups allows the client.
	DropNodeEgress       = 38 // No outbound rule of the load balancer node's security groups allows the target.
	DropNoProbe          = 39 // The service namespace sent to an address that stands for no health check.
	DropNoSubnet         = 40 // The sender's subnet is not known to the datapath.
	DropNoUplink         = 41 // The route leads out of the VPC through a gateway, and this host has no uplink.
	DropND               = 42 // The neighbour discovery packet is no question about an address that something in the subnet has.
	DropExtension        = 43 // The IPv6 packet has an extension header that is not carried, or too many.
	DropICMPError        = 44 // An ICMP error about a translated connection is of a kind that is not carried, or not from the connection's own end.
	DropNoPublicAddress  = 45 // The route leads to the internet gateway, and the source has no public address.
	DropFamily           = 46 // An IPv4 client cannot reach an IPv6 target.
	DropTargetGone       = 47 // The target's connections have been ended; a TCP sender got a reset.
	DropProxy            = 48 // The target gets a PROXY protocol header, and the packet (a fragment, or a SYN with data) leaves no place for it.
	DropOverlay          = 49 // A frame from another host does not fit what is known of its sender or of the way that it came.
	DropResolverRate     = 50 // The interface sent the VPC resolver more packets in a second than it may.
)

// Reasons lists every reason in the header's order: number, name, sentence.
var Reasons = []struct {
	Code uint32
	Name string
	Text string
}{
	{0, "none", "The packet was not dropped."},
	{1, "no-port", "The device the packet came from belongs to no known interface."},
	{2, "too-short", "The frame is shorter than its headers."},
	{3, "ethertype", "The frame carries neither IPv4, IPv6 nor ARP, or has a VLAN tag."},
	{4, "ipv6", "The frame carried IPv6, which earlier versions did not."},
	{5, "multicast", "The packet is for a multicast or broadcast address, which a VPC does not carry."},
	{6, "fragment", "The packet is a later fragment whose first one has not been seen, or a fragment of something that is not carried in pieces."},
	{7, "ip-options", "The IPv4 header has options."},
	{8, "bad-length", "The lengths in the headers contradict each other or the frame."},
	{9, "bad-tcp", "The TCP flags are a combination that no connection uses."},
	{10, "source-mac", "The source MAC address is not the interface's."},
	{11, "source-address", "The source address is not the interface's and its source/destination check is on, or it is the destination's."},
	{12, "arp", "The ARP packet is no question, or asks for an address that nothing in the subnet has."},
	{13, "group-egress", "No outbound rule of the sender's security groups allows the packet."},
	{14, "acl-out", "The outbound network ACL of the subnet that the packet leaves denies it."},
	{15, "no-route", "The subnet's route table has no route for the destination."},
	{16, "blackhole", "The route for the destination leads to something that is gone."},
	{17, "no-interface", "Nothing in the VPC has the destination address."},
	{18, "destination-check", "A route leads to an interface that does not have the destination address and whose source/destination check is on."},
	{19, "acl-in", "The inbound network ACL of the subnet that the packet enters denies it."},
	{20, "group-ingress", "No inbound rule of the destination's security groups allows the packet."},
	{21, "protocol", "Endpoints, load balancer nodes and the resolver take TCP and UDP only."},
	{22, "router", "The packet is for the subnet's router, which answers ARP and neighbour discovery and nothing else."},
	{23, "no-listener", "Nothing listens on the destination port behind the endpoint or load balancer."},
	{24, "no-target", "The listener has no target."},
	{25, "no-connection", "A TCP packet other than a SYN belongs to no connection; the sender got a reset."},
	{26, "endpoint-gone", "The endpoint that carried the connection no longer does; a TCP sender got a reset."},
	{27, "endpoint-inactive", "The endpoint does not carry packets in its present state."},
	{28, "quota", "The interface has as many tracked connections as it may have."},
	{29, "ports-exhausted", "No free source port was found between the load balancer node and the target."},
	{30, "table-full", "The connection table is full, or the kernel had no memory for an entry at once."},
	{31, "tuple-in-use", "The same addresses and ports already belong to another kind of connection."},
	{32, "stale", "The connection no longer fits what is at its destination; the next packet starts a new one."},
	{33, "embedded-nat", "An ICMP error was about a translated connection, which earlier versions did not translate."},
	{34, "remote-host", "The destination is on another host and there is no overlay to it."},
	{35, "too-big", "The packet is larger than an endpoint carries."},
	{36, "rewrite", "The kernel refused to change the packet."},
	{37, "node-ingress", "No inbound rule of the load balancer node's security groups allows the client."},
	{38, "node-egress", "No outbound rule of the load balancer node's security groups allows the target."},
	{39, "no-probe", "The service namespace sent to an address that stands for no health check."},
	{40, "no-subnet", "The sender's subnet is not known to the datapath."},
	{41, "no-uplink", "The route leads out of the VPC through a gateway, and this host has no uplink."},
	{42, "nd", "The neighbour discovery packet is no question about an address that something in the subnet has."},
	{43, "extension", "The IPv6 packet has an extension header that is not carried, or too many."},
	{44, "icmp-error", "An ICMP error about a translated connection is of a kind that is not carried, or not from the connection's own end."},
	{45, "no-public-address", "The route leads to the internet gateway, and the source has no public address."},
	{46, "family", "An IPv4 client cannot reach an IPv6 target."},
	{47, "target-gone", "The target's connections have been ended; a TCP sender got a reset."},
	{48, "proxy", "The target gets a PROXY protocol header, and the packet (a fragment, or a SYN with data) leaves no place for it."},
	{49, "overlay", "A frame from another host does not fit what is known of its sender or of the way that it came."},
	{50, "resolver-rate", "The interface sent the VPC resolver more packets in a second than it may."},
}
