// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

var (
	namesRegion = &Region{Name: "us-east-1", Domain: "vpce.amazonaws.com"}
	namesS3     = &CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", PublicNames: []string{"s3.us-east-1.amazonaws.com", "*.s3.us-east-1.amazonaws.com"}}
	namesKMS    = &CatalogueService{Name: "kms", ServiceName: "com.amazonaws.us-east-1.kms", PublicNames: []string{"KMS.us-east-1.amazonaws.com."}}
	namesOwn    = &EndpointService{ID: "vpce-svc-1", Name: "com.amazonaws.vpce.us-east-1.vpce-svc-1", PrivateDNSName: "*.api.example.com", Verification: &DNSVerification{State: DNSVerified, Granted: true}}
)

func namesEndpoint(change func(*Endpoint)) *Endpoint {
	e := &Endpoint{
		ID: "vpce-1", VPC: "vpc-1", Type: InterfaceEndpoint, ServiceName: namesS3.ServiceName, State: EndpointAvailable, DNSLabel: "vpce-1-abcdefgh", PrivateDNS: true,
		Nodes: []EndpointNode{{Zone: "us-east-1a", Addr: netip.MustParseAddr("10.0.1.4")}, {Zone: "us-east-1b", Addr: netip.MustParseAddr("10.0.2.4")}},
	}
	if change != nil {
		change(e)
	}
	return e
}

func TestEndpointNamesAreInTheOrderOfDnsEntrySet(t *testing.T) {
	own := func(e *Endpoint) { e.Service, e.ServiceName = namesOwn.ID, namesOwn.Name }
	for name, tc := range map[string]struct {
		e    *Endpoint
		s    *EndpointService
		c    *CatalogueService
		want string
	}{
		"catalogue": {namesEndpoint(nil), nil, namesKMS, `
vpce-1-abcdefgh.kms.us-east-1.vpce.amazonaws.com 10.0.1.4 10.0.2.4
vpce-1-abcdefgh-us-east-1a.kms.us-east-1.vpce.amazonaws.com 10.0.1.4
vpce-1-abcdefgh-us-east-1b.kms.us-east-1.vpce.amazonaws.com 10.0.2.4
kms.us-east-1.amazonaws.com 10.0.1.4 10.0.2.4`},
		"virtual hosts": {namesEndpoint(func(e *Endpoint) { e.Nodes = e.Nodes[:1] }), nil, namesS3, `
*.vpce-1-abcdefgh.s3.us-east-1.vpce.amazonaws.com 10.0.1.4
vpce-1-abcdefgh.s3.us-east-1.vpce.amazonaws.com 10.0.1.4
*.vpce-1-abcdefgh-us-east-1a.s3.us-east-1.vpce.amazonaws.com 10.0.1.4
vpce-1-abcdefgh-us-east-1a.s3.us-east-1.vpce.amazonaws.com 10.0.1.4
s3.us-east-1.amazonaws.com 10.0.1.4
*.s3.us-east-1.amazonaws.com 10.0.1.4`},
		"customer": {namesEndpoint(func(e *Endpoint) { own(e); e.Nodes = e.Nodes[1:] }), namesOwn, nil, `
vpce-1-abcdefgh.vpce-svc-1.us-east-1.vpce.amazonaws.com 10.0.2.4
vpce-1-abcdefgh-us-east-1b.vpce-svc-1.us-east-1.vpce.amazonaws.com 10.0.2.4
*.api.example.com -> vpce-1-abcdefgh.vpce-svc-1.us-east-1.vpce.amazonaws.com`},
		"no subnets": {namesEndpoint(func(e *Endpoint) { own(e); e.Nodes, e.PrivateDNS = nil, false }), namesOwn, nil, `
vpce-1-abcdefgh.vpce-svc-1.us-east-1.vpce.amazonaws.com`},
		"rejected": {namesEndpoint(func(e *Endpoint) { own(e); e.Nodes, e.State = nil, EndpointRejected }), namesOwn, nil, `
vpce-1-abcdefgh.vpce-svc-1.us-east-1.vpce.amazonaws.com`},
		"service gone": {namesEndpoint(func(e *Endpoint) { own(e); e.Nodes = nil }), nil, nil, `
vpce-1-abcdefgh.vpce-svc-1.us-east-1.vpce.amazonaws.com`},
		"never verified": {namesEndpoint(func(e *Endpoint) { own(e); e.Nodes = nil }),
			&EndpointService{ID: "vpce-svc-1", PrivateDNSName: "bank.example.com", Verification: &DNSVerification{State: DNSPendingVerification}}, nil, `
vpce-1-abcdefgh.vpce-svc-1.us-east-1.vpce.amazonaws.com`},
		"gateway": {namesEndpoint(func(e *Endpoint) { e.Type = GatewayEndpoint }), nil, namesS3, ``},
	} {
		var got strings.Builder
		for _, n := range EndpointNames(namesRegion, tc.e, tc.s, tc.c) {
			fmt.Fprintf(&got, "\n%s", n.Name)
			for _, node := range n.Nodes {
				fmt.Fprintf(&got, " %s", node.Addr)
			}
			if n.CNAME != "" {
				fmt.Fprintf(&got, " -> %s", n.CNAME)
			}
			if private := n.Zone != ""; private != (!strings.HasSuffix(n.Name, ".vpce.amazonaws.com")) || strings.HasPrefix(n.Zone, "*") {
				t.Errorf("%s: %s has the private zone %q", name, n.Name, n.Zone)
			}
		}
		if got.String() != tc.want {
			t.Errorf("%s:%s\nwant%s", name, got.String(), tc.want)
		}
	}
}

func TestHostedZonesArePerRegionAndPerPrivateZone(t *testing.T) {
	zones := func(e *Endpoint) (ids []string) {
		for _, n := range EndpointNames(namesRegion, e, nil, namesS3) {
			ids = append(ids, n.HostedZoneID)
		}
		return ids
	}
	a := zones(namesEndpoint(nil))
	b := zones(namesEndpoint(func(e *Endpoint) { e.VPC, e.DNSLabel = "vpc-2", "vpce-2-abcdefgh" }))
	if slices.Compact(slices.Clone(a[:6]))[0] != b[0] || len(slices.Compact(slices.Clone(a[:6]))) != 1 {
		t.Errorf("public names are in the zones %v and %v", a, b)
	}
	if a[6] != a[7] || a[6] == a[0] || a[6] == b[6] {
		t.Errorf("private names are in the zones %v and %v", a, b)
	}
	for _, id := range a {
		if len(id) != 21 || id[0] != 'Z' || strings.ToUpper(id) != id {
			t.Errorf("hosted zone id %q", id)
		}
	}
}

func TestVerifiedDomainCoversNamesBelowIt(t *testing.T) {
	d := &VerifiedDomain{Domain: "example.com"}
	for name, want := range map[string]bool{
		"example.com": true, "a.example.com": true, "*.example.com": true, "*.b.a.example.com": true, "A.Example.com.": true,
		"badexample.com": false, "com": false, "example.com.evil.org": false, "": false, "*.com": false,
	} {
		if d.Covers(name) != want {
			t.Errorf("covers %q: %v", name, !want)
		}
	}
	if (&VerifiedDomain{}).Covers("a.example.com") {
		t.Error("no domain covers a name")
	}
}

func TestVerificationDomainsAreTheNameAndItsParents(t *testing.T) {
	many := strings.Repeat("x.", 20) + "example.com"
	for name, want := range map[string][]string{
		"example.com":     {"example.com"},
		"a.b.example.com": {"a.b.example.com", "b.example.com", "example.com"},
		"*.Example.com":   {"example.com"},
		"com":             nil,
		"":                nil,
	} {
		if got := VerificationDomains(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := VerificationDomains(many); len(got) != 10 || got[9] != "example.com" {
		t.Errorf("a name of 22 labels: %q", got)
	}
}

// A catalogue service's private names are its public ones unless it has others, and
// clients may use all of them.
func TestPrivateNamesOfACatalogueService(t *testing.T) {
	s := &CatalogueService{Name: "q", PublicNames: []string{"q.example.com", "*.q.example.com"}}
	for _, c := range []struct{ private, want, all []string }{
		{nil, s.PublicNames, s.PublicNames},
		{[]string{"q.example.com", "in.example.com"}, []string{"q.example.com", "in.example.com"}, []string{"q.example.com", "*.q.example.com", "in.example.com"}},
	} {
		s.PrivateNames = c.private
		if got := PrivateNames(nil, s); !slices.Equal(got, c.want) {
			t.Errorf("private %q: %q, want %q", c.private, got, c.want)
		}
		if got := s.Names(); !slices.Equal(got, c.all) {
			t.Errorf("private %q: all names %q, want %q", c.private, got, c.all)
		}
	}
}
