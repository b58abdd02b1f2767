// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"testing"
	"time"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// age makes every flow as old as if nothing had been sent for so long.
func (w *world) age(by time.Duration) {
	w.t.Helper()
	for k, v := range w.conns() {
		v.LastSeen -= uint64(by)
		if err := w.dp.objs.Conns.Put(k, v); err != nil {
			w.t.Fatal(err)
		}
	}
}

// An interface's idle times are those of the flows that it begins, however they
// go on; others' are the defaults.
func TestFlowsLastAsLongAsTheirInterfaceSays(t *testing.T) {
	type step struct {
		p  packet
		to vpc.InterfaceID
	}
	syn := step{tcp(eniA1, addrA1, 1, addrA2, 80, "S"), eniA2}
	synAck := step{tcp(eniA2, addrA2, 80, addrA1, 1, "SA"), eniA1}
	datagram := step{udp(eniA1, addrA1, 2, addrA2, 53), eniA2}
	answer := step{udp(eniA2, addrA2, 53, addrA1, 2), eniA1}
	for name, c := range map[string]struct {
		steps    []step
		reply    step
		own      time.Duration
		standard time.Duration
	}{
		"TCP":             {[]step{syn, synAck}, step{tcp(eniA2, addrA2, 80, addrA1, 1, "A"), eniA1}, 10 * time.Second, 20 * time.Second},
		"UDP, unanswered": {[]step{datagram}, answer, 8 * time.Second, 6 * time.Second},
		"UDP, answered":   {[]step{datagram, answer}, answer, 7 * time.Second, 12 * time.Second},
	} {
		for _, own := range []bool{true, false} {
			idle := c.standard
			if own {
				idle = c.own
			}
			for _, over := range []bool{false, true} {
				t.Run(name, func(t *testing.T) {
					w := newWorld(t, func(w *world) {
						// short ones: the clock began when the machine did
						w.cfg.timeouts = map[string]time.Duration{
							"timeout_tcp": 20 * time.Second, "timeout_udp": 6 * time.Second, "timeout_udp_stream": 12 * time.Second,
						}
						// an answer passes only while the flow is known
						w.rules(eniA1, desired.RuleSet{Egress: open.Egress})
						w.rules(eniA2, desired.RuleSet{Ingress: open.Ingress})
						if own {
							edit(w.host.Interfaces, eniA1, func(i *desired.Interface) {
								i.Tracking = vpc.ConnectionTracking{TCPEstablished: 10, UDP: 8, UDPStream: 7}
							})
						}
						// the responder's own times mean nothing here
						edit(w.host.Interfaces, eniA2, func(i *desired.Interface) {
							i.Tracking = vpc.ConnectionTracking{TCPEstablished: 1, UDP: 1, UDPStream: 1}
						})
					})
					for _, s := range c.steps {
						w.passes(s.p, s.to)
					}
					if over {
						w.age(idle + time.Second)
						w.drops(c.reply.p, bpf.DropGroupEgress)
					} else {
						w.age(idle - 4*time.Second)
						w.passes(c.reply.p, c.reply.to)
					}
				})
			}
		}
	}
}
