// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/vpc"
)

// fragmentOf makes a piece of a UDP datagram of 1,480 and 520 bytes.
func (w *world) fragmentOf(from vpc.InterfaceID, src, dst netip.Addr, dport int, id uint16, first bool) []byte {
	p := udp(from, src, 4000, dst, dport)
	p.payload = make([]byte, 1480-8)
	f := w.frame(p)
	ip := f[14:34]
	binary.BigEndian.PutUint16(ip[4:], id)
	if first {
		binary.BigEndian.PutUint16(ip[6:], 0x2000) // more fragments
		binary.BigEndian.PutUint16(f[38:], 2000)
	} else {
		f = append(f[:34:34], make([]byte, 520)...)
		ip = f[14:34]
		binary.BigEndian.PutUint16(ip[2:], 20+520)
		binary.BigEndian.PutUint16(ip[6:], 1480/8)
	}
	binary.BigEndian.PutUint16(ip[10:], 0)
	binary.BigEndian.PutUint16(ip[10:], ^uint16(onesSum(0, ip)))
	return f
}

// One interface sends whatever it likes, far more than it may have flows; another
// one notices nothing.
func TestAFloodIsItsSendersOwn(t *testing.T) {
	const quota, flood = 300, 1500
	for name, made := range map[string]func(w *world, rnd *rand.Rand, i int) packet{
		"SYN to a workload": func(_ *world, rnd *rand.Rand, i int) packet {
			return tcp(eniA1, addrA1, 1+i, addrA3, 1+rnd.IntN(65535), "S")
		},
		"SYN to an endpoint": func(_ *world, _ *rand.Rand, i int) packet { return tcp(eniA1, addrA1, 1+i, addrEP, 80, "S") },
		"SYN to ports of an endpoint": func(_ *world, rnd *rand.Rand, i int) packet {
			return tcp(eniA1, addrA1, 1+i, addrEP, 1+rnd.IntN(65535), "S")
		},
		"UDP to a workload": func(_ *world, rnd *rand.Rand, i int) packet {
			return udp(eniA1, addrA1, 1+i, addrA3, 1+rnd.IntN(65535))
		},
		"UDP to an endpoint": func(_ *world, _ *rand.Rand, i int) packet { return udp(eniA1, addrA1, 1+i, addrEP, 514) },
		"pings":              func(_ *world, _ *rand.Rand, i int) packet { return ping(eniA1, addrA1, addrA3, 8, uint16(i)) },
		"first fragments": func(w *world, rnd *rand.Rand, i int) packet {
			return packet{from: eniA1, raw: w.fragmentOf(eniA1, addrA1, addrA3, 1+rnd.IntN(65535), uint16(i), true)}
		},
		"later fragments": func(w *world, _ *rand.Rand, i int) packet {
			return packet{from: eniA1, raw: w.fragmentOf(eniA1, addrA1, addrA3, 1, uint16(i), false)}
		},
		"other protocols": func(_ *world, _ *rand.Rand, i int) packet {
			return packet{from: eniA1, src: addrA1, dst: addrA3, proto: 2 + i%250, payload: make([]byte, 8)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(w *world) {
				w.cfg.QuotaPerInterface = quota
				w.cfg.MaxConnections = 4 * quota // a pair for each flow of two interfaces
				w.cfg.ports = [2]uint32{3000, 3000 + 2*quota - 1}
			})
			// what the other one has already
			through := endsOf(t, w.passes(tcp(eniA2, addrA2, 1, addrEP, 80, "S"), eniB1))
			w.passes(udp(eniA2, addrA2, 2, addrA3, 53), eniA3)
			w.passes(ping(eniA2, addrA2, addrA3, 8, 3), eniA3)
			piece := func(first bool) {
				t.Helper()
				if r := w.send(packet{from: eniA2, raw: w.fragmentOf(eniA2, addrA2, addrA3, 9, 77, first)}); r.Action != ActionPeer {
					t.Errorf("a fragment: %v", r)
				}
			}
			piece(true)

			rnd := rand.New(rand.NewPCG(3, 3))
			reasons := map[uint32]int{}
			for i := range flood {
				if r := w.send(made(w, rnd, i)); r.Action == ActionDrop {
					reasons[r.Reason.Code]++
				}
			}
			for _, reason := range []uint32{bpf.DropTableFull, bpf.DropPortsExhausted} {
				if n := reasons[reason]; n != 0 {
					t.Errorf("%d packets met what all share: %s", n, ReasonOf(reason).Name)
				}
			}
			held := 0
			for _, v := range w.conns() {
				if v.Eni == vpc.Num(eniA1) && v.Kind != uint8(bpf.DatapathConnKindCONN_PROVIDER) {
					held++
				}
			}
			if held > quota || (held == quota) != (reasons[bpf.DropQuota] > 0) {
				t.Errorf("it holds %d flows, of %d that it may, and was refused %d", held, quota, reasons[bpf.DropQuota])
			}
			slots := 0
			var k bpf.DatapathFragmentKey
			var v bpf.DatapathFragmentValue
			for it := w.dp.objs.Fragments.Iterate(); it.Next(&k, &v); {
				if k.Eni == vpc.Num(eniA1) {
					slots++
				}
			}
			if slots > 64 {
				t.Errorf("it holds %d slots for fragments", slots)
			}

			// the other one: all that it had, and all that it may begin
			w.passes(tcp(eniB1, addrB1, 8080, through.src.Addr(), int(through.src.Port()), "SA"), eniA2)
			w.passes(tcp(eniA2, addrA2, 1, addrEP, 80, "A"), eniB1)
			w.passes(udp(eniA3, addrA3, 53, addrA2, 2), eniA2)
			w.passes(ping(eniA3, addrA3, addrA2, 0, 3), eniA2)
			piece(false)
			for i := range quota - 4 {
				if i%2 == 0 {
					w.passes(tcp(eniA2, addrA2, 1000+i, addrEP, 80, "S"), eniB1)
				} else {
					w.passes(tcp(eniA2, addrA2, 1000+i, addrA3, 80, "S"), eniA3)
				}
			}
			w.drops(tcp(eniA2, addrA2, 5000, addrA3, 80, "S"), bpf.DropQuota) // its own, now
		})
	}
}
