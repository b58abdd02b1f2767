// SPDX-License-Identifier: Apache-2.0

package vpc_test

import (
	"net/netip"
	"strings"
	"testing"

	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

func TestAnUnderlayAddressIsOneMachines(t *testing.T) {
	for s, ok := range map[string]bool{
		"192.0.2.1": true, "10.0.0.1": true, "223.255.255.255": true, "169.254.1.1": true,
		"0.0.0.0": false, "0.1.2.3": false, "127.0.0.1": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"2001:db8::1": false, "::ffff:192.0.2.1": false,
	} {
		if got := vpc.ValidUnderlay(netip.MustParseAddr(s)); got != ok {
			t.Errorf("%s: %v, want %v", s, got, ok)
		}
	}
	if vpc.ValidUnderlay(netip.Addr{}) {
		t.Error("no address is one")
	}
}

func TestAHostsNameIsAMachines(t *testing.T) {
	for id, ok := range map[vpc.HostID]bool{
		"a": true, "h1": true, "host-1.example.com": true, "build_2": true, vpc.HostID(strings.Repeat("a", 64)): true,
		"": false, ".": false, "..": false, "a..b": false, "A": false, "-a": false, "a-": false, "a/b": false, "a b": false, "a\n": false,
		vpc.HostID(strings.Repeat("a", 65)): false,
	} {
		if got := vpc.ValidHostID(id); got != ok {
			t.Errorf("%q: %v, want %v", id, got, ok)
		}
	}
}

// Two hosts with one address would get each other's packets.
func TestHostsClaimTheirUnderlayAddresses(t *testing.T) {
	v := vpctest.Of(&vpc.Host{ID: "h1", Underlay: netip.MustParseAddr("192.0.2.1")}, &vpc.Host{ID: "h2"}, &vpc.Host{ID: "h3"})
	if errs := vpc.Invariants(v); len(errs) > 0 {
		t.Errorf("%v", errs)
	}
	v.Put(&vpc.Host{ID: "h2", Underlay: netip.MustParseAddr("192.0.2.1")})
	if errs := vpc.Invariants(v); len(errs) != 1 {
		t.Errorf("two with one address: %v", errs)
	}
	v.Put(&vpc.Host{ID: "h2", Underlay: netip.MustParseAddr("127.0.0.1")})
	if errs := vpc.Invariants(v); len(errs) != 1 {
		t.Errorf("one with a loopback address: %v", errs)
	}
}
