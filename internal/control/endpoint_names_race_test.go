// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// laggards are hosts whose packets and names follow the store each at a pace of
// its own, and who watch over all of them that no name leads where packets do
// not pass: what one host resolves, each of them must carry.
type laggards struct {
	t *testing.T

	mu      sync.Mutex
	packets map[vpc.HostID]desired.Host
	names   map[vpc.HostID]desired.Host
	looked  int // at names that lead to an endpoint
}

func (l *laggards) set(held map[vpc.HostID]desired.Host, id vpc.HostID, h desired.Host) {
	l.mu.Lock()
	defer l.mu.Unlock()
	held[id] = h
	for asker, n := range l.names {
		for vni, v := range n.VPCs {
			for _, r := range v.Records {
				if !strings.HasSuffix(r.Name, "vpce.amazonaws.com") && !slices.Contains(v.PrivateZones, strings.TrimPrefix(r.Name, "*.")) {
					continue
				}
				for _, a := range r.Addrs {
					l.looked++
					for carrier, p := range l.packets {
						if !passes(p, vni, a) {
							l.t.Errorf("%s resolves %s to %s at revision %d, where packets do not pass: %s is at revision %d", asker, r.Name, a, n.Revision, carrier, p.Revision)
						}
					}
				}
			}
		}
	}
}

func passes(h desired.Host, vni vpc.VNI, a netip.Addr) bool {
	for _, i := range h.Interfaces {
		if _, carries := h.Endpoints[i.Endpoint]; carries && i.VNI == vni && slices.Contains(i.Addrs(), a) {
			return true
		}
	}
	return false
}

// answers reports whether every host resolves a name.
func (l *laggards) answers(vni vpc.VNI, name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.names {
		if !slices.ContainsFunc(n.VPCs[vni].Records, func(r desired.Record) bool { return r.Name == name }) {
			return false
		}
	}
	return true
}

// follow runs one host until ctx ends.
func (l *laggards) follow(ctx context.Context, f *endpoints, id vpc.HostID, rnd *rand.Rand) {
	var mu sync.Mutex
	status := control.HostStatus{Host: id}
	report := func(set func(*control.HostStatus)) {
		mu.Lock()
		defer mu.Unlock()
		set(&status)
		f.Hosts.Report(status)
	}
	var wg sync.WaitGroup
	pace := func(held map[vpc.HostID]desired.Host, reached func(*control.HostStatus, vpc.Revision), lag int) {
		mine := rand.New(rand.NewPCG(rnd.Uint64(), 1))
		wg.Go(func() {
			for ctx.Err() == nil {
				snap, changed := f.Store.Changed()
				h := desired.ForHost(snap, id)
				time.Sleep(time.Duration(mine.IntN(lag)) * time.Microsecond)
				l.set(held, id, h)
				report(func(s *control.HostStatus) { reached(s, h.Revision) })
				select {
				case <-changed:
				case <-ctx.Done():
				}
			}
		})
	}
	pace(l.packets, func(s *control.HostStatus, r vpc.Revision) { s.Applied = r }, 1500)
	pace(l.names, func(s *control.HostStatus, r vpc.Revision) { s.Named = r }, 5000)
	wg.Wait()
}

func TestNoNameLeadsWherePacketsDoNotPass(t *testing.T) {
	t.Parallel()
	rounds := 60
	if os.Getenv("POSTERN_LONG_TESTS") != "" {
		rounds = 1000
	}
	f := newEndpoints(t)
	controltest.HandMade(f.Control)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	hosts := []vpc.HostID{"one", "two"}
	six := map[vpc.SubnetID]string{subnetA: "2001:db8:0:1::/64", subnetB: "2001:db8:0:2::/64", subnetC: "2001:db8:0:3::/64"}
	f.put(func(tx *store.Tx) {
		v, _ := vpc.Get[vpc.VPC](tx, f.vpc)
		v = vpc.Edit(v)
		v.IPv6 = []vpc.CIDRAssociation{{ID: "vpc-cidr-assoc-6", CIDR: netip.MustParsePrefix("2001:db8::/56")}}
		tx.Put(v)
		for id, block := range six {
			s, _ := vpc.Get[vpc.Subnet](tx, id)
			s = vpc.Edit(s)
			s.IPv6 = vpc.CIDRAssociation{ID: "subnet-cidr-assoc-" + string(id), CIDR: netip.MustParsePrefix(block)}
			tx.Put(s)
		}
		s3, _ := vpc.First[vpc.CatalogueService](tx, vpc.IndexName, s3Name)
		s3 = vpc.Edit(s3)
		s3.PrefixList6, s3.Prefixes6 = "pl-0000000000000000b", []netip.Prefix{netip.MustParsePrefix("2001:db8:53::/48")}
		tx.Put(s3)
		for i, h := range hosts {
			tx.Put(&vpc.NetworkInterface{ID: vpc.InterfaceID("eni-" + h), Owner: controltest.Consumer.Account, VPC: f.vpc, Subnet: subnetA, Zone: "us-east-1a",
				Type: vpc.TypeInterface, Addr: netip.AddrFrom4([4]byte{10, 0, 1, byte(200 + i)}), MAC: "02:00:00:00:00:0" + string(rune('1'+i)), Groups: []vpc.GroupID{f.group},
				Attachment: &vpc.Attachment{ID: "eni-attach-" + string(h), Host: h, External: &vpc.ExternalWorkload{Ifname: "tap"}}})
		}
	})
	l := &laggards{t: t, packets: map[vpc.HostID]desired.Host{}, names: map[vpc.HostID]desired.Host{}}
	ctx, cancel := context.WithCancel(f.ctx)
	var wg sync.WaitGroup
	defer func() { cancel(); wg.Wait() }()
	for _, h := range hosts {
		own := rand.New(rand.NewPCG(seed, rnd.Uint64()))
		wg.Go(func() { l.follow(ctx, f, h, own) })
	}
	for m, changed := f.Hosts.Status(); len(m) < len(hosts); m, changed = f.Hosts.Status() {
		<-changed
	}
	f.live()
	f.vouch("example.com")
	theirs := f.service(true, "api.example.com")
	v, _ := vpc.Get[vpc.VPC](f.View(), f.vpc)
	subnets := []vpc.SubnetID{subnetA, subnetB, subnetC}
	one := []vpc.SubnetID{subnetA}
	yes := true
	for range rounds {
		ours := rnd.IntN(2) == 0
		in := control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: theirs.Name, Subnets: one, PrivateDNS: &yes}
		if ours {
			in.ServiceName = s3Name
		}
		e := f.create(in)
		if !ours {
			f.answers(theirs.ID, e.ID, f.AcceptConnections)
		}
		f.awaitState(e.ID, vpc.EndpointAvailable)
		regional := vpc.EndpointNamesIn(f.View(), e)[0].Name
		if !l.answers(v.VNI, regional) {
			t.Fatalf("%s is available, and a host does not resolve %s", e.ID, regional)
		}
		for range rnd.IntN(4) {
			m := control.ModifyEndpointInput{ID: e.ID}
			now := f.endpoint(e.ID)
			if ours && rnd.IntN(2) == 0 {
				if m.IPAddressType = vpc.DualStack; now.HasIPv6() {
					m.IPAddressType = vpc.IPv4Only
				}
			}
			if s := subnets[rnd.IntN(len(subnets)-rnd.IntN(2))]; slices.ContainsFunc(now.Nodes, func(n vpc.EndpointNode) bool { return n.Subnet == s }) {
				m.RemoveSubnets = []vpc.SubnetID{s}
			} else if ours || s != subnetC { // which their balancer is not in
				m.AddSubnets = []vpc.SubnetID{s}
			}
			if err := f.ModifyEndpoint(f.ctx, controltest.Consumer, m); err != nil {
				t.Fatal(err)
			}
		}
		if !ours && rnd.IntN(2) == 0 {
			f.answers(theirs.ID, e.ID, f.RejectConnections)
			if f.endpoint(e.ID).Passes() {
				t.Errorf("%s passes packets after the call that rejected it", e.ID)
			}
			if rnd.IntN(2) == 0 {
				f.answers(theirs.ID, e.ID, f.AcceptConnections)
			}
		}
		if failed, err := f.DeleteEndpoints(f.ctx, controltest.Consumer, []vpc.EndpointID{e.ID}); err != nil || len(failed) > 0 {
			t.Fatal(failed, err)
		}
		f.awaitGone(e.ID)
	}
	if l.looked == 0 {
		t.Error("no host resolved anything")
	}
	t.Logf("%d rounds, %d looks at where a name leads", rounds, l.looked)
}

// answers gives a provider's answer, which must be taken.
func (f *endpoints) answers(s vpc.ServiceID, e vpc.EndpointID, call func(context.Context, control.Caller, vpc.ServiceID, []vpc.EndpointID) ([]control.ItemError, error)) {
	f.t.Helper()
	if failed, err := call(f.ctx, controltest.Provider, s, []vpc.EndpointID{e}); err != nil || len(failed) > 0 {
		f.t.Fatal(failed, err)
	}
}
