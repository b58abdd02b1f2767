// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

const s3List6 = vpc.PrefixListID("pl-0000000000000000b")

// newEndpoints6 is newEndpoints with IPv6 blocks in both VPCs and the service
// S3; the subnet tinyB has none.
func newEndpoints6(t *testing.T) *endpoints {
	t.Helper()
	return endpoints6On(t, newEndpoints(t))
}

func endpoints6On(t *testing.T, f *endpoints) *endpoints {
	t.Helper()
	f.put(func(tx *store.Tx) {
		controltest.GiveIPv6(tx, f.vpc, netip.MustParsePrefix("2001:db8:1::/56"))
		controltest.GiveIPv6(tx, f.provider, netip.MustParsePrefix("2001:db8:2::/56"))
		tiny, _ := vpc.Get[vpc.Subnet](tx, tinyB)
		tiny = vpc.Edit(tiny)
		tiny.IPv6 = vpc.CIDRAssociation{}
		tx.Put(tiny)
		s, _ := vpc.Get[vpc.CatalogueService](tx, "s3")
		s = vpc.Edit(s)
		s.PrefixList6, s.Prefixes6 = s3List6, []netip.Prefix{netip.MustParsePrefix("2001:db8:53::/48")}
		tx.Put(s)
	})
	return f
}

// service6 is a service of the provider that supports both families.
func (f *endpoints) service6() *vpc.EndpointService {
	f.t.Helper()
	if err := f.SetBalancerAddressType(f.ctx, controltest.Provider, nlbOne, true); err != nil {
		f.t.Fatal(err)
	}
	s := f.service(false, "")
	if err := f.ModifyService(f.ctx, controltest.Provider, control.ModifyServiceInput{ID: s.ID, AddAddressTypes: []string{"ipv6"}}); err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *endpoints) modify(id vpc.EndpointID, in control.ModifyEndpointInput) error {
	in.ID = id
	return f.ModifyEndpoint(f.ctx, controltest.Consumer, in)
}

// node is an endpoint's node in a subnet, and its interface.
func (f *endpoints) node(id vpc.EndpointID, s vpc.SubnetID) (vpc.EndpointNode, *vpc.NetworkInterface) {
	f.t.Helper()
	for _, n := range f.endpoint(id).Nodes {
		if n.Subnet == s {
			i, ok := vpc.Get[vpc.NetworkInterface](f.View(), n.Interface)
			if !ok {
				f.t.Fatalf("interface %s is gone", n.Interface)
			}
			return n, i
		}
	}
	f.t.Fatalf("%s has no node in %s", id, s)
	return vpc.EndpointNode{}, nil
}

// at6 is the n-th address of a subnet's IPv6 block.
func (f *endpoints) at6(s vpc.SubnetID, n byte) netip.Addr {
	o, _ := vpc.Get[vpc.Subnet](f.View(), s)
	b := o.IPv6.CIDR.Addr().As16()
	b[15] = n
	return netip.AddrFrom16(b)
}

func TestADualStackEndpointHasAnAddressOfEachFamilyInEverySubnet(t *testing.T) {
	t.Parallel()
	f := newEndpoints6(t)
	f.live()
	s := f.service6()
	e := f.create(control.CreateEndpointInput{
		Type: vpc.InterfaceEndpoint, ServiceName: s.Name, IPAddressType: "dualstack", Subnets: []vpc.SubnetID{subnetA, subnetB},
		Addresses: []control.SubnetAddress{{Subnet: subnetA, Addr: netip.MustParseAddr("10.0.1.77"), Addr6: f.at6(subnetA, 0x50)}},
	})
	if e.DNSRecordType() != "dualstack" {
		t.Errorf("record type %s", e.DNSRecordType())
	}
	a, ai := f.node(e.ID, subnetA)
	b, bi := f.node(e.ID, subnetB)
	if a.Addr6 != f.at6(subnetA, 0x50) || !slices.Equal(ai.IPv6, []netip.Addr{a.Addr6}) {
		t.Errorf("in a: node %+v, interface %v", a, ai.IPv6)
	}
	in, _ := vpc.Get[vpc.Subnet](f.View(), subnetB)
	if !in.IPv6.CIDR.Contains(b.Addr6) || !slices.Equal(bi.IPv6, []netip.Addr{b.Addr6}) {
		t.Errorf("in b: node %+v, interface %v, block %s", b, bi.IPv6, in.IPv6.CIDR)
	}
	again := control.CreateEndpointInput{
		Type: vpc.InterfaceEndpoint, VPC: f.vpc, ServiceName: s.Name, IPAddressType: "dualstack", Subnets: []vpc.SubnetID{subnetA},
	}
	for name, tc := range map[string]struct {
		addr netip.Addr
		kind vpc.ErrorKind
	}{
		"taken": {a.Addr6, vpc.AddressInUse}, "reserved": {f.at6(subnetA, 3), vpc.AddressMismatch},
		"elsewhere": {f.at6(subnetB, 9), vpc.AddressMismatch}, "the last": {last(f, subnetA), vpc.AddressMismatch},
	} {
		again.Addresses = []control.SubnetAddress{{Subnet: subnetA, Addr6: tc.addr}}
		if _, err := f.CreateEndpoint(f.ctx, controltest.Consumer, again); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			fails(t, err, tc.kind, "ipv6Addresses")
		}
	}
	// Back to IPv4 and again to both, with an address of choice.
	if err := f.modify(e.ID, control.ModifyEndpointInput{IPAddressType: "ipv4"}); err != nil {
		t.Fatal(err)
	}
	n, i := f.node(e.ID, subnetA)
	if n.Addr6.IsValid() || len(i.IPv6) != 0 || n.Interface != a.Interface || f.endpoint(e.ID).AddressType() != "ipv4" {
		t.Errorf("made ipv4: node %+v, interface %v", n, i.IPv6)
	}
	if err := f.modify(e.ID, control.ModifyEndpointInput{IPAddressType: "dualstack", Addresses: []control.SubnetAddress{{Subnet: subnetA, Addr6: f.at6(subnetA, 0x60)}}}); err != nil {
		t.Fatal(err)
	}
	if n, i = f.node(e.ID, subnetA); n.Addr6 != f.at6(subnetA, 0x60) || n.Interface != a.Interface || !slices.Equal(i.IPv6, []netip.Addr{n.Addr6}) {
		t.Errorf("made dualstack: node %+v, interface %v", n, i.IPv6)
	}
	// Another address is another interface, which keeps the IPv4 one.
	if err := f.modify(e.ID, control.ModifyEndpointInput{Addresses: []control.SubnetAddress{{Subnet: subnetA, Addr6: f.at6(subnetA, 0x61)}}}); err != nil {
		t.Fatal(err)
	}
	if n, _ = f.node(e.ID, subnetA); n.Addr6 != f.at6(subnetA, 0x61) || n.Interface == a.Interface || n.Addr != a.Addr {
		t.Errorf("another address: node %+v, before %+v", n, a)
	}
	before := n
	if err := f.modify(e.ID, control.ModifyEndpointInput{Addresses: []control.SubnetAddress{{Subnet: subnetA, Addr: netip.MustParseAddr("10.0.1.99")}}}); err != nil {
		t.Fatal(err)
	}
	if n, _ = f.node(e.ID, subnetA); n.Addr6 != before.Addr6 || n.Interface == before.Interface || n.Addr != netip.MustParseAddr("10.0.1.99") {
		t.Errorf("another IPv4 address: node %+v, before %+v", n, before)
	}
	f.awaitState(e.ID, vpc.EndpointAvailable)
}

// last is the last address of a subnet's IPv6 block.
func last(f *endpoints, s vpc.SubnetID) netip.Addr {
	b := f.at6(s, 0xff).As16()
	for i := 8; i < 16; i++ {
		b[i] = 0xff
	}
	return netip.AddrFrom16(b)
}

func TestAnIPAddressTypeNeedsTheServicesAndTheSubnetsFamilies(t *testing.T) {
	t.Parallel()
	f := newEndpoints6(t)
	f.live()
	six, four := f.service6().Name, ""
	made, err := f.CreateService(f.ctx, controltest.Provider, control.CreateServiceInput{Balancers: []vpc.ARN{nlbTwo}})
	if err != nil {
		t.Fatal(err)
	}
	f.allow(made.ID, "*")
	four = made.Name
	iface := func(service, kind string, subnets ...vpc.SubnetID) control.CreateEndpointInput {
		return control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, VPC: f.vpc, ServiceName: service, IPAddressType: kind, Subnets: subnets}
	}
	record := func(in control.CreateEndpointInput, record string) control.CreateEndpointInput {
		in.DNS.RecordType = record
		return in
	}
	gateway := control.CreateEndpointInput{VPC: f.vpc, ServiceName: s3Name}
	gateway6, gateway46 := gateway, gateway
	gateway6.IPAddressType, gateway46.IPAddressType = "ipv6", "dualstack"
	for name, tc := range map[string]struct {
		in   control.CreateEndpointInput
		text string // of the error, "" for none
	}{
		"dualstack":              {iface(six, "dualstack", subnetA, subnetB), ""},
		"ipv4":                   {iface(six, "ipv4", tinyB), ""},
		"a subnet without IPv6":  {iface(six, "dualstack", subnetA, tinyB), "The IP address type dualstack (IpAddressType) requires subnets with an IPv6 CIDR block: the subnet " + string(tinyB)},
		"a subnet with IPv4":     {iface(six, "ipv6", subnetA), "The IP address type ipv6 (IpAddressType) requires subnets of IPv6 alone: the subnet " + string(subnetA)},
		"ipv6 without subnets":   {iface(six, "ipv6"), ""},
		"an ipv4 service":        {iface(four, "dualstack", subnetC), "The IP address type dualstack (IpAddressType) is not supported by the service " + four},
		"an ipv4 service alone":  {iface(four, "ipv6"), "The IP address type ipv6 (IpAddressType) is not supported"},
		"no type":                {iface(six, "ipv5"), "'ipv5' is not an IP address type"},
		"the catalogue's":        {iface(s3Name, "dualstack", subnetA), ""},
		"record ipv6":            {record(iface(six, "dualstack"), "ipv6"), ""},
		"record service-defined": {record(iface(six, "dualstack"), "service-defined"), ""},
		"record of ipv6":         {record(iface(six, "ipv6"), "ipv4"), "The DNS record type ipv4 (DnsRecordIpType) is not compatible"},
		"record of ipv4":         {record(iface(six, "ipv4"), "service-defined"), "The DNS record type service-defined (DnsRecordIpType) is not compatible"},
		"gateway ipv6":           {record(gateway6, "ipv6"), ""},
		"gateway both":           {record(gateway46, "ipv4"), ""},
		"gateway ipv6 record":    {record(gateway6, "dualstack"), "The DNS record type dualstack (DnsRecordIpType) is not compatible"},
		"gateway ipv4 record":    {record(gateway, "ipv6"), "The DNS record type ipv6 (DnsRecordIpType) is not compatible"},
	} {
		if strings.HasPrefix(tc.in.ServiceName, "com.amazonaws.us-east-1") && tc.in.Type == vpc.InterfaceEndpoint {
			tc.in.PrivateDNS = no()
		}
		e, err := f.CreateEndpoint(f.ctx, controltest.Consumer, tc.in)
		switch {
		case tc.text == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.text == "" && tc.in.DNS.RecordType != "" && e.DNSRecordType() != tc.in.DNS.RecordType:
			t.Errorf("%s: record type %s", name, e.DNSRecordType())
		case tc.text != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.text)):
			t.Errorf("%s: error %v, want %q", name, err, tc.text)
		case tc.text != "":
			fails(t, err, vpc.Invalid, "endpoint-parameter")
		}
	}
	// A later change is held to the same.
	e := f.create(record(iface(six, "dualstack", subnetA), "ipv6"))
	for _, in := range []control.ModifyEndpointInput{
		{IPAddressType: "ipv4"}, {IPAddressType: "ipv6"}, {AddSubnets: []vpc.SubnetID{tinyB}}, {DNS: control.EndpointDNS{RecordType: "nonsense"}},
	} {
		fails(t, f.modify(e.ID, in), vpc.Invalid, "endpoint-parameter")
	}
	if err := f.modify(e.ID, control.ModifyEndpointInput{IPAddressType: "ipv4", DNS: control.EndpointDNS{RecordType: "ipv4"}}); err != nil {
		t.Error(err)
	}
	fails(t, f.modify(f.create(iface(four, "", subnetC)).ID, control.ModifyEndpointInput{IPAddressType: "dualstack"}), vpc.Invalid, "endpoint-parameter")
	old := f.create(iface(six, "", tinyB))
	fails(t, f.modify(old.ID, control.ModifyEndpointInput{IPAddressType: "dualstack"}), vpc.Invalid, "endpoint-parameter")
}

func TestAGatewayEndpointHasARouteForEachFamily(t *testing.T) {
	t.Parallel()
	f := newEndpoints6(t)
	f.live()
	lists := func() (out []vpc.PrefixListID) {
		r, _ := vpc.Get[vpc.RouteTable](f.View(), f.main)
		for _, x := range r.Routes {
			if x.TargetKind == vpc.TargetEndpoint {
				out = append(out, x.PrefixList)
			}
		}
		slices.Sort(out)
		return out
	}
	e := f.create(control.CreateEndpointInput{ServiceName: s3Name, IPAddressType: "ipv6", RouteTables: []vpc.RouteTableID{f.main}})
	for _, step := range []struct {
		kind string
		want []vpc.PrefixListID
	}{
		{"", []vpc.PrefixListID{s3List6}},
		{"dualstack", []vpc.PrefixListID{s3List, s3List6}},
		{"ipv4", []vpc.PrefixListID{s3List}},
		{"ipv6", []vpc.PrefixListID{s3List6}},
	} {
		if step.kind != "" {
			if err := f.modify(e.ID, control.ModifyEndpointInput{IPAddressType: step.kind}); err != nil {
				t.Fatal(err)
			}
		}
		if got := lists(); !slices.Equal(got, step.want) {
			t.Errorf("%s: routes for %v, want %v", step.kind, got, step.want)
		}
		controltest.CheckInvariants(t, f.View())
	}
	// Another endpoint of the other family may share the table, one of both not.
	other := f.create(control.CreateEndpointInput{ServiceName: s3Name, RouteTables: []vpc.RouteTableID{f.main}})
	fails(t, f.modify(other.ID, control.ModifyEndpointInput{IPAddressType: "dualstack"}), vpc.Duplicate, "route")
	if _, err := f.DeleteEndpoints(f.ctx, controltest.Consumer, []vpc.EndpointID{e.ID}); err != nil {
		t.Fatal(err)
	}
	if got := lists(); !slices.Equal(got, []vpc.PrefixListID{s3List}) {
		t.Errorf("after the deletion: routes for %v", got)
	}
}

func TestAnIPv6RouteCountsAgainstTheQuotaOfItsFamily(t *testing.T) {
	t.Parallel()
	f := newEndpoints6(t)
	cfg := f.Config
	cfg.Quotas.RoutesPerTable = 1
	f.Control = control.New(cfg)
	f.create(control.CreateEndpointInput{ServiceName: s3Name, IPAddressType: "dualstack", RouteTables: []vpc.RouteTableID{f.main}})
}

func TestAServiceSupportsIPv6WithDualStackBalancers(t *testing.T) {
	t.Parallel()
	f := newEndpoints6(t)
	f.live()
	create := func(types ...string) (*vpc.EndpointService, error) {
		return f.CreateService(f.ctx, controltest.Provider, control.CreateServiceInput{Balancers: []vpc.ARN{nlbOne}, AddressTypes: types})
	}
	_, err := create("ipv6")
	fails(t, err, vpc.Invalid, "endpoint-parameter")
	if err := f.SetBalancerAddressType(f.ctx, controltest.Provider, nlbOne, true); err != nil {
		t.Fatal(err)
	}
	s, err := create("ipv6")
	if err != nil || !slices.Equal(s.AddressTypes(), []string{"ipv6"}) {
		t.Fatalf("%+v %v", s, err)
	}
	f.allow(s.ID, "*")
	modify := func(in control.ModifyServiceInput) error {
		in.ID = s.ID
		return f.ModifyService(f.ctx, controltest.Provider, in)
	}
	_, err = f.CreateEndpoint(f.ctx, controltest.Consumer, control.CreateEndpointInput{VPC: f.vpc, Type: vpc.InterfaceEndpoint, ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetA}})
	fails(t, err, vpc.Invalid, "endpoint-parameter") // the default is ipv4
	fails(t, modify(control.ModifyServiceInput{RemoveAddressTypes: []string{"ipv6"}}), vpc.Invalid, "endpoint-parameter")
	fails(t, modify(control.ModifyServiceInput{AddBalancers: []vpc.ARN{nlbTwo}}), vpc.Invalid, "endpoint-parameter")
	fails(t, f.SetBalancerAddressType(f.ctx, controltest.Provider, nlbOne, false), vpc.Combination, "IpAddressType")
	if err := modify(control.ModifyServiceInput{AddAddressTypes: []string{"ipv4"}}); err != nil {
		t.Fatal(err)
	}
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name, IPAddressType: "dualstack", Subnets: []vpc.SubnetID{subnetA}})
	fails(t, modify(control.ModifyServiceInput{RemoveAddressTypes: []string{"ipv6"}}), vpc.ExistingConnections, string(vpc.KindService))
	fails(t, modify(control.ModifyServiceInput{RemoveAddressTypes: []string{"ipv4"}}), vpc.ExistingConnections, string(vpc.KindService))
	if err := f.modify(e.ID, control.ModifyEndpointInput{IPAddressType: "ipv4"}); err != nil {
		t.Fatal(err)
	}
	if err := modify(control.ModifyServiceInput{RemoveAddressTypes: []string{"ipv6"}}); err != nil {
		t.Fatal(err)
	}
	if err := f.SetBalancerAddressType(f.ctx, controltest.Provider, nlbOne, false); err != nil {
		t.Error(err)
	}
}

// What needs a dualstack load balancer and the load balancer that stops being
// one, on two servers at the same moment, cannot both win.
func TestWhatNeedsADualStackBalancerConflictsWithItsAddressType(t *testing.T) {
	t.Parallel()
	one, two, clock := controltest.NewCluster(t)
	f := endpoints6On(t, endpointsOn(t, one, clock))
	me := controltest.Provider
	s := f.service(false, "")
	group, err := f.CreateTargetGroup(f.ctx, me, control.CreateTargetGroupInput{Name: "six", Protocol: "TCP", Port: 80, VPC: f.provider, TargetType: "ip", IPv6: true})
	if err != nil {
		t.Fatal(err)
	}
	var listener vpc.ARN
	for what, c := range map[string]struct{ do, undo func() error }{
		"a service": {
			func() error {
				return one.ModifyService(f.ctx, me, control.ModifyServiceInput{ID: s.ID, AddAddressTypes: []string{"ipv6"}})
			},
			func() error {
				return one.ModifyService(f.ctx, me, control.ModifyServiceInput{ID: s.ID, RemoveAddressTypes: []string{"ipv6"}})
			},
		},
		"a listener": {
			func() (err error) {
				listener, err = one.CreateListener(f.ctx, me, control.CreateListenerInput{Balancer: nlbOne, Protocol: "TCP", Port: 80, TargetGroup: group})
				return err
			},
			func() error { return one.DeleteListener(f.ctx, me, listener) },
		},
	} {
		for range 10 {
			if err := one.SetBalancerAddressType(f.ctx, me, nlbOne, true); err != nil {
				t.Fatal(err)
			}
			if _, err := two.Store.WaitFor(f.ctx, one.View().Revision()); err != nil {
				t.Fatal(err)
			}
			errs := make(chan error, 2)
			go func() { errs <- c.do() }()
			go func() { errs <- two.SetBalancerAddressType(f.ctx, me, nlbOne, false) }()
			if a, b := <-errs, <-errs; (a == nil) == (b == nil) {
				t.Errorf("%s: both won or both lost: %v, %v", what, a, b)
			}
			if _, err := one.Store.WaitFor(f.ctx, two.View().Revision()); err != nil {
				t.Fatal(err)
			}
			if lb, _ := vpc.Get[vpc.LoadBalancer](one.View(), nlbOne); lb.DualStack {
				if err := c.undo(); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}
		}
	}
}

func TestTheCatalogueKeepsItsIPv6ListWhileItIsUsed(t *testing.T) {
	t.Parallel()
	f := newEndpoints6(t)
	f.live()
	region, _ := vpc.Get[vpc.Region](f.View(), vpc.RegionKey)
	key := vpc.AccessKey{ID: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	s3 := func() vpc.CatalogueService {
		s, _ := vpc.Get[vpc.CatalogueService](f.View(), "s3")
		return *vpc.Edit(s)
	}
	seed := func(s vpc.CatalogueService) error {
		return f.Seed(f.ctx, *region, []vpc.CatalogueService{s}, nil, key)
	}
	fresh := s3()
	fresh.PrefixList, fresh.PrefixList6 = "", "" // they are kept
	if err := seed(fresh); err != nil || s3().PrefixList != s3List || s3().PrefixList6 != s3List6 {
		t.Fatalf("%v, lists %s and %s", err, s3().PrefixList, s3().PrefixList6)
	}
	e := f.create(control.CreateEndpointInput{ServiceName: s3Name, IPAddressType: "dualstack", RouteTables: []vpc.RouteTableID{f.main}})
	less := s3()
	less.PrefixList6, less.Prefixes6 = "", nil
	if err := seed(less); err == nil || !strings.Contains(err.Error(), string(e.ID)) {
		t.Errorf("IPv6 gone below an endpoint: %v", err)
	}
	if err := f.modify(e.ID, control.ModifyEndpointInput{IPAddressType: "ipv4"}); err != nil {
		t.Fatal(err)
	}
	if err := seed(less); err != nil || s3().PrefixList6 != "" {
		t.Errorf("%v, list %s", err, s3().PrefixList6)
	}
	more := s3()
	more.Prefixes6 = []netip.Prefix{netip.MustParsePrefix("2001:db8:54::/48")}
	if err := seed(more); err != nil || !vpc.ValidID(vpc.PrefixManagedList, string(s3().PrefixList6)) {
		t.Errorf("%v, list %s", err, s3().PrefixList6)
	}
}
