// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/datapath"
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
	all := pickMetrics(metricUsages, metricNames, metricsInput{})
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
		for _, m := range pickMetrics(metricUsages, metricNames, c.in) {
			got = append(got, m.id())
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%+v: %s", c.in, d)
		}
	}
}

func TestAPeriodHasWhatCameInIt(t *testing.T) {
	before := []datapath.EndpointUsage{
		{Endpoint: 1, Client: datapath.Usage{Active: 3, New: 10, Bytes: 100, Dropped: 1}},
		{Endpoint: 2, Client: datapath.Usage{New: 10, Bytes: 100}},
	}
	now := []datapath.EndpointUsage{
		{Endpoint: 1, Client: datapath.Usage{Active: 2, New: 11, Bytes: 150, Dropped: 1, Resets: 4}},
		{Endpoint: 2, Client: datapath.Usage{New: 1, Bytes: 7}}, // deleted and made again
		{Endpoint: 3, Client: datapath.Usage{New: 5}},
	}
	want := []datapath.EndpointUsage{
		{Endpoint: 1, Client: datapath.Usage{Active: 2, New: 1, Bytes: 50, Resets: 4}},
		{Endpoint: 2, Client: datapath.Usage{New: 1, Bytes: 7}},
		{Endpoint: 3, Client: datapath.Usage{New: 5}},
	}
	if d := cmp.Diff(want, usagesSince(before, now)); d != "" {
		t.Error(d)
	}
}

func TestMetricsForPrometheus(t *testing.T) {
	var out bytes.Buffer
	if err := writePrometheus(&out, pickMetrics(metricUsages, metricNames, metricsInput{})); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"# TYPE postern_endpoint_new_connections_total counter",
		"# TYPE postern_endpoint_active_connections gauge",
		`postern_endpoint_packets_dropped_total{endpoint_type="Interface",service_name="com.amazonaws.vpce.us-east-1.vpce-svc-1",vpc_endpoint_id="vpce-1",vpc_id="vpc-a"} 3`,
		`postern_service_rst_packets_sent_total{service_id="vpce-svc-1"} 9`,
		`postern_service_endpoints{service_id="vpce-svc-1"} 1`,
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
