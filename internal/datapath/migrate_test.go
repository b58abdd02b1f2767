// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// run3 gives the dispatchers of a migration old programs to jump to: in these
// tests no device has a link.
func (l *layout3) run3(t *testing.T, w *world) {
	t.Helper()
	for slot, name := range []string{"from_workload", "from_service"} {
		if err := w.dp.migration.programs.Put(uint32(slot), l.Programs[name]); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConnectionsOfLayout3AreCarriedOver(t *testing.T) {
	w, old := newWorld3(t, func(w *world) {
		edit(w.host.Balancers, node, func(b *desired.Balancer) { b.Listeners[0].Group = "tg" })
	})
	w.open()
	old.run3(t, w)
	through := endsOf(t, w.passes(tcp(eniA1, addrA1, 4000, addrEP, 80, "S"), eniB1))
	w.passes(tcp(eniB1, addrB1, 8080, through.src.Addr(), int(through.src.Port()), "SA"), eniA1)
	w.passes(udp(eniA1, addrA1, 4001, addrA2, 53), eniA2)
	w.passes(ping(eniA2, addrA2, addrA3, 8, 7), eniA3)
	asked := endsOf(t, w.passes(udp(eniA1, addrA1, 4002, desired.LinkLocalResolver, 53), ""))
	probed := endsOf(t, w.passes(tcp("", desired.EdgeAddr, 4003, netip.MustParseAddr("100.80.0.7"), 8080, "S"), eniB1))
	w.drops(tcp(eniA1, addrA1, 4004, addrEP, 81, "S"), bpf.DropNoTarget)
	if n := len(w.conns()); n != 0 || old.entries(t) != 8 {
		t.Fatalf("before the first Apply there are %d entries here and %d there, want 0 and 8", n, old.entries(t))
	}
	select {
	case <-w.dp.Carrying():
		t.Error("it claims to carry packets")
	default:
	}
	before, err := w.dp.Drops()
	if err != nil || len(before) != 1 {
		t.Fatalf("drops %+v, %v", before, err)
	}

	w.apply()
	select {
	case <-w.dp.Carrying():
	default:
		t.Error("it does not claim to carry packets")
	}
	for _, dir := range []string{oldMapDir(w.cfg.PinDir), switchDir(w.cfg.PinDir)} {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", dir, err)
		}
	}
	if n := old.entries(t); n != 0 {
		t.Errorf("%d entries were left behind", n)
	}
	entries := w.conns()
	if len(entries) != 8 {
		t.Errorf("%d entries, want 8", len(entries))
	}
	group := vpc.Num(node + "/tg")
	for k, v := range entries {
		wantVNI, wantGroup := uint32(vniA), uint64(0)
		if v.Endpoint != 0 {
			wantGroup = group
		}
		if v.Kind == uint8(bpf.DatapathConnKindCONN_PLAIN) {
			wantVNI = 0
		} else if k.Vni == uint32(vpc.ServiceVNI) && v.Kind == uint8(bpf.DatapathConnKindCONN_CONSUMER) || v.Peer.Vni == uint32(vpc.ServiceVNI) && v.Kind == uint8(bpf.DatapathConnKindCONN_PROVIDER) {
			wantVNI = uint32(vpc.ServiceVNI)
		}
		if v.ServerVni != wantVNI || v.Group != wantGroup {
			t.Errorf("%+v: server's VNI %#x, group %#x, want %#x, %#x", k, v.ServerVni, v.Group, wantVNI, wantGroup)
		}
	}
	for c, err := range w.dp.Connections() {
		if err != nil {
			t.Fatal(err)
		}
		if c.Endpoint != 0 && c.Packets != [2]uint64{1, 1} {
			t.Errorf("%s half of the endpoint's flow: packets %v, want one each way", c.Kind, c.Packets)
		}
	}
	var used uint64
	if err := w.dp.objs.EniQuota.Lookup(vpc.Num(eniA1), &used); err != nil || used != 3 {
		t.Errorf("A1 pays for %d flows, %v, want 3", used, err)
	}
	// all of them go on, from both ends
	w.passes(tcp(eniA1, addrA1, 4000, addrEP, 80, "A"), eniB1)
	w.passes(tcp(eniB1, addrB1, 8080, through.src.Addr(), int(through.src.Port()), "A"), eniA1)
	w.passes(udp(eniA2, addrA2, 53, addrA1, 4001), eniA1)
	w.passes(ping(eniA3, addrA3, addrA2, 0, 7), eniA2)
	w.passes(udp("", desired.EdgeAddr, 53, asked.src.Addr(), int(asked.src.Port())), eniA1)
	w.passes(tcp(eniB1, addrB1, 8080, probed.src.Addr(), int(probed.src.Port()), "SA"), "")
	if id, err := w.dp.Identify(asked.src, asked.dst, vpc.UDP); err != nil || id.Client != ap(addrA1, 4002) {
		t.Errorf("identity %+v, %v", id, err)
	}
	after, err := w.dp.Drops()
	if err != nil || len(after) != 1 || after[0].Packets != before[0].Packets {
		t.Errorf("drops were %+v, are %+v, %v", before, after, err)
	}
	// and end as they always would
	edit(w.host.Balancers, node, func(b *desired.Balancer) {
		b.Listeners[0].Cut = []desired.Target{{Addr: addrB1, Port: 8080}}
	})
	w.apply()
	if r := w.send(tcp(eniA1, addrA1, 4000, addrEP, 80, "A")); r.Reason.Code != bpf.DropTargetGone {
		t.Errorf("a connection to a cut target: %v", r)
	}
}

// conns is the connection table.
func (w *world) conns() map[bpf.DatapathConnKey]bpf.DatapathConn {
	w.t.Helper()
	out := map[bpf.DatapathConnKey]bpf.DatapathConn{}
	var k bpf.DatapathConnKey
	var v bpf.DatapathConn
	it := w.dp.objs.Conns.Iterate()
	for it.Next(&k, &v) {
		out[k] = v
	}
	if err := it.Err(); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// While flows move over on demand, a port that one of them has in the old table
// is not given to another.
func TestAPortOfAFlowThatHasNotMovedIsTaken(t *testing.T) {
	w, old := newWorld3(t, func(w *world) { w.cfg.ports = [2]uint32{3000, 3199} })
	w.open()
	old.run3(t, w)
	const flows = 100
	taken := map[netip.AddrPort]int{}
	for i := range flows {
		taken[endsOf(t, w.passes(tcp(eniA1, addrA1, 4000+i, addrEP, 80, "S"), eniB1)).src] = 4000 + i
	}
	w.turn()
	for i := range 200 - flows { // all that are left
		p := endsOf(t, w.passes(tcp(eniA2, addrA2, 1024+i, addrEP, 80, "S"), eniB1)).src
		if port, ok := taken[p]; ok {
			t.Fatalf("%v is a flow's from port %d", p, port)
		}
	}
	for p, port := range taken {
		if got := endsOf(t, w.passes(tcp(eniA1, addrA1, port, addrEP, 80, "A"), eniB1)); got.src != p {
			t.Fatalf("port %d was %v and is %v", port, p, got.src)
		}
	}
}

// turn does what the first Apply does up to the moment at which the new programs
// carry packets, and not what follows.
func (w *world) turn() {
	w.t.Helper()
	want, err := w.dp.build.build(w.host, w.devices, w.doors())
	if err == nil {
		err = errors.Join(w.dp.tables.apply(want, gracePeriod), w.dp.migration.which.Put(uint32(0), uint32(1)))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestAMigrationThatWasCutShortIsTakenUp(t *testing.T) {
	w, old := newWorld3(t)
	w.open()
	old.run3(t, w)
	first := endsOf(t, w.passes(tcp(eniA1, addrA1, 4000, addrEP, 80, "S"), eniB1))
	goesOn := func() {
		t.Helper()
		if got := endsOf(t, w.passes(tcp(eniA1, addrA1, 4000, addrEP, 80, "A"), eniB1)); got != first {
			t.Fatalf("the flow was %v and is %v", first, got)
		}
		w.passes(tcp(eniB1, addrB1, 8080, first.src.Addr(), int(first.src.Port()), "A"), eniA1)
	}
	reopen := func() {
		t.Helper()
		if err := w.dp.Close(); err != nil {
			t.Fatal(err)
		}
		w.open()
	}
	// before anything has changed over
	reopen()
	goesOn()
	if n := len(w.conns()); n != 0 {
		t.Errorf("%d entries before the change", n)
	}
	// with flows in both tables
	w.turn()
	second := endsOf(t, w.passes(tcp(eniA1, addrA1, 4001, addrEP, 80, "S"), eniB1))
	reopen()
	goesOn()
	w.apply()
	goesOn()
	if got := endsOf(t, w.passes(tcp(eniA1, addrA1, 4001, addrEP, 80, "A"), eniB1)); got != second {
		t.Errorf("the flow of the new programs was %v and is %v", second, got)
	}
	// done, and the next start knows it
	reopen()
	if w.dp.migration != nil {
		t.Error("it begins again")
	}
	goesOn()
	// a later layout is nobody's to read
	if err := os.Mkdir(mapDir(w.cfg.PinDir)+"1", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(w.cfg); !errors.Is(err, ErrLayout) {
		t.Errorf("maps of a later layout give %v", err)
	}
	w.cfg.Replace = true
	w.dp.Close()
	w.open()
}

// An upgrade across a change of the maps' layout while flows of every kind run,
// begin, end and wait.
func TestAnUpgradeUnderTrafficLosesNothing(t *testing.T) {
	needRoot(t)
	router := netip.MustParseAddr("10.0.0.1")
	client := newPlace(t, "client", netip.PrefixFrom(addrA1, 24), router)
	friend := newPlace(t, "friend", netip.PrefixFrom(addrA2, 24), router)
	server := newPlace(t, "server", netip.PrefixFrom(addrB1, 24), router)
	service := newPlace(t, "service", netip.PrefixFrom(desired.EdgeAddr, 10), netip.MustParseAddr("100.64.0.2"))
	w, old := newWorld3(t, func(w *world) {
		w.cfg.MaxConnections = 1 << 19
		w.devices[eniA1] = Device{Ifindex: client.ifindex, MAC: client.mac}
		w.devices[eniA2] = Device{Ifindex: friend.ifindex, MAC: friend.mac}
		w.devices[eniB1] = Device{Ifindex: server.ifindex, MAC: server.mac}
		w.service = Device{Ifindex: service.ifindex, MAC: service.mac}
	})
	places := []place{client, friend, server, service}
	role := func(p place) Role {
		if p.ifindex == service.ifindex {
			return Service
		}
		return Workload
	}
	for _, p := range places {
		old.attach(t, w, p, role(p))
	}
	attach := func() {
		w.inLab(func() {
			for _, p := range places {
				if err := w.dp.Attach(p.host, p.ifindex, role(p)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	open := func() {
		w.open()
		if err := w.dp.LimitResolver(1e9); err != nil { // questions come without a pause
			t.Fatal(err)
		}
	}
	books := newLedger(t, places...)
	server.echo(t, "10.0.0.5:8080")
	friend.echo(t, "10.0.0.6:7")
	client.echo(t, "10.0.0.5:7")
	service.echoPackets(t, "100.64.0.1:53")

	const idle = 300
	var waiting []net.Conn
	for i := range idle {
		addr := "10.0.0.100:80"
		if i%3 == 0 {
			addr = "10.0.0.6:7"
		}
		c, err := client.dial(t, "tcp4", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		waiting = append(waiting, c)
		if err := say(c, []byte("before")); err != nil {
			t.Fatal(err)
		}
	}
	tr := newTraffic(t)
	for i := range 8 {
		tr.stream(client, "10.0.0.100:80", i)
		tr.stream(client, "10.0.0.6:7", 100+i)
		tr.stream(friend, "10.0.0.5:7", 200+i)
	}
	tr.connections(client, "10.0.0.100:80")
	tr.connections(friend, "10.0.0.100:80")
	tr.connections(friend, "10.0.0.5:7")
	tr.questions(client, "169.254.169.253:53")
	goOn := func() {
		t.Helper()
		tr.until(&tr.bytes, 1<<20)
		tr.until(&tr.dials, 40)
		tr.until(&tr.asked, 15)
	}
	goOn()

	open()
	attach()
	goOn()
	if n := len(w.conns()); n != 0 {
		t.Errorf("%d flows are in the new table before the first Apply", n)
	}
	// the agent dies, and another one takes over
	if err := w.dp.Close(); err != nil {
		t.Error(err)
	}
	goOn()
	open()
	attach()
	w.apply()
	if n := old.entries(t); n != 0 {
		t.Errorf("%d entries were left behind", n)
	}
	goOn()
	// and is restarted as always
	if err := w.dp.Close(); err != nil {
		t.Error(err)
	}
	open()
	w.apply()
	attach()
	goOn()
	tr.end()
	for _, c := range waiting {
		if err := say(c, []byte("after")); err != nil {
			t.Errorf("a connection that was silent: %v", err)
			break
		}
	}
	books.balanced()
	if ds := w.lost(); len(ds) != 0 {
		t.Errorf("drops %+v", ds)
	}
	paid := map[uint64]uint64{}
	for _, v := range w.conns() {
		if v.Kind != uint8(bpf.DatapathConnKindCONN_PROVIDER) {
			paid[v.Eni]++
		}
	}
	for eni, n := range paid {
		var used uint64
		if err := w.dp.objs.EniQuota.Lookup(eni, &used); err != nil || used != n {
			t.Errorf("interface %#x pays for %d flows and has %d, %v", eni, used, n, err)
		}
	}
	t.Logf("%d MB on streams, %d connections, %d questions", tr.bytes.Load()>>20, tr.dials.Load(), tr.asked.Load())
}
