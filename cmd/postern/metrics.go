// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/spf13/cobra"

	"postern.dev/postern/internal/datapath"
)

func newMetricsCommand(o *options) *cobra.Command {
	var in metricsInput
	c := &cobra.Command{
		Use:   "metrics",
		Short: "show what goes through endpoints and endpoint services, by AWS's metric names",
		Long: `Show how much goes through the endpoints and the endpoint services whose clients
or targets are on this host, under the names that the same numbers have in
CloudWatch (AWS/PrivateLinkEndpoints, AWS/PrivateLinkServices):

  ActiveConnections   flows that are open, or being opened, now
  NewConnections      flows begun
  BytesProcessed      bytes of IP packets, both ways
  PacketsDropped      packets dropped from where the endpoint's own checks begin:
                      its groups, its ports, what is behind it
  RstPacketsReceived  TCP resets that clients got, from targets or for them; of a
                      service: RstPacketsSent
  EndpointsCount      endpoints of the service that are available

Numbers are totals since this host has had the endpoint, as monitoring systems
like them; --period counts for so long first and shows what came in that time.
Of a flow between two hosts, the client's host counts for the endpoint and the
target's for the service, so sums over all hosts are right. Gateway endpoints,
of which AWS shows nothing, are here too. Reads the kernel's maps, also when no
server runs, and needs root.`,
		Example: `  sudo postern metrics
  sudo postern metrics --period 1m
  sudo postern metrics --endpoint vpce-0123456789abcdef0 --json
  sudo postern metrics --prometheus > /var/lib/prometheus/node-exporter/postern.prom`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case in.period < 0 || c.Flags().Changed("period") && in.period == 0:
				return usageError("--period %s: want a time to count for, such as 1m", in.period)
			case in.prometheus && o.json:
				return usageError("give --prometheus or --json, not both")
			case in.prometheus && in.period > 0:
				return usageError("give --prometheus or --period, not both: Prometheus makes rates of totals itself")
			}
			return runMetrics(c.Context(), o, in, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&in.endpoint, "endpoint", "", "only this endpoint")
	f.StringVar(&in.service, "service", "", "only this endpoint service (vpce-svc-...) and its endpoints")
	f.DurationVar(&in.period, "period", 0, "count for so long and show what came in that time")
	f.BoolVar(&in.prometheus, "prometheus", false, "write Prometheus's text format")
	return c
}

type metricsInput struct {
	endpoint, service string
	period            time.Duration
	prometheus        bool
}

// The namespaces of CloudWatch that these numbers have there.
const (
	endpointMetrics = "AWS/PrivateLinkEndpoints"
	serviceMetrics  = "AWS/PrivateLinkServices"
)

// metricsOf is one row of `postern metrics --json`: an endpoint or a service.
// Dimensions and metrics have CloudWatch's names.
type metricsOf struct {
	Namespace  string            `json:"namespace"`
	Dimensions map[string]string `json:"dimensions"`
	Metrics    map[string]uint64 `json:"metrics"`
}

func (m metricsOf) id() string {
	if m.Namespace == serviceMetrics {
		return m.Dimensions["Service Id"]
	}
	return m.Dimensions["VPC Endpoint Id"]
}

func runMetrics(ctx context.Context, o *options, in metricsInput, out, errOut io.Writer) error {
	r, err := mapsOf(o)
	if err != nil {
		return err
	}
	defer r.Close()
	usages, err := r.Usages()
	if err != nil {
		return err
	}
	if in.period > 0 {
		fmt.Fprintf(errOut, "counting for %s\n", in.period)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(in.period):
		}
		now, err := r.Usages()
		if err != nil {
			return err
		}
		usages = usagesSince(usages, now)
	}
	list := pickMetrics(usages, readNumbers(ctx, o, errOut), in)
	switch {
	case in.prometheus:
		return writePrometheus(out, list)
	case o.json:
		return printJSON(out, list)
	case len(list) == 0:
		fmt.Fprintln(errOut, "no such endpoints on this host")
		return nil
	}
	return metricTables(out, list)
}

// usagesSince is what came between two readings. An endpoint that is counted
// anew since shows what it has counted.
func usagesSince(before, now []datapath.EndpointUsage) []datapath.EndpointUsage {
	old := map[uint64]datapath.EndpointUsage{}
	for _, u := range before {
		old[u.Endpoint] = u
	}
	out := slices.Clone(now)
	for i, u := range out {
		o := old[u.Endpoint]
		out[i].Client, out[i].Service = usageSince(o.Client, u.Client), usageSince(o.Service, u.Service)
	}
	return out
}

func usageSince(before, now datapath.Usage) datapath.Usage {
	if now.New < before.New || now.Bytes < before.Bytes || now.Resets < before.Resets || now.Dropped < before.Dropped {
		return now
	}
	now.New -= before.New
	now.Bytes -= before.Bytes
	now.Resets -= before.Resets
	now.Dropped -= before.Dropped
	return now
}

// pickMetrics gives the rows that were asked for, endpoints first, each kind by id.
func pickMetrics(usages []datapath.EndpointUsage, n numbers, in metricsInput) []metricsOf {
	out := []metricsOf{}
	services := map[string]datapath.Usage{}
	for _, u := range usages {
		x := n.names[u.Endpoint]
		service := string(x.Service)
		id := n.id(u.Endpoint)
		if in.service != "" && in.service != service || in.endpoint != "" && in.endpoint != id {
			continue
		}
		m := metricsOf{endpointMetrics, map[string]string{"VPC Endpoint Id": id}, map[string]uint64{
			"ActiveConnections": u.Client.Active, "NewConnections": u.Client.New, "BytesProcessed": u.Client.Bytes,
			"PacketsDropped": u.Client.Dropped, "RstPacketsReceived": u.Client.Resets,
		}}
		for k, v := range map[string]string{"VPC Id": string(x.VPC), "Service Name": x.ServiceName, "Endpoint Type": string(x.EndpointType)} {
			if v != "" {
				m.Dimensions[k] = v
			}
		}
		out = append(out, m)
		if service != "" {
			s := services[service]
			s.Active += u.Service.Active
			s.New += u.Service.New
			s.Bytes += u.Service.Bytes
			s.Resets += u.Service.Resets
			services[service] = s
		}
	}
	if in.endpoint == "" {
		counts := n.endpointsOf()
		for id, u := range services {
			out = append(out, metricsOf{serviceMetrics, map[string]string{"Service Id": id}, map[string]uint64{
				"ActiveConnections": u.Active, "NewConnections": u.New, "BytesProcessed": u.Bytes,
				"RstPacketsSent": u.Resets, "EndpointsCount": counts[id],
			}})
		}
	}
	slices.SortFunc(out, func(a, b metricsOf) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.id(), b.id()))
	})
	return out
}

// endpointsOf counts the available endpoints of each service.
func (n numbers) endpointsOf() map[string]uint64 {
	out := map[string]uint64{}
	for _, x := range n.names {
		if x.Service != "" && x.Available {
			out[string(x.Service)]++
		}
	}
	return out
}

func metricTables(out io.Writer, list []metricsOf) error {
	endpoints := newTable("ENDPOINT", "TYPE", "VPC", "SERVICE", "ACTIVE", "NEW", "BYTES", "DROPPED", "RST RECEIVED")
	services := newTable("SERVICE", "ENDPOINTS", "ACTIVE", "NEW", "BYTES", "RST SENT")
	var haveServices bool
	for _, m := range list {
		number := func(name string) string { return strconv.FormatUint(m.Metrics[name], 10) }
		if m.Namespace == endpointMetrics {
			d := m.Dimensions
			endpoints.row(m.id(), d["Endpoint Type"], d["VPC Id"], d["Service Name"], number("ActiveConnections"),
				number("NewConnections"), number("BytesProcessed"), number("PacketsDropped"), number("RstPacketsReceived"))
			continue
		}
		haveServices = true
		services.row(m.id(), number("EndpointsCount"), number("ActiveConnections"), number("NewConnections"),
			number("BytesProcessed"), number("RstPacketsSent"))
	}
	if err := endpoints.write(out); err != nil || !haveServices {
		return err
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return services.write(out)
}

// promMetric is how a metric of CloudWatch is called in Prometheus, whose
// counters end in _total.
type promMetric struct {
	name, help string
	kind       prometheus.ValueType
}

var promMetrics = map[string]promMetric{
	"ActiveConnections":  {"active_connections", "Flows that are open or being opened.", prometheus.GaugeValue},
	"NewConnections":     {"new_connections_total", "Flows begun.", prometheus.CounterValue},
	"BytesProcessed":     {"bytes_processed_total", "Bytes of IP packets, both ways.", prometheus.CounterValue},
	"PacketsDropped":     {"packets_dropped_total", "Packets dropped from where the endpoint's own checks begin.", prometheus.CounterValue},
	"RstPacketsReceived": {"rst_packets_received_total", "TCP resets that clients got.", prometheus.CounterValue},
	"RstPacketsSent":     {"rst_packets_sent_total", "TCP resets sent to clients.", prometheus.CounterValue},
	"EndpointsCount":     {"endpoints", "Endpoints of the service that are available.", prometheus.GaugeValue},
}

// writePrometheus writes Prometheus's text exposition format.
func writePrometheus(out io.Writer, list []metricsOf) error {
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(collectorOf(list)); err != nil {
		return fmt.Errorf("describe the metrics: %w", err)
	}
	families, err := reg.Gather()
	if err != nil {
		return fmt.Errorf("gather the metrics: %w", err)
	}
	enc := expfmt.NewEncoder(out, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	return nil
}

type collectorOf []metricsOf

// Describe is that of prometheus.Collector: which metrics there are is known
// when they are collected.
func (c collectorOf) Describe(chan<- *prometheus.Desc) {}

func (c collectorOf) Collect(to chan<- prometheus.Metric) {
	for _, m := range c {
		prefix, labels := "postern_endpoint_", []string{"vpc_endpoint_id", "vpc_id", "service_name", "endpoint_type"}
		values := []string{m.id(), m.Dimensions["VPC Id"], m.Dimensions["Service Name"], m.Dimensions["Endpoint Type"]}
		if m.Namespace == serviceMetrics {
			prefix, labels, values = "postern_service_", []string{"service_id"}, []string{m.id()}
		}
		for _, name := range slices.Sorted(maps.Keys(m.Metrics)) {
			p := promMetrics[name]
			desc := prometheus.NewDesc(prefix+p.name, p.help, labels, nil)
			to <- prometheus.MustNewConstMetric(desc, p.kind, float64(m.Metrics[name]), values...)
		}
	}
}
