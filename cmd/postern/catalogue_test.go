// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestAServiceHasIPv6WithPrefixesAndAddressesOfIt(t *testing.T) {
	for _, c := range []struct {
		prefixes6, addresses []string
		want                 string // in the error; "" is none
	}{
		{[]string{"2001:db8:1::/48"}, []string{"198.51.100.10", "2001:db8:1::10"}, ""},
		{nil, []string{"198.51.100.10"}, ""},
		{[]string{"2001:db8:1::/48"}, []string{"198.51.100.10"}, "prefixes6 need"},
		{nil, []string{"198.51.100.10", "2001:db8:1::10"}, "2001:db8:1::10"},
		{[]string{"2001:db8:1::/48"}, []string{"2001:db8:1::10"}, "IPv4 addresses must not be empty"},
		{[]string{"2001:db8:1::1/48"}, []string{"198.51.100.10", "2001:db8:1::10"}, "2001:db8:1::1/48"},
		{[]string{"198.51.100.0/24"}, []string{"198.51.100.10"}, "want an IPv6 network"},
		{[]string{"::ffff:198.51.100.0/120"}, []string{"198.51.100.10"}, "want an IPv6 network"},
	} {
		cfg := defaultConfig()
		cfg.Services = []ServiceConfig{defaultS3(cfg.Region)}
		s := &cfg.Services[0]
		s.Prefixes, s.Prefixes6, s.Addresses = []string{"198.51.100.0/24"}, c.prefixes6, c.addresses
		got, err := cfg.catalogue()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, %v: %v, want an error that says %q", c.prefixes6, c.addresses, err, c.want)
		}
		if err == nil && (got[0].PrefixList6 == "") != (c.prefixes6 == nil) || err == nil && got[0].PrefixList6 == got[0].PrefixList {
			t.Errorf("%v: the lists %q and %q", c.prefixes6, got[0].PrefixList, got[0].PrefixList6)
		}
	}
}
