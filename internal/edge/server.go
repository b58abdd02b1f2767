// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"postern.dev/postern/internal/vpc"
)

// Sockets are the listeners the agent hands over; nil ones are not served.
//
// One with a method Leave(context.Context) error can be left without refusing
// anybody: it lets nobody in any more, but has those who had come accepted, and
// returns then. It is called before the listener is closed.
type Sockets struct {
	HTTP, HTTPS net.Listener
}

// list are those that there are.
func (s Sockets) list() (out []net.Listener) {
	for _, l := range []net.Listener{s.HTTP, s.HTTPS} {
		if l != nil {
			out = append(out, l)
		}
	}
	return out
}

// leave leaves those that can be left.
func (s Sockets) leave(ctx context.Context, log *slog.Logger) {
	var leaving sync.WaitGroup
	for _, l := range s.list() {
		if d, ok := l.(interface{ Leave(context.Context) error }); ok {
			leaving.Go(func() {
				if err := d.Leave(ctx); err != nil {
					log.Warn("connections that come now may be refused", "socket", l.Addr(), "error", err)
				}
			})
		}
	}
	leaving.Wait()
}

// Bounds of a client.
const (
	maxHeaderBytes = 64 << 10
	// maxConns and maxConnsPerVNI bound open connections.
	maxConns       = 16384
	maxConnsPerVNI = 2048
	// maxStreams is how many requests an HTTP/2 connection may have at a time; the
	// others are what it may send ahead of what is read.
	maxStreams      = 100
	maxStreamBuffer = 256 << 10
	maxConnBuffer   = 1 << 20
)

// DrainTime is how long requests on their way may go on when the edge ends; it
// takes no new ones then.
const DrainTime = 8 * time.Second

// limits are how long a client may take.
type limits struct {
	header time.Duration // for the header of a request
	idle   time.Duration // between requests
	stall  time.Duration // for a body to make any progress
}

var defaultLimits = limits{header: 20 * time.Second, idle: 2 * time.Minute, stall: time.Minute}

// Server serves the endpoints of one host.
type Server struct {
	limits   limits
	ident    Identifier
	record   func(Record)
	served   func() // told when a configuration is in force
	log      *slog.Logger
	state    atomic.Pointer[state]
	backends backends      // used by configure
	healthy  chan struct{} // full when the health of a backend has changed
	held     budget        // bodies in memory
	panics   panics
	ending   atomic.Bool // no connection is to have another request

	mu     sync.Mutex
	conns  map[*conn]struct{}
	perVNI map[vpc.VNI]int
}

// Run serves the sockets with the config that came last over configs until ctx
// ends, and calls served whenever one is in force. Until the first has come,
// connections wait in the sockets' queues: an edge that takes over from another
// refuses nobody. record is called once for each
// request, from many goroutines; it must not block for long. health is called with
// the backends that are checked, by service and URL, and whether they are healthy,
// whenever that changes. The sockets are closed when Run returns.
func Run(ctx context.Context, sockets Sockets, configs <-chan Config, served func(), ident Identifier, record func(Record), health func(map[string]map[string]bool)) error {
	s := newServer(ident, record)
	s.served = served
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() { s.tellHealth(ctx, health) })
	defer telling.Wait()
	defer cancel()
	return s.run(ctx, sockets, configs)
}

func (s *Server) run(ctx context.Context, sockets Sockets, configs <-chan Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errorLog := log.New(serverLog{s.log}, "", 0)
	failed := make(chan error, 2)
	var servers []*http.Server
	var serving sync.WaitGroup
	start := func(l net.Listener, secure bool) {
		srv := &http.Server{
			Handler:           http.HandlerFunc(s.last),
			ReadHeaderTimeout: s.limits.header,
			IdleTimeout:       s.limits.idle,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          errorLog,
			HTTP2: &http.HTTP2Config{
				MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerStream: maxStreamBuffer, MaxReceiveBufferPerConnection: maxConnBuffer,
			},
			// "OPTIONS *" is answered by the handler like everything else.
			DisableGeneralOptionsHandler: true,
			ConnContext:                  withConn,
		}
		srv.Protocols = http1()
		// HTTP/2 needs TLS: without, a client would have to know beforehand.
		srv.Protocols.SetHTTP2(secure)
		servers = append(servers, srv)
		l = &listener{Listener: l, server: s}
		if secure {
			l = tls.NewListener(l, &tls.Config{
				MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: s.certificateFor,
			})
		}
		serving.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
			}
		})
	}
	var err error
	started := false
	for err == nil && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case err = <-failed:
		case c, ok := <-configs:
			if !ok {
				configs = nil // nobody configures us any more: go on as we are
				continue
			}
			s.configure(c)
			s.served()
			if started {
				continue
			}
			started = true
			if sockets.HTTP != nil {
				start(sockets.HTTP, false)
			}
			if sockets.HTTPS != nil {
				start(sockets.HTTPS, true)
			}
		}
	}
	if !started {
		for _, l := range sockets.list() {
			l.Close()
		}
	}
	s.log.Info("the edge takes no more requests and ends those on their way", "within", DrainTime)
	graceful, stop := context.WithTimeout(context.Background(), DrainTime)
	defer stop()
	s.ending.Store(true)
	if started {
		sockets.leave(graceful, s.log)
	}
	for _, srv := range servers {
		serving.Go(func() {
			if srv.Shutdown(graceful) != nil {
				srv.Close()
			}
		})
	}
	serving.Wait()
	for _, svc := range s.state.Load().services {
		svc.pool.close()
	}
	s.backends.keep(nil)
	return err
}

func newServer(ident Identifier, record func(Record)) *Server {
	s := &Server{limits: defaultLimits, ident: ident, record: record, served: func() {}, log: slog.Default(), healthy: make(chan struct{}, 1), conns: map[*conn]struct{}{}, perVNI: map[vpc.VNI]int{}}
	s.state.Store(&state{})
	return s
}

// last is serve, and says that a request was its connection's last when the edge
// ends: a connection that is closed while it has none could have been about to.
func (s *Server) last(w http.ResponseWriter, r *http.Request) {
	if s.ending.Load() {
		w.Header().Set("Connection", "close")
	}
	s.serve(w, r)
}

// configure swaps the state and closes what came through endpoints that are gone.
func (s *Server) configure(c Config) {
	now := compile(c, s.state.Load(), &s.backends, s.healthChanged, s.log)
	s.state.Store(now)
	s.mu.Lock()
	var gone []*conn
	for c := range s.conns {
		if now.endpoint(c.id) == nil {
			gone = append(gone, c)
		}
	}
	s.mu.Unlock()
	for _, c := range gone {
		c.Close()
	}
	s.healthChanged()
}

func (s *Server) healthChanged() {
	select {
	case s.healthy <- struct{}{}:
	default:
	}
}

// tellHealth passes on the health of the checked backends, by service and URL, when
// it changes, until ctx ends.
func (s *Server) tellHealth(ctx context.Context, tell func(map[string]map[string]bool)) {
	last := map[string]map[string]bool{}
	for {
		select {
		case <-s.healthy:
		case <-ctx.Done():
			return
		}
		now := map[string]map[string]bool{}
		for name, svc := range s.state.Load().services {
			if h := svc.pool.health(); h != nil {
				now[name] = h
			}
		}
		if !reflect.DeepEqual(now, last) {
			tell(now)
			last = now
		}
	}
}

// conn is a client's connection and who the client is.
type conn struct {
	net.Conn
	id     Identity
	server *Server
	closed sync.Once
	own    ownBackend // connections to a backend that are this client's alone
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.closed.Do(func() {
		c.own.close()
		s := c.server
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		if s.perVNI[c.id.VNI]--; s.perVNI[c.id.VNI] == 0 {
			delete(s.perVNI, c.id.VNI)
		}
	})
	return err
}

// listener accepts connections of known clients only.
type listener struct {
	net.Listener
	server *Server
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.server.admit(raw); c != nil {
			return c, nil
		}
		raw.Close()
	}
}

// admit identifies a connection; nil refuses it.
func (s *Server) admit(raw net.Conn) *conn {
	id, err := s.ident.Identify(addrPort(raw.RemoteAddr()), addrPort(raw.LocalAddr()), vpc.TCP)
	if err != nil {
		s.log.Debug("connection from nobody we know", "remote", raw.RemoteAddr(), "error", err)
		return nil
	}
	c := &conn{Conn: raw, id: id, server: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Under the lock, so that configure either sees the connection or has
	// stored the state before.
	if s.state.Load().endpoint(id) == nil {
		return nil
	}
	if len(s.conns) >= maxConns || s.perVNI[id.VNI] >= maxConnsPerVNI {
		s.log.Warn("too many connections", "vni", id.VNI)
		return nil
	}
	s.conns[c] = struct{}{}
	s.perVNI[id.VNI]++
	return c
}

type connKey struct{}

// withConn gives a request its connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	if t, ok := a.(*net.TCPAddr); ok {
		ap = t.AddrPort()
	} else {
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
