// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// offload switches, on every device in the path's namespaces, whether packets
// are cut into segments only after the stack (TSO, GSO). They are veth devices,
// which put nothing together on the way in. Those of Postern's that are in the
// host's own namespace send no packet of a stack, so they are left as they are.
func (l *lab) offload(p *path, on bool) error {
	var errs []error
	for _, ns := range p.spaces {
		errs = append(errs, l.launch.in(ns, nil, func() error { return offloadHere(on) }))
	}
	return errors.Join(errs...)
}

func offloadHere(on bool) error {
	devices, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list devices: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(s)
	for _, d := range devices {
		if d.Flags&net.FlagLoopback != 0 {
			continue
		}
		for _, command := range []uint32{unix.ETHTOOL_STSO, unix.ETHTOOL_SGSO} {
			if err := ethtool(s, d.Name, command, on); err != nil {
				return fmt.Errorf("switch offloads of %s: %w", d.Name, err)
			}
		}
	}
	return nil
}

// ethtool sets one feature.
func ethtool(s int, device string, command uint32, on bool) error {
	value := struct{ command, data uint32 }{command: command} // struct ethtool_value
	if on {
		value.data = 1
	}
	request := struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], device)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(&value)
	if errno != 0 {
		return errno
	}
	return nil
}
