// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What a flood is made of.
const (
	floodSYN = "syn" // to one port, from random ports
	floodUDP = "udp" // to random ports, from random ports
)

// flooded is what a flooding process sent and prints as JSON.
type flooded struct {
	Packets int64 `json:"packets"`
	Elapsed int64 `json:"elapsed_ns"`
	Refused int64 `json:"refused,omitempty"` // by the sender's own kernel, for want of room
	Early   bool  `json:"early,omitempty"`   // it ended at its bounds and not when it was told
}

// bounds are what a flood ends at in any case.
type bounds struct {
	lasts time.Duration
	limit int64 // packets
}

// flood sends as fast as it can, says so when it has begun, and ends when in does
// or at its bounds. Packets have their own headers, so no port is ever bound.
func flood(kind string, from netip.Addr, to netip.AddrPort, b bounds, in io.Reader, out io.Writer) error {
	f, err := newFloodPacket(kind, from, to)
	if err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("make a raw socket: %w", err)
	}
	defer unix.Close(s)
	if err := unix.Connect(s, &unix.SockaddrInet4{Addr: to.Addr().As4()}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	var told atomic.Bool
	go func() {
		io.Copy(io.Discard, in)
		told.Store(true)
	}()
	const between = 64         // packets for one look at the clock
	const begun = 16 * between // packets after which it is a flood
	var sent flooded
	start := time.Now()
	for !told.Load() {
		if sent.Packets >= b.limit || time.Since(start) >= b.lasts {
			sent.Early = true
			break
		}
		for range between {
			f.vary()
			switch _, err := unix.Write(s, f.bytes); {
			case errors.Is(err, unix.ENOBUFS):
				sent.Refused++
			case errors.Is(err, unix.EINTR):
			case err != nil:
				return fmt.Errorf("send: %w", err)
			default:
				sent.Packets++
				if sent.Packets == begun {
					fmt.Fprintln(out, "flooding")
				}
			}
		}
	}
	sent.Elapsed = int64(time.Since(start))
	return json.NewEncoder(out).Encode(sent)
}

// floodPacket is an IPv4 packet of which the ports change.
type floodPacket struct {
	bytes  []byte
	kind   string
	pseudo uint32 // sum of what TCP's checksum covers besides the header
}

const ipHeader = 20

func newFloodPacket(kind string, from netip.Addr, to netip.AddrPort) (*floodPacket, error) {
	f := &floodPacket{kind: kind}
	protocol := byte(unix.IPPROTO_TCP)
	switch kind {
	case floodSYN:
		f.bytes = make([]byte, ipHeader+20)
		binary.BigEndian.PutUint16(f.bytes[ipHeader+2:], to.Port())
		f.bytes[ipHeader+12], f.bytes[ipHeader+13] = 20/4<<4, 0x02
		binary.BigEndian.PutUint16(f.bytes[ipHeader+14:], 65535) // window
	case floodUDP:
		protocol = unix.IPPROTO_UDP
		f.bytes = make([]byte, ipHeader+8+packetSize)
		binary.BigEndian.PutUint16(f.bytes[ipHeader+4:], 8+packetSize) // without a checksum
	default:
		return nil, fmt.Errorf("nobody can flood with %q", kind)
	}
	h := f.bytes[:ipHeader] // the kernel writes length, id and checksum
	h[0], h[8], h[9] = 0x45, 64, protocol
	src, dst := from.As4(), to.Addr().As4()
	copy(h[12:], src[:])
	copy(h[16:], dst[:])
	f.pseudo = sum16(0, h[12:20]) + uint32(protocol) + uint32(len(f.bytes)-ipHeader)
	return f, nil
}

// vary makes the packet one of another flow.
func (f *floodPacket) vary() {
	r, p := rand.Uint64(), f.bytes[ipHeader:]
	port := func(n uint64) uint16 { return uint16(1 + n%65535) }
	binary.BigEndian.PutUint16(p, port(r>>32))
	if f.kind == floodUDP {
		binary.BigEndian.PutUint16(p[2:], port(r>>48))
		return
	}
	binary.BigEndian.PutUint32(p[4:], uint32(r)) // sequence number
	p[16], p[17] = 0, 0
	sum := sum16(f.pseudo, p)
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(p[16:], ^uint16(sum>>16+sum))
}

// sum16 adds 16-bit words to a sum; their number is even.
func sum16(sum uint32, b []byte) uint32 {
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return sum
}
