// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern.dev/postern/internal/catalogue"
)

// A name would be looked up on the machine's network.
func TestListenTakesAddressesOnly(t *testing.T) {
	for listen, ok := range map[string]bool{
		"127.0.0.1:8420": true, "[::1]:0": true, ":8420": true, "localhost:8420": true,
		"256.1.1.1:1": false, "example.com:80": false, "127.0.0.1": false, "127.0.0.1:": false,
	} {
		c := defaultConfig()
		c.DataDir, c.Listen = "/d", listen
		if err := c.check(); (err == nil) != ok {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

func TestTheAuditLogIsOnAndBoundedUnlessToldOtherwise(t *testing.T) {
	c := defaultConfig()
	c.DataDir, c.Listen = "/d", "127.0.0.1:1"
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	if want := (AuditConfig{File: "/d/audit/audit.jsonl", MaxSizeMB: 100, Keep: 5}); c.Audit != want {
		t.Errorf("audit %+v, want %+v", c.Audit, want)
	}
	for _, bad := range []AuditConfig{{File: "relative"}, {File: "/d/"}, {MaxSizeMB: -1}, {MaxSizeMB: 1e6}, {Keep: -1}, {Keep: 1e6}} {
		c.Audit = bad
		if c.check() == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestTheResolversRateIsBounded(t *testing.T) {
	for rate, ok := range map[int]bool{0: true, 1: true, 1024: true, 1_000_000: true, -1: false, 1_000_001: false} {
		c := defaultConfig()
		c.DataDir, c.DNSPacketsPerSecond = "/d", rate
		if err := c.check(); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "dnsPacketsPerSecond") {
			t.Errorf("%d: %v", rate, err)
		}
	}
}

func TestForwardRulesReachOnlyNamedAddressesOfHosts(t *testing.T) {
	for setting, ok := range map[string]bool{
		"192.0.2.53": true, "10.0.0.53": true, "2001:db8::53": true, "::ffff:192.0.2.53": true,
		"127.0.0.1": false, "::1": false, "169.254.169.253": false, "fe80::1": false, "224.0.0.1": false, "0.0.0.0": false,
		"255.255.255.255": false, "2001:db8::53%eth0": false, "192.0.2.53:53": false, "192.0.2.0/24": false, "host": false, "": false,
	} {
		c := defaultConfig()
		c.DataDir, c.DNSHostTargets = "/d", []string{setting}
		if err := c.check(); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "dnsHostTargets") {
			t.Errorf("%q: %v", setting, err)
		}
	}
}

func TestUplinkIsAPlaceOrNone(t *testing.T) {
	for setting, ok := range map[string]bool{
		"": true, "none": true, "host": true, "/run/netns/outside": true, "/proc/1/ns/net": true,
		"Host": false, "outside": false, "run/netns/outside": false, "/run/netns/": false,
	} {
		c := defaultConfig()
		c.DataDir, c.Uplink = "/d", setting
		if err := c.check(); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "uplink") {
			t.Errorf("%q: %v", setting, err)
		}
		c.Datapath = "none"
		if err := c.check(); (err == nil) != (setting == "" || setting == "none") {
			t.Errorf("%q without a datapath: %v", setting, err)
		}
	}
	for setting, want := range map[string]string{"host": "", "/run/netns/outside": "/run/netns/outside"} {
		if on, path, err := uplinkPlace(setting); !on || path != want || err != nil {
			t.Errorf("%q is %v, %q, %v", setting, on, path, err)
		}
	}
}

func TestTopicsAreConfiguredByName(t *testing.T) {
	for name, c := range map[string]struct{ yaml, says string }{
		"all types": {`topics:
  - {arn: "arn:aws:sns:us-east-1:111111111111:*", type: file, path: /var/log/events.jsonl}
  - {arn: "arn:aws:sns:us-east-1:222222222222:hook", type: webhook, url: "https://example.com/h", secret: 0123456789abcdef, accounts: ["*"]}
  - {arn: "arn:aws:sns:eu-central-1:333333333333:x", type: sns, url: "http://192.0.2.1:4566", region: us-east-1, accessKey: AKIAEXAMPLE, secretKey: s3cret}
`, ""},
		"unknown name": {`topics: [{arn: "arn:aws:sns:us-east-1:111111111111:x", kind: file}]`, "kind"},
		"no secret":    {`topics: [{arn: "arn:aws:sns:us-east-1:111111111111:x", type: webhook, url: "https://example.com"}]`, `"arn:aws:sns:us-east-1:111111111111:x": a topic of type webhook needs secret`},
	} {
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(c.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := defaultConfig()
		cfg.DataDir = "/d"
		err := loadConfig(file, &cfg)
		if err == nil {
			err = cfg.check()
		}
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// An address of a service would lead to it and to an instance.
func TestPublicPoolIsNetworksThatNoServiceHas(t *testing.T) {
	for pool, want := range map[string]string{
		"":                             "",
		"198.18.0.0/15":                "",
		"192.0.2.0/25 192.0.2.128/25":  "",
		"192.0.2.0":                    "192.0.2.0",
		"192.0.2.1/24":                 "192.0.2.1/24",
		"0.0.0.0/0":                    "0.0.0.0/0",
		"2001:db8::/32":                "2001:db8::/32",
		"192.0.2.0/24 192.0.2.128/25":  "192.0.2.128/25",
		"198.51.100.128/25":            `service "s3"`,
		"192.0.2.0/24 203.0.113.32/28": `service "s3"`,
	} {
		c := defaultConfig()
		c.DataDir, c.PublicPool = "/d", strings.Fields(pool)
		if err := c.check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error that names %q", pool, err, want)
		}
	}
	c := defaultConfig()
	c.DataDir = "/d"
	c.Services = catalogue.Default()
	c.Services[0].Prefixes, c.Services[0].Prefixes6, c.Services[0].Addresses = []string{"192.0.2.0/24"}, nil, []string{"192.0.2.10"}
	if err := c.check(); err == nil || !strings.Contains(err.Error(), "publicPool") {
		t.Errorf("a service in the default pool: %v, want an error that names publicPool", err)
	}
}

func TestTheProxyProtocolLayoutIsOneOfThree(t *testing.T) {
	for layout, ok := range map[string]bool{"": true, "aws": true, "azure": true, "alibaba": true, "AWS": false, "gcp": false} {
		c := defaultConfig()
		c.DataDir, c.ProxyProtocolLayout = "/d", layout
		if err := c.check(); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "proxyProtocolLayout") {
			t.Errorf("%q: %v", layout, err)
		}
	}
}

func TestIPv6PoolIsNetworksThatVPCsCanHave(t *testing.T) {
	for pool, want := range map[string]string{
		"":                               "",
		"fd12:3456::/32 2001:db8:1::/56": "",
		"2001:db8:1::/57":                "2001:db8:1::/57",
		"2001::/15":                      "2001::/15",
		"2001:db8:1::1/48":               "2001:db8:1::1/48",
		"10.0.0.0/16":                    "10.0.0.0/16",
		"fe80::/32":                      "fe80::/32",
		"fd00::/16":                      "fd00::/16", // AWS's own is in it
		"64:ff9b::/32":                   "64:ff9b::/32",
		"2001:db8:1::/48 2001:db8::/32":  "2001:db8::/32 overlaps",
	} {
		c := defaultConfig()
		c.DataDir, c.IPv6Pool = "/d", strings.Fields(pool)
		if err := c.check(); (err == nil) != (want == "") || err != nil && !(strings.Contains(err.Error(), want) && strings.Contains(err.Error(), "ipv6Pool")) {
			t.Errorf("%q: %v, want an error that names ipv6Pool and %q", pool, err, want)
		}
	}
}

func TestAHostAmongOthersHasAnAddressAndAZone(t *testing.T) {
	for what, x := range map[string]struct {
		set  func(*Config)
		says string
	}{
		"all of it":                 {func(c *Config) { c.HostsListen, c.Underlay, c.HostZone = "192.0.2.1:8421", "192.0.2.1", "us-east-1b" }, ""},
		"every address":             {func(c *Config) { c.HostsListen = ":8421" }, ""},
		"a door without datapath":   {func(c *Config) { c.HostsListen, c.Datapath = "192.0.2.1:8421", "none" }, ""},
		"a door by name":            {func(c *Config) { c.HostsListen = "server.example:8421" }, "hostsListen"},
		"a door without a port":     {func(c *Config) { c.HostsListen = "192.0.2.1" }, "hostsListen"},
		"an IPv6 underlay":          {func(c *Config) { c.Underlay = "2001:db8::1" }, "underlay"},
		"a loopback underlay":       {func(c *Config) { c.Underlay = "127.0.0.1" }, "underlay"},
		"an underlay for no packet": {func(c *Config) { c.Underlay, c.Datapath = "192.0.2.1", "none" }, "underlay"},
		"a zone that is none":       {func(c *Config) { c.HostZone = "us-east-1z" }, "hostZone"},
	} {
		c := defaultConfig()
		c.DataDir = "/d"
		x.set(&c)
		if err := c.check(); (err == nil) != (x.says == "") || err != nil && !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v, want %q", what, err, x.says)
		}
	}
}
