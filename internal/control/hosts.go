// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"sync"
	"time"

	"postern.dev/postern/internal/vpc"
)

// HostStatus is what a host last said of itself.
type HostStatus struct {
	Host vpc.HostID `json:"host"`
	// Applied is the revision whose desired state the host holds.
	Applied vpc.Revision `json:"applied"`
	// Named is the revision whose names its resolver answers with.
	Named vpc.Revision `json:"named"`
	// Errors are the objects that could not be brought to desired, by name.
	Errors map[string]string `json:"errors,omitempty"`
	// Backends are those that the host's edge checks, by service and URL, and
	// whether they are healthy.
	Backends map[string]map[string]bool `json:"backends,omitempty"`
	Seen     time.Time                  `json:"seen"`
	Live     bool                       `json:"live"`
}

// Hosts knows which hosts are connected to this server and what they have
// applied. It is status, not state: it is empty after a start and filled by
// the hosts' own reports.
type Hosts struct {
	// GoneAfter is how long a host whose stream ended still counts as live: a
	// restart of its agent is no reason to stop waiting for it. Set it before use.
	GoneAfter time.Duration

	mu      sync.Mutex
	hosts   map[vpc.HostID]HostStatus // guarded by mu
	changed chan struct{}             // closed and replaced at each change; guarded by mu
}

// NewHosts makes an empty registry.
func NewHosts() *Hosts {
	return &Hosts{hosts: map[vpc.HostID]HostStatus{}, changed: make(chan struct{})}
}

// Report records a host's status; a host that reports is live.
func (h *Hosts) Report(s HostStatus) {
	s.Live = true
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hosts[s.Host] = s
	h.wake()
}

// Gone records that a host's stream ended. It keeps carrying packets; if it
// does not report again within GoneAfter, nobody waits for it any longer.
func (h *Hosts) Gone(id vpc.HostID) {
	m, _ := h.Status()
	last := m[id].Seen
	h.goneLater(id, last)
}

// goneLater lets a host that has not been seen since last count as gone, in
// GoneAfter.
func (h *Hosts) goneLater(id vpc.HostID, last time.Time) {
	gone := func() {
		h.set(id, func(s HostStatus) HostStatus {
			s.Live = s.Live && !s.Seen.Equal(last)
			return s
		})
	}
	if h.GoneAfter == 0 {
		gone()
		return
	}
	time.AfterFunc(h.GoneAfter, gone)
}

// Expect makes hosts that have not reported yet count as live for GoneAfter. A
// server that has just started calls it: they carry packets, and connect soon.
func (h *Hosts) Expect(ids ...vpc.HostID) {
	for _, id := range ids {
		h.mu.Lock()
		_, known := h.hosts[id]
		if !known {
			h.hosts[id] = HostStatus{Host: id, Live: true}
		}
		h.mu.Unlock()
		if !known {
			h.goneLater(id, time.Time{})
		}
	}
}

// Forget drops what is known of a host that was removed.
func (h *Hosts) Forget(id vpc.HostID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.hosts, id)
	h.wake()
}

// set changes the status of a host, if anything is known of it.
func (h *Hosts) set(id vpc.HostID, f func(HostStatus) HostStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s, ok := h.hosts[id]; ok {
		h.hosts[id] = f(s)
		h.wake()
	}
}

// wake tells those who wait for a change. h.mu is held.
func (h *Hosts) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// Status returns every host's status and a channel closed at the next change.
func (h *Hosts) Status() (map[vpc.HostID]HostStatus, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := make(map[vpc.HostID]HostStatus, len(h.hosts))
	for k, v := range h.hosts {
		m[k] = v
	}
	return m, h.changed
}

// AppliedByAll reports whether every live host holds revision r without errors
// on the named objects, and if not which host and why.
func (h *Hosts) AppliedByAll(r vpc.Revision, objects ...string) (bool, string) {
	m, _ := h.Status()
	for id, s := range m {
		if !s.Live {
			continue
		}
		if s.Applied < r {
			return false, fmt.Sprintf("host %s is at revision %d of %d", id, s.Applied, r)
		}
		for _, o := range objects {
			if e, ok := s.Errors[o]; ok {
				return false, fmt.Sprintf("host %s: %s: %s", id, o, e)
			}
		}
	}
	return true, ""
}

// NamedByAll reports whether every live host's resolver answers with the names
// of revision r, and if not which does not.
func (h *Hosts) NamedByAll(r vpc.Revision) (bool, string) {
	m, _ := h.Status()
	for id, s := range m {
		if s.Live && s.Named < r {
			return false, fmt.Sprintf("the resolver of host %s is at revision %d of %d", id, s.Named, r)
		}
	}
	return true, ""
}

// BackendHealth is what the live hosts say of a service's backend, "healthy" or
// "unhealthy"; nil if none checks it.
func (h *Hosts) BackendHealth(service, url string) map[vpc.HostID]string {
	var out map[vpc.HostID]string
	m, _ := h.Status()
	for id, s := range m {
		healthy, known := s.Backends[service][url]
		if !s.Live || !known {
			continue
		}
		if out == nil {
			out = map[vpc.HostID]string{}
		}
		out[id] = "unhealthy"
		if healthy {
			out[id] = "healthy"
		}
	}
	return out
}

// WaitApplied waits until every live host holds revision r.
func (h *Hosts) WaitApplied(ctx context.Context, r vpc.Revision) error {
	for {
		_, ch := h.Status()
		ok, why := h.AppliedByAll(r)
		if ok {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", why, ctx.Err())
		}
	}
}
