// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// BenchmarkPrograms says how many nanoseconds a run of the program takes by the
// kernel's own count (kernel.bpf_stats_enabled), for one packet after another of
// an established flow through an endpoint, and for new flows.
func BenchmarkPrograms(b *testing.B) {
	for _, name := range []string{"request", "reply", "new flow"} {
		b.Run(name, func(b *testing.B) { benchmarkProgram(b, name) })
	}
}

func benchmarkProgram(b *testing.B, name string) {

	w := newWorld(b)
	v := w.send(tcp(eniA1, addrA1, 4000, addrEP, 80, "S"))
	s, err := parseSketch(describeMust(b, v.Frame))
	if err != nil {
		b.Fatal(err)
	}
	back := sketch{src: s.dst, sport: s.dport, dst: s.src, dport: s.sport, proto: "tcp", flags: "SA"}
	index := w.devices[eniB1].Ifindex
	w.try(Workload, index, back.frame(w.mac(eniB1), w.mac(eniNode)), 0)
	out := w.frame(tcp(eniA1, addrA1, 4000, addrEP, 80, "A"))
	back.flags = "A"
	in := back.frame(w.mac(eniB1), w.mac(eniNode))
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		b.Fatal(err)
	}
	defer stats.Close()
	defer enter(b, lab.ns)()
	read := func() (int64, uint64) {
		st, err := w.dp.objs.FromWorkload.Stats()
		if err != nil {
			b.Fatal(err)
		}
		return int64(st.Runtime), st.RunCount
	}
	t0, n0 := read()
	for i := 0; b.Loop(); i++ {
		var err error
		switch name {
		case "request":
			_, err = w.dp.Try(Workload, w.devices[eniA1].Ifindex, out, 0)
		case "reply":
			_, err = w.dp.Try(Workload, index, in, 0)
		case "new flow":
			q := sketch{src: addrA1, sport: uint16(i), dst: addrEP, dport: 514, proto: "udp"}
			_, err = w.dp.Try(Workload, w.devices[eniA1].Ifindex, q.frame(w.mac(eniA1), w.mac(eniEP)), 0)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	t1, n1 := read()
	b.ReportMetric(float64(t1-t0)/float64(n1-n0), "ns/run")
}

func describeMust(b *testing.B, frame []byte) string {
	text, err := describe(frame[14:], false)
	if err != nil {
		b.Fatal(err)
	}
	return text
}
