// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peerOf says which user and process connected to a unix socket, and "unix" if
// the kernel does not say. It is for records, not for decisions: the process
// may have ended since.
func peerOf(c net.Conn) string {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return c.RemoteAddr().String()
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return "unix"
	}
	who := "unix"
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			who = fmt.Sprintf("uid %d pid %d", cred.Uid, cred.Pid)
		}
	})
	if err != nil {
		return "unix"
	}
	return who
}
