// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/hostsync"
	"postern.dev/postern/internal/pki"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// hostSettings are what the agents need of the configuration and, since private keys
// are no part of what hosts keep, the certificates of the catalogue's services.
type hostSettings struct {
	authority *pki.Authority

	mu      sync.Mutex
	now     hostsync.Settings   // replaced, never changed; guarded by mu
	names   map[string][]string // what the authority's certificates are for; guarded by mu
	changed chan struct{}       // closed and replaced when now is; guarded by mu
	view    vpc.View            // what now was made for; guarded by mu
	newer   chan struct{}       // closed and replaced when view is; guarded by mu
}

func newHostSettings(cfg Config, p paths, a *pki.Authority, api net.Addr) (*hostSettings, error) {
	s := &hostSettings{authority: a, names: map[string][]string{}, changed: make(chan struct{}), newer: make(chan struct{})}
	s.now = hostsync.Settings{
		Region: cfg.Region, DNSRate: cfg.DNSPacketsPerSecond, CA: string(a.PEM),
		Backends:     map[string]string{"s3": "unix:" + p.s3Socket()},
		Questions:    map[string]string{"s3": "unix:" + p.s3Asked()},
		Self:         "http://" + reachable(api),
		Certificates: map[string]hostsync.Certificate{}, IdentityKey: cfg.IdentityKey,
	}
	var err error
	if s.now.Upstreams, err = dnsUpstreams(cfg.DNSUpstreams); err != nil {
		return nil, err
	}
	s.now.DNSHostTargets, err = cfg.dnsHostTargets()
	return s, err
}

// reachable is an address that leads to what listens on a.
func reachable(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	switch {
	case err != nil || !ap.Addr().IsUnspecified():
		return a.String()
	case ap.Addr().Is4():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), ap.Port()).String()
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), ap.Port()).String()
}

// get answers the newest settings and a channel closed when there are newer ones.
func (s *hostSettings) get() (hostsync.Settings, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.changed
}

// state answers the newest state that there are certificates for, and a channel
// closed when there is a newer one. Hosts get no other: what get answers afterwards
// has a certificate for each of its services.
func (s *hostSettings) state() (vpc.View, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view, s.newer
}

// update brings the certificates to the catalogue: the operator's, or one of our
// authority that is good for the service's names. Then the view is what hosts get.
func (s *hostSettings) update(v vpc.View) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	region, _ := vpc.Get[vpc.Region](v, vpc.RegionKey)
	certs, names := map[string]hostsync.Certificate{}, map[string][]string{}
	for c := range vpc.All[vpc.CatalogueService](v) {
		if c.TLSCertificate != "" {
			certs[c.Name] = hostsync.Certificate{Chain: c.TLSCertificate, Key: c.TLSKey}
			continue
		}
		names[c.Name] = certified(region, c)
		if have, ok := s.now.Certificates[c.Name]; ok && slices.Equal(s.names[c.Name], names[c.Name]) {
			certs[c.Name] = have
			continue
		}
		chain, key, err := s.authority.Leaf(names[c.Name], time.Now())
		if err != nil {
			return err
		}
		certs[c.Name] = hostsync.Certificate{Chain: string(chain), Key: string(key)}
	}
	s.names = names
	if !maps.Equal(certs, s.now.Certificates) {
		s.now.Certificates = certs
		close(s.changed)
		s.changed = make(chan struct{})
	}
	s.view = v
	close(s.newer)
	s.newer = make(chan struct{})
	return nil
}

// certified are the names that a service's certificate is for: its own, and those of
// interface endpoints to it.
func certified(r *vpc.Region, c *vpc.CatalogueService) []string {
	names := c.Names()
	if r != nil && slices.Contains(c.Types, vpc.InterfaceEndpoint) {
		names = append(names, "*."+vpc.ServiceBaseName(r, vpc.CatalogueLabel(c.Name)))
	}
	return names
}

// follow updates the settings whenever the store changes.
func (s *hostSettings) follow(ctx context.Context, st *store.Store) error {
	for {
		v, changed := st.Changed()
		if err := s.update(v); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// backendURLs are the backends of a service as the edge reaches them: those that the
// installation runs itself are where the settings say.
func backendURLs(v desired.Service, s hostsync.Settings) []string {
	var own string
	switch {
	case len(v.Backends) == 0:
		own = s.Backends[v.Name]
	case v.Backends[0] == vpc.BackendSelf:
		own = s.Self
	default:
		return v.Backends
	}
	if own == "" {
		return nil
	}
	return []string{own}
}
