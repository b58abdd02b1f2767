// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

func TestAccountsAndTheirKeys(t *testing.T) {
	c, clock := controltest.New(t)
	ctx := context.Background()
	a, err := c.CreateAccount(ctx, "team-a", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[1-9][0-9]{11}$`).MatchString(string(a.ID)) || a.Operator || !a.Created.Equal(clock.Now()) {
		t.Errorf("the new account is %+v", a)
	}
	k := a.Keys[0]
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(k.ID) || len(k.Secret) != 40 {
		t.Errorf("the new key is %q with a secret of %d characters", k.ID, len(k.Secret))
	}
	caller, cred, ok := control.CallerFor(c.View(), k.ID, "")
	if !ok || cred != (control.Credential{Secret: k.Secret}) || caller.Account != a.ID || caller.Name != "team-a" || caller.Operator || caller.ARN != "arn:aws:iam::"+string(a.ID)+":root" {
		t.Errorf("the key's caller is %+v, %t", caller, ok)
	}
	if _, _, ok := control.CallerFor(c.View(), "AKIAUNKNOWNUNKNOWN00", ""); ok {
		t.Error("an unknown key has a caller")
	}
	given := vpc.AccessKey{ID: "AKIAGIVENGIVEN000000", Secret: "a-secret-of-the-caller's-own"}
	b, err := c.CreateAccount(ctx, "team-b", &given)
	if err != nil || b.Keys[0] != given {
		t.Fatalf("an account with a given key: %+v, %v", b, err)
	}
	before := c.View().Revision()
	for what, x := range map[string]struct {
		name string
		key  *vpc.AccessKey
		kind vpc.ErrorKind
	}{
		"the same name":     {"team-a", nil, vpc.Duplicate},
		"the same key":      {"team-c", &given, vpc.Duplicate},
		"an id as name":     {"111111111111", nil, vpc.Invalid},
		"upper case":        {"Team", nil, vpc.Invalid},
		"no name":           {"", nil, vpc.Invalid},
		"a long name":       {strings.Repeat("a", 65), nil, vpc.Invalid},
		"a short key":       {"team-c", &vpc.AccessKey{ID: "AKIA", Secret: given.Secret}, vpc.Invalid},
		"a secret of space": {"team-c", &vpc.AccessKey{ID: "AKIAGIVENGIVEN000001", Secret: strings.Repeat(" ", 40)}, vpc.Invalid},
	} {
		if _, err := c.CreateAccount(ctx, x.name, x.key); control.KindOf(err) != x.kind || strings.Contains(err.Error(), given.Secret) {
			t.Errorf("%s: %v, want %s without the secret", what, err, x.kind)
		}
	}
	if after := c.View().Revision(); after != before {
		t.Error("an account that was refused wrote something")
	}
	if n := len(control.Accounts(c.View())); n != 5 {
		t.Errorf("there are %d accounts, want 5", n)
	}
}

func TestVerifiedDomains(t *testing.T) {
	c, _ := controltest.New(t)
	ctx := context.Background()
	if err := c.VerifyDomain(ctx, controltest.Provider.Account, "Example.COM."); err != nil {
		t.Fatal(err)
	}
	d, ok := vpc.First[vpc.VerifiedDomain](c.View(), vpc.IndexOwner, controltest.Provider.Account)
	if !ok || d.Domain != "example.com" {
		t.Fatalf("the verified domain is %+v, %t", d, ok)
	}
	for _, bad := range []string{"", "com", ".", "a..b", "-a.com", "*.example.com", "a b.com", strings.Repeat("a", 64) + ".com", strings.Repeat("abc.", 64) + "com"} {
		if err := c.VerifyDomain(ctx, controltest.Provider.Account, bad); control.KindOf(err) != vpc.Invalid {
			t.Errorf("domain %q: %v", bad, err)
		}
	}
	if err := c.VerifyDomain(ctx, "444444444444", "example.com"); control.KindOf(err) != vpc.NotFound {
		t.Errorf("a domain of an unknown account: %v", err)
	}
	if err := c.UnverifyDomain(ctx, controltest.Consumer.Account, "example.com"); control.KindOf(err) != vpc.NotFound {
		t.Errorf("taking back what another account has: %v", err)
	}
	if err := c.UnverifyDomain(ctx, controltest.Provider.Account, "EXAMPLE.com"); err != nil {
		t.Fatal(err)
	}
	if _, ok := vpc.First[vpc.VerifiedDomain](c.View(), vpc.IndexOwner, controltest.Provider.Account); ok {
		t.Error("the domain is still verified")
	}
}

func TestSeedIsIdempotentAndGuardsNames(t *testing.T) {
	c, _ := controltest.New(t)
	ctx := context.Background()
	region := *c.Region()
	region.DHCPOptions = ""
	key := vpc.AccessKey{ID: "AKIAOPERATOR00000000", Secret: "the-operators-secret-1"}
	s3 := vpc.CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", Types: []vpc.EndpointType{vpc.GatewayEndpoint},
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Protocol: "s3"}
	seed := func() error {
		return c.Seed(ctx, region, []vpc.CatalogueService{s3}, &vpc.Host{ID: "h1"}, key)
	}
	must := func() {
		t.Helper()
		if err := seed(); err != nil {
			t.Fatal(err)
		}
	}
	must()
	caller, _, ok := control.CallerFor(c.View(), key.ID, "")
	if !ok || !caller.Operator || caller.Name != control.OperatorName {
		t.Errorf("the operator is %+v, %t", caller, ok)
	}
	if c.Region().DHCPOptions != "dopt-00000000000000001" {
		t.Error("the DHCP options got another id")
	}
	made, ok := vpc.Get[vpc.CatalogueService](c.View(), "s3")
	if !ok || !vpc.ValidID("vpce-svc", string(made.ID)) || !vpc.ValidID("pl", string(made.PrefixList)) {
		t.Fatalf("the catalogue service is %+v", made)
	}
	before := c.View().Revision()
	must()
	if after := c.View().Revision(); after != before {
		t.Errorf("seeding the same wrote: revision %d became %d", before, after)
	}

	// What may change: addresses, the operator's key, unused zones.
	s3.Prefixes = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	key = vpc.AccessKey{ID: "AKIAOPERATOR00000001", Secret: "the-operators-secret-2"}
	region.Zones = region.Zones[:2]
	must()
	now, _ := vpc.Get[vpc.CatalogueService](c.View(), "s3")
	if now.ID != made.ID || now.PrefixList != made.PrefixList || now.Prefixes[0] != s3.Prefixes[0] {
		t.Errorf("the updated catalogue service is %+v", now)
	}
	if _, _, ok := control.CallerFor(c.View(), "AKIAOPERATOR00000000", ""); ok {
		t.Error("the operator's old key still works")
	}
	if again, _, _ := control.CallerFor(c.View(), key.ID, ""); again.Account != caller.Account {
		t.Error("the operator's account got another id")
	}

	// What may not.
	v, err := c.CreateVPC(ctx, controltest.Consumer, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateSubnet(ctx, controltest.Consumer, control.CreateSubnetInput{VPC: v, CIDR: netip.MustParsePrefix("10.0.0.0/24"), Zone: "us-east-1b"}); err != nil {
		t.Fatal(err)
	}
	own := vpc.Host{ID: "h1", Underlay: netip.MustParseAddr("192.0.2.9")}
	if _, err := c.AddHost(ctx, theOperator, vpc.Host{ID: "h2", Underlay: own.Underlay}); err != nil {
		t.Fatal(err)
	}
	refusedHost := func(h vpc.Host, part string) {
		t.Helper()
		before := c.View().Revision()
		if err := c.Seed(ctx, region, []vpc.CatalogueService{s3}, &h, key); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("host %+v: %v, want an error that names %q", h, err, part)
		}
		if c.View().Revision() != before {
			t.Errorf("host %+v: something was written", h)
		}
	}
	refusedHost(own, "of host h2")
	refusedHost(vpc.Host{ID: "h2"}, "postern host remove")
	must()
	if h, _ := vpc.Get[vpc.Host](c.View(), "h2"); h == nil || h.Underlay != own.Underlay {
		t.Errorf("the host that joins is %+v", h)
	}
	refused := func(what, part string) {
		t.Helper()
		before := c.View().Revision()
		if err := seed(); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want an error that names %q", what, err, part)
		}
		if c.View().Revision() != before {
			t.Errorf("%s wrote something", what)
		}
	}
	good := region
	region.Name = "eu-west-1"
	refused("another region", `"us-east-1"`)
	region = good
	region.Domain = "vpce.example.com"
	refused("another domain", "vpce.amazonaws.com")
	region = good
	region.Zones = region.Zones[:1]
	refused("a zone with subnets", "us-east-1b")
	region = good
	key.Secret = "short"
	refused("a bad key", key.ID)
	key = vpc.AccessKey{ID: "AKIAOPERATOR00000002", Secret: "the-operators-secret-3"}
	if _, err := c.CreateAccount(ctx, "taken", &key); err != nil {
		t.Fatal(err)
	}
	refused("a tenant's key", `"taken"`)
	key = vpc.AccessKey{ID: "AKIAOPERATOR00000001", Secret: "the-operators-secret-2"}
	must()

	// A service that is no longer configured goes, unless a rule uses its list.
	g, err := c.CreateGroup(ctx, controltest.Consumer, control.CreateGroupInput{VPC: v, Name: "g", Description: "d"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AuthorizeRules(ctx, controltest.Consumer, g, true, []control.RuleSpec{{Protocol: vpc.TCP, From: 443, To: 443, PrefixList: now.PrefixList}}, nil); err != nil {
		t.Fatal(err)
	}
	none := func() {
		t.Helper()
		if err := c.Seed(ctx, region, nil, nil, key); err != nil {
			t.Fatal(err)
		}
	}
	none()
	if _, ok := vpc.Get[vpc.CatalogueService](c.View(), "s3"); !ok {
		t.Error("a catalogue service a rule uses is gone")
	}
	if err := c.DeleteGroup(ctx, controltest.Consumer, g); err != nil {
		t.Fatal(err)
	}
	none()
	if _, ok := vpc.Get[vpc.CatalogueService](c.View(), "s3"); ok {
		t.Error("a catalogue service that is neither configured nor used is still there")
	}
}
