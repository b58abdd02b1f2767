// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"postern.dev/postern/internal/desired"
)

// What a host keeps of names has no room for more, whichever way it came, and
// says what it said.
func TestListsOfNamesHaveJustTheRoomTheyNeed(t *testing.T) {
	h := desired.Empty()
	h.Revision = 7
	var names []desired.Record
	for i := range 5 {
		r := desired.Record{Name: fmt.Sprint("n", i), TTL: 60}
		for j := range i {
			r.Addrs = append(r.Addrs, netip.AddrFrom4([4]byte{10, 0, 0, byte(j)}))
		}
		names = append(names, r)
	}
	h.VPCs[4096] = desired.VPC{ID: "vpc-a", Records: names}
	h.VPCs[4097] = desired.VPC{ID: "vpc-b"}
	h.Zones["Z1"] = desired.Zone{Name: "example.com", Records: names}
	h.Zones["Z2"] = desired.Zone{Name: "example.org"}
	check := func(what string, got desired.Host) {
		t.Helper()
		if !reflect.DeepEqual(got.VPCs, h.VPCs) || !reflect.DeepEqual(got.Zones, h.Zones) {
			t.Errorf("%s: %+v", what, got)
		}
		for _, list := range [][]desired.Record{got.VPCs[4096].Records, got.Zones["Z1"].Records} {
			if cap(list) != len(list) {
				t.Errorf("%s: %d records in a list for %d", what, len(list), cap(list))
			}
			for _, r := range list {
				if cap(r.Addrs) != len(r.Addrs) {
					t.Errorf("%s: %d addresses in a list for %d", what, len(r.Addrs), cap(r.Addrs))
				}
			}
		}
	}
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	whole := desired.Empty()
	if err := json.Unmarshal(b, &whole); err != nil {
		t.Fatal(err)
	}
	check("whole", whole.Fit())
	d, err := desired.Diff(desired.Empty(), h)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := desired.Apply(desired.Empty(), d)
	if err != nil {
		t.Fatal(err)
	}
	check("a change", changed)
}
