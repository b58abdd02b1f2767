// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "net"

// peerOf is who connected, as far as this system says.
func peerOf(c net.Conn) string { return c.RemoteAddr().Network() }
