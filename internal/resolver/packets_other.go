// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package resolver

import "net"

func newPackets(c net.PacketConn) packets { return newSingle(c) }
