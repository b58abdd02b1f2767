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

func TestServiceCapturesTheZonesOfItsBalancers(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	controltest.HandMade(f.Control) // a node without an interface
	s := f.service(false, "")
	if want := []string{"us-east-1a", "us-east-1b"}; !slices.Equal(s.Zones, want) {
		t.Errorf("zones %v, want %v", s.Zones, want)
	}
	if s.Name != "com.amazonaws.vpce.us-east-1."+string(s.ID) {
		t.Errorf("name %s", s.Name)
	}
	zones := func() []string {
		o, _ := vpc.Get[vpc.EndpointService](f.View(), s.ID)
		return o.Zones
	}
	f.put(func(tx *store.Tx) {
		lb, _ := vpc.Get[vpc.LoadBalancer](tx, nlbOne)
		lb = vpc.Edit(lb)
		lb.Nodes = append(lb.Nodes, vpc.BalancerNode{Zone: "us-east-1c", Subnet: foreign, Addr: netip.MustParseAddr("10.0.1.10")})
		tx.Put(lb)
	})
	if len(zones()) != 2 {
		t.Errorf("zones %v before the service is modified", zones())
	}
	if err := f.ModifyService(f.ctx, controltest.Provider, control.ModifyServiceInput{ID: s.ID}); err != nil || len(zones()) != 3 {
		t.Errorf("zones %v, %v after a modification with the id only", zones(), err)
	}
}

func TestServiceBalancers(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	s := f.service(false, "")
	const param = "endpoint-parameter"
	_, err := f.CreateService(f.ctx, controltest.Provider, control.CreateServiceInput{})
	fails(t, err, vpc.Invalid, param)
	_, err = f.CreateService(f.ctx, controltest.Consumer, control.CreateServiceInput{Balancers: []vpc.ARN{nlbTwo}})
	fails(t, err, vpc.NotFound, "load-balancer")
	_, err = f.CreateService(f.ctx, controltest.Provider, control.CreateServiceInput{Balancers: []vpc.ARN{nlbTwo, nlbOne}})
	fails(t, err, vpc.Invalid, param)
	modify := func(in control.ModifyServiceInput) error {
		in.ID = s.ID
		return f.ModifyService(f.ctx, controltest.Provider, in)
	}
	fails(t, modify(control.ModifyServiceInput{RemoveBalancers: []vpc.ARN{nlbOne}}), vpc.Invalid, param)
	if err := modify(control.ModifyServiceInput{AddBalancers: []vpc.ARN{nlbTwo, nlbTwo, nlbOne}}); err != nil {
		t.Fatal(err)
	}
	f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetC}})
	fails(t, modify(control.ModifyServiceInput{RemoveBalancers: []vpc.ARN{nlbOne}}), vpc.ExistingConnections, "vpc-endpoint-service")
	_, err = f.Store.Update(f.ctx, func(tx *store.Tx) error {
		lb, _ := vpc.Get[vpc.LoadBalancer](tx, nlbTwo)
		tx.Delete(lb)
		return nil
	})
	fails(t, err, vpc.InUse, "load-balancer")
	fails(t, f.ModifyService(f.ctx, controltest.Consumer, control.ModifyServiceInput{ID: s.ID}), vpc.NotFound, "vpc-endpoint-service")
}

func TestServiceTokenMakesOneService(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	in := control.CreateServiceInput{Balancers: []vpc.ARN{nlbOne}, ClientToken: "once"}
	a, err := f.CreateService(f.ctx, controltest.Provider, in)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := f.CreateService(f.ctx, controltest.Provider, in); err != nil || b.ID != a.ID {
		t.Errorf("second call made %v, %v", b, err)
	}
	in.AcceptanceRequired = true
	_, err = f.CreateService(f.ctx, controltest.Provider, in)
	fails(t, err, vpc.TokenMismatch, "ClientToken")
}

func TestPermissionsDecideWhoFindsAService(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	s, err := f.CreateService(f.ctx, controltest.Provider, control.CreateServiceInput{Balancers: []vpc.ARN{nlbOne}})
	if err != nil {
		t.Fatal(err)
	}
	caller := func(arn string) control.Caller { return control.Caller{Account: "111111111111", ARN: arn} }
	const me = "arn:aws:iam::111111111111:"
	for _, tc := range []struct {
		principal, caller string
		found             bool
	}{
		{"*", me + "root", true},
		{me + "root", me + "user/ann", true},
		{"arn:aws:iam::333333333333:root", me + "root", false},
		{me + "user/ann", me + "user/ann", true},
		{me + "user/ann", me + "user/team/ann", true},
		{me + "user/ann", me + "user/bob", false},
		{me + "user/ann", me + "role/ann", false},
		{me + "user/ann", me + "root", false},
		{me + "role/build", "arn:aws:sts::111111111111:assumed-role/build/job", true},
		{me + "role/job", "arn:aws:sts::111111111111:assumed-role/build/job", false},
		{"arn:aws:iam::333333333333:role/build", "arn:aws:sts::111111111111:assumed-role/build/job", false},
	} {
		f.allow(s.ID, tc.principal)
		_, err := control.OfferNamed(f.View(), caller(tc.caller), s.Name)
		if (err == nil) != tc.found {
			t.Errorf("%s finds what %s may: %v", tc.caller, tc.principal, err)
		}
		listed := slices.ContainsFunc(control.Offers(f.View(), caller(tc.caller)), func(o control.Offer) bool { return o.Service != nil })
		if listed != tc.found {
			t.Errorf("%s lists what %s may: %v", tc.caller, tc.principal, listed)
		}
		if _, err := f.ModifyPermissions(f.ctx, controltest.Provider, control.ModifyPermissionsInput{ID: s.ID, Remove: []string{tc.principal}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := control.OfferNamed(f.View(), controltest.Provider, s.Name); err != nil {
		t.Errorf("the owner: %v", err)
	}
}

func TestPermissionsAreAddedOnceAndCheckedFirst(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	s := f.service(false, "")
	modify := func(add, remove []string) ([]vpc.Permission, error) {
		return f.ModifyPermissions(f.ctx, controltest.Provider, control.ModifyPermissionsInput{ID: s.ID, Add: add, Remove: remove})
	}
	root := controltest.Consumer.Account.RootARN()
	a, err := modify([]string{root, "*", "*"}, []string{"arn:aws:iam::333333333333:role/nobody"})
	if err != nil || len(a) != 2 || a[0].Type != "Account" || a[1].Type != "All" || !vpc.ValidID("vpce-svc-perm", a[0].ID) {
		t.Fatalf("%v %v", a, err)
	}
	b, err := modify([]string{root}, nil)
	if err != nil || len(b) != 1 || b[0].ID != a[0].ID {
		t.Errorf("added again: %v %v, want %s", b, err, a[0].ID)
	}
	before := f.View().Revision()
	for _, p := range []string{
		"", "111111111111", "arn:aws:iam::11111:root", "arn:aws:iam::111111111111:group/g", "arn:aws:iam::111111111111:user/",
		"arn:aws:iam::111111111111:user/team/ann", "arn:aws:iam::111111111111:user/*", "arn:aws:s3:::bucket",
		"arn:aws:sts::111111111111:assumed-role/a/b", "arn:aws:iam::111111111111:user/" + strings.Repeat("x", 65),
	} {
		_, err := modify([]string{"arn:aws:iam::333333333333:root", p}, nil)
		fails(t, err, vpc.Invalid, "principal")
	}
	_, err = modify([]string{"arn:aws:organizations::111111111111:ou/o-a/ou-b"}, nil)
	fails(t, err, vpc.Unsupported, "principal")
	_, err = modify([]string{root}, []string{root})
	fails(t, err, vpc.Combination, "AddAllowedPrincipals")
	_, err = f.ModifyPermissions(f.ctx, controltest.Consumer, control.ModifyPermissionsInput{ID: s.ID, Add: []string{"*"}})
	fails(t, err, vpc.NotFound, "vpc-endpoint-service")
	if f.View().Revision() != before {
		t.Error("a refused call wrote something")
	}
}

func TestRemovedPrincipalKeepsItsEndpoint(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	f.live()
	s := f.service(false, "")
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetA}})
	f.awaitState(e.ID, vpc.EndpointAvailable)
	if _, err := f.ModifyPermissions(f.ctx, controltest.Provider, control.ModifyPermissionsInput{ID: s.ID, Remove: []string{controltest.Consumer.Account.RootARN()}}); err != nil {
		t.Fatal(err)
	}
	if err := f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: e.ID, AddSubnets: []vpc.SubnetID{subnetB}}); err != nil {
		t.Errorf("modifying the endpoint: %v", err)
	}
	_, err := f.CreateEndpoint(f.ctx, controltest.Consumer, control.CreateEndpointInput{VPC: f.vpc, Type: vpc.InterfaceEndpoint, ServiceName: s.Name})
	fails(t, err, vpc.NotFound, "service-name")
}

func TestPrivateNameNeedsTheOperatorsWord(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	f.live()
	s := f.service(false, "api.example.com")
	now := func() *vpc.EndpointService {
		o, _ := vpc.Get[vpc.EndpointService](f.View(), s.ID)
		return o
	}
	d := now().Verification
	if d == nil || d.State != vpc.DNSPendingVerification || len(d.Name) != 21 || !strings.HasPrefix(d.Value, "vpce:") || len(d.Value) != 25 {
		t.Fatalf("verification %+v", d)
	}
	verify := func(want string) {
		t.Helper()
		if err := f.VerifyServiceName(f.ctx, controltest.Provider, s.ID); err != nil || now().Verification.State != want {
			t.Errorf("%v, state %s, want %s", err, now().Verification.State, want)
		}
	}
	modify := func(in control.ModifyServiceInput) error {
		in.ID = s.ID
		return f.ModifyService(f.ctx, controltest.Provider, in)
	}
	verify(vpc.DNSFailed)
	f.vouch("ample.com") // no label boundary
	verify(vpc.DNSFailed)
	f.vouch("example.com")
	verify(vpc.DNSVerified)

	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetA}, PrivateDNS: yes()})
	private := func() []string {
		var out []string
		for _, n := range vpc.EndpointNamesIn(f.View(), f.endpoint(e.ID)) {
			if n.Zone != "" {
				out = append(out, n.Name+" "+n.CNAME)
			}
		}
		return out
	}
	want := []string{"api.example.com " + e.DNSLabel + "." + string(s.ID) + ".us-east-1.vpce.amazonaws.com"}
	if got := private(); !slices.Equal(got, want) {
		t.Errorf("private names %v, want %v", got, want)
	}
	// The operator takes its word back: nobody new gets the name, nobody loses it.
	f.put(func(tx *store.Tx) {
		for d := range vpc.All[vpc.VerifiedDomain](tx) {
			tx.Delete(d)
		}
	})
	verify(vpc.DNSFailed)
	if got := private(); !slices.Equal(got, want) {
		t.Errorf("private names %v after a failed check, want %v", got, want)
	}
	f.awaitState(e.ID, vpc.EndpointAvailable)
	if err := f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: e.ID, PrivateDNS: no()}); err != nil {
		t.Fatal(err)
	}
	err := f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: e.ID, PrivateDNS: yes()})
	fails(t, err, vpc.Invalid, "endpoint-parameter")

	// A name that is in use stays.
	fails(t, modify(control.ModifyServiceInput{PrivateDNSName: text("")}), vpc.ExistingConnections, "vpc-endpoint-service")
	fails(t, modify(control.ModifyServiceInput{RemovePrivateDNSName: true}), vpc.ExistingConnections, "vpc-endpoint-service")
	fails(t, modify(control.ModifyServiceInput{PrivateDNSName: text("other.example.com")}), vpc.ExistingConnections, "vpc-endpoint-service")
	if failed, err := f.DeleteEndpoints(f.ctx, controltest.Consumer, []vpc.EndpointID{e.ID}); err != nil || len(failed) > 0 {
		t.Fatal(failed, err)
	}
	f.awaitGone(e.ID)
	f.vouch("example.org")
	if err := modify(control.ModifyServiceInput{PrivateDNSName: text("*.example.org")}); err != nil || now().Verification.State != vpc.DNSVerified || *now().Verification == *d {
		t.Errorf("%v, verification %+v", err, now().Verification)
	}
	if err := modify(control.ModifyServiceInput{PrivateDNSName: text("")}); err != nil || now().Verification != nil || now().PrivateDNSName != "" {
		t.Errorf("%v, name %q, verification %+v", err, now().PrivateDNSName, now().Verification)
	}
	fails(t, f.VerifyServiceName(f.ctx, controltest.Provider, s.ID), vpc.Invalid, "endpoint-parameter")
	fails(t, modify(control.ModifyServiceInput{PrivateDNSName: text("a.example.org"), RemovePrivateDNSName: true}), vpc.Combination, "PrivateDnsName")
	for _, bad := range []string{"example", "Api.example.com", "a..example.com", "*.*.example.com", "a*.example.com", "-a.example.com", "example.com.", strings.Repeat("a", 64) + ".example.com", strings.Repeat("a.", 127) + "com"} {
		fails(t, modify(control.ModifyServiceInput{PrivateDNSName: &bad}), vpc.Invalid, "endpoint-parameter")
	}
}

// A consumer agreed to one name. A provider that changes it while the endpoint
// is rejected and accepts it again must not get another name into its VPC.
func TestRenamedServiceDoesNotBringItsNewNameToOldEndpoints(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	f.live()
	f.vouch("example.com")
	s := f.service(false, "agreed.example.com")
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetA}, PrivateDNS: yes()})
	ids := []vpc.EndpointID{e.ID}
	if failed, err := f.RejectConnections(f.ctx, controltest.Provider, s.ID, ids); err != nil || len(failed) > 0 {
		t.Fatal(failed, err)
	}
	if err := f.ModifyService(f.ctx, controltest.Provider, control.ModifyServiceInput{ID: s.ID, PrivateDNSName: text("sneaky.example.com")}); err != nil {
		t.Fatal(err)
	}
	if failed, err := f.AcceptConnections(f.ctx, controltest.Provider, s.ID, ids); err != nil || len(failed) > 0 {
		t.Fatal(failed, err)
	}
	for _, n := range vpc.EndpointNamesIn(f.View(), f.endpoint(e.ID)) {
		if n.Zone != "" {
			t.Errorf("the endpoint has the private name %s", n.Name)
		}
	}
	if f.endpoint(e.ID).PrivateDNS {
		t.Error("private DNS is still on")
	}
}
