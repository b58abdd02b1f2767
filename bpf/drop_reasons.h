// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_DROP_REASONS_H
#define POSTERN_DROP_REASONS_H

/* Why a packet was dropped: the only list of reasons. The Go names and the
 * generated reference are made from these lines, so every line is
 * "DROP_NAME = number," and one sentence in a comment. Numbers are read by
 * agents of other versions: never reuse one. */
enum drop_reason {
	DROP_NONE = 0, /* The packet was not dropped. */
	DROP_NO_PORT = 1, /* The device the packet came from belongs to no known interface. */
	DROP_TOO_SHORT = 2, /* The frame is shorter than its headers. */
	DROP_ETHERTYPE = 3, /* The frame carries neither IPv4, IPv6 nor ARP, or has a VLAN tag. */
	DROP_IPV6 = 4, /* The frame carried IPv6, which earlier versions did not. */
	DROP_MULTICAST = 5, /* The packet is for a multicast or broadcast address, which a VPC does not carry. */
	DROP_FRAGMENT = 6, /* The packet is a later fragment whose first one has not been seen, or a fragment of something that is not carried in pieces. */
	DROP_IP_OPTIONS = 7, /* The IPv4 header has options. */
	DROP_BAD_LENGTH = 8, /* The lengths in the headers contradict each other or the frame. */
	DROP_BAD_TCP = 9, /* The TCP flags are a combination that no connection uses. */
	DROP_SOURCE_MAC = 10, /* The source MAC address is not the interface's. */
	DROP_SOURCE_ADDRESS = 11, /* The source address is not the interface's and its source/destination check is on, or it is the destination's. */
	DROP_ARP = 12, /* The ARP packet is no question, or asks for an address that nothing in the subnet has. */
	DROP_GROUP_EGRESS = 13, /* No outbound rule of the sender's security groups allows the packet. */
	DROP_ACL_OUT = 14, /* The outbound network ACL of the subnet that the packet leaves denies it. */
	DROP_NO_ROUTE = 15, /* The subnet's route table has no route for the destination. */
	DROP_BLACKHOLE = 16, /* The route for the destination leads to something that is gone. */
	DROP_NO_INTERFACE = 17, /* Nothing in the VPC has the destination address. */
	DROP_DESTINATION_CHECK = 18, /* A route leads to an interface that does not have the destination address and whose source/destination check is on. */
	DROP_ACL_IN = 19, /* The inbound network ACL of the subnet that the packet enters denies it. */
	DROP_GROUP_INGRESS = 20, /* No inbound rule of the destination's security groups allows the packet. */
	DROP_PROTOCOL = 21, /* Endpoints, load balancer nodes and the resolver take TCP and UDP only. */
	DROP_ROUTER = 22, /* The packet is for the subnet's router, which answers ARP and neighbour discovery and nothing else. */
	DROP_NO_LISTENER = 23, /* Nothing listens on the destination port behind the endpoint or load balancer. */
	DROP_NO_TARGET = 24, /* The listener has no target. */
	DROP_NO_CONNECTION = 25, /* A TCP packet other than a SYN belongs to no connection; the sender got a reset. */
	DROP_ENDPOINT_GONE = 26, /* The endpoint that carried the connection no longer does; a TCP sender got a reset. */
	DROP_ENDPOINT_INACTIVE = 27, /* The endpoint does not carry packets in its present state. */
	DROP_QUOTA = 28, /* The interface has as many tracked connections as it may have. */
	DROP_PORTS_EXHAUSTED = 29, /* No free source port was found between the load balancer node and the target. */
	DROP_TABLE_FULL = 30, /* The connection table is full, or the kernel had no memory for an entry at once. */
	DROP_TUPLE_IN_USE = 31, /* The same addresses and ports already belong to another kind of connection. */
	DROP_STALE = 32, /* The connection no longer fits what is at its destination; the next packet starts a new one. */
	DROP_EMBEDDED_NAT = 33, /* An ICMP error was about a translated connection, which earlier versions did not translate. */
	DROP_REMOTE_HOST = 34, /* The destination is on another host and there is no overlay to it. */
	DROP_TOO_BIG = 35, /* The packet is larger than an endpoint carries. */
	DROP_REWRITE = 36, /* The kernel refused to change the packet. */
	DROP_NODE_INGRESS = 37, /* No inbound rule of the load balancer node's security groups allows the client. */
	DROP_NODE_EGRESS = 38, /* No outbound rule of the load balancer node's security groups allows the target. */
	DROP_NO_PROBE = 39, /* The service namespace sent to an address that stands for no health check. */
	DROP_NO_SUBNET = 40, /* The sender's subnet is not known to the datapath. */
	DROP_NO_UPLINK = 41, /* The route leads out of the VPC through a gateway, and this host has no uplink. */
	DROP_ND = 42, /* The neighbour discovery packet is no question about an address that something in the subnet has. */
	DROP_EXTENSION = 43, /* The IPv6 packet has an extension header that is not carried, or too many. */
	DROP_ICMP_ERROR = 44, /* An ICMP error about a translated connection is of a kind that is not carried, or not from the connection's own end. */
	DROP_NO_PUBLIC_ADDRESS = 45, /* The route leads to the internet gateway, and the source has no public address. */
	DROP_FAMILY = 46, /* An IPv4 client cannot reach an IPv6 target. */
	DROP_TARGET_GONE = 47, /* The target's connections have been ended; a TCP sender got a reset. */
	DROP_PROXY = 48, /* The target gets a PROXY protocol header, and the packet (a fragment, or a SYN with data) leaves no place for it. */
	DROP_OVERLAY = 49, /* A frame from another host does not fit what is known of its sender or of the way that it came. */
	DROP_RESOLVER_RATE = 50, /* The interface sent the VPC resolver more packets in a second than it may. */
};

#endif
