// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"os"
	"strings"
	"testing"
)

// Only what another machine answers for leads out, as the routes are at that moment.
func TestOnlyOtherMachinesAreOutside(t *testing.T) {
	needRoot(t)
	path := makeNetns(t)
	ip := func(argv string) {
		t.Helper()
		runIn(t, path, append([]string{"ip"}, strings.Fields(argv)...)...)
	}
	leads := func(a string, want bool) {
		t.Helper()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if out := strings.Fields(runIn(t, path, self, leadOut, a)); len(out) != 2 || (out[1] == "true") != want {
			t.Errorf("%v, want %t", out, want)
		}
	}
	ip("link set lo up")
	leads("192.0.2.53", false) // no route
	ip("link add one type veth peer name other")
	ip("link set one up")
	ip("link set other up")
	ip("address add 192.0.2.1/24 dev one")
	ip("address add 192.0.2.2/24 dev one")
	ip("address add 2001:db8:1::1/64 dev one nodad")
	for a, want := range map[string]bool{
		"192.0.2.53": true, "2001:db8:1::53": true, "::ffff:192.0.2.53": true,
		"192.0.2.1": false, "192.0.2.2": false, "::ffff:192.0.2.1": false, "2001:db8:1::1": false,
		"127.0.0.1": false, "127.9.9.9": false, "::1": false,
		"192.0.2.255": false, "255.255.255.255": false, "224.0.0.1": false, "ff02::1": false, "0.0.0.0": false, "::": false,
		"203.0.113.1": false, // no route
	} {
		leads(a, want)
	}
	// An address that comes later, on a device that comes later, and addresses
	// that no device has.
	ip("route add default via 192.0.2.254")
	leads("198.51.100.7", true)
	ip("link add two type veth peer name second")
	ip("address add 198.51.100.7/32 dev two")
	leads("198.51.100.7", false)
	ip("address del 198.51.100.7/32 dev two")
	leads("198.51.100.7", true)
	ip("route add local 198.51.100.0/24 dev lo")
	leads("198.51.100.7", false)
	ip("route add blackhole 203.0.113.0/24")
	leads("203.0.113.1", false)
}
