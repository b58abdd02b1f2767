// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// features are what a random installation may have. They exist to find out in
// which of them two opinions part.
type features struct {
	IPv6, Tracking, Untracked, Peering, Uplink, Fragments, ICMPErrors, NLB bool
}

// installation is a random domain with names for what changes touch.
type installation struct {
	feat features
	view *vpctest.View

	vpcs    []*vpc.VPC
	subnets []vpc.SubnetID
	groups  map[vpc.VPCID][]vpc.GroupID
	// workloads have a device on this host; further interfaces do not.
	workloads []vpc.InterfaceID
	fresh     int // numbers for new ids
	noUplink  bool
}

const (
	hereHost  vpc.HostID = "here"
	otherHost vpc.HostID = "elsewhere"

	modelAccount vpc.AccountID = "111111111111"
)

var (
	servicePrefix  = netip.MustParsePrefix("203.0.113.0/24")
	servicePrefix6 = netip.MustParsePrefix("2001:db8:53::/48")
	elsewhere      = []netip.Addr{
		netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("172.16.5.5"), netip.MustParseAddr("10.9.0.1"),
	}
	elsewhere6 = []netip.Addr{netip.MustParseAddr("2001:db8:ffff::7"), netip.MustParseAddr("2001:db8:fffe::9")}
	modelPorts = []int{22, 53, 80, 81, 82, 443, 514, 8080, 8081}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

// newInstallation makes a random domain: VPCs with the same addresses and one
// with others, subnets in two zones, groups, lists, ways out, endpoints of every
// kind, balancers.
func newInstallation(r *rand.Rand, feat features) *installation {
	in := &installation{feat: feat, view: vpctest.Of(), groups: map[vpc.VPCID][]vpc.GroupID{}}
	put := in.view.Put
	put(&vpc.PrefixList{ID: "pl-mine", Owner: modelAccount, Name: "mine", MaxEntries: 10, Version: 1})
	put(&vpc.PrefixListVersion{List: "pl-mine", Number: 1, Entries: []vpc.ListEntry{
		{CIDR: netip.MustParsePrefix("10.0.1.0/28")}, {CIDR: netip.MustParsePrefix("198.51.100.0/24")}}})
	put(&vpc.CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", ID: "vpce-svc-s3", Protocol: "http",
		Types:      []vpc.EndpointType{vpc.InterfaceEndpoint, vpc.GatewayEndpoint},
		PrefixList: "pl-s3", Prefixes: []netip.Prefix{servicePrefix}, PrefixList6: "pl-s36", Prefixes6: []netip.Prefix{servicePrefix6}})
	for i, block := range []string{"10.0.0.0/16", "10.0.0.0/16", "10.1.0.0/16"} {
		in.addVPC(r, i, netip.MustParsePrefix(block))
	}
	if feat.Peering {
		for i, pair := range [][2]int{{0, 2}, {1, 2}} {
			put(&vpc.Peering{ID: vpc.PeeringID(fmt.Sprintf("pcx-%d", i)), State: vpc.PeeringActive,
				Requester: vpc.PeeringSide{Owner: modelAccount, VPC: in.vpcs[pair[0]].ID}, Accepter: vpc.PeeringSide{Owner: modelAccount, VPC: in.vpcs[pair[1]].ID}})
		}
	}
	for _, v := range in.vpcs {
		for _, id := range in.groups[v.ID] {
			g, _ := vpc.Get[vpc.SecurityGroup](in.view, id)
			for range 2 + r.IntN(4) {
				g.Rules = append(g.Rules, in.randomRule(r, v))
			}
		}
		in.addBalancer(r, v)
	}
	for i := range in.vpcs {
		in.addEndpoints(r, i)
	}
	for i := range in.vpcs {
		in.addRoutes(r, i)
	}
	return in
}

func (in *installation) id(prefix string) string {
	in.fresh++
	return fmt.Sprintf("%s-%d", prefix, in.fresh)
}

func (in *installation) addVPC(r *rand.Rand, i int, block netip.Prefix) {
	v := &vpc.VPC{ID: vpc.VPCID(fmt.Sprintf("vpc-%d", i)), Owner: modelAccount, VNI: vpc.FirstVNI + vpc.VNI(i),
		CIDRs: []vpc.CIDRAssociation{{ID: in.id("vpc-cidr-assoc"), CIDR: block}}, EnableDNSSupport: chance(r, 80), EnableDNSHostnames: true}
	if in.feat.IPv6 {
		v.IPv6 = []vpc.CIDRAssociation{{ID: in.id("vpc-cidr-assoc"), CIDR: netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/56", i+1))}}
	}
	in.vpcs = append(in.vpcs, v)
	in.view.Put(v)
	for n := range 4 {
		g := vpc.GroupID(fmt.Sprintf("sg-%d-%d", i, n))
		in.groups[v.ID] = append(in.groups[v.ID], g)
		in.view.Put(&vpc.SecurityGroup{ID: g, Owner: modelAccount, VPC: v.ID, Name: string(g)})
	}
	// the first group lets nearly everything through, or too little would pass
	g, _ := vpc.Get[vpc.SecurityGroup](in.view, in.groups[v.ID][0])
	for _, out := range []bool{true, false} {
		for _, c := range in.everywhere() {
			g.Rules = append(g.Rules, vpc.GroupRule{ID: vpc.RuleID(in.id("sgr")), Egress: out, Protocol: vpc.AllProtocols, From: -1, To: -1, CIDR: c})
		}
	}
	main := &vpc.RouteTable{ID: vpc.RouteTableID(fmt.Sprintf("rtb-%d", i)), VPC: v.ID, Main: in.id("rtbassoc")}
	in.view.Put(main)
	for s := range 3 {
		id := vpc.SubnetID(fmt.Sprintf("subnet-%d-%d", i, s))
		a := block.Addr().As4()
		a[2] = byte(s)
		sub := &vpc.Subnet{ID: id, VPC: v.ID, CIDR: netip.PrefixFrom(netip.AddrFrom4(a), 24), Zone: []string{"a", "b", "a"}[s]}
		if in.feat.IPv6 && s != 2 {
			sub.IPv6 = vpc.CIDRAssociation{ID: in.id("subnet-cidr-assoc"), CIDR: netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x:%x::/64", i+1, s))}
		}
		in.view.Put(sub)
		in.subnets = append(in.subnets, id)
		in.view.Put(&vpc.NetworkACL{ID: vpc.ACLID(fmt.Sprintf("acl-%d-%d", i, s)), VPC: v.ID, Associations: []vpc.ACLAssociation{{ID: in.id("aclassoc"), Subnet: id}},
			Entries: in.randomACL(r)})
		for range 1 + r.IntN(2) {
			in.addWorkload(r, v, sub, hereHost)
		}
	}
	sub, _ := vpc.Get[vpc.Subnet](in.view, in.subnets[len(in.subnets)-1])
	in.addWorkload(r, v, sub, otherHost)
}

// everywhere are the blocks that cover all addresses; flows that 0.0.0.0/0
// itself allows may be untracked.
func (in *installation) everywhere() []netip.Prefix {
	out := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1")}
	if in.feat.IPv6 {
		out = append(out, netip.MustParsePrefix("::/1"), netip.MustParsePrefix("8000::/1"))
	}
	return out
}

func (in *installation) addWorkload(r *rand.Rand, v *vpc.VPC, sub *vpc.Subnet, host vpc.HostID) *vpc.NetworkInterface {
	n := &vpc.NetworkInterface{ID: vpc.InterfaceID(in.id("eni")), VPC: v.ID, Subnet: sub.ID, Zone: sub.Zone, Type: vpc.TypeInterface,
		SourceDestCheck: chance(r, 85), Groups: in.someGroups(r, v.ID), Attachment: &vpc.Attachment{ID: in.id("eni-attach"), Host: host}}
	in.place(r, n, sub)
	if chance(r, 40) {
		n.Secondary = []netip.Addr{in.freeAddr(r, sub, false)}
	}
	n.Attachment.External = &vpc.ExternalWorkload{Netns: "/nowhere"}
	if in.feat.Tracking && chance(r, 20) {
		n.Tracking = vpc.ConnectionTracking{TCPEstablished: 60 + r.IntN(1000), UDP: 30 + r.IntN(31), UDPStream: 60 + r.IntN(121)}
	}
	in.view.Put(n)
	if host == hereHost {
		in.workloads = append(in.workloads, n.ID)
	}
	return n
}

// place gives an interface its addresses in a subnet.
func (in *installation) place(r *rand.Rand, n *vpc.NetworkInterface, sub *vpc.Subnet) {
	in.fresh++
	n.MAC = fmt.Sprintf("02:00:00:00:%02x:%02x", in.fresh>>8, in.fresh&255)
	n.Addr = in.freeAddr(r, sub, false)
	if sub.IPv6.CIDR.IsValid() && (n.RequesterManaged || chance(r, 80)) {
		n.IPv6 = []netip.Addr{in.freeAddr(r, sub, true)}
	}
}

func (in *installation) freeAddr(r *rand.Rand, sub *vpc.Subnet, six bool) netip.Addr {
	for {
		b := sub.CIDR.Addr().AsSlice()
		if six {
			b = sub.IPv6.CIDR.Addr().AsSlice()
		}
		b[len(b)-1] = byte(4 + r.IntN(24))
		a, _ := netip.AddrFromSlice(b)
		if _, taken := in.interfaceAt(sub.VPC, a); !taken {
			return a
		}
	}
}

func (in *installation) interfaceAt(v vpc.VPCID, a netip.Addr) (*vpc.NetworkInterface, bool) {
	for n := range vpc.By[vpc.NetworkInterface](in.view, vpc.IndexVPC, v) {
		if n.Addr == a || slices.Contains(n.Secondary, a) || slices.Contains(n.IPv6, a) {
			return n, true
		}
	}
	return nil, false
}

func (in *installation) someGroups(r *rand.Rand, v vpc.VPCID) []vpc.GroupID {
	all := in.groups[v]
	out := []vpc.GroupID{pick(r, all)}
	if chance(r, 70) {
		out = append(out, all[0])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (in *installation) randomBlock(r *rand.Rand, v *vpc.VPC) netip.Prefix {
	if in.feat.IPv6 && chance(r, 40) {
		base := pick(r, []netip.Prefix{v.IPv6[0].CIDR, servicePrefix6, netip.MustParsePrefix("2001:db8::/32")})
		return netip.PrefixFrom(base.Addr(), base.Bits()+r.IntN(16)).Masked()
	}
	base := v.CIDRs[0].CIDR.Addr().As4()
	base[2], base[3] = byte(r.IntN(3)), byte(r.IntN(32))
	switch r.IntN(6) {
	case 0:
		return v.CIDRs[0].CIDR
	case 1:
		return servicePrefix
	case 2:
		return netip.PrefixFrom(pick(r, elsewhere), 8+r.IntN(25)).Masked()
	}
	return netip.PrefixFrom(netip.AddrFrom4(base), 8+r.IntN(25)).Masked()
}

func randomRange(r *rand.Rand, icmp ...int) (proto, from, to int) {
	switch r.IntN(6) {
	case 0:
		return vpc.AllProtocols, -1, -1
	case 1:
		if chance(r, 30) {
			return pick(r, icmp), -1, -1
		}
		return pick(r, icmp), pick(r, []int{0, 3, 8, 11, 13, 128, 129, 1}), pick(r, []int{-1, 0, 1, 3})
	case 2:
		return 47, -1, -1
	}
	proto = pick(r, []int{vpc.TCP, vpc.TCP, vpc.UDP})
	from = pick(r, append([]int{0, 1024, 32768}, modelPorts...))
	to = from + pick(r, []int{0, 1, 500, 65535})
	return proto, from, min(to, 65535)
}

func (in *installation) randomRule(r *rand.Rand, v *vpc.VPC) vpc.GroupRule {
	icmp := []int{vpc.ICMP}
	if in.feat.IPv6 {
		icmp = append(icmp, vpc.ICMPv6)
	}
	rule := vpc.GroupRule{ID: vpc.RuleID(in.id("sgr")), Egress: chance(r, 50)}
	rule.Protocol, rule.From, rule.To = randomRange(r, icmp...)
	switch r.IntN(6) {
	case 0, 1:
		rule.Group = pick(r, in.groups[v.ID])
		if in.feat.Peering && chance(r, 40) {
			for p := range vpc.By[vpc.Peering](in.view, vpc.IndexVPC, v.ID) {
				rule.Peering, rule.GroupVPC = p.ID, p.Other(v.ID).VPC
				rule.Group = pick(r, in.groups[rule.GroupVPC])
			}
		}
	case 2:
		rule.PrefixList = pick(r, []vpc.PrefixListID{"pl-mine", "pl-s3"})
	case 3:
		rule.CIDR = pick(r, in.everywhere())
		if in.feat.Untracked {
			rule.CIDR = netip.PrefixFrom(rule.CIDR.Addr(), 0).Masked()
		}
	default:
		rule.CIDR = in.randomBlock(r, v)
	}
	return rule
}

func (in *installation) randomACL(r *rand.Rand) []vpc.ACLEntry {
	var out []vpc.ACLEntry
	number := 0
	icmp := []int{vpc.ICMP}
	if in.feat.IPv6 {
		icmp = append(icmp, vpc.ICMPv6)
	}
	for _, egress := range []bool{true, false} {
		if chance(r, 50) {
			for range 1 + r.IntN(3) {
				number += 1 + r.IntN(5)
				e := vpc.ACLEntry{Number: number, Egress: egress, Allow: chance(r, 40)}
				e.Protocol, e.From, e.To = randomRange(r, icmp...)
				if e.Protocol == vpc.AllProtocols && chance(r, 80) {
					e.Allow = true
				}
				e.CIDR = in.randomBlock(r, in.vpcs[0])
				out = append(out, e)
			}
		}
		if chance(r, 90) {
			out = append(out, vpc.ACLEntry{Number: 100, Egress: egress, Allow: true, Protocol: vpc.AllProtocols, CIDR: anywhere})
			if in.feat.IPv6 {
				out = append(out, vpc.ACLEntry{Number: 101, Egress: egress, Allow: true, Protocol: vpc.AllProtocols, CIDR: netip.MustParsePrefix("::/0")})
			}
		}
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// addBalancer adds a load balancer with nodes in two zones, its listeners and
// targets among the VPC's workloads, and a service in front of it.
func (in *installation) addBalancer(r *rand.Rand, v *vpc.VPC) {
	lb := &vpc.LoadBalancer{ARN: vpc.ARN("arn:lb-" + v.ID), Owner: modelAccount, Name: "lb-" + string(v.ID), VPC: v.ID, Active: true,
		Attributes: map[string]string{}, DualStack: in.feat.IPv6}
	if chance(r, 50) {
		lb.Groups = in.someGroups(r, v.ID)
		if in.feat.NLB {
			lb.EnforceOnPrivateLink = pick(r, []string{"", "on", "off"})
		}
	}
	if chance(r, 50) {
		lb.Attributes["load_balancing.cross_zone.enabled"] = "true"
	}
	for i, zone := range []string{"a", "b"} {
		sub, _ := vpc.Get[vpc.Subnet](in.view, vpc.SubnetID(fmt.Sprintf("subnet-%s-%d", v.ID[4:], i)))
		n := &vpc.NetworkInterface{ID: vpc.InterfaceID(in.id("eni-node")), VPC: v.ID, Subnet: sub.ID, Zone: zone, Type: vpc.TypeBalancer,
			Groups: lb.Groups, Balancer: lb.ARN, RequesterManaged: true}
		in.place(r, n, sub)
		node := vpc.BalancerNode{Zone: zone, Subnet: sub.ID, Interface: n.ID, Addr: n.Addr}
		if len(n.IPv6) > 0 {
			node.Addr6 = n.IPv6[0]
		}
		lb.Nodes = append(lb.Nodes, node)
		in.view.Put(n)
	}
	in.view.Put(lb)
	for i, port := range []int{80, 81, 443, 514} {
		proto := []string{"TCP", "TCP", "TCP_UDP", "UDP"}[i]
		g := &vpc.TargetGroup{ARN: vpc.ARN(fmt.Sprintf("arn:tg-%s-%d", v.ID, port)), Name: "tg", Protocol: proto, Port: 8000 + port, VPC: v.ID, TargetType: "ip",
			Attributes: map[string]string{}, Check: vpc.HealthCheck{Protocol: "TCP", Port: "traffic-port", Interval: 10, Timeout: 5, Healthy: 2, Unhealthy: 2}}
		g.IPv6 = in.feat.IPv6 && i == 1
		switch {
		case proto != "TCP":
		case chance(r, 30):
			g.Attributes["preserve_client_ip.enabled"] = "true"
		}
		if in.feat.NLB && chance(r, 50) {
			g.Attributes["stickiness.enabled"] = "true"
			g.Attributes["stickiness.type"] = "source_ip"
		}
		if chance(r, 30) {
			g.Attributes["load_balancing.cross_zone.enabled"] = pick(r, []string{"true", "false", "use_load_balancer_configuration"})
		}
		in.view.Put(g)
		for range 1 + r.IntN(4) {
			in.register(r, g)
		}
		in.view.Put(&vpc.Listener{ARN: vpc.ARN(fmt.Sprintf("arn:listener-%s-%d", v.ID, port)), Owner: modelAccount, Balancer: lb.ARN, Protocol: proto, Port: port,
			TargetGroup: g.ARN, Attributes: in.listenerAttributes(r)})
	}
	in.view.Put(&vpc.EndpointService{ID: vpc.ServiceID("vpce-svc-" + v.ID), Owner: modelAccount, Name: "com.amazonaws.vpce.us-east-1.svc-" + string(v.ID),
		Balancers: []vpc.ARN{lb.ARN}, Zones: []string{"a", "b"}, IPv6: in.feat.IPv6})
}

func (in *installation) listenerAttributes(r *rand.Rand) map[string]string {
	if !in.feat.NLB {
		return nil
	}
	return map[string]string{"tcp.idle_timeout.seconds": fmt.Sprint(60 + r.IntN(600))}
}

// register adds a workload of the group's VPC to a group, healthy or not.
func (in *installation) register(r *rand.Rand, g *vpc.TargetGroup) {
	var all []netip.Addr
	for _, id := range in.workloads {
		if n, ok := vpc.Get[vpc.NetworkInterface](in.view, id); ok && n.VPC == g.VPC {
			if !g.IPv6 {
				all = append(all, n.Addr)
			}
			if g.IPv6 && len(n.IPv6) > 0 {
				all = append(all, n.IPv6[0])
			}
		}
	}
	if len(all) == 0 {
		return
	}
	t := vpc.Target{ID: pick(r, all).String(), Port: g.Port + r.IntN(2)}
	if slices.ContainsFunc(g.Targets, func(o vpc.Target) bool { return o.ID == t.ID && o.Port == t.Port }) {
		return
	}
	g.Targets = append(g.Targets, t)
	if chance(r, 80) {
		h := &vpc.Health{TargetGroup: g.ARN, Target: t.ID, Port: t.Port}
		for _, zone := range []string{"a", "b"} {
			if chance(r, 90) {
				h.Nodes = append(h.Nodes, vpc.NodeHealth{Zone: zone, Healthy: chance(r, 75)})
			}
		}
		in.view.Put(h)
	}
}

// addEndpoints adds endpoints to another VPC's service and to the catalogue's.
func (in *installation) addEndpoints(r *rand.Rand, i int) {
	v := in.vpcs[i]
	states := []vpc.EndpointState{vpc.EndpointAvailable, vpc.EndpointAvailable, vpc.EndpointPending, vpc.EndpointPendingAcceptance, vpc.EndpointRejected}
	for n, service := range []string{"vpce-svc-" + string(in.vpcs[(i+1)%len(in.vpcs)].ID), ""} {
		e := &vpc.Endpoint{ID: vpc.EndpointID(fmt.Sprintf("vpce-%d-%d", i, n)), Owner: modelAccount, VPC: v.ID, Type: vpc.InterfaceEndpoint,
			Service: vpc.ServiceID(service), State: pick(r, states), Link: vpc.FirstVNI + 0x1000 + vpc.VNI(10*i+n), Groups: in.someGroups(r, v.ID)}
		if service == "" {
			e.ServiceName = "com.amazonaws.us-east-1.s3"
		}
		if in.feat.IPv6 {
			e.IPAddressType = "dualstack"
		}
		for s := range 2 {
			sub, _ := vpc.Get[vpc.Subnet](in.view, vpc.SubnetID(fmt.Sprintf("subnet-%d-%d", i, s)))
			eni := &vpc.NetworkInterface{ID: vpc.InterfaceID(in.id("eni-ep")), VPC: v.ID, Subnet: sub.ID, Zone: sub.Zone, Type: vpc.TypeEndpoint,
				Groups: e.Groups, Endpoint: e.ID, RequesterManaged: true}
			in.place(r, eni, sub)
			node := vpc.EndpointNode{Subnet: sub.ID, Zone: sub.Zone, Interface: eni.ID, Addr: eni.Addr}
			if len(eni.IPv6) > 0 {
				node.Addr6 = eni.IPv6[0]
			}
			e.Nodes = append(e.Nodes, node)
			in.view.Put(eni)
		}
		in.view.Put(e)
	}
	in.view.Put(&vpc.Endpoint{ID: vpc.EndpointID(fmt.Sprintf("vpce-gw-%d", i)), Owner: modelAccount, VPC: v.ID, Type: vpc.GatewayEndpoint,
		ServiceName: "com.amazonaws.us-east-1.s3", State: pick(r, states), RouteTables: []vpc.RouteTableID{vpc.RouteTableID(fmt.Sprintf("rtb-%d", i))}})
	in.addResolverEndpoint(r, i)
}

// addResolverEndpoint adds a resolver endpoint, most often an inbound one.
func (in *installation) addResolverEndpoint(r *rand.Rand, i int) {
	v := in.vpcs[i]
	e := &vpc.ResolverEndpoint{ID: vpc.ResolverEndpointID(fmt.Sprintf("rslvr-%d", i)), Owner: modelAccount, VPC: v.ID, Inbound: chance(r, 80), Groups: in.someGroups(r, v.ID), DualStack: in.feat.IPv6}
	for s := range 2 {
		sub, _ := vpc.Get[vpc.Subnet](in.view, vpc.SubnetID(fmt.Sprintf("subnet-%d-%d", i, s)))
		eni := &vpc.NetworkInterface{ID: vpc.InterfaceID(in.id("eni-rslvr")), VPC: v.ID, Subnet: sub.ID, Zone: sub.Zone, Type: vpc.TypeResolver,
			Groups: e.Groups, Resolver: e.ID, RequesterManaged: true}
		in.place(r, eni, sub)
		e.Addresses = append(e.Addresses, vpc.ResolverAddress{ID: in.id("rni"), Subnet: sub.ID, Interface: eni.ID, Addr: eni.Addr})
		in.view.Put(eni)
	}
	in.view.Put(e)
}

// addRoutes gives a VPC's tables routes of every kind.
func (in *installation) addRoutes(r *rand.Rand, i int) {
	v := in.vpcs[i]
	igw := vpc.InternetGatewayID(fmt.Sprintf("igw-%d", i))
	in.view.Put(&vpc.InternetGateway{ID: igw, Owner: modelAccount, VPC: v.ID})
	if in.feat.Uplink {
		in.addWaysOut(r, i)
	}
	local := []vpc.Route{{CIDR: v.CIDRs[0].CIDR, TargetKind: vpc.TargetLocal}}
	if in.feat.IPv6 {
		local = append(local, vpc.Route{CIDR: v.IPv6[0].CIDR, TargetKind: vpc.TargetLocal})
	}
	main, _ := vpc.Get[vpc.RouteTable](in.view, vpc.RouteTableID(fmt.Sprintf("rtb-%d", i)))
	main.Routes = slices.Concat(local, in.randomRoutes(r, i))
	for s := range 2 {
		if chance(r, 60) {
			in.view.Put(&vpc.RouteTable{ID: vpc.RouteTableID(fmt.Sprintf("rtb-%d-%d", i, s)), VPC: v.ID,
				Associations: []vpc.RouteAssociation{{ID: in.id("rtbassoc"), Subnet: vpc.SubnetID(fmt.Sprintf("subnet-%d-%d", i, s))}},
				Routes:       slices.Concat(local, in.randomRoutes(r, i))})
		}
	}
}

// randomRoutes are rows besides the local ones.
func (in *installation) randomRoutes(r *rand.Rand, i int) []vpc.Route {
	v := in.vpcs[i]
	var out []vpc.Route
	add := func(percent int, x vpc.Route) {
		if chance(r, percent) && !slices.ContainsFunc(out, func(o vpc.Route) bool {
			return x.CIDR.IsValid() && o.CIDR == x.CIDR || x.PrefixList != "" && o.PrefixList == x.PrefixList
		}) {
			out = append(out, x)
		}
	}
	igw := fmt.Sprintf("igw-%d", i)
	add(60, vpc.Route{PrefixList: "pl-s3", TargetKind: vpc.TargetEndpoint, Target: fmt.Sprintf("vpce-gw-%d", i)})
	var own []vpc.InterfaceID
	for _, id := range in.workloads {
		if n, ok := vpc.Get[vpc.NetworkInterface](in.view, id); ok && n.VPC == v.ID {
			own = append(own, id)
		}
	}
	add(40, vpc.Route{CIDR: netip.MustParsePrefix("192.0.2.0/24"), TargetKind: vpc.TargetENI, Target: string(pick(r, own))})
	if n, ok := vpc.Get[vpc.NetworkInterface](in.view, pick(r, own)); ok {
		if s, ok := vpc.Get[vpc.Subnet](in.view, n.Subnet); ok { // what stands before a subnet
			add(10, vpc.Route{CIDR: s.CIDR, TargetKind: vpc.TargetENI, Target: string(pick(r, own))})
		}
	}
	add(30, vpc.Route{CIDR: netip.MustParsePrefix("172.16.0.0/12"), TargetKind: vpc.TargetENI, Target: "eni-gone"})
	add(30, vpc.Route{CIDR: netip.MustParsePrefix("198.51.100.0/25"), TargetKind: vpc.TargetInternet, Target: "igw-gone"})
	add(20, vpc.Route{PrefixList: "pl-mine", TargetKind: vpc.TargetInternet, Target: igw})
	if in.feat.Peering {
		for p := range vpc.By[vpc.Peering](in.view, vpc.IndexVPC, v.ID) {
			other, _ := vpc.Get[vpc.VPC](in.view, p.Other(v.ID).VPC)
			if !other.CIDRs[0].CIDR.Overlaps(v.CIDRs[0].CIDR) {
				add(85, vpc.Route{CIDR: other.CIDRs[0].CIDR, TargetKind: vpc.TargetPeering, Target: string(p.ID)})
			}
			if in.feat.IPv6 {
				add(85, vpc.Route{CIDR: other.IPv6[0].CIDR, TargetKind: vpc.TargetPeering, Target: string(p.ID)})
			}
		}
	}
	if in.feat.Uplink && chance(r, 40) {
		add(100, vpc.Route{CIDR: anywhere, TargetKind: vpc.TargetNAT, Target: fmt.Sprintf("nat-%d", i)})
	}
	add(60, vpc.Route{CIDR: anywhere, TargetKind: vpc.TargetInternet, Target: igw})
	if in.feat.IPv6 {
		all6 := netip.MustParsePrefix("::/0")
		add(50, vpc.Route{PrefixList: "pl-s36", TargetKind: vpc.TargetEndpoint, Target: fmt.Sprintf("vpce-gw-%d", i)})
		add(40, vpc.Route{CIDR: all6, TargetKind: vpc.TargetEgressOnly, Target: fmt.Sprintf("eigw-%d", i)})
		add(60, vpc.Route{CIDR: all6, TargetKind: vpc.TargetInternet, Target: igw})
	}
	return out
}

// addWaysOut adds what leads to the host's network: Elastic IPs, a NAT gateway
// in the first subnet, and an egress-only gateway.
func (in *installation) addWaysOut(r *rand.Rand, i int) {
	v := in.vpcs[i]
	eip := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(128 + 16*i + n)}) }
	for n, id := range in.workloads {
		if eni, ok := vpc.Get[vpc.NetworkInterface](in.view, id); ok && eni.VPC == v.ID && chance(r, 60) {
			in.view.Put(&vpc.ElasticIP{ID: vpc.AllocationID(in.id("eipalloc")), Owner: modelAccount, Addr: eip(1 + n%15), Association: in.id("eipassoc"), Interface: id})
		}
	}
	sub, _ := vpc.Get[vpc.Subnet](in.view, vpc.SubnetID(fmt.Sprintf("subnet-%d-0", i)))
	n := &vpc.NetworkInterface{ID: vpc.InterfaceID(in.id("eni-nat")), VPC: v.ID, Subnet: sub.ID, Zone: sub.Zone, Type: vpc.TypeNAT, RequesterManaged: true}
	in.place(r, n, sub)
	n.IPv6 = nil
	in.view.Put(n)
	in.view.Put(&vpc.NATGateway{ID: vpc.NATGatewayID(fmt.Sprintf("nat-%d", i)), Owner: modelAccount, VPC: v.ID, Subnet: sub.ID, Zone: sub.Zone, State: vpc.NATAvailable,
		Interface: n.ID, Addr: n.Addr, PublicAddr: eip(0), Allocation: "eipalloc-nat"})
	in.view.Put(&vpc.ElasticIP{ID: vpc.AllocationID(in.id("eipalloc")), Owner: modelAccount, Addr: eip(0), Association: in.id("eipassoc"), Interface: n.ID})
	in.view.Put(&vpc.EgressOnlyGateway{ID: vpc.EgressOnlyGatewayID(fmt.Sprintf("eigw-%d", i)), Owner: modelAccount, VPC: v.ID})
}

// change alters something, as a caller of the API could, and says what.
func (in *installation) change(r *rand.Rand) string {
	all := func(kind vpc.Kind) []vpc.Object { return slices.Collect(in.view.Objects(kind)) }
	switch r.IntN(15) {
	case 0, 1:
		g := vpc.Edit(pick(r, all(vpc.KindGroup)).(*vpc.SecurityGroup))
		v, _ := vpc.Get[vpc.VPC](in.view, g.VPC)
		if len(g.Rules) > 0 && chance(r, 60) {
			i := r.IntN(len(g.Rules))
			g.Rules = slices.Delete(g.Rules, i, i+1)
		} else {
			g.Rules = append(g.Rules, in.randomRule(r, v))
		}
		in.view.Put(g)
		return "rules of " + string(g.ID)
	case 2:
		n := in.editWorkload(r)
		n.Groups = in.someGroups(r, n.VPC)
		in.view.Put(n)
		return "groups of " + string(n.ID)
	case 3:
		a := vpc.Edit(pick(r, all(vpc.KindACL)).(*vpc.NetworkACL))
		a.Entries = in.randomACL(r)
		in.view.Put(a)
		return "entries of " + string(a.ID)
	case 4, 5:
		e := vpc.Edit(pick(r, all(vpc.KindEndpoint)).(*vpc.Endpoint))
		if e.Passes() {
			e.State = pick(r, []vpc.EndpointState{vpc.EndpointRejected, vpc.EndpointDeleting, vpc.EndpointPending})
		} else {
			e.State = vpc.EndpointAvailable
		}
		in.view.Put(e)
		return fmt.Sprintf("%s is %s", e.ID, e.State)
	case 6:
		g := vpc.Edit(pick(r, all(vpc.KindTargetGroup)).(*vpc.TargetGroup))
		if len(g.Targets) > 0 && chance(r, 50) {
			i := r.IntN(len(g.Targets))
			if g.Targets[i].Draining.IsZero() && chance(r, 50) {
				g.Targets[i].Draining = time.Unix(1, 0)
			} else {
				if a, err := netip.ParseAddr(g.Targets[i].ID); err == nil && chance(r, 50) {
					g.Cut = append(g.Cut, vpc.CutTarget{Addr: a, Port: g.Targets[i].Port})
				}
				g.Targets = slices.Delete(g.Targets, i, i+1)
			}
		} else {
			in.register(r, g)
		}
		in.view.Put(g)
		return "targets of " + string(g.ARN)
	case 7, 8:
		if hs := all(vpc.KindHealth); len(hs) > 0 {
			h := vpc.Edit(pick(r, hs).(*vpc.Health))
			ill := chance(r, 40) // to every node, which ends its flows while others are well
			for i := range h.Nodes {
				h.Nodes[i].Healthy = !ill && chance(r, 80)
			}
			in.view.Put(h)
			return fmt.Sprintf("%s: %v", h.Key(), h.Nodes)
		}
	case 9:
		t := vpc.Edit(pick(r, all(vpc.KindRouteTable)).(*vpc.RouteTable))
		local := slices.DeleteFunc(slices.Clone(t.Routes), func(x vpc.Route) bool { return x.TargetKind != vpc.TargetLocal })
		t.Routes = append(local, in.randomRoutes(r, int(t.VPC[4]-'0'))...)
		in.view.Put(t)
		return "routes of " + string(t.ID)
	case 10:
		n := in.editWorkload(r)
		n.SourceDestCheck = !n.SourceDestCheck
		in.view.Put(n)
		return fmt.Sprintf("source/destination check of %s: %v", n.ID, n.SourceDestCheck)
	case 11:
		return in.replace(r)
	case 12:
		lb := vpc.Edit(pick(r, all(vpc.KindBalancer)).(*vpc.LoadBalancer))
		lb.Attributes = map[string]string{"load_balancing.cross_zone.enabled": pick(r, []string{"true", "false"})}
		in.view.Put(lb)
		return "cross-zone of " + lb.Name
	case 13:
		if in.feat.Peering && chance(r, 50) {
			p := vpc.Edit(pick(r, all(vpc.KindPeering)).(*vpc.Peering))
			p.State = pick(r, []vpc.PeeringState{vpc.PeeringActive, vpc.PeeringActive, vpc.PeeringDeleted})
			in.view.Put(p)
			return fmt.Sprintf("%s is %s", p.ID, p.State)
		}
		v := vpc.Edit(pick(r, all(vpc.KindVPC)).(*vpc.VPC))
		v.EnableDNSSupport = !v.EnableDNSSupport
		in.view.Put(v)
		return fmt.Sprintf("DNS support of %s: %v", v.ID, v.EnableDNSSupport)
	case 14:
		if l, ok := vpc.Get[vpc.Listener](in.view, vpc.ARN("arn:listener-vpc-0-81")); ok {
			in.view.Delete(l)
			return "the listener on port 81 is gone"
		}
	}
	return "nothing"
}

func (in *installation) editWorkload(r *rand.Rand) *vpc.NetworkInterface {
	n, _ := vpc.Get[vpc.NetworkInterface](in.view, pick(r, in.workloads))
	return vpc.Edit(n)
}

// replace gives an interface's address to a new one, behind the same device.
func (in *installation) replace(r *rand.Rand) string {
	i := r.IntN(len(in.workloads))
	old, _ := vpc.Get[vpc.NetworkInterface](in.view, in.workloads[i])
	n := vpc.Edit(old)
	n.ID = vpc.InterfaceID(in.id("eni"))
	n.Groups = in.someGroups(r, n.VPC)
	in.view.Delete(old)
	in.view.Put(n)
	in.workloads[i] = n.ID
	return fmt.Sprintf("%v passes from %s to %s", n.Addr, old.ID, n.ID)
}
