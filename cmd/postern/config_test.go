// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

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
