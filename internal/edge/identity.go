// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"crypto/ed25519"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"postern.dev/postern/internal/edge/caller"
	"postern.dev/postern/internal/vpc"
)

// identity is the signed header that says who a request comes from.
func (x *exchange) identity(key ed25519.PrivateKey, r *http.Request) string {
	return caller.Value(key, caller.Caller{
		Endpoint: x.rec.Endpoint, VPC: x.rec.VPC, Account: string(x.ep.Owner), Interface: x.rec.Interface, Client: x.id.Client,
	}, caller.Request{
		Service: x.ep.service.Name, ID: x.rec.RequestID, Method: r.Method, Host: r.Host, URI: r.RequestURI,
	}, time.Now())
}

// transport is how a request gets to the backend. One that is told by connection
// who its client is has connections for each of the client's own: what the
// header at their head says never becomes untrue.
func (x *exchange) transport(b *backend) *http.Transport {
	if x.ep.service.Identity != vpc.IdentityProxy {
		return b.transport
	}
	x.conn.own.keep(x.ep.service.pool.members)
	return x.conn.own.to(b, caller.Proxy(x.id.Client, addrPort(x.conn.LocalAddr()), string(x.ep.ID)))
}

// ownIdle bounds the idle connections to a backend that one client's has; over
// HTTP/1.1 it never needs more than one.
const ownIdle = 4

// ownBackend is what one client's connection has to its service's backends.
type ownBackend struct {
	mu         sync.Mutex
	transports map[*backend]*http.Transport // guarded by mu
	closed     bool                         // guarded by mu
}

// to is the transport to a backend, each of whose connections begins with head.
func (o *ownBackend) to(b *backend, head []byte) *http.Transport {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t := o.transports[b]; t != nil {
		return t
	}
	t := b.transport.Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = ownIdle, ownIdle
	// A request may still begin when its client has gone: then nothing closes
	// what it leaves.
	t.DisableKeepAlives = o.closed
	t.DialContext = headedBy(t.DialContext, head)
	if o.transports == nil {
		o.transports = map[*backend]*http.Transport{}
	}
	o.transports[b] = t
	return t
}

// keep ends what is idle at backends that the service has no more.
func (o *ownBackend) keep(members []*member) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for b, t := range o.transports {
		if !slices.ContainsFunc(members, func(m *member) bool { return m.backend == b }) {
			t.CloseIdleConnections()
			delete(o.transports, b)
		}
	}
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// headedBy is a dialer each of whose connections begins with head.
func headedBy(dial dialer, head []byte) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c.SetWriteDeadline(time.Now().Add(backendDial))
		if _, err := c.Write(head); err != nil {
			c.Close()
			return nil, err
		}
		c.SetWriteDeadline(time.Time{})
		return c, nil
	}
}

// close ends what is idle; what is not ends with its request.
func (o *ownBackend) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for _, t := range o.transports {
		t.CloseIdleConnections()
	}
}
