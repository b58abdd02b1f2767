// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/spf13/cobra"

	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/edge/tally"
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
of which AWS shows nothing, are here too. For catalogue services (S3, ...) there are
also the requests of each endpoint, allowed and denied, which the edge counts;
'postern denials --totals' has the denials by statement, as --json and
--prometheus do. Reads the kernel's maps, also when no server runs, and needs
root.`,
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
	f.StringVar(&in.service, "service", "", "only this service (vpce-svc-... or a name such as s3) and its endpoints")
	f.DurationVar(&in.period, "period", 0, "count for so long and show what came in that time")
	f.BoolVar(&in.prometheus, "prometheus", false, "write Prometheus's text format")
	return c
}

type metricsInput struct {
	endpoint, service string
	period            time.Duration
	prometheus        bool
}

// The namespaces of CloudWatch that these numbers have there, and those of what AWS
// does not show.
const (
	endpointMetrics = "AWS/PrivateLinkEndpoints"
	serviceMetrics  = "AWS/PrivateLinkServices"
	requestMetrics  = "Postern/Requests"
	denialMetrics   = "Postern/Denials"
)

// metricsOf is one row of `postern metrics --json`: an endpoint or a service, the
// requests of an endpoint, or the denials of one statement. What CloudWatch has too
// is called as there.
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

// key tells a row from all others, also of another reading.
func (m metricsOf) key() string {
	key := m.Namespace
	for _, name := range slices.Sorted(maps.Keys(m.Dimensions)) {
		key += "\n" + name + "=" + m.Dimensions[name]
	}
	return key
}

func runMetrics(ctx context.Context, o *options, in metricsInput, out, errOut io.Writer) error {
	r, err := mapsOf(o)
	if err != nil {
		return err
	}
	defer r.Close()
	read := func() ([]metricsOf, error) {
		usages, err := r.Usages()
		if err != nil {
			return nil, err
		}
		totals, err := tally.ReadFile(paths{o.dataDir}.totals())
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // no edge has run yet
			return nil, err
		}
		n := readNumbers(ctx, o, errOut)
		errOut = io.Discard // that there is no server is said once
		return pickMetrics(usages, totals, n, in), nil
	}
	list, err := read()
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
		before := list
		if list, err = read(); err != nil {
			return err
		}
		list = metricsSince(before, list)
	}
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

// metricsSince is what came between two readings. What is counted anew since shows
// what it has counted.
func metricsSince(before, now []metricsOf) []metricsOf {
	old := map[string]map[string]uint64{}
	for _, m := range before {
		old[m.key()] = m.Metrics
	}
	out := slices.Clone(now)
	for i, m := range out {
		was := old[m.key()]
		out[i].Metrics = maps.Clone(m.Metrics)
		for name, n := range m.Metrics {
			if promMetrics[name].kind == prometheus.CounterValue && n >= was[name] {
				out[i].Metrics[name] = n - was[name]
			}
		}
	}
	return out
}

// pickMetrics gives the rows that were asked for, endpoints first, each kind by id.
func pickMetrics(usages []datapath.EndpointUsage, totals tally.Totals, n numbers, in metricsInput) []metricsOf {
	out := []metricsOf{}
	services := map[string]datapath.Usage{}
	for _, u := range usages {
		x := n.names[u.Endpoint]
		service := string(x.Service)
		id := n.id(u.Endpoint)
		if in.service != "" && in.service != service && !strings.HasSuffix(x.ServiceName, "."+in.service) || in.endpoint != "" && in.endpoint != id {
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
	out = append(out, requestsOf(totals, in)...)
	slices.SortFunc(out, func(a, b metricsOf) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.id(), b.id()), cmp.Compare(a.key(), b.key()))
	})
	return out
}

// requestsOf are the rows of what the edge counts.
func requestsOf(totals tally.Totals, in metricsInput) (out []metricsOf) {
	for _, e := range totals.Endpoints {
		if in.service != "" && in.service != e.Service || in.endpoint != "" && in.endpoint != e.Endpoint {
			continue
		}
		of := func(more map[string]string) map[string]string {
			d := map[string]string{"VPC Endpoint Id": e.Endpoint, "VPC Id": e.VPC, "Service": e.Service}
			if e.Others {
				d["VPC Endpoint Id"] = "others"
			}
			maps.Copy(d, more)
			return d
		}
		out = append(out, metricsOf{requestMetrics, of(nil), map[string]uint64{
			"Requests": e.Requests, "RequestsAllowed": e.Allowed, "RequestsInvalid": e.Invalid, "RequestErrors": e.Errors,
			"DeniedByEndpointPolicy": e.DeniedByEndpoint, "DeniedByIdentityPolicy": e.DeniedByIdentity, "DeniedByService": e.DeniedByService,
			"DeniedByCandidatePolicy": e.CandidateDenied, "BytesUploaded": e.BytesUploaded, "BytesDownloaded": e.BytesDownloaded,
		}})
		for _, d := range e.Denials {
			statement := strconv.Itoa(d.Statement.Statement)
			if d.Others {
				statement = "others"
			}
			policy := d.Policy
			if d.Candidate {
				policy = "candidate"
			}
			row := metricsOf{denialMetrics, of(map[string]string{"Policy": policy, "Statement": statement, "Sid": d.Sid}), map[string]uint64{"Denials": d.Count}}
			if d.Explicit {
				row.Dimensions["Effect"] = "Deny"
			}
			if d.Candidate {
				row.Dimensions["Candidate Set"] = d.CandidateSet.UTC().Format(time.RFC3339Nano)
			}
			out = append(out, row)
		}
	}
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

// metricTable is how the rows of one namespace show: the name of what they are
// about, some of its dimensions and some of the metrics.
type metricTable struct {
	namespace           string
	header              []string
	dimensions, metrics []string
}

var metricTablesOf = []metricTable{
	{endpointMetrics, []string{"ENDPOINT", "TYPE", "VPC", "SERVICE", "ACTIVE", "NEW", "BYTES", "DROPPED", "RST RECEIVED"},
		[]string{"Endpoint Type", "VPC Id", "Service Name"},
		[]string{"ActiveConnections", "NewConnections", "BytesProcessed", "PacketsDropped", "RstPacketsReceived"}},
	{serviceMetrics, []string{"SERVICE", "ENDPOINTS", "ACTIVE", "NEW", "BYTES", "RST SENT"}, nil,
		[]string{"EndpointsCount", "ActiveConnections", "NewConnections", "BytesProcessed", "RstPacketsSent"}},
	{requestMetrics, []string{"ENDPOINT", "SERVICE", "REQUESTS", "ALLOWED", "DENIED BY ENDPOINT", "BY IDENTITY", "BY SERVICE", "INVALID", "ERRORS", "UP", "DOWN"},
		[]string{"Service"},
		[]string{"Requests", "RequestsAllowed", "DeniedByEndpointPolicy", "DeniedByIdentityPolicy", "DeniedByService", "RequestsInvalid", "RequestErrors",
			"BytesUploaded", "BytesDownloaded"}},
}

func metricTables(out io.Writer, list []metricsOf) error {
	first := true
	for _, as := range metricTablesOf {
		t, some := newTable(as.header...), false
		for _, m := range list {
			if m.Namespace != as.namespace {
				continue
			}
			row := []string{m.id()}
			for _, d := range as.dimensions {
				row = append(row, m.Dimensions[d])
			}
			for _, name := range as.metrics {
				row = append(row, strconv.FormatUint(m.Metrics[name], 10))
			}
			t.row(row...)
			some = true
		}
		if !some {
			continue
		}
		if !first {
			if _, err := fmt.Fprintln(out); err != nil {
				return fmt.Errorf("write the answer: %w", err)
			}
		}
		first = false
		if err := t.write(out); err != nil {
			return err
		}
	}
	return nil
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

	"Requests":                {"all_total", "Requests.", prometheus.CounterValue},
	"RequestsAllowed":         {"allowed_total", "Requests that the policies allow.", prometheus.CounterValue},
	"RequestsInvalid":         {"invalid_total", "Requests refused before any policy was asked.", prometheus.CounterValue},
	"RequestErrors":           {"errors_total", "Requests answered with 500 or above.", prometheus.CounterValue},
	"DeniedByEndpointPolicy":  {"denied_by_endpoint_policy_total", "Requests that the endpoint's policy denied.", prometheus.CounterValue},
	"DeniedByIdentityPolicy":  {"denied_by_identity_policy_total", "Requests that a policy of who signed denied.", prometheus.CounterValue},
	"DeniedByService":         {"denied_by_service_total", "Requests that the service refused although the policies allow them.", prometheus.CounterValue},
	"DeniedByCandidatePolicy": {"denied_by_candidate_policy_total", "Requests that the candidate policy would have denied.", prometheus.CounterValue},
	"BytesUploaded":           {"bytes_uploaded_total", "Bytes of requests' bodies.", prometheus.CounterValue},
	"BytesDownloaded":         {"bytes_downloaded_total", "Bytes of answers' bodies.", prometheus.CounterValue},
	"Denials":                 {"total", "Denials by one statement of a policy.", prometheus.CounterValue},
}

// promNamespaces are how a namespace begins in Prometheus and the dimensions that are
// labels there.
var promNamespaces = map[string]struct {
	prefix     string
	dimensions []string
}{
	endpointMetrics: {"postern_endpoint_", []string{"VPC Endpoint Id", "VPC Id", "Service Name", "Endpoint Type"}},
	serviceMetrics:  {"postern_service_", []string{"Service Id"}},
	requestMetrics:  {"postern_requests_", []string{"VPC Endpoint Id", "VPC Id", "Service"}},
	denialMetrics:   {"postern_denials_", []string{"VPC Endpoint Id", "VPC Id", "Service", "Policy", "Statement", "Sid", "Effect", "Candidate Set"}},
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
		as := promNamespaces[m.Namespace]
		var labels, values []string
		for _, d := range as.dimensions {
			labels = append(labels, strings.ReplaceAll(strings.ToLower(d), " ", "_"))
			values = append(values, m.Dimensions[d])
		}
		for _, name := range slices.Sorted(maps.Keys(m.Metrics)) {
			p := promMetrics[name]
			desc := prometheus.NewDesc(as.prefix+p.name, p.help, labels, nil)
			to <- prometheus.MustNewConstMetric(desc, p.kind, float64(m.Metrics[name]), values...)
		}
	}
}
