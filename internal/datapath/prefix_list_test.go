// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net/netip"
	"testing"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// A customer's prefix list changes: the rules and the routes that refer to it
// have the change with the next packet.
func TestPrefixListOpensAndClosesFlows(t *testing.T) {
	w := newWorld(t)
	v := vpctest.Of()
	v.Put(&vpc.VPC{ID: "vpc-a", VNI: vniA, CIDRs: []vpc.CIDRAssociation{{CIDR: netip.MustParsePrefix("10.0.0.0/16")}}})
	v.Put(&vpc.Subnet{ID: subnetA1, VPC: "vpc-a", CIDR: netip.MustParsePrefix("10.0.0.0/24"), Zone: "us-east-1a"})
	v.Put(&vpc.SecurityGroup{ID: "sg-list", VPC: "vpc-a", Rules: []vpc.GroupRule{
		{Protocol: vpc.TCP, From: 80, To: 80, PrefixList: "pl-in", PrefixListOwner: "a"},
		{Egress: true, Protocol: vpc.AllProtocols, From: -1, To: -1, CIDR: anywhere},
	}})
	v.Put(&vpc.RouteTable{ID: "rtb-a1", VPC: "vpc-a", Main: "m", Routes: []vpc.Route{
		{CIDR: netip.MustParsePrefix("10.0.0.0/16"), TargetKind: vpc.TargetLocal},
		{PrefixList: "pl-out", TargetKind: vpc.TargetENI, Target: string(eniA2)},
	}})
	for id, addr := range map[vpc.InterfaceID]netip.Addr{eniA1: addrA1, eniA2: addrA2} {
		v.Put(&vpc.NetworkInterface{ID: id, VPC: "vpc-a", Subnet: subnetA1, Type: vpc.TypeInterface, Addr: addr, Groups: []vpc.GroupID{"sg-list"},
			Attachment: &vpc.Attachment{Host: "h", External: &vpc.ExternalWorkload{Netns: "/n"}}})
	}
	edit(w.host.Interfaces, eniA2, func(i *desired.Interface) { i.SourceCheck = false }) // it forwards
	change := func(id vpc.PrefixListID, version int64, cidrs ...string) {
		n := &vpc.PrefixListVersion{List: id, Number: version}
		for _, c := range cidrs {
			n.Entries = append(n.Entries, vpc.ListEntry{CIDR: netip.MustParsePrefix(c)})
		}
		v.Put(n)
		v.Put(&vpc.PrefixList{ID: id, Owner: "a", MaxEntries: 5, Version: version})
		h := desired.ForHost(v, "h")
		w.rules(eniA2, h.RuleSets["sg-list"])
		w.host.RouteTables["rtb-a1"] = h.RouteTables["rtb-a1"]
		w.apply()
	}
	change("pl-in", 1, "10.0.1.0/24", "198.51.100.0/24")
	change("pl-out", 1)
	out := netip.MustParseAddr("192.0.2.9")
	w.drops(tcp(eniA1, addrA1, 2000, addrA2, 80, "S"), bpf.DropGroupIngress)
	w.drops(udp(eniA1, addrA1, 2000, out, 9), bpf.DropNoRoute)

	change("pl-in", 2, "10.0.0.5/32", "198.51.100.0/24")
	w.passes(tcp(eniA1, addrA1, 2001, addrA2, 80, "S"), eniA2)
	w.drops(tcp(eniA3, addrA3, 2001, addrA2, 80, "S"), bpf.DropGroupIngress)
	w.rules(eniA2, open)
	w.apply()
	w.drops(udp(eniA1, addrA1, 2000, out, 9), bpf.DropNoRoute)

	change("pl-out", 2, "192.0.2.0/24")
	w.rules(eniA2, open)
	w.apply()
	w.passes(udp(eniA1, addrA1, 2002, out, 9), eniA2)
	change("pl-out", 3, "192.0.2.0/29")
	w.rules(eniA2, open)
	w.apply()
	w.drops(udp(eniA1, addrA1, 2002, out, 9), bpf.DropNoRoute) // also a flow that had passed

	change("pl-in", 3)
	w.drops(tcp(eniA1, addrA1, 2003, addrA2, 80, "S"), bpf.DropGroupIngress)
}
