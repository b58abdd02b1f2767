// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"net/netip"
	"slices"
	"testing"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// A secondary address is in every place where an interface's address is: in
// the workload, in the interface, in rules about its groups and in the names.
func TestSecondaryAddressesAreEverywhere(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	v.Put(&vpc.Region{Name: "us-east-1", Domain: "vpce.amazonaws.com"})
	n, _ := vpc.Get[vpc.NetworkInterface](v, "eni-c")
	n = vpc.Edit(n)
	extra := netip.MustParseAddr("10.0.1.99")
	n.Secondary = []netip.Addr{extra}
	n.Attachment.DeviceIndex = 3
	v.Put(n)
	h := desired.ForHost(v, host)
	if w := h.Workloads["eni-c"]; !slices.Equal(w.Secondary, n.Secondary) || w.Index != 3 {
		t.Errorf("workload: %+v", w)
	}
	if i := h.Interfaces["eni-c"]; !slices.Equal(i.Secondary, n.Secondary) {
		t.Errorf("interface: %+v", i)
	}
	if p := h.RuleSets["sg-c"].Ingress[0].Peers; !slices.Contains(p, netip.PrefixFrom(extra, 32)) || len(p) != 2 {
		t.Errorf("members of the group: %v", p)
	}
	if got := names(h, 0x1000)["ip-10-0-1-99.ec2.internal"]; got != "[10.0.1.99]" {
		t.Errorf("the name leads to %s", got)
	}
	g := &vpc.TargetGroup{ARN: tg, VPC: "vpc-c", TargetType: "ip"}
	if a, at, ok := desired.TargetPlace(v, g, vpc.Target{ID: "10.0.1.99"}); !ok || a != extra || at == nil || at.ID != "eni-c" {
		t.Errorf("as a target: %v %v %v", a, at, ok)
	}
}
