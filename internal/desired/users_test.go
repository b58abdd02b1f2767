// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

func TestUsersAreKnownWhereTheirRequestsAreJudged(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	v.Put(&vpc.Region{Name: "us-east-1", Domain: "vpce.amazonaws.com"})
	v.Put(&vpc.CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", PrefixList: "pl-1", Protocol: "s3"})
	v.Put(&vpc.ManagedPolicy{ID: "ANPA1", Owner: "p", Name: "m", Path: "/", Default: 1, Versions: []vpc.PolicyVersion{{Number: 1, Document: "managed"}}})
	v.Put(&vpc.User{ID: "AIDA1", Owner: "p", Name: "ann", Path: "/", Tags: vpc.Tags{"a": "b"}, // of an account without anything here
		Keys:     []vpc.UserKey{{AccessKey: vpc.AccessKey{ID: "AKIA1", Secret: "secret"}}, {AccessKey: vpc.AccessKey{ID: "AKIA2", Secret: "secret"}, Inactive: true}},
		Policies: vpc.PolicySet{Inline: map[string]string{"i": "inline"}, Attached: []vpc.PolicyID{"ANPA1"}}})
	if h := desired.ForHost(v, host); len(h.Users) != 0 {
		t.Errorf("without an endpoint: %v", h.Users)
	}
	v.Put(&vpc.Endpoint{ID: "vpce-s3", Owner: "c", VPC: "vpc-c", Type: vpc.GatewayEndpoint, ServiceName: "com.amazonaws.us-east-1.s3", State: vpc.EndpointAvailable, RouteTables: []vpc.RouteTableID{"rtb-c"}})
	v.Put(&vpc.CatalogueService{Name: "sqs", ServiceName: "com.amazonaws.us-east-1.sqs", Protocol: "sqs"})
	want := map[string]desired.User{"AKIA1": {
		Account: "p", ARN: "arn:aws:iam::p:user/ann", ID: "AIDA1", Name: "ann", Tags: vpc.Tags{"a": "b"}, Policies: []string{"inline", "managed"},
	}}
	if diff := cmp.Diff(want, desired.ForHost(v, host).Users); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	} // Whatever the service's protocol is.
	v.Put(&vpc.Endpoint{ID: "vpce-s3", Owner: "c", VPC: "vpc-c", Type: vpc.InterfaceEndpoint, ServiceName: "com.amazonaws.us-east-1.sqs", State: vpc.EndpointAvailable})
	if diff := cmp.Diff(want, desired.ForHost(v, host).Users); diff != "" {
		t.Errorf("with another service's endpoint (-want +got):\n%s", diff)
	}
}

func TestAnEndpointBringsItsPolicyAndItsCandidate(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	v.Put(&vpc.Region{Name: "us-east-1", Domain: "vpce.amazonaws.com"})
	v.Put(&vpc.CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", PrefixList: "pl-1", Protocol: "s3"})
	set := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	v.Put(&vpc.Endpoint{ID: "vpce-s3", Owner: "c", VPC: "vpc-c", Type: vpc.GatewayEndpoint, ServiceName: "com.amazonaws.us-east-1.s3", State: vpc.EndpointAvailable, Policy: "own", Candidate: "other", CandidateSet: set})
	e := desired.ForHost(v, host).Endpoints["vpce-s3"]
	if e.Policy != "own" || e.Candidate != "other" || !e.CandidateSet.Equal(set) {
		t.Errorf("the host gets %+v", e)
	}
}
