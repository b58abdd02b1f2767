// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/edge/tally"
	"postern.dev/postern/internal/link"
	"postern.dev/postern/internal/nlb"
	"postern.dev/postern/internal/resolver"
	"postern.dev/postern/internal/supervise"
	"postern.dev/postern/internal/vpc"
)

// Descriptors the agent hands to the edge, in the order of edgeChild.
const (
	fdHTTP = iota + 3
	fdHTTPS
	fdDNSStream
	fdConnections
	fdRecords
	fdDrops
	fdSpaces
	fdAnswers
	fdTotals
	fdDNSPacket // and those after it
)

// newEdgeCommand is the unprivileged child of the agent that speaks to workloads.
func newEdgeCommand(*options) *cobra.Command {
	var dnsSockets int
	c := &cobra.Command{
		Use: "edge", Hidden: true, Args: cobra.NoArgs,
		Short: "answer workloads: resolver and policy proxy (started by the agent)",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := confine(); err != nil {
				return err
			}
			return runEdge(supervise.Lifeline(c.Context()), dnsSockets, newLogger())
		},
	}
	c.Flags().IntVar(&dnsSockets, "dns-sockets", 1, "how many sockets for DNS over UDP were handed over")
	return c
}

// identifier joins the datapath's numbers to the edge's and the resolver's types.
type identifier struct {
	dp *datapath.Identifier
	// inbound are the VPCs of inbound resolver endpoints, by their numbers.
	inbound *atomic.Pointer[map[uint64]vpc.VNI]
}

// inboundEndpoints are the VPCs of the inbound resolver endpoints among a host's
// endpoints, by their numbers.
func inboundEndpoints(endpoints map[vpc.EndpointID]desired.Endpoint) map[uint64]vpc.VNI {
	out := map[uint64]vpc.VNI{}
	for id, e := range endpoints {
		if e.Resolver {
			out[vpc.Num(id)] = e.VNI
		}
	}
	return out
}

func (i identifier) Identify(remote, local netip.AddrPort, proto int) (edge.Identity, error) {
	d, err := i.dp.Identify(remote, local, proto)
	if err != nil {
		return edge.Identity{}, err
	}
	return edge.Identity{VNI: d.VNI, Client: d.Client, Interface: d.Interface, Endpoint: d.Endpoint}, nil
}

func (i identifier) asker(remote, local netip.AddrPort, proto int) (resolver.Asker, error) {
	d, err := i.dp.Identify(remote, local, proto)
	if err != nil {
		return resolver.Asker{}, err
	}
	out := resolver.Asker{VNI: d.VNI, Client: d.Client, Server: d.Server, Interface: d.Interface}
	if d.Endpoint == 0 {
		return out, nil
	}
	// Whoever asks an inbound endpoint, from a VPC of its own perhaps, is
	// answered as the endpoint's VPC.
	if m := i.inbound.Load(); m != nil {
		if vni, ok := (*m)[d.Endpoint]; ok {
			out.VNI, out.Inbound = vni, true
			return out, nil
		}
	}
	return resolver.Asker{}, datapath.ErrUnknownConnection // the endpoint is gone
}

// edgeWord is a line that the edge says to the agent; one of the fields is set.
type edgeWord struct {
	// Holds is the revision whose names the resolver answers with.
	Holds vpc.Revision `json:"holds,omitempty"`
	// Backends are those that are checked, by service and URL, and their health.
	Backends map[string]map[string]bool `json:"backends,omitempty"`
}

// words are what several goroutines say to the agent. One that cannot be said is
// lost with the agent, and so is the edge.
type words struct {
	mu  sync.Mutex
	enc *json.Encoder // guarded by mu
}

func (w *words) Encode(v edgeWord) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enc.Encode(v)
}

func runEdge(ctx context.Context, dnsSockets int, log *slog.Logger) error {
	slog.SetDefault(log) // what the packages below log looks alike
	httpL, err := fileDoor(fdHTTP, "http")
	if err != nil {
		return err
	}
	httpsL, err := fileDoor(fdHTTPS, "https")
	if err != nil {
		return err
	}
	dnsL, err := fileListener(fdDNSStream, "dns stream")
	if err != nil {
		return err
	}
	var dnsP []net.PacketConn
	for i := range dnsSockets {
		f := os.NewFile(fdDNSPacket+uintptr(i), "dns packet")
		c, err := net.FilePacketConn(f)
		if err != nil {
			return fmt.Errorf("use the dns packet socket that was handed over: %w", err)
		}
		f.Close()
		dnsP = append(dnsP, c)
	}
	counts := dropCounts{os.NewFile(fdDrops, "drops")}
	before, err := counts.read()
	if err != nil {
		log.Warn("the resolver's drops are counted anew", "error", err)
	}
	dp, err := datapath.OpenIdentifier(fdConnections)
	if err != nil {
		return err
	}
	defer dp.Close()
	answers, err := datapath.OpenAnswers(fdSpaces, fdAnswers, func(err error) {
		log.Error("no more answers are kept for the programs: the resolver gives those that are not there yet", "error", err)
	})
	if err != nil {
		return err
	}
	records := os.NewFile(fdRecords, "records")
	var inbound atomic.Pointer[map[uint64]vpc.VNI]
	id := identifier{dp, &inbound}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var view atomic.Pointer[resolver.View]
	var upstreams atomic.Pointer[[]string]
	var rate atomic.Int64
	var hostTargets atomic.Pointer[[]netip.Addr]
	res := resolver.New(resolver.Options{
		Identify: id.asker, View: view.Load, Log: log,
		Upstreams: func() []string {
			if u := upstreams.Load(); u != nil {
				return *u
			}
			return nil
		},
		MayLeadTo: func(a netip.Addr) error {
			if t := hostTargets.Load(); t != nil && slices.Contains(*t, a) {
				return nil
			}
			return link.LeadsOut(a)
		},
		Keep:    func(a resolver.Answer) { answers.Keep(datapath.Answer(a)) },
		Dropped: before,
		Rate:    func() int { return cmp.Or(int(rate.Load()), resolver.PacketsPerSecond) },
	})
	configs, served := make(chan edge.Config), make(chan struct{})
	say := &words{enc: json.NewEncoder(os.Stdout)}
	serve := func(c edge.Config) error {
		select {
		case configs <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-served:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	configured := make(chan struct{})
	first := sync.OnceFunc(func() { close(configured) })
	name := func(c edge.Change) error {
		endpoints := inboundEndpoints(c.Endpoints)
		inbound.Store(&endpoints)
		upstreams.Store(&c.Upstreams)
		rate.Store(int64(c.DNSRate))
		hostTargets.Store(&c.DNSHostTargets)
		next := resolver.Compile(view.Load().Without(c.GoneVPCs, c.GoneZones), c.VPCs, c.Zones, log)
		view.Store(next)
		res.Forget()
		if err := answers.SetSpaces(next.Spaces()); err != nil {
			// The agent takes all answers away and starts another.
			return fmt.Errorf("names that have changed may be answered as before: %w", err)
		}
		first()
		// The agent waits for this before it says that names are as they should be.
		say.Encode(edgeWord{Holds: c.Revision})
		return nil
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	alone, ended := make(chan struct{}), make(chan struct{})
	defer func() {
		cancel()
		close(ended)
	}()
	// Not waited for: a read of the standard input cannot be interrupted.
	go func() {
		defer close(alone)
		err := followConfigs(os.Stdin, serve, name)
		asked := ctx.Err() != nil // to end
		if err != nil && !asked {
			log.Error("the edge ends", "error", err)
		}
		// The end of the input is the end of the agent, and ours.
		cancel()
		if asked {
			io.Copy(io.Discard, os.Stdin) // nothing changes any more; but the agent may end
		}
	}()
	// Until there are names, questions wait in the sockets as requests do.
	named := func() {
		select {
		case <-configured:
		case <-ctx.Done():
		}
	}
	for _, c := range dnsP {
		wg.Go(func() {
			named()
			if err := res.ServePacket(c); err != nil && ctx.Err() == nil {
				log.Error("resolver", "error", err)
				cancel()
			}
		})
	}
	wg.Go(func() {
		named()
		if err := res.ServeListener(dnsL); err != nil && ctx.Err() == nil {
			log.Error("resolver", "error", err)
			cancel()
		}
	})
	counting, endCounting := context.WithCancel(context.Background())
	var counted sync.WaitGroup
	counted.Go(func() { counts.keep(counting, res, log) })
	wg.Go(func() {
		<-ctx.Done()
		// Questions are answered until the last request has been: nobody else does
		// before the agent has ended. One that has ended already may have a
		// successor, whose edge waits for the file of drops and the maps of answers.
		select {
		case <-ended:
		case <-alone:
		}
		end, done := context.WithTimeout(context.Background(), 2*time.Second)
		defer done()
		res.Shutdown(end)
		endCounting()
		counted.Wait()
		answers.Close()
		counts.file.Close()
	})
	if err := supervise.NotifyReady(nil); err != nil {
		return err
	}
	out := edge.NewRecordWriter(records, func(err error) { log.Error("records were not written", "error", err) })
	defer out.Flush()
	inForce := func() {
		select {
		case served <- struct{}{}:
		case <-ctx.Done():
		}
	}
	totals := tally.New(time.Now())
	defer keepTotals(os.NewFile(fdTotals, "totals"), totals, log)()
	return edge.Run(ctx, edge.Sockets{HTTP: httpL, HTTPS: httpsL}, configs, inForce, id, func(r edge.Record) {
		out.Write(&r)
		totals.Count(r.Tally())
	}, func(health map[string]map[string]bool) { say.Encode(edgeWord{Backends: health}) })
}

// fileDoor is fileListener for one that can be left.
func fileDoor(fd int, name string) (*datapath.Door, error) {
	l, err := fileListener(fd, name)
	if err != nil {
		return nil, err
	}
	return datapath.OpenDoor(l)
}

// followConfigs brings each line of the agent's stream into force until its end:
// the requests first and then the names, so that a name leads to a service only when
// the service's certificate and backends are there.
func followConfigs(in io.Reader, serve func(edge.Config) error, name func(edge.Change) error) error {
	dec := json.NewDecoder(bufio.NewReader(in))
	spaces := edge.Spaces{}
	for {
		var c edge.Change
		if err := dec.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("the configuration does not decode: %w", err)
		}
		if err := serve(spaces.Take(c)); err != nil {
			return err
		}
		if err := name(c); err != nil {
			return err
		}
	}
}

// keepTotals keeps counts in a file until the function it returns is called. The file is
// locked: an edge that ends its requests while the next one runs has it until then, and
// the next one adds to what that has counted.
func keepTotals(file *os.File, totals *tally.Counter, log *slog.Logger) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := waitLock(ctx, file); err != nil {
			log.Error("requests were not counted in the totals", "error", err)
			return
		}
		tally.Keep(ctx, file, totals, func(err error) { log.Error("the totals of requests are not kept", "error", err) })
	})
	return func() {
		cancel()
		wg.Wait()
		file.Close()
	}
}

// newProberCommand is the unprivileged child of the agent that checks targets.
func newProberCommand(*options) *cobra.Command {
	return &cobra.Command{
		Use: "prober", Hidden: true, Args: cobra.NoArgs,
		Short: "check targets' health (started by the agent)",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := confine(); err != nil {
				return err
			}
			return runProber(supervise.Lifeline(c.Context()), newLogger())
		},
	}
}

func runProber(ctx context.Context, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := make(chan map[string]desired.Probe)
	go func() {
		defer cancel()
		dec := json.NewDecoder(bufio.NewReader(os.Stdin))
		for {
			var probes map[string]desired.Probe
			if err := dec.Decode(&probes); err != nil {
				if !errors.Is(err, io.EOF) {
					log.Error("the probes do not decode", "error", err)
				}
				return
			}
			select {
			case in <- probes:
			case <-ctx.Done():
				return
			}
		}
	}()
	var mu sync.Mutex
	enc := json.NewEncoder(os.Stdout)
	if err := supervise.NotifyReady(nil); err != nil {
		return err
	}
	return nlb.Run(ctx, in, func(r nlb.Result) {
		mu.Lock()
		defer mu.Unlock()
		if err := enc.Encode(r); err != nil {
			cancel()
		}
	}, nlb.Options{})
}
