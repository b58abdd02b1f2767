// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The cost of one packet is measured by sending UDP as fast as one CPU can. On
// a veth pair a packet goes all its way, softirq included, before the sender's
// system call returns or on the same CPU right after it; the receiver's socket
// is full and lets it fall. So the time of the sender is the cost of sending,
// carrying and delivering, without waking a reader.

// packetSize is the payload of a packet.
const packetSize = 64

// sendPackets sends on one socket and so on one flow.
func sendPackets(to netip.AddrPort, w wish) (m measured, err error) {
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return m, fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(c)
	if err := unix.Connect(c, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		return m, fmt.Errorf("connect: %w", err)
	}
	const between = 64 // packets for one look at the clock
	payload := make([]byte, packetSize)
	start := time.Now()
	for time.Since(start) < w.lasts {
		for range between {
			switch _, err := unix.Write(c, payload); {
			case errors.Is(err, unix.EINTR):
			case err != nil:
				return m, fmt.Errorf("send: %w", err)
			default:
				m.Count++
			}
		}
	}
	m.Elapsed = int64(time.Since(start))
	return m, nil
}

// swallow opens a UDP port that is never read. The socket stays open as long
// as the process.
func swallow(port int) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	if err := errors.Join(
		unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUF, 0), // the kernel's least
		unix.Bind(s, &unix.SockaddrInet4{Port: port}),
	); err != nil {
		return fmt.Errorf("open UDP port %d: %w", port, err)
	}
	return nil
}

// swallowed is how many packets have been dropped by full sockets in the
// network namespace of a process.
func swallowed(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/snmp", pid))
	if err != nil {
		return 0, err
	}
	return udpCounter(string(b), "RcvbufErrors")
}

// udpCounter finds a number in the kernel's table: for each protocol a line of
// names and one of numbers.
func udpCounter(table, name string) (int64, error) {
	var names []string
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[0] != "Udp:":
		case names == nil:
			names = f
		default:
			for i := range min(len(f), len(names)) {
				if names[i] == name {
					return strconv.ParseInt(f[i], 10, 64)
				}
			}
		}
	}
	return 0, fmt.Errorf("the kernel's counters have no %s of UDP", name)
}

// lost is how many of the packets of a sample did not arrive. The few that the
// socket holds are not counted by anybody.
func lost(m measured, arrived int64) int64 {
	sent := m.Count + m.WarmUp
	if n := sent - arrived; n > sent/1000+16 {
		return n
	}
	return 0
}
