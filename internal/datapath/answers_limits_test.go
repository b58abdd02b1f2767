// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/miekg/dns"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// What a workload sends as a question is anything: it is answered as the resolver
// would, or left to it.
func TestStrangeQuestionsAreTheResolversAffair(t *testing.T) {
	l := newDNSLab(t)
	l.show(map[vpc.VNI]desired.VPC{vniA: {ID: "vpc-a", VNI: vniA, DNS: true, PrivateZones: []string{"corp.example"},
		Records: []desired.Record{{Name: "a.corp.example", TTL: 60, Addrs: addrs("10.0.0.1", 2)}}}}, nil)
	good := [][]byte{
		ask(t, "a.corp.example", dns.TypeA, form{}), ask(t, "a.corp.example", dns.TypeA, form{edns: true, size: 1232}),
		ask(t, "b.corp.example", dns.TypeA, form{edns: true, size: 600, do: true}), ask(t, "corp.example", dns.TypeSOA, form{}),
	}
	for _, q := range good {
		l.slow(vniA, q)
		if _, ok := l.fast(eniA1, q, false); !ok {
			t.Fatalf("%x is not answered", q)
		}
	}
	change := func(i int, f func([]byte) []byte) []byte { return f(slices.Clone(good[i])) }
	set := func(at int, v byte) func([]byte) []byte { return func(b []byte) []byte { b[at] = v; return b } }
	for what, q := range map[string][]byte{
		"nothing":               {},
		"half a header":         good[0][:7],
		"a header":              good[0][:12],
		"an answer":             change(0, set(2, 0x81)),
		"another opcode":        change(0, set(2, 0x11)),
		"truncated":             change(0, set(2, 0x03)),
		"a return code":         change(0, set(3, 5)),
		"no question":           change(0, set(5, 0)),
		"two questions":         change(0, set(5, 2)),
		"an answer in it":       change(0, set(7, 1)),
		"an authority":          change(0, set(9, 1)),
		"two additionals":       change(1, set(11, 2)),
		"an OPT not there":      change(0, set(11, 1)),
		"an OPT not said":       change(1, set(11, 0)),
		"a pointer":             change(0, func(b []byte) []byte { return slices.Concat(b[:12], []byte{0xc0, 0x0c}, b[len(b)-4:]) }),
		"a name without an end": good[0][:len(good[0])-5],
		"no type":               good[0][:len(good[0])-4],
		"no class":              good[0][:len(good[0])-2],
		"another class":         change(0, set(len(good[0])-1, 3)),
		"something after it":    append(slices.Clone(good[0]), 0),
		"version 1 of EDNS":     change(1, set(len(good[1])-5, 1)),
		"an OPT with a name":    change(1, set(len(good[1])-11, 1)),
		"an OPT with options":   change(1, func(b []byte) []byte { b[len(b)-1] = 4; return append(b, 0, 3, 0, 0) }),
		"no OPT":                change(1, set(len(good[1])-9, 16)),
	} {
		if b, ok := l.fast(eniA1, q, false); ok {
			t.Errorf("%s (%x) is answered with %x", what, q, b)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	fast := 0
	for range 20000 {
		q := slices.Clone(good[r.IntN(len(good))])
		for range 1 + r.IntN(3) {
			switch at := r.IntN(len(q)); r.IntN(5) {
			case 0:
				q = q[:at+1]
			case 1:
				q = slices.Insert(q, at, byte(r.IntN(256)))
			case 2:
				q = append(q, make([]byte, r.IntN(200))...)
			case 3:
				q[at] ^= 0x20
			default:
				q[at] = byte(r.IntN(256))
			}
		}
		six := r.IntN(2) == 0
		if b, ok := l.fast(eniA1, q, six); ok {
			fast++
			if err := sameAnswer(b, l.slow(vniA, q)); err != nil {
				t.Fatalf("%x: %v", q, err)
			}
		}
	}
	if fast < 500 {
		t.Errorf("only %d were answered", fast)
	}
}

// What an interface sends to its resolver is limited, who answers or not.
func TestPacketsToTheResolverAreLimited(t *testing.T) {
	l := newDNSLab(t)
	l.show(map[vpc.VNI]desired.VPC{vniA: {ID: "vpc-a", VNI: vniA, DNS: true, PrivateZones: []string{"corp.example"}}}, nil)
	known, other := ask(t, "a.corp.example", dns.TypeA, form{}), ask(t, "a.corp.example", dns.TypeA, form{edns: true, options: true})
	l.slow(vniA, known)
	const rate = 20
	if err := l.dp.LimitResolver(rate); err != nil {
		t.Fatal(err)
	}
	send := func(id vpc.InterfaceID, q []byte) Verdict {
		return l.try(Workload, l.devices[id].Ifindex, l.question(id, q, false), 0)
	}
	begun := time.Now()
	passed, dropped := 0, 0
	for i := range 300 {
		q := [][]byte{known, other}[i%2]
		switch v := send(eniA1, q); {
		case v.Action == ActionDrop && v.Reason.Code == bpf.DropResolverRate:
			dropped++
		case v.Action == []Action{ActionAnswer, ActionPeer}[i%2]:
			passed++
		default:
			t.Fatalf("%v", v)
		}
	}
	most := rate + 1 + int(rate*time.Since(begun).Seconds())
	if passed < rate || passed > most || dropped != 300-passed {
		t.Errorf("%d passed, at most %d may; %d were dropped", passed, most, dropped)
	}
	if v := send(eniA2, known); v.Action != ActionAnswer {
		t.Errorf("a neighbour: %v", v)
	}
	// What was dropped is not held against it.
	for until := time.Now().Add(2 * time.Second); send(eniA1, known).Action != ActionAnswer; dropped++ {
		if time.Now().After(until) {
			t.Fatal("it may send nothing any more")
		}
	}
	// Other packets to port 53 are not the resolver's.
	for range 2 * rate {
		l.passes(udp(eniA1, addrA1, 7, addrA2, 53), eniA2)
	}
	counted := uint64(0)
	drops, err := l.dp.Drops()
	for _, d := range drops {
		if d.Interface == vpc.Num(eniA1) && d.Reason.Code == bpf.DropResolverRate {
			counted = d.Packets
		}
	}
	if err != nil || counted != uint64(dropped) {
		t.Errorf("%d drops are counted, want %d: %v", counted, dropped, err)
	}
	// 0 is AWS's limit, more than this.
	if err := l.dp.LimitResolver(0); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if v := send(eniA3, known); v.Action != ActionAnswer {
			t.Fatalf("%v", v)
		}
	}
}

// No VPC takes the place of the others, and what is no more makes room.
func TestAnswersHaveTheirShare(t *testing.T) {
	const most = 64
	l := newDNSLab(t, func(w *world) {
		instrument := w.cfg.instrument
		w.cfg.instrument = func(spec *ebpf.CollectionSpec) error {
			spec.Maps["dns_answers"].MaxEntries = most
			return instrument(spec)
		}
	})
	a := l.answers
	now := time.Now()
	waited := make(chan struct{})
	a.now, a.wait = func() time.Time { return now }, func() error { <-waited; return nil }
	entries := func(space uint64) (n int) {
		var k bpf.DatapathDnsKey
		var v bpf.DatapathDnsAnswer
		for it := l.dp.objs.DnsAnswers.Iterate(); it.Next(&k, &v); {
			if k.Space == space {
				n++
			}
		}
		return n
	}
	keep := func(vni vpc.VNI, space uint64, from, n int) {
		for i := range n {
			a.Keep(Answer{VNI: vni, Space: space, Type: 1, Name: []byte{2, byte(from + i), 'x', 0}})
		}
	}
	spaces := func(m map[vpc.VNI]uint64) {
		t.Helper()
		if err := a.SetSpaces(m); err != nil {
			t.Fatal(err)
		}
	}
	a.swept = now // so that nothing is swept yet
	spaces(map[vpc.VNI]uint64{vniA: 1, vniB: 2})
	keep(vniA, 1, 0, most)
	keep(vniB, 2, 0, most)
	keep(vniB, 3, 0, 1)
	if one, two, none := entries(1), entries(2), entries(3); one != most/2 || two != most/4 || none != 0 {
		t.Errorf("there are %d, %d and %d", one, two, none)
	}
	// A VPC that has changed begins anew when there is time to look.
	spaces(map[vpc.VNI]uint64{vniA: 4, vniB: 2})
	keep(vniA, 1, 100, 1) // too late
	keep(vniA, 4, 0, most)
	if four := entries(4); four != most/8 {
		t.Errorf("the new space has %d", four)
	}
	now = now.Add(sweepEvery)
	keep(vniA, 4, most, 1)
	if !a.sweeping {
		t.Fatal("nothing is swept")
	}
	keep(vniA, 4, most, 1) // while packets may still read what is deleted
	close(waited)
	for sweeping := true; sweeping; {
		a.mu.Lock()
		sweeping = a.sweeping
		a.mu.Unlock()
	}
	if one, two, four := entries(1), entries(2), entries(4); one != 0 || two != most/4 || four != most/8 || a.total != two+four {
		t.Errorf("there are %d, %d and %d, counted are %d", one, two, four, a.total)
	}
	// One that has used up its share is swept, too.
	keep(vniA, 4, most, most)
	now = now.Add(sweepEvery)
	keep(vniA, 4, 2*most, 1)
	for sweeping := true; sweeping; {
		a.mu.Lock()
		sweeping = a.sweeping
		a.mu.Unlock()
	}
	if two, four := entries(2), entries(4); two != most/4 || four != 0 {
		t.Errorf("there are %d and %d", two, four)
	}
	l.openAnswers().Close()
	if n := entries(2); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// When what is no more cannot be deleted, no more is kept, and somebody is told.
func TestAFailedSweepIsTold(t *testing.T) {
	const most = 8
	for what, spoil := range map[string]func(*Answers){
		"waiting":  func(a *Answers) { a.wait = func() error { return errors.New("no grace") } },
		"deleting": func(a *Answers) { a.answers.Close() },
	} {
		l := newDNSLab(t, func(w *world) {
			instrument := w.cfg.instrument
			w.cfg.instrument = func(spec *ebpf.CollectionSpec) error {
				spec.Maps["dns_answers"].MaxEntries = most
				return instrument(spec)
			}
		})
		a, told := l.answers, make(chan error, 1)
		a.failed = func(err error) { told <- err }
		if err := a.SetSpaces(map[vpc.VNI]uint64{vniA: 1}); err != nil {
			t.Fatal(err)
		}
		keep := func(i int) { a.Keep(Answer{VNI: vniA, Space: 1, Type: 1, Name: []byte{2, byte(i), 'x', 0}}) }
		a.swept = a.now() // so that nothing is swept yet
		for i := range most {
			keep(i)
		}
		a.swept = time.Time{}
		spoil(a)
		keep(most)
		select {
		case err := <-told:
			t.Log(err)
		case <-time.After(10 * time.Second):
			t.Fatalf("%s fails, and nobody is told", what)
		}
		before := a.total
		if keep(most + 1); a.total != before || !a.sweeping {
			t.Errorf("%s fails, and answers are kept", what)
		}
	}
}
