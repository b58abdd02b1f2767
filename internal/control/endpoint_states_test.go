// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

func TestEndpointsAreModifiedInTheStatesThatAllowIt(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	s := f.service(true, "")
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetA}})
	set := func(st vpc.EndpointState) {
		f.put(func(tx *store.Tx) {
			o, _ := vpc.Get[vpc.Endpoint](tx, e.ID)
			o = vpc.Edit(o)
			o.State = st
			tx.Put(o)
		})
	}
	for state, allowed := range map[vpc.EndpointState]bool{
		vpc.EndpointPendingAcceptance: true, vpc.EndpointPending: true, vpc.EndpointAvailable: true,
		vpc.EndpointRejected: false, vpc.EndpointExpired: false, vpc.EndpointFailed: false, vpc.EndpointDeleting: false,
	} {
		set(state)
		before := f.View().Revision()
		err := f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: e.ID, AddSubnets: []vpc.SubnetID{subnetB}})
		if !allowed {
			fails(t, err, vpc.WrongState, "vpc-endpoint")
			if err != nil && (!strings.Contains(err.Error(), string(e.ID)) || !strings.Contains(err.Error(), string(state))) {
				t.Errorf("%s: the message %q", state, err)
			}
			if f.View().Revision() != before {
				t.Errorf("%s: the refused call wrote", state)
			}
			continue
		}
		if err != nil || len(f.endpoint(e.ID).Nodes) != 2 {
			t.Errorf("%s: %v", state, err)
		}
		want := state
		if state == vpc.EndpointAvailable {
			want = vpc.EndpointPending
		}
		if got := f.endpoint(e.ID).State; got != want {
			t.Errorf("%s became %s, want %s", state, got, want)
		}
		// Nothing to do is no error, and no write.
		set(vpc.EndpointPendingAcceptance)
		before = f.View().Revision()
		if err := f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: e.ID, AddSubnets: []vpc.SubnetID{subnetB}}); err != nil || f.View().Revision() != before {
			t.Errorf("the same again: %v", err)
		}
		if err := f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: e.ID, RemoveSubnets: []vpc.SubnetID{subnetB}}); err != nil {
			t.Error(err)
		}
	}
	set(vpc.EndpointDeleting) // and deleting it then is no error
	if failed, err := f.DeleteEndpoints(f.ctx, controltest.Consumer, []vpc.EndpointID{e.ID}); err != nil || len(failed) > 0 {
		t.Error(failed, err)
	}
}

func TestWhatAnEndpointUsesCannotGo(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	f.live()
	me := controltest.Consumer
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s3Name, Subnets: []vpc.SubnetID{subnetA}, Groups: []vpc.GroupID{groupTwo}})
	f.awaitState(e.ID, vpc.EndpointAvailable) // what writes from here on is the call
	for what, del := range map[string]func() error{
		string(f.vpc):    func() error { return f.DeleteVPC(f.ctx, me, f.vpc) },
		string(subnetA):  func() error { return f.DeleteSubnet(f.ctx, me, subnetA) },
		string(groupTwo): func() error { return f.DeleteGroup(f.ctx, me, groupTwo) },
	} {
		before := f.View().Revision()
		err := del()
		if control.KindOf(err) != vpc.InUse || !strings.Contains(err.Error(), what) {
			t.Errorf("delete %s: %v, want that it is in use", what, err)
		}
		if f.View().Revision() != before {
			t.Errorf("the refused deletion of %s wrote", what)
		}
	}
	if _, err := f.DeleteEndpoints(f.ctx, me, []vpc.EndpointID{e.ID}); err != nil {
		t.Fatal(err)
	}
	f.awaitGone(e.ID)
	if err := f.DeleteSubnet(f.ctx, me, subnetA); err != nil {
		t.Error(err)
	}
	if err := f.DeleteGroup(f.ctx, me, groupTwo); err != nil {
		t.Error(err)
	}
}

func TestInboundOnlyLeavesTheVPCItsPublicNames(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	f.live()
	f.put(func(tx *store.Tx) {
		tx.Put(&vpc.NetworkInterface{ID: "eni-00000000000000001", Owner: controltest.Consumer.Account, VPC: f.vpc, Subnet: subnetA, Zone: "us-east-1a",
			Addr: netip.MustParseAddr("10.0.1.200"), MAC: "02:00:00:00:00:77", Type: vpc.TypeInterface, Attachment: &vpc.Attachment{ID: "eni-attach-00000000000000001", Host: "h", External: &vpc.ExternalWorkload{Netns: "/n"}}})
		tx.Put(&vpc.CatalogueService{
			Name: "s3", ServiceName: s3Name, ID: "vpce-svc-0000000000000005a", Types: []vpc.EndpointType{vpc.GatewayEndpoint, vpc.InterfaceEndpoint},
			PrefixList: s3List, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
			PublicNames: []string{"s3.us-east-1.amazonaws.com"}, Protocol: "s3", PolicySupported: true,
		})
	})
	public := func() bool {
		v, _ := vpc.Get[vpc.VPC](f.View(), f.vpc)
		h := desired.ForHost(f.View(), "h")
		i := slices.IndexFunc(h.VPCs[v.VNI].Records, func(r desired.Record) bool { return r.Name == "s3.us-east-1.amazonaws.com" && !r.InboundOnly })
		return i >= 0 && h.VPCs[v.VNI].Records[i].Addrs[0] == netip.MustParseAddr("192.0.2.1")
	}
	iface := control.CreateEndpointInput{VPC: f.vpc, Type: vpc.InterfaceEndpoint, ServiceName: s3Name, Subnets: []vpc.SubnetID{subnetA}, DNS: control.EndpointDNS{InboundOnly: yes()}}
	before := f.View().Revision()
	_, err := f.CreateEndpoint(f.ctx, controltest.Consumer, iface)
	fails(t, err, vpc.Invalid, "endpoint-parameter")
	if want := "To set PrivateDnsOnlyForInboundResolverEndpoint to true, the VPC " + string(f.vpc) + " must have a Gateway endpoint for the service."; err == nil || err.Error() != want || f.View().Revision() != before {
		t.Errorf("%v, want %s", err, want)
	}
	gateway := f.create(control.CreateEndpointInput{ServiceName: s3Name})
	plain := iface
	plain.ServiceName = "com.amazonaws.us-east-1.plain"
	_, err = f.CreateEndpoint(f.ctx, controltest.Consumer, plain)
	fails(t, err, vpc.Invalid, "endpoint-parameter")
	private := iface
	private.PrivateDNS = no()
	_, err = f.CreateEndpoint(f.ctx, controltest.Consumer, private)
	fails(t, err, vpc.Invalid, "endpoint-parameter")

	e := f.create(iface)
	f.awaitState(e.ID, vpc.EndpointAvailable)
	if !public() {
		t.Error("the service's name leads to the endpoint")
	}
	modify := func(only *bool) {
		t.Helper()
		if err := f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: e.ID, DNS: control.EndpointDNS{InboundOnly: only}}); err != nil {
			t.Fatal(err)
		}
	}
	modify(no())
	if public() {
		t.Error("the service's name does not lead to the endpoint")
	}
	modify(yes())
	if !public() {
		t.Error("the service's name leads to the endpoint again")
	}
	// The gateway endpoint stays while the interface endpoint relies on it.
	remove := func(ids ...vpc.EndpointID) []control.ItemError {
		t.Helper()
		failed, err := f.DeleteEndpoints(f.ctx, controltest.Consumer, ids)
		if err != nil {
			t.Fatal(err)
		}
		return failed
	}
	failed := remove(gateway.ID)
	if len(failed) != 1 || failed[0].ID != string(gateway.ID) || f.endpoint(gateway.ID).State == vpc.EndpointDeleting {
		t.Fatalf("deleting the gateway endpoint: %v, %s", failed, f.endpoint(gateway.ID).State)
	}
	fails(t, failed[0].Err, vpc.InUse, string(vpc.KindEndpoint))
	second := f.create(control.CreateEndpointInput{ServiceName: s3Name})
	if failed := remove(gateway.ID, second.ID); len(failed) != 1 || failed[0].ID != string(second.ID) {
		t.Errorf("deleting both gateway endpoints: %v", failed)
	}
	if failed := remove(second.ID, e.ID); len(failed) > 0 {
		t.Errorf("deleting it with what relies on it: %v", failed)
	}
}

func TestRecordTypesOfEndpoints(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	e := f.create(control.CreateEndpointInput{ServiceName: s3Name, DNS: control.EndpointDNS{RecordType: "ipv4"}})
	if got := e.DNSRecordType(); got != "ipv4" {
		t.Errorf("record type %s", got)
	}
	modify := func(id vpc.EndpointID, record string) error {
		return f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: id, DNS: control.EndpointDNS{RecordType: record}})
	}
	if err := modify(e.ID, "service-defined"); err != nil || f.endpoint(e.ID).DNSRecordType() != "service-defined" {
		t.Errorf("%v %s", err, f.endpoint(e.ID).DNSRecordType())
	}
	i := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s3Name, DNS: control.EndpointDNS{RecordType: "ipv4"}})
	fails(t, modify(i.ID, "service-defined"), vpc.Invalid, "endpoint-parameter")
	fails(t, modify(i.ID, "ipv6"), vpc.Invalid, "endpoint-parameter")
	fails(t, modify(e.ID, "dualstack"), vpc.Invalid, "endpoint-parameter")
	fails(t, modify(e.ID, "nonsense"), vpc.Invalid, "endpoint-parameter")
	if err := f.ModifyVPC(f.ctx, controltest.Consumer, f.vpc, control.VPCChange{EnableDNSHostnames: no()}); err != nil {
		t.Fatal(err)
	}
	fails(t, modify(e.ID, "ipv4"), vpc.Invalid, "endpoint-parameter")
}

func TestGatewayRoutesCountAgainstTheQuota(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	cfg := f.Config
	cfg.Quotas.RoutesPerTable = 1
	f.Control = control.New(cfg)
	f.put(func(tx *store.Tx) {
		r, _ := vpc.Get[vpc.RouteTable](tx, f.main)
		r = vpc.Edit(r)
		r.Routes = append(r.Routes, vpc.Route{CIDR: netip.MustParsePrefix("198.51.100.0/24"), TargetKind: vpc.TargetENI, Target: "eni-00000000000000009"})
		tx.Put(r)
	})
	_, err := f.CreateEndpoint(f.ctx, controltest.Consumer, control.CreateEndpointInput{VPC: f.vpc, ServiceName: s3Name, RouteTables: []vpc.RouteTableID{f.main}})
	fails(t, err, vpc.Limit, "route")
}
