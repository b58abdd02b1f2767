// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern.dev/postern/internal/vpc"
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

func TestAServicesBackendIsToldWhoCallsAsConfigured(t *testing.T) {
	key := filepath.Join(t.TempDir(), "identity.pem")
	const pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n-----END PRIVATE KEY-----\n"
	if err := os.WriteFile(key, []byte(pem), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		identity, file string
		want           vpc.BackendIdentity
		fails          string // in the error; "" is none
	}{
		{"", "", vpc.IdentityNone, ""},
		{"none", "", vpc.IdentityNone, ""},
		{"proxy", "", vpc.IdentityProxy, ""},
		{"header", key, vpc.IdentityHeader, ""},
		{"header", "", "", "set identityKeyFile"},
		{"", key + "x", "", "identityKeyFile: open"},
		{"", "catalogue_test.go", "", "identityKeyFile catalogue_test.go: want one block"},
		{"PROXY", "", "", `identity "PROXY": want none, proxy or header`},
	} {
		cfg := defaultConfig()
		cfg.DataDir, cfg.IdentityKeyFile = t.TempDir(), c.file
		cfg.Services = []ServiceConfig{defaultS3(cfg.Region)}
		cfg.Services[0].Identity = c.identity
		err := cfg.check()
		if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%q, %q: %v, want an error that says %q", c.identity, c.file, err, c.fails)
			continue
		}
		if err != nil {
			continue
		}
		services, err := cfg.catalogue()
		if err != nil || services[0].Identity != c.want {
			t.Errorf("%q: %q, %v", c.identity, services[0].Identity, err)
		}
		if (cfg.IdentityKey != "") != (c.file != "") {
			t.Errorf("%q: the key of %q is %q", c.identity, c.file, cfg.IdentityKey)
		}
	}
}
