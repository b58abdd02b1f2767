// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/vpc"
)

// Action is where a packet ended up.
type Action uint32

// Actions.
const (
	ActionDrop     = Action(bpf.DatapathActionACTION_DROP)
	ActionPeer     = Action(bpf.DatapathActionACTION_PEER)     // into the namespace behind the device
	ActionRedirect = Action(bpf.DatapathActionACTION_REDIRECT) // out of the device
	ActionAnswer   = Action(bpf.DatapathActionACTION_ANSWER)   // back to its sender, as an answer
	ActionOverlay  = Action(bpf.DatapathActionACTION_OVERLAY)  // to another host
)

func (a Action) String() string {
	switch a {
	case ActionDrop:
		return "drop"
	case ActionPeer:
		return "deliver to the namespace"
	case ActionRedirect:
		return "deliver to the device"
	case ActionAnswer:
		return "answer"
	case ActionOverlay:
		return "send to another host"
	}
	return fmt.Sprintf("action %d", uint32(a))
}

// Verdict is what became of one frame.
type Verdict struct {
	Action  Action
	Ifindex int    // device it goes to; 0 for a drop
	Reason  Reason // why it was dropped; an answer that is a reset has one too
	Frame   []byte // as it is then
	Way     Way    // of what goes to another host
}

// Way is how a frame goes between hosts.
type Way struct {
	VNI  vpc.VNI
	Host netip.Addr // the other one's address; IPv4
}

func (v Verdict) String() string {
	return fmt.Sprintf("%v to %d (%s)", v.Action, v.Ifindex, v.Reason.Name)
}

// Fields of struct __sk_buff, in bytes.
const (
	skbLen     = 192
	skbIfindex = 40
	skbCB      = 48
	skbGSOSize = 176
)

// Try runs one frame through the role's program as if the device with this
// index (in the calling thread's network namespace) had received it, and says
// what the program decided. No packet is sent, but the program does the rest
// as always: it begins connections, counts and uses up quotas. segment is the
// size of a large packet's segments, or 0. It is how tests compare the
// programs with the reference model.
func (d *Datapath) Try(role Role, ifindex int, frame []byte, segment int) (Verdict, error) {
	return d.try(role, ifindex, frame, segment, Way{})
}

// TryOverlay is Try for a frame that another host has sent.
func (d *Datapath) TryOverlay(from Way, frame []byte, segment int) (Verdict, error) {
	return d.try(Overlay, 0, frame, segment, from)
}

func (d *Datapath) try(role Role, ifindex int, frame []byte, segment int, from Way) (Verdict, error) {
	prog, err := d.program(role)
	if err != nil {
		return Verdict{}, fmt.Errorf("try a packet: %w", err)
	}
	var ctx, after [skbLen]byte
	binary.NativeEndian.PutUint32(ctx[skbIfindex:], uint32(ifindex))
	binary.NativeEndian.PutUint32(ctx[skbGSOSize:], uint32(segment))
	if from.Host.IsValid() {
		binary.NativeEndian.PutUint32(ctx[skbCB+12:], uint32(from.VNI))
		binary.NativeEndian.PutUint32(ctx[skbCB+16:], toAddr(from.Host).W[3])
	}
	opts := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256), Context: ctx[:], ContextOut: after[:]}
	code, err := prog.Run(opts)
	if err != nil {
		return Verdict{}, fmt.Errorf("try a packet of device %d: %w", ifindex, err)
	}
	v := Verdict{
		Action:  Action(binary.NativeEndian.Uint32(after[skbCB:])),
		Ifindex: int(binary.NativeEndian.Uint32(after[skbCB+4:])),
		Reason:  ReasonOf(binary.NativeEndian.Uint32(after[skbCB+8:])),
		Frame:   opts.DataOut,
	}
	if v.Action == ActionOverlay {
		v.Way.VNI = vpc.VNI(binary.NativeEndian.Uint32(after[skbCB+12:]))
		v.Way.Host = netip.AddrFrom4([4]byte(after[skbCB+16:]))
	}
	const shot, redirect = 2, 7 // TC_ACT_*
	if want := map[bool]uint32{true: shot, false: redirect}[v.Action == ActionDrop]; code != want {
		return v, fmt.Errorf("try a packet of device %d: the program returned %d for %q", ifindex, code, v.Action)
	}
	return v, nil
}
