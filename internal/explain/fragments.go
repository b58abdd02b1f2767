// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"net/netip"
	"time"

	"postern.dev/postern/internal/vpc"
)

// fragmentKey is what the fragments of a packet have in common.
type fragmentKey struct {
	from     vpc.InterfaceID
	src, dst netip.Addr
	proto    int
	id       uint32
}

// fragment is what the first fragment of a packet said.
type fragment struct {
	sport, dport uint16
	typ, code    uint8
	id           uint16 // of an echo
	seen         time.Duration
	order        int // of those its interface has begun
}

// fragmentLife is how long a first fragment is remembered.
const fragmentLife = 30 * time.Second

func (j *journey) fragmentKey() fragmentKey {
	return fragmentKey{j.from, j.p.src, j.p.dst, j.p.proto, j.p.fragID}
}

// pieces gives a later fragment the ports of its first one. An interface has 64
// places for first fragments, found by a hash, so one that another has begun
// since may be forgotten: uncertain says that.
func (j *journey) pieces() (known, uncertain bool) {
	m, p := j.m, j.p
	if !p.later {
		return true, false
	}
	f := m.fragments[j.fragmentKey()]
	if f == nil || m.now-f.seen > fragmentLife {
		j.step("no first fragment of this packet has been seen")
		return false, false
	}
	p.known, p.sport, p.dport, p.typ, p.code, p.id = true, f.sport, f.dport, f.typ, f.code, f.id
	return true, m.fragSeen[j.from] > f.order
}

// ForgetFragments forgets all first fragments.
func (m *Model) ForgetFragments() { clear(m.fragments) }

// begun remembers a first fragment.
func (j *journey) begun() {
	m := j.m
	if p := j.p; p.fragmented && !p.later {
		if m.fragments[j.fragmentKey()] == nil {
			m.fragSeen[j.from]++
		}
		m.fragments[j.fragmentKey()] = &fragment{sport: p.sport, dport: p.dport, typ: p.typ, code: p.code, id: p.id, seen: m.now, order: m.fragSeen[j.from]}
	}
}
