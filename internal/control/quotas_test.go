// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"net/netip"
	"strings"
	"testing"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

func TestQuotasThatCannotBeAreRefusedByName(t *testing.T) {
	for name, q := range map[string]control.Quotas{
		"vpcs":                       {VPCs: -1},
		"gatewayEndpoints":           {GatewayEndpoints: 1_000_001},
		"securityGroupsPerInterface": {GroupsPerInterface: 17},
		"rulesPerSecurityGroup":      {RulesPerGroup: 1001},
	} {
		if err := q.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: %v, want an error that names %s", q, err, name)
		}
	}
	if err := control.DefaultQuotas.Check(); err != nil {
		t.Error(err)
	}
	if err := (control.Quotas{}).Check(); err != nil {
		t.Error(err)
	}
}

func TestVPCsBeyondTheQuotaAreRefusedAlsoInARace(t *testing.T) {
	c, _ := controltest.New(t)
	const tries = 12
	errs := make(chan error, tries)
	for range tries {
		go func() {
			_, err := c.CreateVPC(t.Context(), controltest.Consumer, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")})
			errs <- err
		}()
	}
	made := 0
	for range tries {
		err := <-errs
		switch {
		case err == nil:
			made++
		case control.KindOf(err) != vpc.Limit:
			t.Errorf("got %v, want Limit", err)
		}
	}
	if made != control.DefaultQuotas.VPCs {
		t.Errorf("%d VPCs were made, the quota is %d", made, control.DefaultQuotas.VPCs)
	}
}
