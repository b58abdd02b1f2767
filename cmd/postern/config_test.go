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
