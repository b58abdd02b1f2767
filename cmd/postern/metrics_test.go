// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/edge/tally"
	"postern.dev/postern/internal/vpc"
)

var metricNames = newNumbers(admin.Names{Names: []admin.Name{
	{Num: "1", Kind: vpc.KindEndpoint, ID: "vpce-1", VPC: "vpc-a", EndpointType: vpc.InterfaceEndpoint,
		ServiceName: "com.amazonaws.vpce.us-east-1.vpce-svc-1", Service: "vpce-svc-1", Available: true},
	{Num: "2", Kind: vpc.KindEndpoint, ID: "vpce-2", VPC: "vpc-b", EndpointType: vpc.InterfaceEndpoint,
		ServiceName: "com.amazonaws.vpce.us-east-1.vpce-svc-1", Service: "vpce-svc-1"},
	{Num: "3", Kind: vpc.KindEndpoint, ID: "vpce-3", VPC: "vpc-a", EndpointType: vpc.GatewayEndpoint, ServiceName: "com.amazonaws.us-east-1.s3", Available: true},
}})

// Endpoint 2 has its clients on another host, and one is of a server that does
// not answer.
var metricUsages = []datapath.EndpointUsage{
	{Endpoint: 1, Client: datapath.Usage{Active: 1, New: 10, Bytes: 1000, Resets: 2, Dropped: 3}, Service: datapath.Usage{Active: 1, New: 10, Bytes: 1000, Resets: 2, Dropped: 3}},
	{Endpoint: 2, Service: datapath.Usage{Active: 4, New: 5, Bytes: 6, Resets: 7}},
	{Endpoint: 3, Client: datapath.Usage{New: 8, Bytes: 9}, Service: datapath.Usage{New: 8, Bytes: 9}},
	{Endpoint: 9, Client: datapath.Usage{New: 1}},
}

func TestMetricsHaveAWSNames(t *testing.T) {
	all := pickMetrics(metricUsages, tally.Totals{}, metricNames, metricsInput{})
	want := []metricsOf{
		{"AWS/PrivateLinkEndpoints", map[string]string{"VPC Endpoint Id": "#0000000000000009"},
			map[string]uint64{"ActiveConnections": 0, "NewConnections": 1, "BytesProcessed": 0, "PacketsDropped": 0, "RstPacketsReceived": 0}},
		{"AWS/PrivateLinkEndpoints", map[string]string{"VPC Endpoint Id": "vpce-1", "VPC Id": "vpc-a", "Endpoint Type": "Interface", "Service Name": "com.amazonaws.vpce.us-east-1.vpce-svc-1"},
			map[string]uint64{"ActiveConnections": 1, "NewConnections": 10, "BytesProcessed": 1000, "PacketsDropped": 3, "RstPacketsReceived": 2}},
		{"AWS/PrivateLinkEndpoints", map[string]string{"VPC Endpoint Id": "vpce-2", "VPC Id": "vpc-b", "Endpoint Type": "Interface", "Service Name": "com.amazonaws.vpce.us-east-1.vpce-svc-1"},
			map[string]uint64{"ActiveConnections": 0, "NewConnections": 0, "BytesProcessed": 0, "PacketsDropped": 0, "RstPacketsReceived": 0}},
		{"AWS/PrivateLinkEndpoints", map[string]string{"VPC Endpoint Id": "vpce-3", "VPC Id": "vpc-a", "Endpoint Type": "Gateway", "Service Name": "com.amazonaws.us-east-1.s3"},
			map[string]uint64{"ActiveConnections": 0, "NewConnections": 8, "BytesProcessed": 9, "PacketsDropped": 0, "RstPacketsReceived": 0}},
		{"AWS/PrivateLinkServices", map[string]string{"Service Id": "vpce-svc-1"},
			map[string]uint64{"ActiveConnections": 5, "NewConnections": 15, "BytesProcessed": 1006, "RstPacketsSent": 9, "EndpointsCount": 1}},
	}
	if d := cmp.Diff(want, all); d != "" {
		t.Error(d)
	}
	for _, c := range []struct {
		in   metricsInput
		want []string
	}{
		{metricsInput{endpoint: "vpce-1"}, []string{"vpce-1"}},
		{metricsInput{service: "vpce-svc-1"}, []string{"vpce-1", "vpce-2", "vpce-svc-1"}},
		{metricsInput{service: "vpce-svc-2"}, nil},
	} {
		var got []string
		for _, m := range pickMetrics(metricUsages, tally.Totals{}, metricNames, c.in) {
			got = append(got, m.id())
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%+v: %s", c.in, d)
		}
	}
}

var metricTotals = tally.Totals{Since: time.Unix(1, 0), Endpoints: []tally.Endpoint{
	{Endpoint: "vpce-3", VPC: "vpc-a", Service: "s3", Counts: tally.Counts{Requests: 9, Allowed: 5, DeniedByEndpoint: 3, Invalid: 1, BytesUploaded: 70},
		Denials: []tally.Denial{
			{Statement: tally.Statement{Policy: "endpoint", Statement: 1, Sid: "Ours", Explicit: true}, Count: 2},
			{Statement: tally.Statement{Policy: "endpoint", Statement: -1}, Count: 1},
			{Statement: tally.Statement{Policy: "endpoint", Statement: 1, Sid: "Ours"}, Count: 1}, // of the policy before
			{Statement: tally.Statement{Policy: "endpoint", Statement: 0}, Candidate: true, CandidateSet: time.Unix(9, 0), Count: 4},
		}},
	{Others: true, Service: "", Counts: tally.Counts{Requests: 2}},
}}

func TestAPeriodHasWhatCameInIt(t *testing.T) {
	row := func(id string, active, begun, bytes uint64) metricsOf {
		return metricsOf{endpointMetrics, map[string]string{"VPC Endpoint Id": id}, map[string]uint64{"ActiveConnections": active, "NewConnections": begun, "BytesProcessed": bytes}}
	}
	before := []metricsOf{row("vpce-1", 3, 10, 100), row("vpce-2", 0, 10, 100)}
	now := []metricsOf{row("vpce-1", 2, 11, 150), row("vpce-2", 0, 1, 7) /* made anew */, row("vpce-3", 0, 5, 0)}
	want := []metricsOf{row("vpce-1", 2, 1, 50), row("vpce-2", 0, 1, 7), row("vpce-3", 0, 5, 0)}
	if d := cmp.Diff(want, metricsSince(before, now)); d != "" {
		t.Error(d)
	}
}

func TestRequestsAndDenialsAreMetrics(t *testing.T) {
	list := pickMetrics(metricUsages, metricTotals, metricNames, metricsInput{service: "s3"})
	var got []string
	for _, m := range list {
		got = append(got, m.Namespace+" "+m.id()+" "+m.Dimensions["Policy"]+" "+m.Dimensions["Statement"])
	}
	want := []string{"AWS/PrivateLinkEndpoints vpce-3  ", "Postern/Denials vpce-3 candidate 0", "Postern/Denials vpce-3 endpoint -1",
		"Postern/Denials vpce-3 endpoint 1", "Postern/Denials vpce-3 endpoint 1", "Postern/Requests vpce-3  "}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var out bytes.Buffer
	if err := metricTables(&out, pickMetrics(metricUsages, metricTotals, metricNames, metricsInput{})); err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{`(?m)^vpce-3 +s3 +9 +5 +3 +0 +0 +1 +0 +70 +0$`, `(?m)^others +- +2 `, `(?m)^vpce-svc-1 +1 +5 +15 +1006 +9$`} {
		if !regexp.MustCompile(row).MatchString(out.String()) {
			t.Errorf("no row %s in\n%s", row, out.String())
		}
	}
}

func TestMetricsForPrometheus(t *testing.T) {
	var out bytes.Buffer
	if err := writePrometheus(&out, pickMetrics(metricUsages, metricTotals, metricNames, metricsInput{})); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"# TYPE postern_endpoint_new_connections_total counter",
		"# TYPE postern_endpoint_active_connections gauge",
		`postern_endpoint_packets_dropped_total{endpoint_type="Interface",service_name="com.amazonaws.vpce.us-east-1.vpce-svc-1",vpc_endpoint_id="vpce-1",vpc_id="vpc-a"} 3`,
		`postern_service_rst_packets_sent_total{service_id="vpce-svc-1"} 9`,
		`postern_service_endpoints{service_id="vpce-svc-1"} 1`,
		`postern_requests_denied_by_endpoint_policy_total{service="s3",vpc_endpoint_id="vpce-3",vpc_id="vpc-a"} 3`,
		`postern_denials_total{candidate_set="",effect="Deny",policy="endpoint",service="s3",sid="Ours",statement="1",vpc_endpoint_id="vpce-3",vpc_id="vpc-a"} 2`,
	} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, out.String())
		}
	}
	out.Reset()
	if err := writePrometheus(&out, nil); err != nil || out.Len() != 0 {
		t.Errorf("of nothing: %q, %v", out.String(), err)
	}
}
