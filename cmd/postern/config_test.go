// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
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
		"198.51.100.128/25":            "service s3",
		"192.0.2.0/24 203.0.113.32/28": "service s3",
	} {
		c := defaultConfig()
		c.DataDir, c.PublicPool = "/d", strings.Fields(pool)
		if err := c.check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error that names %q", pool, err, want)
		}
	}
	c := defaultConfig()
	c.DataDir = "/d"
	c.Services = []ServiceConfig{defaultS3(c.Region)}
	c.Services[0].Prefixes, c.Services[0].Addresses = []string{"192.0.2.0/24"}, []string{"192.0.2.10"}
	if err := c.check(); err == nil || !strings.Contains(err.Error(), "publicPool") {
		t.Errorf("a service in the default pool: %v, want an error that names publicPool", err)
	}
}
