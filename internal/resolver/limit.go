// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"net/netip"
	"sync"
	"time"

	"postern.dev/postern/internal/vpc"
)

// Limits per asker and in all.
const (
	// PacketsPerSecond is AWS's limit for one network interface.
	PacketsPerSecond = 1024
	// forwardsPerAsker and maxForwards bound queries waiting for an upstream.
	forwardsPerAsker = 64
	maxForwards      = 512
	// streamsPerAsker and maxStreams bound open TCP connections.
	streamsPerAsker = 16
	maxStreams      = 1024
	// maxAskers bounds the table, askersPerVPC what of it one VPC may have; idle
	// askers are dropped first, looked for once a second at most.
	maxAskers    = 1 << 16
	askersPerVPC = 1 << 12
)

// askerKey names an asker's interface, which may have many addresses; one whose
// number is not known is an address.
type askerKey struct {
	vni   vpc.VNI
	iface uint64
	addr  netip.Addr
}

func keyOf(who Asker) askerKey {
	// Through an inbound endpoint come many, who are apart by their addresses.
	if who.Interface == 0 || who.Inbound {
		return askerKey{vni: who.VNI, iface: who.Interface, addr: who.Client.Addr()}
	}
	return askerKey{vni: who.VNI, iface: who.Interface}
}

// askerState is what one asker is using.
type askerState struct {
	tokens   float64
	refilled time.Time
	forwards int
	streams  int
}

// limiter keeps askers to their share.
type limiter struct {
	now  func() time.Time
	rate func() int // packets per second

	mu       sync.Mutex
	askers   map[askerKey]*askerState
	perVPC   map[vpc.VNI]int
	swept    time.Time
	forwards share
	streams  share
}

// share is what of something all have together and each VPC. A VPC may have as
// much as is free, and so the half at most, two a third each: however many
// interfaces a tenant has, another finds a place.
type share struct {
	all   int
	byVPC map[vpc.VNI]int
}

func (s *share) take(vni vpc.VNI, limit int) bool {
	if s.byVPC[vni] >= limit-s.all {
		return false
	}
	if s.byVPC == nil {
		s.byVPC = map[vpc.VNI]int{}
	}
	s.all++
	s.byVPC[vni]++
	return true
}

func (s *share) giveBack(vni vpc.VNI) {
	s.all--
	if s.byVPC[vni]--; s.byVPC[vni] == 0 {
		delete(s.byVPC, vni)
	}
}

func newLimiter(now func() time.Time, rate func() int) *limiter {
	return &limiter{now: now, rate: rate, askers: map[askerKey]*askerState{}, perVPC: map[vpc.VNI]int{}}
}

// state finds or makes an asker's state; nil if the table, or the VPC's part of
// it, is full of busy ones. The caller holds mu.
func (l *limiter) state(k askerKey) *askerState {
	a := l.askers[k]
	if a != nil {
		return a
	}
	now := l.now()
	full := func() bool { return len(l.askers) >= maxAskers || l.perVPC[k.vni] >= askersPerVPC }
	if full() && now.Sub(l.swept) >= time.Second {
		l.swept = now
		for k, a := range l.askers {
			if a.forwards == 0 && a.streams == 0 && now.Sub(a.refilled) > time.Second {
				delete(l.askers, k)
				if l.perVPC[k.vni]--; l.perVPC[k.vni] == 0 {
					delete(l.perVPC, k.vni)
				}
			}
		}
	}
	if full() {
		return nil
	}
	l.perVPC[k.vni]++
	a = &askerState{tokens: float64(l.rate()), refilled: now}
	l.askers[k] = a
	return a
}

// packet takes one packet of the asker's rate.
func (l *limiter) packet(k askerKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.state(k)
	if a == nil {
		return false
	}
	now, rate := l.now(), float64(l.rate())
	a.tokens = min(rate, a.tokens+now.Sub(a.refilled).Seconds()*rate)
	a.refilled = now
	if a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}

// forward takes one of the asker's places in the queue for upstreams; the
// caller gives it back with forwarded.
func (l *limiter) forward(k askerKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.state(k)
	if a == nil || a.forwards >= forwardsPerAsker || !l.forwards.take(k.vni, maxForwards) {
		return false
	}
	a.forwards++
	return true
}

func (l *limiter) forwarded(k askerKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forwards.giveBack(k.vni)
	l.askers[k].forwards--
}

// stream takes a place for a TCP connection; the caller gives it back with closed.
func (l *limiter) stream(k askerKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.state(k)
	if a == nil || a.streams >= streamsPerAsker || !l.streams.take(k.vni, maxStreams) {
		return false
	}
	a.streams++
	return true
}

func (l *limiter) closed(k askerKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams.giveBack(k.vni)
	l.askers[k].streams--
}
