// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"postern.dev/postern/internal/edge/caller"
	"postern.dev/postern/internal/vpc"
)

// poolSpec is what a pool is made of.
type poolSpec struct {
	backends []string
	check    *vpc.BackendCheck // nil: all of them always count as healthy
	ca       string
	identity vpc.BackendIdentity
}

// pool is the backends of a service. A request goes to the healthy one with the
// fewest requests; one that cannot be connected to is passed over, since it was
// sent nothing. With a health check, a backend that fails some checks or
// connections in a row gets no requests until it has passed some.
type pool struct {
	spec    poolSpec
	members []*member
	turn    atomic.Uint32 // who is asked first among equals
	stop    func()        // ends the checks
	changed func()        // told when the health of one changes
}

// member is a backend in a pool.
type member struct {
	*backend
	busy atomic.Int64 // requests, until their answers have been read
	down atomic.Bool  // changed with mu
	mu   sync.Mutex
	row  int // results in a row that speak against down; guarded by mu
}

// errAllDown says that no backend is healthy.
var errAllDown = errors.New("no backend of the service is healthy")

// newPool makes the pool of a service, or answers with the one it had if that is
// the same. A backend that was in the old one keeps its health. changed is called
// when the health of one changes, from many goroutines.
func newPool(spec poolSpec, old *pool, from *backends, changed func(), log *slog.Logger) *pool {
	if old != nil && reflect.DeepEqual(old.spec, spec) {
		return old
	}
	p := &pool{spec: spec, stop: func() {}, changed: changed}
	for _, raw := range spec.backends {
		b, err := from.get(raw, spec.ca)
		if err != nil {
			log.Error("backend cannot be used", "error", err)
			continue
		}
		m := &member{backend: b}
		if old != nil && spec.check != nil {
			for _, o := range old.members {
				if o.key == m.key {
					m.down.Store(o.down.Load())
				}
			}
		}
		p.members = append(p.members, m)
	}
	if spec.check == nil {
		return p
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, m := range p.members {
		wg.Go(func() { p.watch(ctx, m, log.With("backend", m.key.url)) })
	}
	p.stop = func() {
		cancel()
		wg.Wait()
	}
	return p
}

// close ends the checks. Requests on their way end in peace.
func (p *pool) close() { p.stop() }

// watch checks a backend until ctx ends, at once and then at every interval.
func (p *pool) watch(ctx context.Context, m *member, log *slog.Logger) {
	t := time.NewTicker(time.Duration(p.spec.check.Interval) * time.Second)
	defer t.Stop()
	check := m.checker(p.spec.check.Path, p.spec.identity)
	for {
		try, done := context.WithTimeout(ctx, time.Duration(p.spec.check.Timeout)*time.Second)
		err := check(try)
		done()
		if ctx.Err() != nil {
			return
		}
		if p.note(m, err == nil) {
			log.Warn("health of a backend changed", "healthy", err == nil, "error", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// checker makes the check of a backend: a GET of the path, or with none a
// connection.
func (m *member) checker(path string, identity vpc.BackendIdentity) func(context.Context) error {
	dial := dialer(m.transport.DialContext)
	if identity == vpc.IdentityProxy {
		dial = headedBy(dial, caller.ProxyLocal())
	}
	if path == "" {
		address := m.host
		if u := (url.URL{Host: m.host}); u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[m.scheme])
		}
		return func(ctx context.Context) error {
			c, err := dial(ctx, "tcp", address)
			if err == nil {
				c.Close()
			}
			return err
		}
	}
	// Each check is a new connection: an old one says nothing of the next request.
	t := m.transport.Clone()
	t.DialContext, t.DisableKeepAlives = dial, true
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.scheme+"://"+m.host+path, nil)
		if err != nil {
			return err
		}
		req.Header.Set("User-Agent", "Postern-HealthChecker")
		res, err := t.RoundTrip(req)
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode >= 400 {
			return errors.New("answered " + res.Status)
		}
		return nil
	}
}

// note counts what a check or a connection said of a backend, and reports whether
// its health is another one now.
func (p *pool) note(m *member, ok bool) (changed bool) {
	if p.spec.check == nil {
		return false
	}
	if changed = m.turns(p.spec.check, ok); changed {
		p.changed()
	}
	return changed
}

// turns counts a result, and reports whether the backend's health is another now.
func (m *member) turns(check *vpc.BackendCheck, ok bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	down := m.down.Load()
	if ok != down {
		m.row = 0 // as it was
		return false
	}
	limit := check.Unhealthy
	if down {
		limit = check.Healthy
	}
	if m.row++; m.row < limit {
		return false
	}
	m.row = 0
	m.down.Store(!down)
	return true
}

// health are the checked backends by URL, nil if none is.
func (p *pool) health() map[string]bool {
	if p.spec.check == nil {
		return nil
	}
	out := map[string]bool{}
	for _, m := range p.members {
		out[m.key.url] = !m.down.Load()
	}
	return out
}

// pick chooses among the healthy backends that were not tried: the one with the
// fewest requests, by turns among equals. -1 is none.
func (p *pool) pick(tried map[int]bool) int {
	least, equals := int64(math.MaxInt64), 0
	for i, m := range p.members {
		if m.down.Load() || tried[i] {
			continue
		}
		switch busy := m.busy.Load(); {
		case busy < least:
			least, equals = busy, 1
		case busy == least:
			equals++
		}
	}
	if equals == 0 {
		return -1
	}
	// Those that are out take no turns: the one after them would have theirs too.
	turn, last := int(p.turn.Add(1)%uint32(equals)), -1
	for i, m := range p.members {
		if m.down.Load() || tried[i] {
			continue
		}
		last = i
		if m.busy.Load() > least {
			continue
		}
		if turn == 0 {
			return i
		}
		turn--
	}
	return last // some have become busy meanwhile
}

// balanced sends a request to one of a pool's backends. via is how one is spoken to
// for this request.
type balanced struct {
	pool *pool
	via  func(*backend) http.RoundTripper
}

func (t *balanced) RoundTrip(req *http.Request) (*http.Response, error) {
	var body *unread
	if req.Body != nil && req.Body != http.NoBody {
		body = &unread{ReadCloser: req.Body}
	}
	var tried map[int]bool
	failed := errAllDown
	for {
		i := t.pool.pick(tried)
		if i < 0 {
			return nil, failed
		}
		m := t.pool.members[i]
		m.busy.Add(1)
		res, err := t.via(m.backend).RoundTrip(aimed(req, m.backend, body))
		if err == nil {
			t.pool.note(m, true)
			res.Body = &counted{ReadCloser: res.Body, member: m}
			return res, nil
		}
		m.busy.Add(-1)
		if req.Context().Err() != nil || !neverConnected(err) {
			return nil, err
		}
		t.pool.note(m, false)
		if body != nil && body.begun.Load() {
			return nil, err
		}
		// It has been sent nothing, whatever the request is: another may have it.
		failed = err
		if tried == nil {
			tried = map[int]bool{}
		}
		tried[i] = true
	}
}

// aimed is a request for a backend.
func aimed(req *http.Request, b *backend, body *unread) *http.Request {
	out := req.WithContext(req.Context())
	u := *req.URL
	u.Scheme, u.Host = b.scheme, b.host
	out.URL = &u
	if body != nil {
		out.Body = body
	}
	return out
}

// neverConnected reports whether an error came before anything was sent.
func neverConnected(err error) bool {
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &cert)
}

// unread is a body that stays open until somebody has begun to read it: a backend
// that was not reached does not take it from the next. The proxy closes it in the
// end.
type unread struct {
	io.ReadCloser
	begun atomic.Bool
}

func (b *unread) Read(p []byte) (int, error) {
	b.begun.Store(true)
	return b.ReadCloser.Read(p)
}

func (b *unread) Close() error {
	if !b.begun.Load() {
		return nil
	}
	return b.ReadCloser.Close()
}

// counted is an answer's body, which keeps its backend busy until it is closed.
type counted struct {
	io.ReadCloser
	member *member
	once   sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.member.busy.Add(-1) })
	return c.ReadCloser.Close()
}
