// SPDX-License-Identifier: Apache-2.0

package vpc_test

import (
	"fmt"
	"net/netip"
	"testing"

	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

func TestWorkloadsResolveAsTheirDHCPOptionsSay(t *testing.T) {
	v := vpctest.Of(&vpc.Region{Name: "eu-west-1", DHCPOptions: "dopt-region"})
	set := func(id vpc.DHCPOptionsID, options ...vpc.DHCPOption) vpc.DHCPOptionsID {
		v.Put(&vpc.DHCPOptions{ID: id, Options: options})
		return id
	}
	domain := func(s string) vpc.DHCPOption { return vpc.DHCPOption{Key: "domain-name", Values: []string{s}} }
	servers := func(s ...string) vpc.DHCPOption { return vpc.DHCPOption{Key: "domain-name-servers", Values: s} }
	for id, want := range map[vpc.DHCPOptionsID]string{
		"":           "[10.0.0.2] [eu-west-1.compute.internal]",
		vpc.DHCPNone: "[] []",
		set("dopt-1", domain("corp.example"), servers(vpc.AmazonDNS)):                   "[10.0.0.2] [corp.example]",
		set("dopt-2", servers("2001:db8::53", "192.0.2.54", "192.0.2.53")):              "[192.0.2.54 192.0.2.53 2001:db8::53] []",
		set("dopt-3", domain("a.example  B.example\nnameserver 192.0.2.1 öh")):          "[] [a.example B.example nameserver 192.0.2.1]",
		set("dopt-4", vpc.DHCPOption{Key: "ntp-servers", Values: []string{"10.0.0.9"}}): "[] []",
		"dopt-gone": "[] []",
	} {
		p := &vpc.VPC{ID: "vpc-1", DHCPOptions: id, CIDRs: []vpc.CIDRAssociation{{CIDR: netip.MustParsePrefix("10.0.0.0/16")}}}
		s, d := vpc.Resolution(v, p)
		if got := fmt.Sprint(s, d); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
