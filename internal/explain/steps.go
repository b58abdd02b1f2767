// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/vpc"
)

// journey is one packet on its way, with the steps it has taken.
type journey struct {
	m    *Model
	from vpc.InterfaceID
	p    *packet
	// self is the interface it came from, in the network as it is now.
	self *site
	way  way // where the routes lead it
	// straight is set on the way between two workloads, without translation.
	straight bool
	// old are connections that are over because of this packet.
	old []*conn
	// piece is set when a first fragment has been looked at.
	piece bool
	steps []string
}

// fork is the journey from here on as one of several possible ones.
func (j *journey) fork() *journey {
	c := *j
	c.steps, c.old = slices.Clone(j.steps), slices.Clone(j.old)
	return &c
}

// step notes what was found, for people.
func (j *journey) step(format string, args ...any) {
	j.steps = append(j.steps, fmt.Sprintf(format, args...))
}

func one(o Outcome) []Outcome { return []Outcome{o} }

func (j *journey) drop(reason string, also ...string) Outcome {
	return Outcome{Action: Drop, Reason: reason, Also: also, Steps: j.steps, forgets: j.old}
}

// then is what is remembered when this outcome is the one that came true and
// the packet arrived somewhere.
func (o Outcome) then(f func()) Outcome {
	if o.Action == Drop {
		return o
	}
	before := o.commit
	o.commit = func(s netip.AddrPort) {
		if before != nil {
			before(s)
		}
		f()
	}
	return o
}
