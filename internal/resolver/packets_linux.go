// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many queries are read at once, if there are so many.
const batchSize = 32

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// batch is packets with one system call for many queries and one for their
// answers. The buffers that the kernel is given live as long as it does.
type batch struct {
	conn  *net.UDPConn
	raw   syscall.RawConn
	bound netip.AddrPort

	in, out   [batchSize]mmsghdr
	inVec     [batchSize]unix.Iovec
	outVec    [batchSize]unix.Iovec
	names     [batchSize]unix.RawSockaddrInet6 // large enough for both families
	queries   [batchSize][maxQuery]byte
	replies   [batchSize][]byte
	answers   int // in out
	got       int
	err       error
	recv, put func(fd uintptr) bool
}

// newPackets is a batch for a UDP socket of the kernel's.
func newPackets(c net.PacketConn) packets {
	u, ok := c.(*net.UDPConn)
	if !ok {
		return newSingle(c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return newSingle(c)
	}
	b := &batch{conn: u, raw: raw, bound: addrPort(u.LocalAddr())}
	for i := range batchSize {
		b.inVec[i].Base = &b.queries[i][0]
		b.inVec[i].SetLen(maxQuery)
		b.in[i].hdr.Iov, b.in[i].hdr.Name = &b.inVec[i], (*byte)(unsafe.Pointer(&b.names[i]))
		b.in[i].hdr.SetIovlen(1)
		b.out[i].hdr.Iov = &b.outVec[i]
		b.out[i].hdr.SetIovlen(1)
	}
	b.recv, b.put = b.receive, b.transmit
	return b
}

func (b *batch) read() (int, error) {
	if err := b.raw.Read(b.recv); err != nil {
		b.got = 0
		return 0, err
	}
	return b.got, b.err
}

// receive is called by the runtime when the socket can be read.
func (b *batch) receive(fd uintptr) bool {
	for i := range b.in {
		b.in[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			b.got, b.err = int(n), nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		default:
			b.got, b.err = 0, os.NewSyscallError("recvmmsg", errno)
		}
		return true
	}
}

func (b *batch) query(i int) ([]byte, netip.AddrPort) {
	name := &b.names[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&name.Port))[:])
	var from netip.Addr
	switch name.Family {
	case unix.AF_INET:
		from = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr)
	case unix.AF_INET6:
		from = netip.AddrFrom16(name.Addr).Unmap()
	}
	return b.queries[i][:b.in[i].len], netip.AddrPortFrom(from, port)
}

func (b *batch) answer(i int, reply []byte) {
	at := b.answers
	b.replies[at] = append(b.replies[at][:0], reply...)
	b.outVec[at].Base = &b.replies[at][0]
	b.outVec[at].SetLen(len(reply))
	b.out[at].hdr.Name, b.out[at].hdr.Namelen = b.in[i].hdr.Name, b.in[i].hdr.Namelen
	b.answers++
}

func (b *batch) flush() {
	if b.answers > 0 {
		b.raw.Write(b.put)
		b.answers = 0
	}
}

// transmit sends all answers that the socket takes. One that it does not is
// left out: the others are not the worse for it.
func (b *batch) transmit(fd uintptr) bool {
	for at := 0; at < b.answers; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.out[at])), uintptr(b.answers-at), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			at += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return true // the queue is full, and waiting would hold up the queries
		default:
			at++
		}
	}
	return true
}

func (b *batch) local() netip.AddrPort { return b.bound }

func (b *batch) send(reply []byte, to netip.AddrPort) { b.conn.WriteToUDPAddrPort(reply, to) }
