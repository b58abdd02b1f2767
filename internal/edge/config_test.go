// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"strings"
	"testing"
)

func TestConfigStreamTakesTheLinesInOrder(t *testing.T) {
	out := make(chan Config, 2)
	err := ReadConfigs(t.Context(), strings.NewReader(`{"revision":1,"interfaces":{"7":{"id":"eni-0b"}}}`+"\n\n"+`{"revision":2,"vpcs":{"4096":{"id":"vpc-0a","vni":4096}}}`+"\n"), out)
	if err != nil {
		t.Fatal(err)
	}
	if c := <-out; c.Revision != 1 || c.Interfaces[7].ID != "eni-0b" {
		t.Errorf("%+v", c)
	}
	if c := <-out; c.Revision != 2 || c.VPCs[4096].ID != "vpc-0a" {
		t.Errorf("%+v", c)
	}
	if err := ReadConfigs(t.Context(), strings.NewReader("{\"keys\": nope}\n"), out); err == nil || strings.Contains(err.Error(), "nope") {
		t.Errorf("a bad line gave %v", err)
	}
}
