// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/vpc"
)

// ErrUnknownConnection says that the datapath knows no such connection: it
// expired, or the address is not one that the datapath gave out. Who it was
// must then be taken for nobody.
var ErrUnknownConnection = errors.New("the datapath knows no such connection")

// Identity is who is at the other end of a connection to the edge. It comes
// from the device the packets entered by, never from what they contain.
type Identity struct {
	// VNI is the client's VPC, Client its address there.
	VNI    vpc.VNI
	Client netip.AddrPort
	// Server is what the client believes to be connected to: the resolver's,
	// an endpoint's or a service's public address.
	Server    netip.AddrPort
	Interface uint64  // number of the client's interface
	Endpoint  uint64  // number of the endpoint; 0 for the resolver
	Link      vpc.VNI // of the endpoint
}

// Identifier answers who a connection is from a descriptor of the connection
// table that may only be read. It needs no privilege.
type Identifier struct{ conns *ebpf.Map }

// ConnsFile opens the connection table for reading only, for handing to a
// process without privileges (as an inherited descriptor).
func (d *Datapath) ConnsFile() (*os.File, error) {
	m, err := readOnlyConns(d.dir)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	fd, err := unix.FcntlInt(uintptr(m.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate descriptor of map conns: %w", err)
	}
	return os.NewFile(uintptr(fd), "conns"), nil
}

func readOnlyConns(pinDir string) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(mapDir(pinDir), "conns"), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("open map conns read-only: %w", err)
	}
	return m, nil
}

// OpenIdentifier uses a descriptor made by ConnsFile, which it takes over.
func OpenIdentifier(fd uintptr) (*Identifier, error) {
	m, err := ebpf.NewMapFromFD(int(fd))
	if err != nil {
		return nil, fmt.Errorf("use descriptor %d as map conns: %w", fd, err)
	}
	var k bpf.DatapathConnKey
	var v bpf.DatapathConn
	if m.Type() != ebpf.Hash || uintptr(m.KeySize()) != unsafe.Sizeof(k) || uintptr(m.ValueSize()) != unsafe.Sizeof(v) {
		m.Close()
		return nil, fmt.Errorf("descriptor %d is %s, not map conns of this version", fd, m)
	}
	return &Identifier{conns: m}, nil
}

// OpenIdentifierPath opens the connection table pinned under pinDir.
func OpenIdentifierPath(pinDir string) (*Identifier, error) {
	m, err := readOnlyConns(pinDir)
	if err != nil {
		return nil, err
	}
	return &Identifier{conns: m}, nil
}

// Close closes the descriptor.
func (i *Identifier) Close() error { return i.conns.Close() }

// Identify says who the connection between remote and local is, as a socket in
// the service namespace sees it; proto is vpc.TCP or vpc.UDP. It fails with
// ErrUnknownConnection if there is none.
func (i *Identifier) Identify(remote, local netip.AddrPort, proto int) (Identity, error) {
	return identify(i.conns, remote, local, proto)
}

// Identify is Identifier.Identify for the process that owns the datapath.
func (d *Datapath) Identify(remote, local netip.AddrPort, proto int) (Identity, error) {
	return identify(d.objs.Conns, remote, local, proto)
}

func identify(conns *ebpf.Map, remote, local netip.AddrPort, proto int) (Identity, error) {
	k, _ := connKey(vpc.ServiceVNI, proto, remote, local)
	var v bpf.DatapathConn
	err := conns.Lookup(&k, &v)
	if errors.Is(err, ebpf.ErrKeyNotExist) || err == nil && bpf.DatapathConnKind(v.Kind) != bpf.DatapathConnKindCONN_PROVIDER {
		return Identity{}, fmt.Errorf("%v to %v: %w", remote, local, ErrUnknownConnection)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("read map conns: %w", err)
	}
	id := Identity{VNI: vpc.VNI(v.Peer.Vni), Interface: v.Eni, Endpoint: v.Endpoint, Link: vpc.VNI(v.Link)}
	id.Client, id.Server = ends(v.Peer, v.PeerInitiator)
	return id, nil
}

// connKey is conn_key_set of bpf/conn.h: the ends sorted as the words of
// memory they are, so that both directions give one key. end says which of
// the two is src.
func connKey(vni vpc.VNI, proto int, src, dst netip.AddrPort) (k bpf.DatapathConnKey, end uint8) {
	a, b := toAddr(src.Addr()), toAddr(dst.Addr())
	pa, pb := toPort(src.Port()), toPort(dst.Port())
	less := pb < pa
	for i := range a.W {
		if a.W[i] != b.W[i] {
			less = b.W[i] < a.W[i]
			break
		}
	}
	k.Vni, k.Proto = uint32(vni), uint8(proto)
	if less {
		k.Addr, k.Port, end = [2]bpf.DatapathAddr{b, a}, [2]uint16{pb, pa}, 1
	} else {
		k.Addr, k.Port = [2]bpf.DatapathAddr{a, b}, [2]uint16{pa, pb}
	}
	return k, end
}
