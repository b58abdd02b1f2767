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

	"github.com/miekg/dns"

	"postern.dev/postern/internal/vpc"
)

// Asker is who sent a query, as the datapath knows it.
type Asker struct {
	VNI vpc.VNI
	// Client is the asker's private address in its VPC; the port means nothing.
	Client netip.AddrPort
	// Server is the address the question was sent to.
	Server netip.AddrPort
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
	// Rate returns how many messages an interface may send in a second over TCP, or
	// each asker of an inbound endpoint; nil is PacketsPerSecond. Packets to the
	// VPC's own resolver are the datapath's to count.
	Rate func() int
	// Keep takes answers over UDP that depend on nothing but the view and the
	// question, for whoever can give them in the resolver's place; nil keeps none.
	Keep func(Answer)
	// Dropped are the drops counted before the start, which Drops goes on from.
	Dropped []Drop
	// MayLeadTo says why a forward rule's question must not be sent to an
	// address, nil if it may; nil lets rules lead to all that Compile lets them.
	// It is asked before each dial, since addresses of the host come and go, and
	// not for Upstreams, which are the operator's.
	MayLeadTo func(netip.Addr) error
	// Dial connects to an upstream; nil is a plain net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log gets what an operator should know; nil is slog's default.
	Log *slog.Logger
}

// Resolver answers on any number of sockets until Shutdown.
type Resolver struct {
	o         Options
	limiter   *limiter
	drops     *drops
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
	if o.Rate == nil {
		o.Rate = func() int { return PacketsPerSecond }
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	r := &Resolver{o: o, limiter: newLimiter(time.Now, o.Rate), drops: newDrops(time.Now, o.Dropped), sockets: map[io.Closer]struct{}{}}
	r.forwarder = &forwarder{dial: o.Dial, cache: newCache(time.Now), spawn: r.spawn, calls: map[question]*call{}}
	if o.MayLeadTo != nil {
		r.forwarder.guard = &guard{may: o.MayLeadTo, now: time.Now, log: o.Log, said: map[refusal]time.Time{}}
	}
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

// Forget drops what was learnt for VPCs that the view no longer has.
func (r *Resolver) Forget() { r.forwarder.cache.keep(r.o.View()) }

// Drops are the queries that were dropped, by interface and reason.
func (r *Resolver) Drops() []Drop { return r.drops.list() }

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
		return nil // Shutdown came first
	}
	defer r.leave(c)
	p := newPackets(c)
	var sc scratch
	var last sender
	for failures := 0; ; {
		n, err := p.read()
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
		// Who somebody is, is asked anew for what comes now, once for all that
		// one port has sent.
		last = sender{}
		for i := range n {
			r.packet(p, i, &sc, &last)
		}
		p.flush()
		r.seen.Add(uint64(n))
	}
}

// sender is who a socket's other end was found to be.
type sender struct {
	from netip.AddrPort
	who  Asker
	err  error
}

// packet answers one of the UDP queries that were read.
func (r *Resolver) packet(p packets, i int, sc *scratch, last *sender) {
	raw, from := p.query(i)
	if last.from != from {
		who, err := r.o.Identify(from, p.local(), vpc.UDP)
		*last = sender{from, who, err}
	}
	who := last.who
	if err := last.err; err != nil {
		if r.o.Log.Enabled(r.ctx, slog.LevelDebug) {
			r.o.Log.Debug("query from nobody we know", "remote", from, "error", err)
		}
		return
	}
	key := keyOf(who)
	// The datapath counts what an interface sends to its own resolver.
	if who.Inbound && !r.limiter.packet(key) {
		r.drops.count(who, vpc.UDP, len(raw), OverRate)
		return
	}
	reply, later := r.handle(sc, raw, who, false)
	if later != nil {
		if !r.limiter.forward(key) {
			r.drops.count(who, vpc.UDP, len(raw), OverForwards)
			return // a stub resolver asks again
		}
		if !r.spawn(func() {
			defer r.limiter.forwarded(key)
			if reply := later(r.ctx); reply != nil {
				p.send(reply, from)
			}
		}) {
			r.limiter.forwarded(key)
		}
		return
	}
	if reply != nil {
		p.answer(i, reply)
	}
}

// spawn runs f on its own, for Shutdown to wait for; false after Shutdown.
func (r *Resolver) spawn(f func()) bool {
	if !r.enter(nil) {
		return false
	}
	go func() {
		defer r.leave(nil)
		f()
	}()
	return true
}

// handle answers one message. A nil reply with a nil later is silence; a later
// is a question for the upstreams, to be called away from the reading loop. The
// reply is good until sc is used again.
func (r *Resolver) handle(sc *scratch, raw []byte, who Asker, tcp bool) (reply []byte, later func(context.Context) []byte) {
	s := r.o.View().spaces[who.VNI]
	if s == nil || !s.dns {
		return nil, nil
	}
	if who.Inbound {
		s = s.inbound
	}
	q, w := &sc.q, &sc.w
	keep := !tcp && !who.Inbound && r.o.Keep != nil
	if !q.read(raw, tcp) {
		keep = false
		form, reply := usual(raw, tcp)
		if form == nil {
			return reply, nil
		}
		if !q.read(form, tcp) {
			return formatError(raw), nil
		}
	}
	q.begin(w)
	var l local
	if q.rrtype == dns.TypeANY {
		l = s.answerAny(q, w)
	} else {
		l = s.answer(q, w)
	}
	if !l.forward {
		if keep && !w.cut && !q.options && q.name.n < keptLabels {
			r.o.Keep(Answer{
				VNI: who.VNI, Space: s.number, Name: q.name.b, Type: q.rrtype, Authoritative: l.authoritative, Rcode: l.rcode,
				Answers: w.answers, Others: w.others, Body: w.b[w.question:], Rotated: w.rotated, Record: w.each,
			})
		}
		return q.finish(w, l), nil
	}
	return r.outside(s, q, q.finish(w, l), l, tcp)
}

// outside answers what is for the upstreams: from the cache if it can, and later
// if not. own is the answer as far as the view has it.
func (r *Resolver) outside(s *space, in *query, own []byte, l local, tcp bool) (reply []byte, later func(context.Context) []byte) {
	q := message{msg: new(dns.Msg), tcp: tcp}
	begun := new(dns.Msg)
	if err := errors.Join(q.msg.Unpack(in.raw), begun.Unpack(own)); err != nil {
		return formatError(in.raw), nil
	}
	q.opt = q.msg.IsEdns0()
	if !q.msg.RecursionDesired {
		return q.fail(dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative, "only recursive queries are answered for this name"), nil
	}
	want := question{
		tenant: s.owner, name: canonical(text(l.next)), qtype: q.msg.Question[0].Qtype,
		do: in.do, cd: q.msg.CheckingDisabled,
	}
	targets := r.o.Upstreams()
	if l.route != nil {
		want.upstream, targets = l.route.key, l.route.targets
	}
	if len(targets) == 0 {
		return q.fail(dns.RcodeServerFailure, dns.ExtendedErrorCodeNoReachableAuthority, errNoUpstream.Error()), nil
	}
	if m, state := r.forwarder.cache.get(want); state == fresh {
		return q.complete(begun.Answer, want, m, false), nil
	}
	return nil, func(ctx context.Context) []byte {
		m, old, err := r.forwarder.resolve(ctx, targets, want)
		if err != nil {
			r.o.Log.Debug("forward a query", "type", dns.TypeToString[want.qtype], "error", err)
			code, text := dns.ExtendedErrorCodeNetworkError, "no upstream resolver answered"
			var said *rcodeError
			if errors.As(err, &said) && said.extended != nil {
				code, text = said.extended.InfoCode, said.extended.ExtraText[:min(len(said.extended.ExtraText), 100)]
			}
			return q.fail(dns.RcodeServerFailure, code, text)
		}
		return q.complete(begun.Answer, want, m, old)
	}
}

// complete is the answer with what an upstream says about the end of the view's
// chain of CNAMEs.
func (q *message) complete(chain []dns.RR, want question, up *dns.Msg, old bool) []byte {
	if failed(up) {
		return q.fail(dns.RcodeServerFailure, dns.ExtendedErrorCodeCachedError, "no upstream resolver answered a moment ago")
	}
	m := q.reply()
	m.Rcode = up.Rcode
	m.AuthenticatedData = up.AuthenticatedData && len(chain) == 0 && !old && (q.msg.AuthenticatedData || want.do)
	if len(chain) == 0 {
		// The asker may have mixed upper and lower case to recognise its answer.
		for _, rr := range up.Answer {
			if h := rr.Header(); canonical(h.Name) == want.name {
				h.Name = q.msg.Question[0].Name
			}
		}
	}
	m.Answer, m.Ns, m.Extra = append(chain, up.Answer...), up.Ns, up.Extra
	if old {
		q.explain(m, dns.ExtendedErrorCodeStaleAnswer, "no upstream resolver answered in time")
	}
	return q.pack(m)
}

// ServeListener answers over TCP until Shutdown, which makes it return nil. It
// closes l.
func (r *Resolver) ServeListener(l net.Listener) error {
	defer l.Close()
	if !r.enter(l) {
		return nil // Shutdown came first
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
	key := keyOf(who)
	if !r.limiter.stream(key) {
		r.drops.count(who, vpc.TCP, 0, OverStreams)
		return
	}
	defer r.limiter.closed(key)
	var sc scratch
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
			r.drops.count(who, vpc.TCP, n, OverRate)
			return
		}
		reply, later := r.handle(&sc, buf[2:2+n], who, true)
		if later != nil {
			if !r.limiter.forward(key) {
				r.drops.count(who, vpc.TCP, n, OverForwards)
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
