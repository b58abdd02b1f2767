// SPDX-License-Identifier: Apache-2.0

package vpc_test

import (
	"net/netip"
	"strings"
	"testing"

	"postern.dev/postern/internal/vpc"
)

func TestRuleDomains(t *testing.T) {
	for in, want := range map[string]string{
		".": "", "example.com": "example.com", "Example.COM.": "example.com", "_ldap._tcp.corp": "_ldap._tcp.corp", "corp": "corp",
		"10.in-addr.arpa": "10.in-addr.arpa", strings.Repeat("a", 63) + ".b": strings.Repeat("a", 63) + ".b",
	} {
		if got, ok := vpc.RuleDomain(in); !ok || got != want {
			t.Errorf("%q is %q, %v, want %q", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "..", "a..b", ".a", "a..", "*.a", "a b", "ä.de", "a/b", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a", "a\x00b"} {
		if got, ok := vpc.RuleDomain(in); ok {
			t.Errorf("%q is taken for %q", in, got)
		}
	}
}

// Questions leave from the host's network, and nothing of the host's own may be asked.
func TestResolverTargetsAreNeverTheHostsOwn(t *testing.T) {
	for _, a := range []string{"192.0.2.53", "10.0.0.53", "172.16.0.1", "2001:db8::53", "fd00::53"} {
		if !vpc.ResolverTarget(netip.MustParseAddr(a)) {
			t.Errorf("%s is refused", a)
		}
	}
	for _, a := range []string{"127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.169.253", "224.0.0.251", "240.0.0.1", "255.255.255.255",
		"::", "::1", "fe80::1", "ff02::1", "fd00:ec2::253", "::ffff:127.0.0.1", "::ffff:192.0.2.1", "2001:db8::1%eth0"} {
		if vpc.ResolverTarget(netip.MustParseAddr(a)) {
			t.Errorf("%s is taken", a)
		}
	}
	if vpc.ResolverTarget(netip.Addr{}) {
		t.Error("no address is taken")
	}
}
