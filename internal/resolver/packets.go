// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"net"
	"net/netip"
)

// packets reads several queries of a socket at once and sends their answers
// together. One goroutine reads, answers and flushes; send is for all.
type packets interface {
	// read waits for queries and says how many there are.
	read() (int, error)
	// query is one that was read, until the next read.
	query(i int) (raw []byte, from netip.AddrPort)
	// answer keeps a copy of the answer to a query until flush sends it.
	answer(i int, reply []byte)
	flush()
	// send sends an answer at once. That it could not is nobody's matter: a
	// stub resolver asks again.
	send(reply []byte, to netip.AddrPort)
	// local is the address of the socket.
	local() netip.AddrPort
}

// single is packets one by one, on any socket.
type single struct {
	conn  net.PacketConn
	bound netip.AddrPort
	buf   [maxQuery]byte
	n     int
	from  net.Addr
}

func newSingle(c net.PacketConn) *single { return &single{conn: c, bound: addrPort(c.LocalAddr())} }

func (s *single) read() (n int, err error) {
	s.n, s.from, err = s.conn.ReadFrom(s.buf[:])
	return 1, err
}

func (s *single) query(int) ([]byte, netip.AddrPort) { return s.buf[:s.n], addrPort(s.from) }
func (s *single) answer(_ int, reply []byte)         { s.conn.WriteTo(reply, s.from) }
func (s *single) flush()                             {}
func (s *single) local() netip.AddrPort              { return s.bound }
func (s *single) send(reply []byte, to netip.AddrPort) {
	s.conn.WriteTo(reply, net.UDPAddrFromAddrPort(to))
}
