// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

func TestRefusedEndpointsWriteNothing(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	controltest.HandMade(f.Control) // interfaces that only fill a subnet
	s := f.service(false, "unverified.example.com")
	hidden, err := f.CreateService(f.ctx, controltest.Provider, control.CreateServiceInput{Balancers: []vpc.ARN{nlbTwo}})
	if err != nil {
		t.Fatal(err)
	}
	f.create(control.CreateEndpointInput{ServiceName: s3Name, RouteTables: []vpc.RouteTableID{f.main}})
	f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s3Name})
	noDNS, err := f.CreateVPC(f.ctx, controltest.Consumer, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.1.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	foreignGroup := func() vpc.GroupID {
		for g := range vpc.By[vpc.SecurityGroup](f.View(), vpc.IndexVPC, f.provider) {
			return g.ID
		}
		return ""
	}()
	f.put(func(tx *store.Tx) {
		tx.Put(&vpc.SecurityGroup{ID: "sg-00000000000000009", Owner: controltest.Consumer.Account, VPC: noDNS, Name: "elsewhere"})
		controltest.PutSubnet(tx, &vpc.Subnet{ID: "subnet-00000000000000009", Owner: controltest.Consumer.Account, VPC: noDNS, CIDR: netip.MustParsePrefix("10.1.1.0/24"), Zone: "us-east-1a"})
		sub, _ := vpc.Get[vpc.Subnet](tx, tinyB)
		for a := netip.MustParseAddr("10.0.5.4"); a != netip.MustParseAddr("10.0.5.15"); a = a.Next() {
			tx.Put(&vpc.NetworkInterface{ID: vpc.InterfaceID("eni-full-" + a.String()), Owner: sub.Owner, VPC: sub.VPC, Subnet: tinyB, Addr: a, MAC: a.String()})
		}
	})
	var noDNSMain vpc.RouteTableID
	for r := range vpc.By[vpc.RouteTable](f.View(), vpc.IndexVPC, noDNS) {
		noDNSMain = r.ID
	}

	iface := func(change func(*control.CreateEndpointInput)) control.CreateEndpointInput {
		in := control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, VPC: f.vpc, ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetA, subnetB}}
		change(&in)
		return in
	}
	gateway := func(change func(*control.CreateEndpointInput)) control.CreateEndpointInput {
		in := control.CreateEndpointInput{VPC: f.vpc, ServiceName: s3Name}
		change(&in)
		return in
	}
	type in = control.CreateEndpointInput
	const param = "endpoint-parameter"
	for name, tc := range map[string]struct {
		in       in
		kind     vpc.ErrorKind
		resource string
		text     string
	}{
		"unknown VPC":           {iface(func(i *in) { i.VPC = "vpc-00000000000000bad"; i.ServiceName = "nope" }), vpc.NotFound, "vpc", "The vpc ID 'vpc-00000000000000bad' does not exist"},
		"foreign VPC":           {iface(func(i *in) { i.VPC = f.provider }), vpc.NotFound, "vpc", ""},
		"no service":            {iface(func(i *in) { i.ServiceName = "" }), vpc.Missing, "ServiceName", "The request must contain the parameter ServiceName"},
		"unknown service":       {iface(func(i *in) { i.ServiceName = "com.amazonaws.nope" }), vpc.NotFound, "service-name", "The Vpc Endpoint Service 'com.amazonaws.nope' does not exist"},
		"service not allowed":   {iface(func(i *in) { i.ServiceName = hidden.Name }), vpc.NotFound, "service-name", "The Vpc Endpoint Service '" + hidden.Name + "' does not exist"},
		"type not offered":      {gateway(func(i *in) { i.ServiceName = s.Name }), vpc.Invalid, param, "Endpoint type (Gateway) does not match available service types ([Interface])"},
		"type unknown":          {gateway(func(i *in) { i.Type = "Portal" }), vpc.Invalid, "vpc-endpoint-type", ""},
		"type not supported":    {gateway(func(i *in) { i.Type = "GatewayLoadBalancer" }), vpc.Unsupported, "VpcEndpointType", ""},
		"other region":          {gateway(func(i *in) { i.ServiceRegion = "eu-west-1" }), vpc.Unsupported, "ServiceRegion", ""},
		"subnet unknown":        {iface(func(i *in) { i.Subnets[1] = "subnet-00000000000000bad" }), vpc.NotFound, "subnet", "The subnet ID 'subnet-00000000000000bad' does not exist"},
		"subnet foreign":        {iface(func(i *in) { i.Subnets[1] = foreign }), vpc.NotFound, "subnet", ""},
		"subnet of another VPC": {iface(func(i *in) { i.Subnets[1] = "subnet-00000000000000009" }), vpc.Invalid, param, ""},
		"two subnets of a zone": {iface(func(i *in) { i.Subnets[1] = subnetA2 }), vpc.DuplicateZone, "subnet", "Found another VPC endpoint subnet in the availability zone of " + string(subnetA2)},
		"zone not supported":    {iface(func(i *in) { i.Subnets[1] = subnetC }), vpc.Invalid, param, "The VPC endpoint service " + s.Name + " does not support the availability zone of the subnet: " + string(subnetC) + "."},
		"DNS attributes off": {iface(func(i *in) { i.VPC, i.Subnets, i.ServiceName = noDNS, nil, s3Name }), vpc.Invalid, param,
			"Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for " + string(noDNS)},
		"name not verified":      {iface(func(i *in) { i.PrivateDNS = yes() }), vpc.Invalid, param, "Private DNS can't be enabled because the service " + s.Name + " does not provide a private DNS name."},
		"no private name":        {iface(func(i *in) { i.PrivateDNS = yes(); i.ServiceName = "com.amazonaws.us-east-1.plain" }), vpc.Invalid, param, "Private DNS can't be enabled"},
		"name taken in the VPC":  {iface(func(i *in) { i.ServiceName = s3Name }), vpc.Conflict, "private-dns", "private-dns-enabled cannot be set because there is already a conflicting DNS domain for s3.us-east-1.amazonaws.com in the VPC " + string(f.vpc)},
		"group unknown":          {iface(func(i *in) { i.Groups = []vpc.GroupID{"sg-00000000000000bad"} }), vpc.NotFound, "security-group", "The security group 'sg-00000000000000bad' does not exist"},
		"group foreign":          {iface(func(i *in) { i.Groups = []vpc.GroupID{foreignGroup} }), vpc.NotFound, "security-group", ""},
		"group of another VPC":   {iface(func(i *in) { i.Groups = []vpc.GroupID{"sg-00000000000000009"} }), vpc.NotFound, "security-group", ""},
		"too many groups":        {iface(func(i *in) { i.Groups = slices.Repeat([]vpc.GroupID{groupTwo}, 6) }), vpc.Limit, "security-group", ""},
		"table unknown":          {gateway(func(i *in) { i.RouteTables = []vpc.RouteTableID{"rtb-00000000000000bad"} }), vpc.NotFound, "route-table", "The routeTable ID 'rtb-00000000000000bad' does not exist"},
		"table of another VPC":   {gateway(func(i *in) { i.RouteTables = []vpc.RouteTableID{noDNSMain} }), vpc.Invalid, param, ""},
		"table has the route":    {gateway(func(i *in) { i.RouteTables = []vpc.RouteTableID{f.main} }), vpc.Duplicate, "route", "route table " + string(f.main) + " already has a route with destination-prefix-list-id " + string(s3List)},
		"policy no JSON":         {gateway(func(i *in) { i.Policy = "{" }), vpc.BadPolicy, "PolicyDocument", ""},
		"policy too long":        {gateway(func(i *in) { d, _ := policy.Default(); i.Policy = d + strings.Repeat(" ", 20481-len(d)) }), vpc.BadPolicy, "PolicyDocument", ""},
		"policy without support": {iface(func(i *in) { i.Policy, _ = policy.Default() }), vpc.Invalid, param, ""},
		"no address left":        {iface(func(i *in) { i.Subnets = []vpc.SubnetID{subnetA, tinyB} }), vpc.NoAddress, "subnet", ""},
		"address reserved":       {iface(func(i *in) { i.Addresses = at(subnetB, "10.0.3.3") }), vpc.AddressMismatch, "privateIpAddress", ""},
		"address elsewhere":      {iface(func(i *in) { i.Addresses = at(subnetB, "10.0.1.9") }), vpc.AddressMismatch, "privateIpAddress", ""},
		"address taken":          {iface(func(i *in) { i.Subnets = []vpc.SubnetID{tinyB}; i.Addresses = at(tinyB, "10.0.5.7") }), vpc.AddressInUse, "privateIpAddress", ""},
		"address without subnet": {iface(func(i *in) { i.Addresses = at(subnetC, "10.0.4.9") }), vpc.Invalid, param, ""},
		"gateway with subnets":   {gateway(func(i *in) { i.Subnets = []vpc.SubnetID{subnetA} }), vpc.Invalid, param, ""},
		"gateway with groups":    {gateway(func(i *in) { i.Groups = []vpc.GroupID{groupTwo} }), vpc.Invalid, param, ""},
		"gateway private DNS":    {gateway(func(i *in) { i.PrivateDNS = yes() }), vpc.Invalid, param, ""},
		"interface with tables":  {iface(func(i *in) { i.RouteTables = []vpc.RouteTableID{f.main} }), vpc.Invalid, param, ""},
		"record type":            {iface(func(i *in) { i.DNS.RecordType = "dualstack" }), vpc.Invalid, "endpoint-parameter", ""},
		"token too long":         {gateway(func(i *in) { i.ClientToken = strings.Repeat("x", 65) }), vpc.Invalid, "ClientToken", ""},
	} {
		before := f.View().Revision()
		_, err := f.CreateEndpoint(f.ctx, controltest.Consumer, tc.in)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		t.Log(name, ":", err)
		fails(t, err, tc.kind, tc.resource)
		if !strings.HasPrefix(err.Error(), tc.text) {
			t.Errorf("%s: text %q, want %q", name, err, tc.text)
		}
		if after := f.View().Revision(); after != before {
			t.Errorf("%s: the refused call wrote revision %d", name, after)
		}
	}
}

func at(s vpc.SubnetID, addr string) []control.SubnetAddress {
	return []control.SubnetAddress{{Subnet: s, Addr: netip.MustParseAddr(addr)}}
}

func TestInterfaceEndpointOwnsItsInterfaces(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	s := f.service(true, "")
	e := f.create(control.CreateEndpointInput{
		Type: vpc.InterfaceEndpoint, ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetA, subnetB, subnetA},
		Addresses: at(subnetB, "10.0.3.77"), Tags: vpc.Tags{"k": "v"},
	})
	if e.State != vpc.EndpointPendingAcceptance || e.Named || e.Service != s.ID || !vpc.ValidID("vpce-con", e.Connection) || e.Link < vpc.FirstVNI || e.PrivateDNS {
		t.Errorf("endpoint %+v", e)
	}
	if !strings.HasPrefix(e.DNSLabel, string(e.ID)+"-") || len(e.DNSLabel) != len(e.ID)+9 {
		t.Errorf("DNS label %q", e.DNSLabel)
	}
	if !slices.Equal(e.Groups, []vpc.GroupID{f.group}) {
		t.Errorf("groups %v, want the default one", e.Groups)
	}
	if len(e.Nodes) != 2 || e.Nodes[1].Addr.String() != "10.0.3.77" || e.Nodes[0].Addr.String() != "10.0.1.4" || e.Nodes[0].Zone != "us-east-1a" {
		t.Fatalf("nodes %+v", e.Nodes)
	}
	for _, n := range e.Nodes {
		o, ok := vpc.Get[vpc.NetworkInterface](f.View(), n.Interface)
		if !ok || o.Type != vpc.TypeEndpoint || !o.RequesterManaged || o.Endpoint != e.ID || o.Owner != e.Owner || o.Addr != n.Addr ||
			o.Description != "VPC Endpoint Interface "+string(e.ID) || !slices.Equal(o.Groups, e.Groups) || o.RequesterID == string(e.Owner) {
			t.Errorf("interface %+v of node %+v", o, n)
		}
	}
}

func TestGatewayEndpointRoutesAreItsOwn(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	f.live()
	second := vpc.RouteTableID("rtb-00000000000000002")
	f.put(func(tx *store.Tx) {
		tx.Put(&vpc.RouteTable{ID: second, Owner: controltest.Consumer.Account, VPC: f.vpc, Routes: []vpc.Route{{CIDR: netip.MustParsePrefix("10.0.0.0/16"), TargetKind: vpc.TargetLocal}}})
	})
	routes := func(id vpc.RouteTableID) []vpc.Route {
		r, _ := vpc.Get[vpc.RouteTable](f.View(), id)
		return slices.DeleteFunc(slices.Clone(r.Routes), func(r vpc.Route) bool { return r.TargetKind == vpc.TargetLocal })
	}
	e := f.create(control.CreateEndpointInput{ServiceName: s3Name, RouteTables: []vpc.RouteTableID{f.main, f.main}, PrivateDNS: no()})
	want := []vpc.Route{{PrefixList: s3List, TargetKind: vpc.TargetEndpoint, Target: string(e.ID), Origin: "CreateRoute"}}
	if got := routes(f.main); !reflect.DeepEqual(got, want) {
		t.Errorf("routes %+v, want %+v", got, want)
	}
	if e.Link != 0 || len(e.Nodes) != 0 || len(e.Groups) != 0 || e.State != vpc.EndpointPending {
		t.Errorf("endpoint %+v", e)
	}
	other := f.create(control.CreateEndpointInput{ServiceName: s3Name, RouteTables: []vpc.RouteTableID{second}})
	err := f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: e.ID, AddRouteTables: []vpc.RouteTableID{second}})
	fails(t, err, vpc.Duplicate, "route")
	err = f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: other.ID, RemoveRouteTables: []vpc.RouteTableID{second, f.main}})
	if err != nil || len(routes(second)) != 0 || len(routes(f.main)) != 1 {
		t.Errorf("after removal: %v, routes %v and %v", err, routes(second), routes(f.main))
	}
	if err := f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: e.ID, AddRouteTables: []vpc.RouteTableID{second, f.main}}); err != nil {
		t.Fatal(err)
	}
	if got := f.endpoint(e.ID).RouteTables; !slices.Equal(got, []vpc.RouteTableID{f.main, second}) {
		t.Errorf("route tables %v", got)
	}
	if failed, err := f.DeleteEndpoints(f.ctx, controltest.Consumer, []vpc.EndpointID{e.ID, other.ID}); err != nil || len(failed) != 0 {
		t.Errorf("delete: %v %v", failed, err)
	}
	if len(routes(f.main)) != 0 || len(routes(second)) != 0 {
		t.Errorf("routes stay: %v %v", routes(f.main), routes(second))
	}
	f.awaitGone(e.ID)
}

func TestClientTokenMakesOneEndpoint(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	in := control.CreateEndpointInput{VPC: f.vpc, ServiceName: s3Name, ClientToken: "once"}
	a, err := f.CreateEndpoint(f.ctx, controltest.Consumer, in)
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.CreateEndpoint(f.ctx, controltest.Consumer, in)
	if err != nil || a.ID != b.ID {
		t.Errorf("second call made %v, %v; want %s", b, err, a.ID)
	}
	in.Tags = vpc.Tags{"other": "parameters"}
	_, err = f.CreateEndpoint(f.ctx, controltest.Consumer, in)
	fails(t, err, vpc.TokenMismatch, "ClientToken")
	n := 0
	for range vpc.All[vpc.Endpoint](f.View()) {
		n++
	}
	if n != 1 {
		t.Errorf("%d endpoints, want 1", n)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	before := f.View().Revision()
	dry := controltest.Consumer
	dry.DryRun = true
	_, err := f.CreateEndpoint(f.ctx, dry, control.CreateEndpointInput{VPC: f.vpc, ServiceName: s3Name, RouteTables: []vpc.RouteTableID{f.main}})
	fails(t, err, vpc.DryRun, "")
	_, err = f.CreateEndpoint(f.ctx, dry, control.CreateEndpointInput{VPC: f.vpc, ServiceName: "nope"})
	fails(t, err, vpc.NotFound, "service-name")
	if f.View().Revision() != before {
		t.Error("a dry run wrote something")
	}
}

func TestEndpointQuotas(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	s := f.service(false, "")
	for range 50 {
		f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name})
	}
	_, err := f.CreateEndpoint(f.ctx, controltest.Consumer, control.CreateEndpointInput{VPC: f.vpc, Type: vpc.InterfaceEndpoint, ServiceName: s.Name})
	fails(t, err, vpc.Limit, "vpc-endpoint")
	for range 20 {
		f.create(control.CreateEndpointInput{ServiceName: s3Name})
	}
	_, err = f.CreateEndpoint(f.ctx, controltest.Consumer, control.CreateEndpointInput{VPC: f.vpc, ServiceName: s3Name})
	fails(t, err, vpc.Limit, "vpc-endpoint")
}

func TestOneOfTwoRacingEndpointsGetsThePrivateName(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() {
			_, err := f.CreateEndpoint(f.ctx, controltest.Consumer, control.CreateEndpointInput{VPC: f.vpc, Type: vpc.InterfaceEndpoint, ServiceName: s3Name})
			errs <- err
		}()
	}
	made := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			made++
		} else {
			fails(t, err, vpc.Conflict, "private-dns")
		}
	}
	if made != 1 {
		t.Errorf("%d endpoints have the name, want 1", made)
	}
}

func TestModifyInterfaceEndpoint(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	f.live()
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s3Name, Subnets: []vpc.SubnetID{subnetA, subnetB}})
	f.awaitState(e.ID, vpc.EndpointAvailable)
	first := f.endpoint(e.ID).Nodes
	modify := func(in control.ModifyEndpointInput) *vpc.Endpoint {
		t.Helper()
		in.ID = e.ID
		if err := f.ModifyEndpoint(f.ctx, controltest.Consumer, in); err != nil {
			t.Fatal(err)
		}
		got := f.endpoint(e.ID)
		if got.State != vpc.EndpointAvailable || !got.Named {
			t.Errorf("state %s, named %v after the call returned", got.State, got.Named)
		}
		return got
	}
	// A zone that the same call frees can be taken.
	got := modify(control.ModifyEndpointInput{RemoveSubnets: []vpc.SubnetID{subnetA}, AddSubnets: []vpc.SubnetID{subnetA2, subnetC, subnetB}})
	var subnets []vpc.SubnetID
	for _, n := range got.Nodes {
		subnets = append(subnets, n.Subnet)
	}
	if !slices.Equal(subnets, []vpc.SubnetID{subnetB, subnetA2, subnetC}) {
		t.Errorf("subnets %v", subnets)
	}
	if _, ok := vpc.Get[vpc.NetworkInterface](f.View(), first[0].Interface); ok {
		t.Error("the interface in the removed subnet stays")
	}
	if got.Nodes[0] != first[1] {
		t.Errorf("the interface that nobody touched changed: %+v, was %+v", got.Nodes[0], first[1])
	}
	// A chosen address replaces the interface.
	got = modify(control.ModifyEndpointInput{Addresses: at(subnetB, "10.0.3.99")})
	if n := got.Nodes[2]; n.Addr.String() != "10.0.3.99" || n.Interface == first[1].Interface {
		t.Errorf("nodes %+v", got.Nodes)
	}
	if _, ok := vpc.Get[vpc.NetworkInterface](f.View(), first[1].Interface); ok {
		t.Error("the replaced interface stays")
	}
	got = modify(control.ModifyEndpointInput{AddGroups: []vpc.GroupID{groupTwo}, RemoveGroups: []vpc.GroupID{f.group}})
	for n := range vpc.By[vpc.NetworkInterface](f.View(), vpc.IndexEndpoint, e.ID) {
		if !slices.Equal(n.Groups, []vpc.GroupID{groupTwo}) {
			t.Errorf("interface %s has groups %v", n.ID, n.Groups)
		}
	}
	if !slices.Equal(got.Groups, []vpc.GroupID{groupTwo}) {
		t.Errorf("groups %v", got.Groups)
	}
	doc := `{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}`
	if got = modify(control.ModifyEndpointInput{Policy: &doc, PrivateDNS: no()}); got.Policy != doc || got.PrivateDNS {
		t.Errorf("policy %q, private DNS %v", got.Policy, got.PrivateDNS)
	}
	if got = modify(control.ModifyEndpointInput{ResetPolicy: true, PrivateDNS: yes()}); got.Policy != "" || !got.PrivateDNS {
		t.Errorf("policy %q, private DNS %v", got.Policy, got.PrivateDNS)
	}
	rev := f.changeOf(e.ID)
	modify(control.ModifyEndpointInput{AddSubnets: []vpc.SubnetID{subnetB}, RemoveSubnets: []vpc.SubnetID{subnetA}, AddGroups: []vpc.GroupID{groupTwo}, PrivateDNS: yes()})
	if f.changeOf(e.ID) != rev {
		t.Error("a call that changes nothing wrote the endpoint")
	}

	const param = "endpoint-parameter"
	for name, tc := range map[string]struct {
		in       control.ModifyEndpointInput
		kind     vpc.ErrorKind
		resource string
	}{
		"zone twice":        {control.ModifyEndpointInput{AddSubnets: []vpc.SubnetID{subnetA}}, vpc.DuplicateZone, "subnet"},
		"last group":        {control.ModifyEndpointInput{RemoveGroups: []vpc.GroupID{groupTwo}}, vpc.Invalid, param},
		"unknown group":     {control.ModifyEndpointInput{RemoveGroups: []vpc.GroupID{"sg-00000000000000bad"}}, vpc.NotFound, "security-group"},
		"unknown subnet":    {control.ModifyEndpointInput{RemoveSubnets: []vpc.SubnetID{foreign}}, vpc.NotFound, "subnet"},
		"policy and reset":  {control.ModifyEndpointInput{Policy: &doc, ResetPolicy: true}, vpc.Combination, "PolicyDocument"},
		"bad policy":        {control.ModifyEndpointInput{Policy: text("no"), AddGroups: []vpc.GroupID{f.group}}, vpc.BadPolicy, "PolicyDocument"},
		"empty policy":      {control.ModifyEndpointInput{Policy: text("")}, vpc.BadPolicy, "PolicyDocument"},
		"route tables":      {control.ModifyEndpointInput{AddRouteTables: []vpc.RouteTableID{f.main}}, vpc.Invalid, param},
		"address elsewhere": {control.ModifyEndpointInput{Addresses: at(subnetA, "10.0.1.9")}, vpc.Invalid, param},
	} {
		tc.in.ID = e.ID
		before := f.View().Revision()
		err := f.ModifyEndpoint(f.ctx, controltest.Consumer, tc.in)
		t.Log(name, ":", err)
		fails(t, err, tc.kind, tc.resource)
		if f.View().Revision() != before {
			t.Errorf("%s: the refused call wrote something", name)
		}
	}
	err := f.ModifyEndpoint(f.ctx, controltest.Provider, control.ModifyEndpointInput{ID: e.ID, ResetPolicy: true})
	fails(t, err, vpc.NotFound, "vpc-endpoint")
}
