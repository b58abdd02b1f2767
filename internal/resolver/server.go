// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"postern.dev/postern/internal/vpc"
)

// Asker is who sent a query, as the datapath knows it.
type Asker struct {
	VNI vpc.VNI
	// Client is the asker's private address in its VPC; the port means nothing.
	Client netip.AddrPort
	// Interface is the datapath's number of the asker's interface, whose share
	// of the resolver it uses; 0 is one address alone.
	Interface uint64
	// Inbound is true if the question came through an inbound resolver endpoint
	// of the VPC; Client is then whoever asked the endpoint.
	Inbound bool
}

// Options are what a resolver works with.
type Options struct {
	// Identify names the asker behind a socket pair; proto is an IANA number.
	// An error means nobody: the query is dropped.
	Identify func(remote, local netip.AddrPort, proto int) (Asker, error)
	// View returns the view as it is now; nil answers nobody.
	View func() *View
	// Upstreams returns the resolvers of the outside, "address" or
	// "address:port", in order of preference.
	Upstreams func() []string
	// Dial connects to an upstream; nil is a plain net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log gets what an operator should know; nil is slog's default.
	Log *slog.Logger
}

// Resolver answers on any number of sockets until Shutdown.
type Resolver struct {
	o         Options
	limiter   *limiter
	forwarder *forwarder
	ctx       context.Context
	cancel    context.CancelFunc
	seen      atomic.Uint64 // UDP queries dealt with, answered or not

	mu      sync.Mutex
	closing bool
	sockets map[io.Closer]struct{} // what Shutdown closes
	work    sync.WaitGroup         // serving loops, streams and forwards
}

// New makes a resolver.
func New(o Options) *Resolver {
	view := o.View
	o.View = func() *View {
		if v := view(); v != nil {
			return v
		}
		return &View{}
	}
	if o.Upstreams == nil {
		o.Upstreams = func() []string { return nil }
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	r := &Resolver{o: o, limiter: newLimiter(time.Now), sockets: map[io.Closer]struct{}{}}
	r.forwarder = &forwarder{upstreams: o.Upstreams, dial: o.Dial, cache: newCache(time.Now), calls: map[question]*call{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Times of a TCP connection, and the longest query anybody needs to send.
const (
	streamIdle   = 10 * time.Second
	streamWrite  = 5 * time.Second
	maxQuery     = 4096
	readFailures = 100 // read errors in a row before a socket counts as broken
)

// enter registers work and what to close to end it; false after Shutdown.
func (r *Resolver) enter(c io.Closer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return false
	}
	if c != nil {
		r.sockets[c] = struct{}{}
	}
	r.work.Add(1)
	return true
}

func (r *Resolver) leave(c io.Closer) {
	r.mu.Lock()
	delete(r.sockets, c)
	r.mu.Unlock()
	r.work.Done()
}

// Shutdown closes the sockets, lets questions on their way end until ctx does,
// and returns when nothing of the resolver runs any more.
func (r *Resolver) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	r.closing = true
	for c := range r.sockets {
		c.Close()
	}
	r.mu.Unlock()
	done := make(chan struct{})
	go func() { r.work.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	r.cancel()
	<-done
	return err
}

// isClosing tells a loop that its socket failed because of Shutdown.
func (r *Resolver) isClosing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closing
}

// ServePacket answers over UDP until Shutdown, which makes it return nil. It
// closes c.
func (r *Resolver) ServePacket(c net.PacketConn) error {
	defer c.Close()
	if !r.enter(c) {
		return net.ErrClosed
	}
	defer r.leave(c)
	local := addrPort(c.LocalAddr())
	buf := make([]byte, maxQuery)
	for failures := 0; ; {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			if r.isClosing() {
				return nil
			}
			// An ICMP error for an earlier answer shows up here: it says
			// nothing of the socket.
			if failures++; failures < readFailures && !errors.Is(err, net.ErrClosed) {
				continue
			}
			return err
		}
		failures = 0
		r.packet(c, from, local, buf[:n])
		r.seen.Add(1)
	}
}

// packet answers one UDP query. raw is reused when it returns.
func (r *Resolver) packet(c net.PacketConn, from net.Addr, local netip.AddrPort, raw []byte) {
	who, err := r.o.Identify(addrPort(from), local, vpc.UDP)
	if err != nil {
		r.o.Log.Debug("query from nobody we know", "remote", from, "error", err)
		return
	}
	key := askerKey{who.VNI, who.Client.Addr()}
	if !r.limiter.packet(key) {
		return
	}
	reply, later := r.handle(raw, who, false)
	if later != nil {
		if !r.limiter.forward(key) {
			return // a stub resolver asks again
		}
		if !r.enter(nil) {
			r.limiter.forwarded(key)
			return
		}
		go func() {
			defer r.leave(nil)
			defer r.limiter.forwarded(key)
			if reply := later(r.ctx); reply != nil {
				c.WriteTo(reply, from)
			}
		}()
		return
	}
	if reply != nil {
		c.WriteTo(reply, from)
	}
}

// ServeListener answers over TCP until Shutdown, which makes it return nil. It
// closes l.
func (r *Resolver) ServeListener(l net.Listener) error {
	defer l.Close()
	if !r.enter(l) {
		return net.ErrClosed
	}
	defer r.leave(l)
	for {
		c, err := l.Accept()
		if err != nil {
			if r.isClosing() {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			// Out of descriptors or a connection that ended before it was
			// accepted: wait a little, so as not to spin.
			r.o.Log.Warn("accept a DNS connection", "error", err)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-r.ctx.Done():
			}
			continue
		}
		if !r.enter(c) {
			c.Close()
			return nil
		}
		go func() {
			defer r.leave(c)
			defer c.Close()
			r.stream(c)
		}()
	}
}

// stream answers the queries of one TCP connection in order.
func (r *Resolver) stream(c net.Conn) {
	who, err := r.o.Identify(addrPort(c.RemoteAddr()), addrPort(c.LocalAddr()), vpc.TCP)
	if err != nil {
		r.o.Log.Debug("connection from nobody we know", "remote", c.RemoteAddr(), "error", err)
		return
	}
	key := askerKey{who.VNI, who.Client.Addr()}
	if !r.limiter.stream(key) {
		return
	}
	defer r.limiter.closed(key)
	buf := make([]byte, 2+maxQuery)
	for {
		c.SetReadDeadline(time.Now().Add(streamIdle))
		if _, err := io.ReadFull(c, buf[:2]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(buf))
		if n > maxQuery {
			return
		}
		if _, err := io.ReadFull(c, buf[2:2+n]); err != nil {
			return
		}
		if !r.limiter.packet(key) {
			return
		}
		reply, later := r.handle(buf[2:2+n], who, true)
		if later != nil {
			if !r.limiter.forward(key) {
				return
			}
			reply = later(r.ctx)
			r.limiter.forwarded(key)
		}
		if reply == nil {
			return
		}
		c.SetWriteDeadline(time.Now().Add(streamWrite))
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

// addrPort reads a socket's address; the zero value for one that has none.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	default:
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
