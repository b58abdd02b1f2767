// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"postern.dev/postern/bpf"
)

// traffic is what namespaces send one another until it is ended, every byte of
// it checked.
type traffic struct {
	t     *testing.T
	stop  chan struct{}
	wg    sync.WaitGroup
	bytes atomic.Int64 // came back on streams
	dials atomic.Int64 // connections that were opened, used and closed
	asked atomic.Int64 // datagrams that were answered
}

func newTraffic(t *testing.T) *traffic { return &traffic{t: t, stop: make(chan struct{})} }

const trafficTimeout = 30 * time.Second

func (tr *traffic) ended() bool {
	select {
	case <-tr.stop:
		return true
	default:
		return false
	}
}

func (tr *traffic) run(what string, f func() error) {
	tr.wg.Go(func() {
		if err := f(); err != nil {
			tr.t.Errorf("%s: %v", what, err)
		}
	})
}

// end stops everything and waits until it has come to its end.
func (tr *traffic) end() {
	close(tr.stop)
	tr.wg.Wait()
}

// until waits until count has grown by n.
func (tr *traffic) until(count *atomic.Int64, n int64) {
	tr.t.Helper()
	want := count.Load() + n
	for deadline := time.Now().Add(trafficTimeout); count.Load() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) || tr.t.Failed() {
			tr.t.Fatalf("the traffic stands still at %d of %d", count.Load(), want)
		}
	}
}

// echo answers every TCP connection at addr with what comes in.
func (p place) echo(t *testing.T, addr string) {
	t.Helper()
	l := p.listen(t, addr)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
}

// echoPackets answers every datagram at addr with itself.
func (p place) echoPackets(t *testing.T, addr string) {
	t.Helper()
	restore := enter(t, p.ns)
	c, err := net.ListenPacket("udp4", addr)
	restore()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			c.WriteTo(buf[:n], from)
		}
	}()
}

func (p place) dial(t *testing.T, network, addr string) (net.Conn, error) {
	defer enter(t, p.ns)()
	c, err := net.DialTimeout(network, addr, trafficTimeout)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(2 * time.Minute))
	}
	return c, err
}

// say sends a message and wants it back.
func say(c net.Conn, message []byte) error {
	if _, err := c.Write(message); err != nil {
		return err
	}
	got := make([]byte, len(message))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, message) {
		return fmt.Errorf("%q came back as %q", message, got)
	}
	return nil
}

// stream keeps sending over one connection and reads everything back. Its pace
// leaves the processors to the others.
func (tr *traffic) stream(p place, addr string, seed int) {
	tr.run(fmt.Sprintf("stream %d to %s", seed, addr), func() error {
		c, err := p.dial(tr.t, "tcp4", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		var sums [2]hash.Hash
		sums[0], sums[1] = sha256.New(), sha256.New()
		sent := make(chan error, 1)
		go func() {
			src := stream(seed, 1<<40)
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for !tr.ended() {
				<-pace.C
				if _, err := io.CopyN(io.MultiWriter(c, sums[0]), src, 1<<13); err != nil {
					sent <- err
					return
				}
			}
			sent <- c.(*net.TCPConn).CloseWrite()
		}()
		_, err = io.Copy(io.MultiWriter(sums[1], (*counting)(&tr.bytes)), c)
		if err := errors.Join(<-sent, err); err != nil {
			return err
		}
		if !bytes.Equal(sums[0].Sum(nil), sums[1].Sum(nil)) {
			return errors.New("what came back is not what was sent")
		}
		return nil
	})
}

type counting atomic.Int64

func (c *counting) Write(b []byte) (int, error) {
	(*atomic.Int64)(c).Add(int64(len(b)))
	return len(b), nil
}

// connections opens one connection after the other.
func (tr *traffic) connections(p place, addr string) {
	tr.run("connections to "+addr, func() error {
		for i := 0; !tr.ended(); i++ {
			c, err := p.dial(tr.t, "tcp4", addr)
			if err != nil {
				return fmt.Errorf("connection %d: %w", i, err)
			}
			err = say(c, fmt.Appendf(nil, "message %d", i))
			if err = errors.Join(err, c.Close()); err != nil {
				return fmt.Errorf("connection %d: %w", i, err)
			}
			tr.dials.Add(1)
		}
		return nil
	})
}

// questions sends one datagram after the other, each from a socket of its own.
func (tr *traffic) questions(p place, addr string) {
	tr.run("questions to "+addr, func() error {
		for i := 0; !tr.ended(); i++ {
			c, err := p.dial(tr.t, "udp4", addr)
			if err != nil {
				return err
			}
			err = say(c, fmt.Appendf(nil, "question %d", i))
			if err = errors.Join(err, c.Close()); err != nil {
				return fmt.Errorf("question %d: %w", i, err)
			}
			tr.asked.Add(1)
		}
		return nil
	})
}

// ledger compares what devices of places have sent with what they have received:
// what the programs neither delivered nor answered.
type ledger struct {
	t      *testing.T
	places []place
	base   int64
}

// newLedger opens the books; the places have their programs. IPv6 is switched off
// at both ends of their devices, because its chatter is for nobody.
func newLedger(t *testing.T, places ...place) *ledger {
	t.Helper()
	off := func(ns netns.NsHandle, device string) {
		restore := enter(t, ns)
		defer restore()
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+device+"/disable_ipv6", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range places {
		off(p.ns, "all")
		off(lab.ns, p.host)
	}
	l := &ledger{t: t, places: places}
	l.base = l.missing()
	return l
}

func (l *ledger) missing() int64 {
	l.t.Helper()
	var sum int64
	for _, p := range l.places {
		h, err := netlink.NewHandleAt(p.ns)
		if err != nil {
			l.t.Fatal(err)
		}
		eth, err := h.LinkByName("eth0")
		h.Close()
		if err != nil {
			l.t.Fatal(err)
		}
		s := eth.Attrs().Statistics
		sum += int64(s.TxPackets) - int64(s.RxPackets)
	}
	return sum
}

// balanced waits until everything that was sent has arrived.
func (l *ledger) balanced() {
	l.t.Helper()
	var missing int64
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if missing = l.missing() - l.base; missing == 0 {
			return
		}
	}
	l.t.Errorf("%d packets more were sent than received", missing)
}

// lost are the drops but for the chatter of IPv6 before a ledger switched it off.
func (w *world) lost() []Drop {
	w.t.Helper()
	ds, err := w.dp.Drops()
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(ds, func(d Drop) bool {
		return d.Dest.Addr().Is6() && d.Dest.Addr().IsMulticast() || d.Reason.Code == bpf.DropIPv6
	})
}
