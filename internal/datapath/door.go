// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Door is a listening TCP socket in the service namespace that can be left without
// refusing anybody. That takes no privilege: it is a property of the socket, which
// the program of Silence looks at.
type Door struct {
	net.Listener
	raw syscall.RawConn
}

// The property is the socket's priority, for which a service namespace has no use.
const (
	doorOpen = 0
	doorLeft = 1
)

// OpenDoor makes a door of a listener, and opens it again if another process that
// has the socket too has left it.
func OpenDoor(l net.Listener) (*Door, error) {
	c, ok := l.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("listener %v has no socket", l.Addr())
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	d := &Door{l, raw}
	return d, d.become(doorOpen)
}

func (d *Door) with(f func(fd int) error) error {
	var err error
	if cerr := d.raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

func (d *Door) become(state int) error {
	return d.with(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, state) })
}

// handshake is how long a connection may take to be made: clients are on this
// machine.
const handshake = 100 * time.Millisecond

// Leave has nothing that begins a connection answered any more, so that clients
// try again, and returns when all that had begun have been accepted, by whoever
// accepts on the listener meanwhile, or ctx is done. The listener can be closed
// then: nobody waits in it.
func (d *Door) Leave(ctx context.Context) error {
	if err := d.become(doorLeft); err != nil {
		return fmt.Errorf("close the socket to new connections: %w", err)
	}
	tick := time.NewTicker(handshake / 10)
	defer tick.Stop()
	for empty := time.Now(); time.Since(empty) < handshake; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var waiting uint32
		if err := d.with(func(fd int) error {
			info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			if err == nil {
				waiting = info.Unacked // of a listening socket: those nobody has accepted yet
			}
			return err
		}); err != nil {
			return fmt.Errorf("count the connections that wait: %w", err)
		}
		if waiting > 0 {
			empty = time.Now()
		}
	}
	return nil
}
