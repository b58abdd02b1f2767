// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/vpc"
)

// Reason is one reason for a drop.
type Reason struct {
	Code uint32
	Name string // lower case with dashes
	Text string // one sentence
}

// Reasons lists every reason the programs know, by code.
func Reasons() []Reason {
	out := make([]Reason, 0, len(bpf.Reasons))
	for _, r := range bpf.Reasons {
		out = append(out, Reason(r))
	}
	return out
}

// ReasonOf gives the reason with this code; one of a newer program has only
// its number.
func ReasonOf(code uint32) Reason {
	for _, r := range bpf.Reasons {
		if r.Code == code {
			return Reason(r)
		}
	}
	return Reason{Code: code, Name: fmt.Sprintf("reason-%d", code)}
}

// Drop counts the packets of one interface that were dropped for one reason.
type Drop struct {
	Interface uint64 // number of the sender; 0 if it is not known
	Reason    Reason
	Packets   uint64
	Bytes     uint64
	// The last of them: when, in which VPC, and what it was.
	Last         time.Time
	VNI          vpc.VNI
	Protocol     int
	Source, Dest netip.AddrPort
}

// Reader reads the maps that packets write, without changing any.
type Reader struct {
	dir                  string
	conns, drops, usages *ebpf.Map
}

// OpenReader opens the maps pinned under pinDir for reading; it needs the
// privileges to open pins, not those to load programs.
func OpenReader(pinDir string) (*Reader, error) {
	r := &Reader{dir: pinDir}
	for name, m := range map[string]**ebpf.Map{"conns": &r.conns, "drops": &r.drops, "usages": &r.usages} {
		var err error
		*m, err = openPinned(pinDir, name)
		if name == "usages" && errors.Is(err, fs.ErrNotExist) {
			continue // the programs are of a version before there were any
		}
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// Close closes the maps.
func (r *Reader) Close() error {
	return errors.Join(r.conns.Close(), r.drops.Close(), r.usages.Close())
}

func (d *Datapath) reader() *Reader {
	return &Reader{d.dir, d.objs.Conns, d.objs.Drops, d.objs.Usages}
}

// Drops is Reader.Drops for the process that owns the datapath.
func (d *Datapath) Drops() ([]Drop, error) { return d.reader().Drops() }

// Connections is Reader.Connections for the process that owns the datapath.
func (d *Datapath) Connections() iter.Seq2[Connection, error] { return d.reader().Connections() }

// Drops lists the counters of dropped packets, most recent first.
func (r *Reader) Drops() ([]Drop, error) {
	boot := bootTime()
	var k bpf.DatapathDropKey
	var v bpf.DatapathDropValue
	var out []Drop
	it := r.drops.Iterate()
	for it.Next(&k, &v) {
		out = append(out, Drop{
			Interface: k.Eni, Reason: ReasonOf(k.Reason), Packets: v.Packets, Bytes: v.Bytes,
			Last: boot.Add(time.Duration(v.Last)), VNI: clientSpace(v.Vni), Protocol: int(v.Proto),
			Source: netip.AddrPortFrom(fromAddr(v.Src), fromPort(v.Sport)),
			Dest:   netip.AddrPortFrom(fromAddr(v.Dst), fromPort(v.Dport)),
		})
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read map drops: %w", err)
	}
	slices.SortFunc(out, func(a, b Drop) int { return b.Last.Compare(a.Last) })
	return out, nil
}

// pruneCounts forgets what was counted for interfaces that are gone.
func (d *Datapath) pruneCounts() error {
	known := map[uint64]bool{0: true, ServiceInterface: true, UplinkInterface: true}
	spaces := map[vpc.VNI]bool{}
	for k, i := range d.tables.interfaces.have {
		known[i.Eni] = true
		spaces[vpc.VNI(k.Vni)] = true
	}
	for l := range d.tables.links.have {
		spaces[vpc.VNI(l)] = true
	}
	for v := range spaces {
		known[overlayEni|uint64(v)] = true
	}
	err := forget(d.objs.Drops, func(k bpf.DatapathDropKey, _ bpf.DatapathDropValue) bool { return !known[k.Eni] })
	if err != nil {
		return fmt.Errorf("prune map drops: %w", err)
	}
	err = forget(d.objs.Fragments, func(k bpf.DatapathFragmentKey, _ bpf.DatapathFragmentValue) bool { return !known[k.Eni] })
	if err != nil {
		return fmt.Errorf("prune map fragments: %w", err)
	}
	err = forget(d.objs.DnsAskers, func(eni, _ uint64) bool { return !known[eni] })
	if err != nil {
		return fmt.Errorf("prune map dns_askers: %w", err)
	}
	// An interface that is gone begins no flows, so a count of 0 stays 0.
	err = forget(d.objs.EniQuota, func(eni, used uint64) bool { return used == 0 && !known[eni] })
	if err != nil {
		return fmt.Errorf("prune map eni_quota: %w", err)
	}
	return nil
}

// forget deletes the entries that which chooses. Packets may write to the map
// meanwhile; what a disturbed walk misses, the next one finds.
func forget[K, V any](m *ebpf.Map, which func(K, V) bool) error {
	var k K
	var v V
	var gone []K
	it := m.Iterate()
	for it.Next(&k, &v) {
		if which(k, v) {
			gone = append(gone, k)
		}
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return err
	}
	for i := range gone {
		if err := m.Delete(&gone[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

// bootTime is the zero of CLOCK_MONOTONIC.
func bootTime() time.Time {
	return time.Now().Add(-time.Duration(monotonic()))
}

func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}

// Collected is what one round of the collector found.
type Collected struct {
	Expired uint64 // entries deleted
	// Entries left: a translated flow is one consumer and one provider half.
	Plain, Consumer, Provider uint64
}

// Collect deletes what is over: expired connections, lists to which nothing
// refers any more, counts of interfaces that are gone. It is meant to be called
// every few seconds; nothing but memory and quotas waits for it, because an
// expired connection carries nothing.
func (d *Datapath) Collect() (Collected, error) {
	if err := d.discard(); err != nil {
		return Collected{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.pruneCounts(); err != nil {
		return Collected{}, err
	}
	if _, err := d.objs.Collect.Run(&ebpf.RunOptions{}); err != nil {
		return Collected{}, fmt.Errorf("run collector: %w", err)
	}
	var c bpf.DatapathCollected
	if err := d.objs.Collections.Lookup(uint32(0), &c); err != nil {
		return Collected{}, fmt.Errorf("read map collections: %w", err)
	}
	return Collected{Expired: c.Expired, Plain: c.Plain, Consumer: c.Consumer, Provider: c.Provider}, nil
}

// discard deletes the lists without reference. Changes go on while it waits for
// the packets that may be reading them.
func (d *Datapath) discard() error {
	d.mu.Lock()
	change, waste := d.tables.changes, d.tables.waste()
	d.mu.Unlock()
	if waste == 0 {
		return nil
	}
	if err := gracePeriod(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tables.discard(change)
}

// Counters are totals since the maps were made.
type Counters struct {
	Delivered      uint64 // packets that reached a workload
	DeliveredBytes uint64
	Translated     uint64 // packets whose addresses were rewritten
	Connections    uint64 // flows begun
	Resets         uint64 // TCP resets sent
	ARP            uint64 // questions answered, of ARP and neighbour discovery
	DNS            uint64 // questions to the resolver answered by the programs
}

// Counters reads the totals over all CPUs.
func (d *Datapath) Counters() (Counters, error) {
	var c Counters
	add := func(m *ebpf.Map, which uint32, to *uint64) error {
		var per []uint64
		if err := m.Lookup(which, &per); err != nil {
			return fmt.Errorf("read map %s: %w", m, err)
		}
		for _, n := range per {
			*to += n
		}
		return nil
	}
	for which, to := range map[bpf.DatapathCounter]*uint64{
		bpf.DatapathCounterCOUNT_DELIVERED:       &c.Delivered,
		bpf.DatapathCounterCOUNT_DELIVERED_BYTES: &c.DeliveredBytes,
		bpf.DatapathCounterCOUNT_TRANSLATED:      &c.Translated,
		bpf.DatapathCounterCOUNT_CONNECTIONS:     &c.Connections,
		bpf.DatapathCounterCOUNT_RESETS:          &c.Resets,
		bpf.DatapathCounterCOUNT_ARP:             &c.ARP,
	} {
		if err := add(d.objs.Counters, uint32(which), to); err != nil {
			return Counters{}, err
		}
	}
	if err := add(d.objs.DnsAnswered, 0, &c.DNS); err != nil {
		return Counters{}, err
	}
	return c, nil
}

// Connection is one entry of the connection table.
type Connection struct {
	VNI      vpc.VNI
	Protocol int
	// Kind is plain, consumer, provider or far: a consumer whose halves are on
	// the target's host.
	Kind string
	// Initiator and Responder as they are in VNI. For a translated flow the
	// Peer fields are the other half.
	Initiator, Responder         netip.AddrPort
	PeerVNI                      vpc.VNI
	PeerInitiator, PeerResponder netip.AddrPort
	Interface                    uint64 // number of the initiator's interface
	Target                       uint64 // number of the interface that answers
	Endpoint                     uint64 // number of the endpoint, or 0
	Link                         vpc.VNI
	Replied, Finished            bool
	Created, LastSeen            time.Time
	Expires                      time.Time // when nothing more is seen of it; it may still be in the table then
	// By the initiator and by the responder.
	Packets, Bytes [2]uint64
}

// Connections walks the connection table. Entries that come and go meanwhile
// may be missed or seen; an error ends the walk.
func (r *Reader) Connections() iter.Seq2[Connection, error] {
	return func(yield func(Connection, error) bool) {
		boot := bootTime()
		idle, err := readIdleTimes()
		if err != nil {
			yield(Connection{}, err)
			return
		}
		for e, err := range r.entries() {
			if err == nil {
				err = r.join(&e.value)
			}
			if err != nil {
				yield(Connection{}, err)
				return
			}
			c := connection(e.key, e.value, boot)
			c.Expires = c.LastSeen.Add(idle.of(c, e.value))
			if !yield(c, nil) {
				return
			}
		}
	}
}

// connEntry is an entry of the connection table as it is there.
type connEntry struct {
	key   bpf.DatapathConnKey
	value bpf.DatapathConn
}

// entries walks the connection table; an error ends the walk.
func (r *Reader) entries() iter.Seq2[connEntry, error] {
	return func(yield func(connEntry, error) bool) {
		var cursor ebpf.MapBatchCursor
		keys := make([]bpf.DatapathConnKey, 4096)
		values := make([]bpf.DatapathConn, len(keys))
		for {
			n, err := r.conns.BatchLookup(&cursor, keys, values, nil)
			for i := range n {
				if !yield(connEntry{keys[i], values[i]}, nil) {
					return
				}
			}
			if errors.Is(err, ebpf.ErrKeyNotExist) {
				return
			}
			if err != nil {
				yield(connEntry{}, fmt.Errorf("read map conns: %w", err))
				return
			}
		}
	}
}

// join gives a half of a translated flow what its other half has counted and
// seen: each counts its own sender's packets.
func (r *Reader) join(v *bpf.DatapathConn) error {
	if k := bpf.DatapathConnKind(v.Kind); k == bpf.DatapathConnKindCONN_PLAIN || k == bpf.DatapathConnKindCONN_FAR {
		return nil
	}
	var other bpf.DatapathConn
	err := r.conns.Lookup(&v.Peer, &other)
	if errors.Is(err, ebpf.ErrKeyNotExist) { // it has just gone
		return nil
	}
	if err != nil {
		return fmt.Errorf("read map conns: %w", err)
	}
	for i := range v.Packets {
		v.Packets[i] += other.Packets[i]
		v.Bytes[i] += other.Bytes[i]
	}
	v.LastSeen = max(v.LastSeen, other.LastSeen)
	return nil
}

func connection(k bpf.DatapathConnKey, v bpf.DatapathConn, boot time.Time) Connection {
	c := Connection{
		VNI: clientSpace(k.Vni), Protocol: int(k.Proto), Interface: v.Eni, Target: v.Target, Endpoint: v.Endpoint, Link: vpc.VNI(v.Link),
		Created: boot.Add(time.Duration(v.Created)), LastSeen: boot.Add(time.Duration(v.LastSeen)),
		Packets: v.Packets, Bytes: v.Bytes,
	}
	const fins = bpf.DatapathSeenSEEN_FIN_INITIATOR | bpf.DatapathSeenSEEN_FIN_RESPONDER
	seen := bpf.DatapathSeen(v.Seen)
	c.Replied = seen&bpf.DatapathSeenSEEN_REPLY != 0
	c.Finished = seen&bpf.DatapathSeenSEEN_RST != 0 || seen&fins == fins
	c.Initiator, c.Responder = ends(k, v.Initiator)
	switch bpf.DatapathConnKind(v.Kind) {
	case bpf.DatapathConnKindCONN_PLAIN:
		c.Kind = "plain"
		return c
	case bpf.DatapathConnKindCONN_CONSUMER:
		c.Kind = "consumer"
	case bpf.DatapathConnKindCONN_FAR:
		c.Kind = "far"
	case bpf.DatapathConnKindCONN_PROVIDER:
		c.Kind = "provider"
	}
	c.PeerVNI = clientSpace(v.Peer.Vni)
	c.PeerInitiator, c.PeerResponder = ends(v.Peer, v.PeerInitiator)
	if c.Kind == "far" { // the target's host alone knows what the target sees
		c.PeerInitiator = c.Initiator
	}
	return c
}

// idleTimes are how long a connection lasts without packets, by the names of
// the programs' variables.
type idleTimes map[string]time.Duration

// readIdleTimes reads what the programs are loaded with.
func readIdleTimes() (idleTimes, error) {
	spec, err := bpf.LoadDatapath()
	if err != nil {
		return nil, fmt.Errorf("read the embedded programs: %w", err)
	}
	t := idleTimes{}
	for name, v := range spec.Variables {
		var ns uint64
		if !strings.HasPrefix(name, "timeout_") {
			continue
		}
		if err := v.Get(&ns); err != nil {
			return nil, fmt.Errorf("read variable %s: %w", name, err)
		}
		t[name] = time.Duration(ns)
	}
	return t, nil
}

// of is conn_timeout of bpf/conn.h.
func (t idleTimes) of(c Connection, v bpf.DatapathConn) time.Duration {
	nat := c.Kind != "plain"
	own := func(seconds uint32, name string) time.Duration {
		if seconds != 0 {
			return time.Duration(seconds) * time.Second
		}
		return t[name]
	}
	switch {
	case c.Protocol == vpc.TCP && c.Finished:
		return t["timeout_closing"]
	case c.Protocol == vpc.TCP && !c.Replied:
		return t["timeout_syn"]
	case c.Protocol == vpc.TCP && nat:
		return own(v.IdleTcp, "timeout_tcp_nat")
	case c.Protocol == vpc.TCP:
		return own(v.IdleTcp, "timeout_tcp")
	case c.Protocol == vpc.UDP && nat:
		return t["timeout_udp_nat"]
	case c.Protocol == vpc.UDP && c.Replied:
		return own(uint32(v.IdleUdpStream), "timeout_udp_stream")
	case c.Protocol == vpc.UDP:
		return own(uint32(v.IdleUdp), "timeout_udp")
	case c.Protocol == vpc.ICMP || c.Protocol == vpc.ICMPv6:
		return t["timeout_icmp"]
	}
	return t["timeout_other"]
}

// ends gives a key's two ends, the initiator first.
func ends(k bpf.DatapathConnKey, initiator uint8) (netip.AddrPort, netip.AddrPort) {
	i := initiator & 1
	return netip.AddrPortFrom(fromAddr(k.Addr[i]), fromPort(k.Port[i])),
		netip.AddrPortFrom(fromAddr(k.Addr[1-i]), fromPort(k.Port[1-i]))
}
