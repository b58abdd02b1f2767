// SPDX-License-Identifier: Apache-2.0

package vpc_test

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// world is one of everything, made by the use cases.
type world struct {
	view     *vpctest.View
	vpc      *vpc.VPC
	subnet   *vpc.Subnet
	main     *vpc.RouteTable
	acl      *vpc.NetworkACL
	group    *vpc.SecurityGroup
	plain    *vpc.NetworkInterface // attached to instance
	instance *vpc.Instance
	gateway  *vpc.Endpoint
	iface    *vpc.Endpoint
	second   *vpc.Endpoint // to the service, without a private name
	service  *vpc.EndpointService
	balancer *vpc.LoadBalancer
	targets  *vpc.TargetGroup
	listener *vpc.Listener
	health   *vpc.Health
	igw      *vpc.InternetGateway
	eigw     *vpc.EgressOnlyGateway
	eip      *vpc.ElasticIP // nat's
	nat      *vpc.NATGateway
	dhcp     *vpc.DHCPOptions
	notify   *vpc.ConnectionNotification // of the service
	notice   *vpc.Notice                 // of the second endpoint
}

// anyTopic takes every topic for one that can be published to.
type anyTopic struct{}

func (anyTopic) Check(context.Context, vpc.AccountID, vpc.ARN) error { return nil }
func (anyTopic) Deliver(context.Context, control.Delivery) error     { return nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	c, _ := controltest.New(t)
	ctx, on := t.Context(), true
	me := controltest.Consumer
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Store.Update(ctx, func(tx *store.Tx) error {
		tx.Put(&vpc.CatalogueService{
			Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", ID: "vpce-svc-0000000000000005a", Types: []vpc.EndpointType{vpc.GatewayEndpoint, vpc.InterfaceEndpoint},
			PrefixList: "pl-0000000000000000a", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
			PrefixList6: "pl-0000000000000000b", Prefixes6: []netip.Prefix{netip.MustParsePrefix("2001:db8:53::/48")},
			PublicNames: []string{"s3.us-east-1.amazonaws.com"}, Protocol: "s3", PolicySupported: true,
		})
		return nil
	})
	must(err)
	v, err := c.CreateVPC(ctx, me, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16"), IPv6: true})
	must(err)
	must(c.ModifyVPC(ctx, me, v, control.VPCChange{EnableDNSHostnames: &on}))
	subnet, err := c.CreateSubnet(ctx, me, control.CreateSubnetInput{VPC: v, CIDR: netip.MustParsePrefix("10.0.1.0/24"), IPv6: netip.MustParsePrefix("2001:db8:8000::/64")})
	must(err)
	must(c.ModifySubnet(ctx, me, subnet, control.SubnetChange{AssignIPv6: &on}))
	_, ids, err := c.RunInstances(ctx, me, control.RunInstancesInput{Min: 1, Max: 1, ImageID: "ami-1", Subnet: subnet})
	must(err)
	lb, err := c.CreateBalancer(ctx, me, control.CreateBalancerInput{Name: "lb", DualStack: true, Subnets: []control.BalancerSubnet{{Subnet: subnet}}})
	must(err)
	tg, err := c.CreateTargetGroup(ctx, me, control.CreateTargetGroupInput{Name: "tg", Protocol: "TCP", Port: 80, VPC: v, TargetType: "ip"})
	must(err)
	must(c.RegisterTargets(ctx, me, tg, []control.TargetInput{{ID: "10.0.1.99"}}))
	l, err := c.CreateListener(ctx, me, control.CreateListenerInput{Balancer: lb, Protocol: "TCP", Port: 80, TargetGroup: tg})
	must(err)
	must(c.ReportHealth(ctx, []control.HealthReport{{Group: tg, Target: "10.0.1.99", Port: 80, Zone: "us-east-1a", Healthy: true}}))
	s, err := c.CreateService(ctx, me, control.CreateServiceInput{Balancers: []vpc.ARN{lb}, PrivateDNSName: "x.example.com"})
	must(err)
	_, err = c.ModifyPermissions(ctx, me, control.ModifyPermissionsInput{ID: s.ID, Add: []string{"*"}})
	must(err)
	must(c.ModifyService(ctx, me, control.ModifyServiceInput{ID: s.ID, AddAddressTypes: []string{"ipv6"}}))
	w := &world{view: vpctest.Of()}
	for r := range vpc.All[vpc.RouteTable](c.View()) {
		w.main = r
	}
	gw, err := c.CreateEndpoint(ctx, me, control.CreateEndpointInput{VPC: v, ServiceName: "com.amazonaws.us-east-1.s3", RouteTables: []vpc.RouteTableID{w.main.ID}})
	must(err)
	ep, err := c.CreateEndpoint(ctx, me, control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, VPC: v, ServiceName: "com.amazonaws.us-east-1.s3", Subnets: []vpc.SubnetID{subnet}})
	must(err)
	c.Topics = anyTopic{}
	nfn, err := c.CreateNotification(ctx, me, control.CreateNotificationInput{Service: s.ID, Topic: "arn:aws:sns:us-east-1:111111111111:x", Events: vpc.ConnectionEvents})
	must(err)
	ep2, err := c.CreateEndpoint(ctx, me, control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, VPC: v, ServiceName: s.Name, IPAddressType: vpc.DualStack, Subnets: []vpc.SubnetID{subnet}})
	must(err)
	igw, err := c.CreateInternetGateway(ctx, me, nil)
	must(err)
	must(c.AttachInternetGateway(ctx, me, igw, v))
	eigw, err := c.CreateEgressOnlyGateway(ctx, me, control.CreateEgressOnlyInput{VPC: v})
	must(err)
	eip, err := c.AllocateAddress(ctx, me, netip.Addr{}, nil)
	must(err)
	nat, err := c.CreateNATGateway(ctx, me, control.CreateNATInput{Subnet: subnet, Allocation: eip})
	must(err)
	dhcp, err := c.CreateDHCPOptions(ctx, me, []vpc.DHCPOption{{Key: "domain-name", Values: []string{"corp.example"}}}, nil)
	must(err)
	must(c.AssociateDHCPOptions(ctx, me, dhcp, v))
	must(c.CreateTags(ctx, me, []string{string(v)}, vpc.Tags{"a": "b"}))
	// A private copy of everything, so that a test may break it.
	for _, k := range []vpc.Kind{
		vpc.KindAccount, vpc.KindRegion, vpc.KindVPC, vpc.KindSubnet, vpc.KindRouteTable, vpc.KindACL, vpc.KindGroup, vpc.KindInterface,
		vpc.KindInstance, vpc.KindEndpoint, vpc.KindService, vpc.KindCatalogue, vpc.KindBalancer, vpc.KindTargetGroup, vpc.KindListener, vpc.KindHealth,
		vpc.KindInternetGateway, vpc.KindEgressOnly, vpc.KindElasticIP, vpc.KindNATGateway, vpc.KindDHCPOptions,
		vpc.KindNotification, vpc.KindNotice,
	} {
		for o := range c.View().Objects(k) {
			w.view.List = append(w.view.List, clone(t, o))
		}
	}
	w.vpc = get[vpc.VPC](t, w, string(v))
	w.subnet = get[vpc.Subnet](t, w, string(subnet))
	w.main = get[vpc.RouteTable](t, w, string(w.main.ID))
	w.instance = get[vpc.Instance](t, w, string(ids[0]))
	w.plain = get[vpc.NetworkInterface](t, w, string(w.instance.Primary))
	w.gateway, w.iface, w.second = get[vpc.Endpoint](t, w, string(gw.ID)), get[vpc.Endpoint](t, w, string(ep.ID)), get[vpc.Endpoint](t, w, string(ep2.ID))
	w.service = get[vpc.EndpointService](t, w, string(s.ID))
	w.balancer = get[vpc.LoadBalancer](t, w, string(lb))
	w.targets = get[vpc.TargetGroup](t, w, string(tg))
	w.listener = get[vpc.Listener](t, w, string(l))
	w.health = get[vpc.Health](t, w, vpc.HealthKey(tg, "10.0.1.99", 80))
	w.igw, w.eip = get[vpc.InternetGateway](t, w, string(igw)), get[vpc.ElasticIP](t, w, string(eip))
	w.eigw = get[vpc.EgressOnlyGateway](t, w, string(eigw))
	w.nat, w.dhcp = get[vpc.NATGateway](t, w, string(nat)), get[vpc.DHCPOptions](t, w, string(dhcp))
	w.notify = get[vpc.ConnectionNotification](t, w, string(nfn.ID))
	for n := range vpc.All[vpc.Notice](w.view) {
		w.notice = n
	}
	for a := range vpc.All[vpc.NetworkACL](w.view) {
		w.acl = a
	}
	for g := range vpc.All[vpc.SecurityGroup](w.view) {
		w.group = g
	}
	return w
}

// clone copies an object of any kind.
func clone(t *testing.T, o vpc.Object) vpc.Object {
	t.Helper()
	switch o := o.(type) {
	case *vpc.Account:
		return vpc.Edit(o)
	case *vpc.Region:
		return vpc.Edit(o)
	case *vpc.VPC:
		return vpc.Edit(o)
	case *vpc.Subnet:
		return vpc.Edit(o)
	case *vpc.RouteTable:
		return vpc.Edit(o)
	case *vpc.NetworkACL:
		return vpc.Edit(o)
	case *vpc.SecurityGroup:
		return vpc.Edit(o)
	case *vpc.NetworkInterface:
		return vpc.Edit(o)
	case *vpc.Instance:
		return vpc.Edit(o)
	case *vpc.Endpoint:
		return vpc.Edit(o)
	case *vpc.EndpointService:
		return vpc.Edit(o)
	case *vpc.CatalogueService:
		return vpc.Edit(o)
	case *vpc.LoadBalancer:
		return vpc.Edit(o)
	case *vpc.TargetGroup:
		return vpc.Edit(o)
	case *vpc.Listener:
		return vpc.Edit(o)
	case *vpc.Health:
		return vpc.Edit(o)
	case *vpc.EgressOnlyGateway:
		return vpc.Edit(o)
	case *vpc.InternetGateway:
		return vpc.Edit(o)
	case *vpc.ElasticIP:
		return vpc.Edit(o)
	case *vpc.NATGateway:
		return vpc.Edit(o)
	case *vpc.DHCPOptions:
		return vpc.Edit(o)
	case *vpc.ConnectionNotification:
		return vpc.Edit(o)
	case *vpc.Notice:
		return vpc.Edit(o)
	}
	t.Fatalf("clone %T", o)
	return nil
}

type object[T any] interface {
	*T
	vpc.Object
}

func get[T any, P object[T]](t *testing.T, w *world, id string) P {
	t.Helper()
	o, ok := vpc.Get[T, P](w.view, id)
	if !ok {
		t.Fatalf("%T %s is not there", o, id)
	}
	return o
}

// ipv6 is an address of a subnet.
func ipv6(s *vpc.Subnet, n byte) netip.Addr {
	b := s.IPv6.CIDR.Addr().As16()
	b[15] = n
	return netip.AddrFrom16(b)
}

func (w *world) interfaceOf(e *vpc.Endpoint) *vpc.NetworkInterface {
	n, _ := vpc.Get[vpc.NetworkInterface](w.view, e.Nodes[0].Interface)
	return n
}

func TestWhatUseCasesMakeKeepsEveryInvariant(t *testing.T) {
	for _, err := range vpc.Invariants(newWorld(t).view) {
		t.Error(err)
	}
}

func TestEveryBrokenInvariantIsNamed(t *testing.T) {
	w := newWorld(t)
	other, six := netip.MustParsePrefix("10.9.0.0/24"), netip.MustParsePrefix("2001:db8::/64")
	for _, c := range []struct {
		name string // of what is broken
		do   func(*world)
		want string // in an error
	}{
		{"a reference", func(w *world) { w.plain.Groups = []vpc.GroupID{"sg-1"} }, "refers to security-group sg-1"},
		{"a claim", func(w *world) { w.interfaceOf(w.iface).Addr, w.iface.Nodes[0].Addr = w.plain.Addr, w.plain.Addr }, "claims addr/"},
		{"a VNI", func(w *world) { w.iface.Link = w.vpc.VNI }, "claims vni/"},
		{"an owner", func(w *world) { w.gateway.Owner = "999999999999" }, "account \"999999999999\", does not exist"},
		{"an owner in another's VPC", func(w *world) { w.subnet.Owner = controltest.Provider.Account }, "belongs to account 222222222222"},
		{"a tag's key", func(w *world) { w.vpc.Tags = vpc.Tags{"aws:x": ""} }, "reserved"},
		{"a tag of a rule", func(w *world) { w.group.Rules[0].Tags = vpc.Tags{"": ""} }, "1 to 128 characters"},
		{"a tag of a principal", func(w *world) { w.service.Permissions[0].Tags = vpc.Tags{"aws:x": ""} }, "reserved"},
		{"a provider's tag", func(w *world) { w.second.ConnectionTags = vpc.Tags{"aws:x": ""} }, "reserved"},
		{"a tag's length", func(w *world) { w.vpc.Tags = vpc.Tags{"x": strings.Repeat("ä", 257)} }, "257 characters"},
		{"the number of tags", func(w *world) {
			w.vpc.Tags = vpc.Tags{}
			for i := range 51 {
				w.vpc.Tags[fmt.Sprint(i)] = ""
			}
		}, "51 tags"},
		{"a VPC's block", func(w *world) { w.vpc.CIDRs[0].CIDR = netip.MustParsePrefix("10.0.0.0/8") }, "/16 to /28"},
		{"a VPC's blocks", func(w *world) { w.vpc.CIDRs = append(w.vpc.CIDRs, w.vpc.CIDRs[0]) }, "overlap"},
		{"the id of a block", func(w *world) { w.vpc.CIDRs = append(w.vpc.CIDRs, w.vpc.CIDRs[0]) }, "used a second time"},
		{"a VPC's IPv6 block", func(w *world) { w.vpc.IPv6[0].CIDR = six }, "not an IPv6 network of /56"},
		{"two VPCs' IPv6 block", func(w *world) {
			v := vpc.Edit(w.vpc)
			v.ID = "vpc-00000000000000001"
			w.view.Put(v)
		}, "claims ipv6-block/2001:db8:8000::/56"},
		{"a subnet's IPv6 block", func(w *world) { w.subnet.IPv6.CIDR = six }, "in none of its VPC's"},
		{"the size of a subnet's IPv6 block", func(w *world) { w.subnet.IPv6.CIDR = w.vpc.IPv6[0].CIDR }, "not an IPv6 network of /64"},
		{"the id of a subnet's block", func(w *world) { w.subnet.IPv6.ID = w.vpc.IPv6[0].ID }, "no id of the form subnet-cidr-assoc-"},
		{"a subnet that assigns", func(w *world) { w.subnet.IPv6 = vpc.CIDRAssociation{} }, "and no block of them"},
		{"an IPv6 address", func(w *world) { w.plain.IPv6[0] = netip.MustParseAddr("2001:db8::5") }, "cannot be given out"},
		{"a reserved IPv6 address", func(w *world) { w.plain.IPv6[0] = netip.MustParseAddr("2001:db8:8000::3") }, "cannot be given out"},
		{"an IPv6 address twice", func(w *world) { w.plain.IPv6 = append(w.plain.IPv6, w.plain.IPv6[0]) }, "is there twice"},
		{"an IPv6 address of two", func(w *world) { w.interfaceOf(w.iface).IPv6 = w.plain.IPv6 }, "claims addr/"},
		{"an idle time", func(w *world) { w.plain.Tracking.UDP = 61 }, "for 61 s, 30 to 60 s"},
		{"a local IPv6 route", func(w *world) {
			w.main.Routes = slices.DeleteFunc(w.main.Routes, func(r vpc.Route) bool { return r.CIDR == w.vpc.IPv6[0].CIDR })
		}, "no local route to 2001:db8:8000::/56"},
		{"a route to a gateway of the other family", func(w *world) {
			w.main.Routes = append(w.main.Routes, vpc.Route{CIDR: other, TargetKind: vpc.TargetEgressOnly})
		}, "does not carry it"},
		{"a route to AWS's own", func(w *world) {
			w.main.Routes = append(w.main.Routes, vpc.Route{CIDR: netip.MustParsePrefix("fd00:ec2::/32"), TargetKind: vpc.TargetInternet})
		}, "there is a route to fd00:ec2::/32"},
		{"an egress-only gateway's owner", func(w *world) { w.eigw.Owner = controltest.Provider.Account }, "belongs to account 222222222222"},
		{"two egress-only gateways", func(w *world) {
			g := vpc.Edit(w.eigw)
			g.ID = "eigw-00000000000000001"
			w.view.Put(g)
		}, "claims egress-only-gateway-of/"},
		{"the main table", func(w *world) { w.main.Main = "" }, "0 main route tables"},
		{"the default ACL", func(w *world) { w.acl.Default = false }, "0 default network ACLs"},
		{"the default group", func(w *world) { w.group.Name = "x" }, "0 default security groups"},
		{"subnets", func(w *world) {
			s := vpc.Edit(w.subnet)
			s.ID = "subnet-00000000000000001"
			w.view.Put(s)
		}, "overlaps 10.0.1.0/24"},
		{"a subnet's block", func(w *world) { w.subnet.CIDR = other }, "in none of its VPC's"},
		{"a subnet's zone", func(w *world) { w.subnet.Zone = "moon" }, "no zone of the region"},
		{"a subnet's ACL", func(w *world) { w.acl.Associations = nil }, "in 0 network ACLs"},
		{"a subnet's tables", func(w *world) {
			for i := range 2 {
				r := vpc.Edit(w.main)
				r.ID, r.Main = vpc.RouteTableID(fmt.Sprintf("rtb-0000000000000000%d", i)), ""
				r.Associations = []vpc.RouteAssociation{{ID: fmt.Sprintf("rtbassoc-0000000000000000%d", i), Subnet: w.subnet.ID}}
				w.view.Put(r)
			}
		}, "with 2 route tables"},
		{"an association", func(w *world) {
			w.acl.Associations = append(w.acl.Associations, vpc.ACLAssociation{ID: "aclassoc-00000000000000001", Subnet: "subnet-1"})
		}, "subnet-1, which does not exist"},
		{"a local route", func(w *world) { w.main.Routes = w.main.Routes[1:] }, "no local route to 10.0.0.0/16"},
		{"a local route too many", func(w *world) {
			w.main.Routes = append(w.main.Routes, vpc.Route{CIDR: other, TargetKind: vpc.TargetLocal})
		}, "no block of its VPC"},
		{"a destination", func(w *world) { w.main.Routes = append(w.main.Routes, w.main.Routes[0]) }, "two routes to 10.0.0.0/16"},
		{"an endpoint's route", func(w *world) { w.gateway.RouteTables = nil }, "not associated with the table"},
		{"an endpoint's table", func(w *world) { w.main.Routes = w.main.Routes[:1] }, "has no route to it for pl-"},
		{"a gateway endpoint's end", func(w *world) { w.gateway.State = vpc.EndpointDeleting }, "deleting and still in route tables"},
		{"an ACL's entries", func(w *world) { w.acl.Entries = append(w.acl.Entries, w.acl.Entries[0]) }, "entry {100 true} is there twice"},
		{"an ACL's entry", func(w *world) { w.acl.Entries[0].Number = 0 }, "entry number 0"},
		{"a rule's peers", func(w *world) { w.group.Rules[0].PrefixList = "pl-1" }, "2 peers"},
		{"a rule's ports", func(w *world) { r := &w.group.Rules[0]; r.Protocol, r.From, r.To = vpc.TCP, 80, 79 }, "ports 80 to 79"},
		{"a rule's group", func(w *world) { w.group.Rules[2].GroupOwner = "x" }, "is of account \"x\""},
		{"an address", func(w *world) { w.plain.Addr = netip.MustParseAddr("10.0.2.4") }, "cannot be given out"},
		{"a reserved address", func(w *world) { w.plain.Addr = netip.MustParseAddr("10.0.1.255") }, "cannot be given out"},
		{"an interface's zone", func(w *world) { w.plain.Zone = "us-east-1b" }, "its subnet in us-east-1a"},
		{"a MAC address", func(w *world) { w.plain.MAC = "00:00:00:00:00:01" }, "no MAC address"},
		{"an endpoint's interface", func(w *world) { w.interfaceOf(w.iface).Endpoint = w.second.ID }, "is not its own"},
		{"an interface's endpoint", func(w *world) { w.iface.Nodes = nil }, "does not know it"},
		{"an endpoint's groups", func(w *world) { w.interfaceOf(w.iface).Groups = nil }, "security groups []"},
		{"a workload's interface", func(w *world) { w.plain.Attachment = nil }, "not attached to it"},
		{"an attachment", func(w *world) { w.plain.Attachment.Instance = "i-1" }, "instance \"i-1\", which does not exist"},
		{"two workloads", func(w *world) { w.plain.Attachment.External = &vpc.ExternalWorkload{PID: 1} }, "names 1 workloads"},
		{"an end", func(w *world) { w.instance.State, w.instance.Terminated = vpc.InstanceTerminated, time.Now() }, "which is terminated"},
		{"an instance's state", func(w *world) { w.instance.State = "x" }, "state \"x\""},
		{"an endpoint's state", func(w *world) { w.iface.State = "x" }, "state \"x\""},
		{"names", func(w *world) { w.iface.State, w.iface.Named = vpc.EndpointAvailable, false }, "no names yet"},
		{"names of the rejected", func(w *world) { w.second.State, w.second.Named = vpc.EndpointRejected, true }, "has its names"},
		{"a catalogue's acceptance", func(w *world) { w.iface.State = vpc.EndpointPendingAcceptance }, "only an endpoint to a customer's"},
		{"a failure", func(w *world) { w.second.State = vpc.EndpointExpired }, "does not say why"},
		{"a label", func(w *world) { w.iface.DNSLabel = "x" }, "does not begin with its id"},
		{"a connection", func(w *world) { w.second.Connection = "" }, "connection \"\""},
		{"a link", func(w *world) { w.iface.Link = 0 }, "link 0x0"},
		{"a gateway's link", func(w *world) { w.gateway.Link = 0x5000 }, "only an interface endpoint has"},
		{"private names", func(w *world) {
			w.second.PrivateDNS = true
			w.second.ServiceName, w.second.Service, w.second.Connection = w.iface.ServiceName, "", ""
		}, "private name s3.us-east-1.amazonaws.com is that of"},
		{"a service's name", func(w *world) { w.service.Name = "x" }, "does not end in its id"},
		{"a service's balancers", func(w *world) { w.service.Balancers = nil }, "no load balancer"},
		{"a balancer of two services", func(w *world) {
			s := vpc.Edit(w.service)
			s.ID, s.Name, s.Permissions = "vpce-svc-00000000000000001", "x.vpce-svc-00000000000000001", nil
			w.view.Put(s)
		}, "claims service-of/"},
		{"a verification", func(w *world) { w.service.Verification = nil }, "the verification"},
		{"a grant", func(w *world) { w.service.Verification.State = vpc.DNSVerified }, "never granted"},
		{"principals", func(w *world) { w.service.Permissions = append(w.service.Permissions, w.service.Permissions[0]) }, "principal * is there twice"},
		{"a balancer's interface", func(w *world) { w.balancer.Nodes[0].Zone = "us-east-1b" }, "not in subnet-"},
		{"a balancer's address", func(w *world) { w.balancer.Nodes[0].Addr = netip.MustParseAddr("10.0.1.200") }, "not 10.0.1.200"},
		{"a balancer's IPv6 address", func(w *world) { w.balancer.Nodes[0].Addr6 = ipv6(w.subnet, 7) }, "not 2001:db8:"},
		{"an IPv6 address outside", func(w *world) { w.subnet.IPv6.CIDR = netip.MustParsePrefix("2001:db8:99::/64") }, "is not of the block 2001:db8:99::/64"},
		{"an IPv6 address of two", func(w *world) {
			w.plain.IPv6 = w.interfaceOf(w.second).IPv6
		}, "claims addr/"},
		{"an ipv4 balancer", func(w *world) { w.balancer.DualStack = false }, "its IP address type does not go with that"},
		{"a dualstack endpoint", func(w *world) { w.iface.IPAddressType = vpc.DualStack }, "IPv6 address invalid IP"},
		{"an ipv6 endpoint", func(w *world) { w.second.IPAddressType = vpc.IPv6Only }, "its node in subnet-"},
		{"an IP address type", func(w *world) { w.iface.IPAddressType = "x" }, "IP address type \"x\""},
		{"a DNS record type", func(w *world) { w.iface.RecordType = vpc.IPv6Only }, "DNS record type \"ipv6\""},
		{"a gateway's DNS record type", func(w *world) { w.gateway.RecordType = vpc.DualStack }, "IP address type ipv4 and the DNS record type \"dualstack\""},
		{"a gateway's families", func(w *world) { w.gateway.IPAddressType = vpc.DualStack }, "no route to it for pl-0000000000000000b"},
		{"a family too many", func(w *world) {
			w.main.Routes = append(w.main.Routes, vpc.Route{PrefixList: "pl-0000000000000000b", TargetKind: vpc.TargetEndpoint, Target: string(w.gateway.ID)})
		}, "2 routes to it, want 1"},
		{"a service's families", func(w *world) { w.service.IPv6, w.service.NoIPv4 = false, true }, "supports no IP address type"},
		{"a service's balancer's family", func(w *world) { w.balancer.DualStack = false }, "is not dualstack"},
		{"a target's family", func(w *world) { w.targets.IPv6 = true }, "no address of the family ipv6"},
		{"a target group's type", func(w *world) { w.targets.IPv6, w.targets.TargetType = true, "instance" }, "the family IPv6 and the type instance"},
		{"a dualstack listener's protocol", func(w *world) { w.targets.Protocol, w.listener.Protocol = "UDP", "UDP" }, "its protocol UDP and its target group of IPv4"},
		{"a listener's family", func(w *world) { w.targets.IPv6, w.balancer.DualStack = true, false }, "its target group ipv6"},
		{"a balancer without nodes", func(w *world) { w.balancer.Nodes = nil }, "it has no node"},
		{"targets", func(w *world) { w.targets.Targets = append(w.targets.Targets, w.targets.Targets[0]) }, "is there twice"},
		{"a listener's protocol", func(w *world) { w.listener.Protocol = "UDP" }, "its target group's TCP"},
		{"a group of two balancers", func(w *world) {
			l := vpc.Edit(w.listener)
			l.ARN, l.Balancer = "arn:x", "arn:y"
			w.view.Put(l)
		}, "used by 2 load balancers"},
		{"a default subnet", func(w *world) { w.subnet.DefaultForAZ = true }, "is not the default VPC"},
		{"a VPC's DHCP options", func(w *world) { w.vpc.DHCPOptions = "dopt-1" }, "refers to dhcp-options dopt-1"},
		{"a mapped address's way out", func(w *world) { w.igw.VPC = "" }, "has no internet gateway"},
		{"half an association", func(w *world) { w.eip.Interface = "" }, "and interface \"\""},
		{"an Elastic IP", func(w *world) { w.eip.Addr = netip.MustParseAddr("2001:db8::1") }, "its address is 2001:db8::1"},
		{"two Elastic IPs", func(w *world) {
			e := vpc.Edit(w.eip)
			e.ID, e.Association = "eipalloc-00000000000000001", "eipassoc-00000000000000001"
			w.view.Put(e)
		}, "claims public-addr/"},
		{"a NAT gateway's address", func(w *world) { w.eip.Association, w.eip.Interface = "", "" }, "is not mapped to it"},
		{"a private NAT gateway", func(w *world) { w.nat.Private = true }, "private and has an Elastic IP"},
		{"a NAT gateway's interface", func(w *world) { w.nat.Interface = w.plain.ID }, "is not its own"},
		{"an interface's NAT gateway", func(w *world) { w.view.Delete(w.nat) }, "no NAT gateway of vpc-"},
		{"a NAT gateway's end", func(w *world) { w.nat.State, w.nat.Deleted = vpc.NATDeleted, time.Now() }, "deleted and has interface"},
		{"a NAT gateway's failure", func(w *world) { w.nat.State, w.nat.Interface = vpc.NATFailed, "" }, "why it failed"},
		{"a NAT gateway's state", func(w *world) { w.nat.State = "x" }, "state is \"x\""},
		{"a DHCP option", func(w *world) { w.dhcp.Options = append(w.dhcp.Options, w.dhcp.Options[0]) }, "there twice"},
		{"a DHCP option's values", func(w *world) { w.dhcp.Options[0].Values = nil }, "no value"},
		{"health", func(w *world) { w.targets.Targets = nil }, "its target is not registered"},
		{"health's reason", func(w *world) { w.health.Nodes[0].Reason = "Target.Timeout" }, "has the reason \"Target.Timeout\""},
		{"health's zones", func(w *world) { w.health.Nodes = append(w.health.Nodes, w.health.Nodes[0]) }, "zone us-east-1a is there twice"},
		{"health's order", func(w *world) { w.health.Nodes = append(w.health.Nodes, vpc.NodeHealth{Zone: "a"}) }, "not in order"},
		{"a target to cut", func(w *world) { w.targets.Cut = []vpc.CutTarget{{Port: 80}} }, "cuts flows to invalid IP"},
		{"a notification of nothing", func(w *world) { w.notify.Service = "" }, "must be of one"},
		{"a notification of two", func(w *world) { w.notify.Endpoint = w.second.ID }, "must be of one"},
		{"a notification of a gateway", func(w *world) { w.notify.Service, w.notify.Endpoint = "", w.gateway.ID }, "its endpoint is of type Gateway"},
		{"another's notification", func(w *world) { w.notify.Owner = controltest.Provider.Account }, "its service belongs to account 111111111111"},
		{"a notification's topic", func(w *world) { w.notify.Topic = "" }, "no topic"},
		{"a notification's events", func(w *world) { w.notify.Events = nil }, "asks for no event"},
		{"an unknown event", func(w *world) { w.notify.Events = []vpc.ConnectionEvent{"x"} }, "asks for the event"},
		{"a notification's state", func(w *world) { w.notify.State = "" }, "the state \"\""},
		{"a reason", func(w *world) { w.notify.State = vpc.NotificationDisabled }, "Disabled for the reason \"\""},
		{"losses", func(w *world) { w.notify.Lost = -1 }, "lost -1"},
		{"a message's id", func(w *world) { w.notice.ID = "" }, "no id"},
		{"a notice's event", func(w *world) { w.notice.Event = "x" }, "tells of the event"},
		{"a notice of what did not happen", func(w *world) { w.second.Events = 1 }, "number 2 of 1 events"},
		{"a notice's endpoint", func(w *world) { w.notice.EndpointOwner = "x" }, "its endpoint belongs to account"},
		{"another's notice", func(w *world) { w.notice.Owner = controltest.Provider.Account }, "its notification belongs to account"},
		{"a notice's claim", func(w *world) { w.notice.Claimant = "x" }, "is claimed by"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fresh := w.copy(t)
			c.do(fresh)
			var all []string
			for _, err := range vpc.Invariants(fresh.view) {
				if strings.Contains(err.Error(), c.want) {
					return
				}
				all = append(all, err.Error())
			}
			t.Errorf("no error says %q; there are:\n%s", c.want, strings.Join(all, "\n"))
		})
	}
}

// copy is a world that can be broken.
func (w *world) copy(t *testing.T) *world {
	t.Helper()
	c := &world{view: vpctest.Of()}
	for _, o := range w.view.List {
		c.view.List = append(c.view.List, clone(t, o))
	}
	c.vpc, c.subnet, c.main = get[vpc.VPC](t, c, w.vpc.Key()), get[vpc.Subnet](t, c, w.subnet.Key()), get[vpc.RouteTable](t, c, w.main.Key())
	c.acl, c.group, c.plain = get[vpc.NetworkACL](t, c, w.acl.Key()), get[vpc.SecurityGroup](t, c, w.group.Key()), get[vpc.NetworkInterface](t, c, w.plain.Key())
	c.instance, c.gateway = get[vpc.Instance](t, c, w.instance.Key()), get[vpc.Endpoint](t, c, w.gateway.Key())
	c.iface, c.second = get[vpc.Endpoint](t, c, w.iface.Key()), get[vpc.Endpoint](t, c, w.second.Key())
	c.service, c.balancer = get[vpc.EndpointService](t, c, w.service.Key()), get[vpc.LoadBalancer](t, c, w.balancer.Key())
	c.targets, c.listener, c.health = get[vpc.TargetGroup](t, c, w.targets.Key()), get[vpc.Listener](t, c, w.listener.Key()), get[vpc.Health](t, c, w.health.Key())
	c.igw, c.eip = get[vpc.InternetGateway](t, c, w.igw.Key()), get[vpc.ElasticIP](t, c, w.eip.Key())
	c.eigw = get[vpc.EgressOnlyGateway](t, c, string(w.eigw.ID))
	c.nat, c.dhcp = get[vpc.NATGateway](t, c, w.nat.Key()), get[vpc.DHCPOptions](t, c, w.dhcp.Key())
	c.notify, c.notice = get[vpc.ConnectionNotification](t, c, w.notify.Key()), get[vpc.Notice](t, c, w.notice.Key())
	return c
}

// A view that does not find what it holds is not one to trust.
func TestAViewThatDoesNotFindItsObjectsIsNamed(t *testing.T) {
	w := newWorld(t)
	errs := vpc.Invariants(blind{w.view})
	if len(errs) == 0 || !strings.Contains(fmt.Sprint(errs), "is not found by owner") {
		t.Errorf("errors %v", errs)
	}
}

type blind struct{ *vpctest.View }

func (b blind) Lookup(kind vpc.Kind, index, value string) iter.Seq[vpc.Object] {
	return func(func(vpc.Object) bool) {}
}
