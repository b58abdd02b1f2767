// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/vpc"
)

func TestCandidatePolicies(t *testing.T) {
	f := newEndpoints(t)
	f.live()
	const one, two = `{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:Get*","Resource":"*"}}`, `{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}`
	gateway := f.create(control.CreateEndpointInput{VPC: f.vpc, ServiceName: s3Name, Type: vpc.GatewayEndpoint, RouteTables: []vpc.RouteTableID{f.main}, Policy: two})
	f.awaitState(gateway.ID, vpc.EndpointAvailable)

	for _, doc := range []string{one, two, one} {
		set, err := f.SetCandidate(f.ctx, gateway.ID, doc)
		if err != nil {
			t.Fatal(err)
		}
		got := f.endpoint(gateway.ID)
		if got.Candidate != doc || !got.CandidateSet.Equal(f.Now()) || got.Policy != two || got.State != vpc.EndpointAvailable || set.Candidate != doc {
			t.Errorf("after %s: %+v", doc, got)
		}
	}
	// What the owner changes leaves it alone.
	if err := f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: gateway.ID, ResetPolicy: true}); err != nil {
		t.Fatal(err)
	}
	if got := f.endpoint(gateway.ID); got.Candidate != one || got.Policy != "" {
		t.Errorf("after a change of the policy: %+v", got)
	}

	plain := f.create(control.CreateEndpointInput{VPC: f.vpc, ServiceName: "com.amazonaws.us-east-1.plain", Type: vpc.InterfaceEndpoint, Subnets: []vpc.SubnetID{subnetA}})
	f.awaitState(plain.ID, vpc.EndpointAvailable) // then nothing else is written
	long, _ := policy.Default()
	long += strings.Repeat(" ", policy.MaxBytes+1-len(long))
	for name, c := range map[string]struct {
		id       vpc.EndpointID
		doc      string
		kind     vpc.ErrorKind
		resource string
		text     string
	}{
		"no policies":   {plain.ID, one, vpc.Invalid, "endpoint-parameter", "does not support endpoint policies"},
		"unknown":       {"vpce-00000000000000bad", one, vpc.NotFound, "vpc-endpoint", "does not exist"},
		"no JSON":       {gateway.ID, "{", vpc.BadPolicy, "PolicyDocument", ""},
		"empty":         {gateway.ID, "", vpc.BadPolicy, "PolicyDocument", ""},
		"too long":      {gateway.ID, long, vpc.BadPolicy, "PolicyDocument", ""},
		"endpoint rule": {gateway.ID, `{"Statement":{"Sid":"S","Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:SourceVpc":"vpc-012345*"}}}}`, vpc.BadPolicy, "PolicyDocument", `Statement[0] (Sid "S"): Condition: StringLike`},
	} {
		before := f.View().Revision()
		_, err := f.SetCandidate(f.ctx, c.id, c.doc)
		fails(t, err, c.kind, c.resource)
		if err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %s in it", name, err, c.text)
		}
		if f.View().Revision() != before {
			t.Errorf("%s: the refused call wrote something", name)
		}
	}

	if err := f.RemoveCandidate(f.ctx, gateway.ID); err != nil {
		t.Fatal(err)
	}
	if got := f.endpoint(gateway.ID); got.Candidate != "" || !got.CandidateSet.IsZero() {
		t.Errorf("after its removal: %+v", got)
	}
	fails(t, f.RemoveCandidate(f.ctx, gateway.ID), vpc.NotFound, "vpc-endpoint")
	fails(t, f.RemoveCandidate(f.ctx, "vpce-00000000000000bad"), vpc.NotFound, "vpc-endpoint")

	// It goes with its endpoint, and one that is going takes none.
	still := newEndpoints(t) // nothing is removed here
	gateway = still.create(control.CreateEndpointInput{VPC: still.vpc, ServiceName: s3Name, Type: vpc.GatewayEndpoint, RouteTables: []vpc.RouteTableID{still.main}})
	if _, err := still.SetCandidate(f.ctx, gateway.ID, one); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(f.ctx, 100*time.Millisecond)
	defer cancel()
	if failed, err := still.DeleteEndpoints(ctx, controltest.Consumer, []vpc.EndpointID{gateway.ID}); err != nil || len(failed) > 0 {
		t.Fatal(failed, err)
	}
	_, err := still.SetCandidate(f.ctx, gateway.ID, two)
	fails(t, err, vpc.WrongState, "vpc-endpoint")
}
