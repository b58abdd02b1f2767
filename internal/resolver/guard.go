// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// A refusal is logged once in this time for each VPC and target, and for so
// many of them: who writes rules must not write the log.
const (
	sayAgain = time.Minute
	maxSaid  = 256
)

// guard stands before the targets of forward rules. A tenant writes those, and
// the host sends the questions: none may go to the host itself.
type guard struct {
	may func(netip.Addr) error
	now func() time.Time
	log *slog.Logger

	mu   sync.Mutex
	said map[refusal]time.Time
}

// refusal is what is logged.
type refusal struct {
	tenant tenant
	target string
}

// check says why a VPC's question must not go to a target, nil if it may.
func (g *guard) check(t tenant, target string) error {
	if g == nil {
		return nil
	}
	to, err := netip.ParseAddrPort(target)
	if err == nil {
		err = g.may(to.Addr().Unmap())
	}
	if err == nil {
		return nil
	}
	if g.say(refusal{t, target}) {
		g.log.Warn("a target of a forward rule is not asked", "vpc", t.vpc, "target", target, "reason", err)
	}
	return fmt.Errorf("it must not be asked: %w", err)
}

// say reports whether a refusal is to be logged.
func (g *guard) say(r refusal) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if at, ok := g.said[r]; ok && now.Sub(at) < sayAgain {
		return false
	}
	if len(g.said) >= maxSaid {
		for k, at := range g.said {
			if now.Sub(at) >= sayAgain {
				delete(g.said, k)
			}
		}
		if len(g.said) >= maxSaid {
			return false
		}
	}
	g.said[r] = now
	return true
}
