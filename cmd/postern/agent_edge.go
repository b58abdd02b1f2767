// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/hostsync"
	"postern.dev/postern/internal/link"
	"postern.dev/postern/internal/supervise"
	"postern.dev/postern/internal/vpc"
)

// edgeFeed turns desired state and settings into what the edge and the
// prober take.
type edgeFeed struct {
	host    vpc.HostID
	configs *latest[edge.Config]
	probes  *latest[map[string]desired.Probe]
	resend  func()
	named   func(vpc.Revision)
	// backends takes what the edge says of the services' backends.
	backends func(map[string]map[string]bool)
	limit    func(packetsPerSecond int) error // of each interface to its resolver
	log      *slog.Logger

	mu       sync.Mutex
	desired  desired.Host      // guarded by mu
	settings hostsync.Settings // guarded by mu
	sent     vpc.Revision      // of the last configuration, which has all there is to desired; guarded by mu
	held     vpc.Revision      // what the edge said last; guarded by mu
}

// Desired implements agent.Edge.
func (f *edgeFeed) Desired(h desired.Host) {
	f.mu.Lock()
	same := f.desired.SameTables(h)
	f.desired = h
	if !same {
		f.sent, f.held = h.Revision, 0
	}
	f.tell()
	f.mu.Unlock()
	if same {
		return
	}
	f.publish()
	f.probes.Set(h.Probes)
}

// Settings implements agent.Edge. They come first on every new stream, so a
// server that has just started gets every health result again.
func (f *edgeFeed) Settings(s hostsync.Settings) {
	f.mu.Lock()
	f.settings = s
	f.mu.Unlock()
	if err := f.limit(s.DNSRate); err != nil {
		f.log.Error("the resolver's limit is not set", "error", err)
	}
	f.publish()
	f.resend()
}

func (f *edgeFeed) publish() {
	f.mu.Lock()
	h, s := f.desired, f.settings
	f.sent = h.Revision
	f.mu.Unlock()
	if h.VPCs == nil || s.Region == "" {
		return // the server has not spoken yet
	}
	c := edge.Config{
		Revision: h.Revision, VPCs: h.VPCs, Endpoints: h.Endpoints, Services: map[string]desired.Service{},
		Interfaces: map[uint64]edge.Interface{}, Keys: h.Keys, Users: h.Users, Upstreams: s.Upstreams, Zones: h.Zones, DNSRate: s.DNSRate, DNSHostTargets: s.DNSHostTargets, Region: s.Region,
		Certificates: map[string]edge.Certificate{}, IdentityKey: s.IdentityKey, Questions: map[string]string{},
	}
	for name, v := range h.Services {
		if where := s.Questions[v.Name]; where != "" && len(v.Backends) == 0 {
			c.Questions[name] = where
		}
		v.Backends = backendURLs(v, s)
		c.Services[name] = v
	}
	for id, n := range h.Interfaces {
		v := h.VPCs[n.VNI]
		c.Interfaces[vpc.Num(id)] = edge.Interface{ID: id, VPC: v.ID, Owner: v.Owner}
	}
	for name, k := range s.Certificates {
		c.Certificates[name] = edge.Certificate{CertPEM: k.Chain, KeyPEM: k.Key}
	}
	f.configs.Set(c)
}

// holds takes the edge's word that its resolver answers as the configuration of
// a revision says.
func (f *edgeFeed) holds(r vpc.Revision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = r
	f.tell()
}

// tell says which names the edge has, if it has the newest. It is called with mu.
func (f *edgeFeed) tell() {
	if f.held == f.sent && f.sent != 0 {
		f.named(f.desired.Revision)
	}
}

// maxDNSSockets bounds how many sockets share the questions over UDP: one for
// each processor, each of which one goroutine reads.
const maxDNSSockets = 8

// edgeGrace is how long the edge may take to end, agentGrace the agent, which waits
// for it.
const (
	edgeGrace  = edge.DrainTime + 2*time.Second
	agentGrace = edgeGrace + 5*time.Second
)

// edgeChild is the unprivileged process that speaks to workloads. It gets its
// listening sockets, which the agent keeps, so that connections wait in them while
// one edge has died and the next does not run yet; a read-only descriptor of the
// connection table, the record file, the file of the resolver's drops, the maps in
// which the resolver leaves answers and the file of the totals. Its configuration comes on its
// standard input, whose end is also its end.
//
// The file of drops is locked: the lock is the edge's as long as its resolver works,
// and so there is one resolver at a time, also after an agent that was killed, whose
// edge still ends the requests on their way. What the programs answer ends with the
// resolver whose answers they are.
func edgeChild(ctx context.Context, links *link.Links, tag string, dp *datapath.Datapath, f *edgeFeed, p paths, cred *syscall.Credential) supervise.Spec {
	packets := min(runtime.NumCPU(), maxDNSSockets)
	var following sync.WaitGroup // the end of the edge before
	var socks link.Sockets
	return supervise.Spec{
		Name:   "edge",
		Notify: true,
		Grace:  edgeGrace,
		Command: func() (*exec.Cmd, error) {
			if socks.HTTP == nil {
				wait, done := context.WithTimeout(ctx, 5*time.Second)
				defer done()
				var err error
				if socks, err = links.ListenService(wait, packets); err != nil {
					return nil, err
				}
			}
			table, err := dp.ConnsFile()
			if err != nil {
				return nil, err
			}
			records, err := openRecords(p.requests())
			if err != nil {
				table.Close()
				return nil, err
			}
			totals, err := openTotals(p.totals())
			if err != nil {
				table.Close()
				records.Close()
				return nil, err
			}
			drops, spaces, answers, err := openAnswers(ctx, dp, resolverDrops(tag), &following)
			if err != nil {
				table.Close()
				records.Close()
				totals.Close()
				return nil, err
			}
			cmd := selfCommand("edge", "--dns-sockets", strconv.Itoa(packets))
			cmd.ExtraFiles = append([]*os.File{socks.HTTP, socks.HTTPS, socks.DNSStream, table, records, drops, spaces, answers, totals}, socks.DNSPacket...)
			cmd.SysProcAttr = childOf(cred)
			return cmd, nil
		},
		Start: func(cmd *exec.Cmd) error {
			once := cmd.ExtraFiles[fdConnections-3 : fdDNSPacket-3] // of this start
			defer func() {
				for _, file := range once {
					file.Close()
				}
			}()
			cmd.Stdout = nil
			out, err := cmd.StdoutPipe()
			if err != nil {
				return err
			}
			if err := startFed(ctx, cmd, f.configs, func(w io.Writer) func(edge.Config) error { return edge.NewFeed(w).Send }, cmd.Start); err != nil {
				return err
			}
			following.Go(func() {
				sc := bufio.NewScanner(out)
				for sc.Scan() {
					var w edgeWord
					switch err := json.Unmarshal(sc.Bytes(), &w); {
					case err != nil:
						f.log.Error("what the edge says does not decode", "error", err)
					case w.Holds != 0:
						f.holds(w.Holds)
					default:
						f.backends(w.Backends)
					}
				}
				if err := dp.ForgetSpaces(); err != nil && ctx.Err() == nil {
					f.log.Error("the resolver's answers are given without it", "error", err)
				}
			})
			return nil
		},
	}
}

// edgeEnds is how long an edge may take to end without its agent, and some more. It
// gives its resolver up first.
const edgeEnds = 15 * time.Second

// openAnswers waits until no earlier resolver is left, takes away the answers that it
// left and opens what the next one gets.
func openAnswers(ctx context.Context, dp *datapath.Datapath, dropsFile string, following *sync.WaitGroup) (drops, spaces, answers *os.File, err error) {
	following.Wait()
	if drops, err = os.OpenFile(dropsFile, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, nil, nil, fmt.Errorf("open the resolver's counts of drops: %w", err)
	}
	defer func() {
		if err != nil {
			drops.Close()
		}
	}()
	wait, done := context.WithTimeout(ctx, edgeEnds)
	defer done()
	if err := waitLock(wait, drops); err != nil {
		return nil, nil, nil, fmt.Errorf("wait for the end of an earlier edge's resolver: %w", err)
	}
	if err := dp.ForgetAnswers(); err != nil {
		return nil, nil, nil, err
	}
	spaces, answers, err = dp.AnswersFiles()
	return drops, spaces, answers, err
}
