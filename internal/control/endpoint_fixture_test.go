// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// Names and ids of the endpoint family's fixture.
const (
	s3Name   = "com.amazonaws.us-east-1.s3"
	s3List   = vpc.PrefixListID("pl-0000000000000000a")
	subnetA  = vpc.SubnetID("subnet-0000000000000000a")
	subnetA2 = vpc.SubnetID("subnet-000000000000000a2")
	subnetB  = vpc.SubnetID("subnet-0000000000000000b")
	subnetC  = vpc.SubnetID("subnet-0000000000000000c")
	tinyB    = vpc.SubnetID("subnet-000000000000000b2")
	foreign  = vpc.SubnetID("subnet-0000000000000000f")
	groupTwo = vpc.GroupID("sg-00000000000000002")
	nlbOne   = vpc.ARN("arn:aws:elasticloadbalancing:us-east-1:222222222222:loadbalancer/net/one/0000000000000001")
	nlbTwo   = vpc.ARN("arn:aws:elasticloadbalancing:us-east-1:222222222222:loadbalancer/net/two/0000000000000002")
)

// endpoints is a consumer's VPC with subnets in zones a, b and c, and a
// provider with two load balancers, "one" in zones a and b and "two" in c.
type endpoints struct {
	*control.Control
	t        testing.TB
	ctx      context.Context
	clock    *controltest.Clock
	vpc      vpc.VPCID // the consumer's, with both DNS attributes
	provider vpc.VPCID
	main     vpc.RouteTableID
	group    vpc.GroupID // default
}

func newEndpoints(t testing.TB) *endpoints {
	t.Helper()
	c, clock := controltest.New(t)
	return endpointsOn(t, c, clock)
}

// endpointsOn makes the fixture with a Control that is there.
func endpointsOn(t testing.TB, c *control.Control, clock *controltest.Clock) *endpoints {
	t.Helper()
	f := &endpoints{Control: c, t: t, ctx: context.Background(), clock: clock}
	var err error
	if f.vpc, err = c.CreateVPC(f.ctx, controltest.Consumer, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")}); err != nil {
		t.Fatal(err)
	}
	if f.provider, err = c.CreateVPC(f.ctx, controltest.Provider, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")}); err != nil {
		t.Fatal(err)
	}
	f.put(func(tx *store.Tx) {
		v, _ := vpc.Get[vpc.VPC](tx, f.vpc)
		v = vpc.Edit(v)
		v.EnableDNSHostnames = true
		tx.Put(v)
		for id, s := range map[vpc.SubnetID][2]string{
			subnetA: {"10.0.1.0/24", "us-east-1a"}, subnetA2: {"10.0.2.0/24", "us-east-1a"}, subnetB: {"10.0.3.0/24", "us-east-1b"},
			subnetC: {"10.0.4.0/24", "us-east-1c"}, tinyB: {"10.0.5.0/28", "us-east-1b"},
		} {
			controltest.PutSubnet(tx, &vpc.Subnet{ID: id, Owner: controltest.Consumer.Account, VPC: f.vpc, CIDR: netip.MustParsePrefix(s[0]), Zone: s[1]})
		}
		providers := map[string]vpc.SubnetID{"us-east-1a": foreign, "us-east-1b": "subnet-000000000000000f2", "us-east-1c": "subnet-000000000000000f3"}
		for i, zone := range []string{"us-east-1a", "us-east-1b", "us-east-1c"} {
			controltest.PutSubnet(tx, &vpc.Subnet{ID: providers[zone], Owner: controltest.Provider.Account, VPC: f.provider,
				CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i + 1), 0}), 24), Zone: zone})
		}
		tx.Put(&vpc.SecurityGroup{ID: groupTwo, Owner: controltest.Consumer.Account, VPC: f.vpc, Name: "two"})
		for arn, zones := range map[vpc.ARN][]string{nlbOne: {"us-east-1b", "us-east-1a"}, nlbTwo: {"us-east-1c"}} {
			lb := &vpc.LoadBalancer{ARN: arn, Owner: controltest.Provider.Account, Name: strings.Split(string(arn), "/")[2], VPC: f.provider, Active: true}
			for _, z := range zones {
				s, _ := vpc.Get[vpc.Subnet](tx, providers[z])
				lb.Nodes = append(lb.Nodes, vpc.BalancerNode{Zone: z, Subnet: s.ID, Addr: netip.AddrFrom4([4]byte{10, 0, s.CIDR.Addr().As4()[2], 9})})
			}
			controltest.PutBalancer(tx, lb)
		}
		tx.Put(&vpc.CatalogueService{
			Name: "s3", ServiceName: s3Name, ID: "vpce-svc-0000000000000005a", Types: []vpc.EndpointType{vpc.GatewayEndpoint, vpc.InterfaceEndpoint},
			PrefixList: s3List, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
			PublicNames: []string{"s3.us-east-1.amazonaws.com", "*.s3.us-east-1.amazonaws.com"}, Protocol: "s3", PolicySupported: true,
		})
		tx.Put(&vpc.CatalogueService{
			Name: "plain", ServiceName: "com.amazonaws.us-east-1.plain", ID: "vpce-svc-0000000000000005b",
			Types: []vpc.EndpointType{vpc.InterfaceEndpoint}, Protocol: "tcp",
		})
	})
	for r := range vpc.By[vpc.RouteTable](f.View(), vpc.IndexVPC, f.vpc) {
		f.main = r.ID
	}
	for g := range vpc.By[vpc.SecurityGroup](f.View(), vpc.IndexVPC, f.vpc) {
		if g.Name == vpc.DefaultGroupName {
			f.group = g.ID
		}
	}
	return f
}

// put writes objects as another part of the program would.
func (f *endpoints) put(fn func(tx *store.Tx)) {
	f.t.Helper()
	if _, err := f.Store.Update(f.ctx, func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		f.t.Fatal(err)
	}
}

// live runs the life cycle until the test ends.
func (f *endpoints) live() {
	ctx, cancel := context.WithCancel(f.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { f.RunEndpointLifecycle(ctx) })
	f.t.Cleanup(func() { cancel(); wg.Wait() })
}

// service makes a service of the provider that the consumer may use.
func (f *endpoints) service(acceptance bool, privateName string) *vpc.EndpointService {
	f.t.Helper()
	s, err := f.CreateService(f.ctx, controltest.Provider, control.CreateServiceInput{
		Balancers: []vpc.ARN{nlbOne}, AcceptanceRequired: acceptance, PrivateDNSName: privateName,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.allow(s.ID, controltest.Consumer.Account.RootARN())
	return s
}

func (f *endpoints) allow(id vpc.ServiceID, principal string) {
	f.t.Helper()
	if _, err := f.ModifyPermissions(f.ctx, controltest.Provider, control.ModifyPermissionsInput{ID: id, Add: []string{principal}}); err != nil {
		f.t.Fatal(err)
	}
}

// vouch makes the operator vouch for the provider's use of a domain.
func (f *endpoints) vouch(domain string) {
	f.t.Helper()
	f.put(func(tx *store.Tx) {
		tx.Put(&vpc.VerifiedDomain{Account: controltest.Provider.Account, Domain: domain})
	})
}

func (f *endpoints) create(in control.CreateEndpointInput) *vpc.Endpoint {
	f.t.Helper()
	if in.VPC == "" {
		in.VPC = f.vpc
	}
	e, err := f.CreateEndpoint(f.ctx, controltest.Consumer, in)
	if err != nil {
		f.t.Fatal(err)
	}
	return e
}

func (f *endpoints) endpoint(id vpc.EndpointID) *vpc.Endpoint {
	f.t.Helper()
	e, ok := vpc.Get[vpc.Endpoint](f.View(), id)
	if !ok {
		f.t.Fatalf("endpoint %s is gone", id)
	}
	return e
}

// await waits until a snapshot shows what is awaited.
func (f *endpoints) await(what string, until func(v vpc.View) bool) {
	f.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		snap, ch := f.Store.Changed()
		if until(snap) {
			return
		}
		select {
		case <-ch:
		case <-deadline:
			f.t.Fatalf("not seen within 10 s: %s", what)
		}
	}
}

func (f *endpoints) awaitState(id vpc.EndpointID, s vpc.EndpointState) {
	f.t.Helper()
	f.await(string(s), func(v vpc.View) bool {
		e, ok := vpc.Get[vpc.Endpoint](v, id)
		return ok && e.State == s
	})
}

func (f *endpoints) awaitGone(id vpc.EndpointID) {
	f.t.Helper()
	f.await("the end of the endpoint", func(v vpc.View) bool {
		_, ok := vpc.Get[vpc.Endpoint](v, id)
		return !ok
	})
}

// changeOf is the revision of an endpoint's last write.
func (f *endpoints) changeOf(id vpc.EndpointID) vpc.Revision {
	return f.View().Changed(vpc.KindEndpoint, string(id))
}

// fails requires an error of a kind about a resource.
func fails(t testing.TB, err error, kind vpc.ErrorKind, resource string) {
	t.Helper()
	e, ok := err.(*vpc.Error)
	if !ok || e.Kind != kind || e.Resource != resource {
		t.Errorf("error %#v, want kind %s of %s", err, kind, resource)
	}
}

func text(s string) *string { return &s }
func yes() *bool            { b := true; return &b }
func no() *bool             { return new(bool) }
