// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// crowd is a VPC with so many names, each with an address.
func crowd(names int) desired.VPC {
	v := desired.VPC{DNS: true, PrivateZones: []string{"corp.example"}, Records: make([]desired.Record, names)}
	for i := range v.Records {
		v.Records[i] = desired.Record{
			Name: fmt.Sprintf("host-%d.corp.example", i), TTL: 60,
			Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})},
		}
	}
	return v
}

func packed(t testing.TB, name string, rrtype uint16) []byte {
	t.Helper()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), rrtype)
	q.SetEdns0(1232, false)
	raw, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func BenchmarkAnswer(b *testing.B) {
	for _, names := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint("names=", names), func(b *testing.B) {
			view := compiled(b, map[vpc.VNI]desired.VPC{vniA: crowd(names)})
			r := New(Options{View: func() *View { return view }})
			defer r.Shutdown(context.Background())
			queries := make([][]byte, min(names, 1024))
			for i := range queries {
				queries[i] = packed(b, fmt.Sprintf("host-%d.corp.example", i*(names/len(queries))), dns.TypeA)
			}
			var sc scratch
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if reply, _ := r.handle(&sc, queries[i%len(queries)], Asker{VNI: vniA}, false); len(reply) == 0 {
					b.Fatal("no answer")
				}
				i++
			}
		})
	}
}

// BenchmarkUDP compares ways to read sockets, with as many senders as there are
// processors, each of which keeps 64 questions on their way.
func BenchmarkUDP(b *testing.B) {
	for _, sockets := range []int{1, 2, 4} {
		for _, batched := range []bool{false, true} {
			b.Run(fmt.Sprintf("sockets=%d/batched=%t", sockets, batched), func(b *testing.B) { benchmarkUDP(b, sockets, batched) })
		}
	}
}

// plain hides what makes a socket fit for batches.
type plain struct{ net.PacketConn }

func benchmarkUDP(b *testing.B, sockets int, batched bool) {
	view := compiled(b, map[vpc.VNI]desired.VPC{vniA: crowd(1000)})
	r := New(Options{
		Identify: func(remote, _ netip.AddrPort, _ int) (Asker, error) { return Asker{VNI: vniA, Client: remote}, nil },
		View:     func() *View { return view },
		Rate:     func() int { return 1 << 30 },
	})
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		if cerr != nil {
			return cerr
		}
		return err
	}}
	address := "127.0.0.1:0"
	var serving sync.WaitGroup
	for range sockets {
		c, err := lc.ListenPacket(b.Context(), "udp", address)
		if err != nil {
			b.Fatal(err)
		}
		address = c.LocalAddr().String()
		if !batched {
			c = plain{c}
		}
		serving.Go(func() {
			if err := r.ServePacket(c); err != nil {
				b.Error(err)
			}
		})
	}
	const senders, window = 8, 16
	var left, answered atomic.Int64
	left.Store(int64(b.N))
	before := cpuTime(b)
	b.ResetTimer()
	var asking sync.WaitGroup
	for s := range senders {
		asking.Go(func() {
			c, err := net.Dial("udp", address)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			q, buf := packed(b, fmt.Sprintf("host-%d.corp.example", s), dns.TypeA), make([]byte, 2048)
			flying := 0
			for {
				for flying < window && left.Add(-1) >= 0 {
					c.Write(q)
					flying++
				}
				if flying == 0 {
					return
				}
				c.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := c.Read(buf); err != nil {
					flying = 0
					continue
				}
				flying--
				answered.Add(1)
			}
		})
	}
	asking.Wait()
	b.StopTimer()
	b.ReportMetric(float64(answered.Load())/b.Elapsed().Seconds(), "answers/s")
	b.ReportMetric(float64(cpuTime(b)-before)/float64(max(answered.Load(), 1)), "cpu-ns/answer")
	r.Shutdown(context.Background())
	serving.Wait()
}

// cpuTime is what the process has used: the senders too.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestBytesOfAName measures what a name costs a host that needs it, in the
// resolver's view and in the desired state that the agent keeps: a million of
// them in 10,000 VPCs by POSTERN_LONG_TESTS, a tenth of that otherwise. Nothing is
// kept of a VPC that is not there.
func TestBytesOfAName(t *testing.T) {
	vpcs := 1000
	if os.Getenv("POSTERN_LONG_TESTS") != "" {
		vpcs = 10_000
	}
	const namesOfOne, limit = 100, 400
	kept := desired.Empty()
	base := heap()
	for i := range vpcs {
		// As the server tells an agent, which keeps it.
		vni, now := vpc.FirstVNI+vpc.VNI(i), desired.Empty()
		now.VPCs[vni] = realistic(i, namesOfOne)
		d, err := desired.Diff(desired.Empty(), now)
		if err != nil {
			t.Fatal(err)
		}
		told, err := desired.Apply(desired.Empty(), d)
		if err != nil {
			t.Fatal(err)
		}
		kept.VPCs[vni] = told.VPCs[vni]
	}
	perName := func() int64 { return (heap() - base) / int64(vpcs*namesOfOne) }
	desiredState := perName()
	view := Compile(nil, kept.VPCs, nil, loud(t))
	each := perName()
	t.Logf("%d names in %d VPCs: %d bytes each, %d of them in the view", vpcs*namesOfOne, vpcs, each, each-desiredState)
	if each > limit || each-desiredState < 20 {
		t.Errorf("%d bytes a name, %d of them in the view; want at most %d", each, each-desiredState, limit)
	}
	runtime.KeepAlive(kept)
	r := New(Options{View: func() *View { return view }})
	defer r.Shutdown(context.Background())
	var sc scratch
	q := packed(t, "vpce-0123456789abcde42-7.svc.us-east-1.vpce.amazonaws.com", dns.TypeA)
	if reply, _ := r.handle(&sc, q, Asker{VNI: vpc.FirstVNI + vpc.VNI(vpcs) - 1}, false); reply == nil || reply[3]&0xf != 0 || reply[7] != 3 {
		t.Errorf("the last VPC's answer is %x", reply)
	}
	if v := Compile(nil, nil, nil, loud(t)); len(v.spaces)+len(v.hosted) != 0 {
		t.Errorf("a host without VPCs holds %+v", v)
	}
}
