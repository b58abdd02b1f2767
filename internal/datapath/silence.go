// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// Silence has the service namespace drop the beginning of a connection to a port of
// the edge on which nobody listens, and a question that nobody waits for, which it
// would refuse otherwise: the client tries again, and is answered by the edge that
// comes. A connection to a Door that was left is dropped too. What belongs to a
// connection that is no more is refused as ever.
//
// It is called in that namespace, with the index of the device through which packets
// come, and is idempotent. It needs no process from then on: that there is none is
// when it matters.
func (d *Datapath) Silence(ifindex int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	prog, err := ebpf.NewProgram(silence())
	if err != nil {
		return fmt.Errorf("load the program for when there is no edge: %w", err)
	}
	defer prog.Close()
	// Not named as those of Attach are, of which it is none.
	pin := filepath.Join(linkDir(d.dir), "silence")
	have, err := updateLink(pin, prog)
	if err != nil || have == ifindex {
		return err
	}
	if have != 0 {
		if err := unpin(pin); err != nil {
			return err
		}
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: prog, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return fmt.Errorf("attach to the service namespace's device: %w", err)
	}
	return errors.Join(l.Pin(pin), l.Close())
}

// Where things are in a frame with an IPv4 header without options, and in the
// program's context.
const (
	atEtherType  = 12
	atIPv4       = 14
	atProtocol   = atIPv4 + 9
	atAddresses  = atIPv4 + 12 // two addresses and two ports: what a socket is looked up by
	lenAddresses = 12
	atPort       = atIPv4 + 22
	atFlags      = atIPv4 + 20 + 13
	lenHeaders   = atIPv4 + 20 + 20

	skbData, skbDataEnd = 76, 80
	sockPriority        = 20

	tcxNext, tcxDrop = -1, 2 // the stack's, and nobody's
	tcpSYN, tcpACK   = 0x02, 0x10
)

// silence is the program. It is little more than a call of the kernel's own look-up
// of sockets, and most packets leave it before that.
func silence() *ebpf.ProgramSpec {
	order := func(n uint16) int32 { return int32(n>>8 | n<<8&0xff00) } // as a little-endian machine reads it
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, skbData, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, lenHeaders),
		asm.JGT.Reg(asm.R4, asm.R3, "next"), // no question is as short, either
		asm.LoadMem(asm.R4, asm.R2, atEtherType, asm.Half),
		asm.JNE.Imm(asm.R4, order(unix.ETH_P_IP), "next"),
		asm.LoadMem(asm.R4, asm.R2, atIPv4, asm.Byte),
		asm.JNE.Imm(asm.R4, 0x45, "next"),
		asm.LoadMem(asm.R4, asm.R2, atProtocol, asm.Byte),
		asm.JEq.Imm(asm.R4, vpc.UDP, "udp"),
		asm.JNE.Imm(asm.R4, vpc.TCP, "next"),
		asm.LoadMem(asm.R4, asm.R2, atFlags, asm.Byte),
		asm.And.Imm(asm.R4, tcpSYN|tcpACK),
		asm.JNE.Imm(asm.R4, tcpSYN, "next"),
		asm.LoadMem(asm.R4, asm.R2, atPort, asm.Half),
		asm.JEq.Imm(asm.R4, order(desired.EdgeHTTPPort), "look"),
		asm.JEq.Imm(asm.R4, order(desired.EdgeHTTPSPort), "look"),
		asm.JEq.Imm(asm.R4, order(desired.EdgeDNSPort), "look"),
		asm.Ja.Label("next"),

		asm.LoadMem(asm.R4, asm.R2, atPort, asm.Half).WithSymbol("udp"),
		asm.JNE.Imm(asm.R4, order(desired.EdgeDNSPort), "next"),
		asm.Add.Imm(asm.R2, atAddresses),
		asm.Mov.Imm(asm.R3, lenAddresses),
		asm.Mov.Imm(asm.R4, -1), // in this namespace
		asm.Mov.Imm(asm.R5, 0),
		asm.FnSkLookupUdp.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.Mov.Reg(asm.R6, asm.R0),
		asm.Mov.Imm(asm.R7, doorOpen),
		asm.Ja.Label("release"),

		asm.Add.Imm(asm.R2, atAddresses).WithSymbol("look"),
		asm.Mov.Imm(asm.R3, lenAddresses),
		asm.Mov.Imm(asm.R4, -1),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnSkcLookupTcp.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.Mov.Reg(asm.R6, asm.R0),
		asm.Mov.Reg(asm.R1, asm.R0),
		asm.FnSkFullsock.Call(),
		asm.Mov.Imm(asm.R7, doorOpen),
		asm.JEq.Imm(asm.R0, 0, "release"), // a connection that begins, or was: the kernel's affair
		asm.LoadMem(asm.R7, asm.R0, sockPriority, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("release"),
		asm.FnSkRelease.Call(),
		asm.JEq.Imm(asm.R7, doorLeft, "drop"),

		asm.Mov.Imm(asm.R0, tcxNext).WithSymbol("next"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, tcxDrop).WithSymbol("drop"),
		asm.Return(),
	}
	return &ebpf.ProgramSpec{Name: "silence", Type: ebpf.SchedCLS, License: "Dual BSD/GPL", Instructions: code}
}
