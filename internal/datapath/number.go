// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/vpc"
)

// Numbers of what has no AWS id.
var (
	nodeEdge     = vpc.Num("postern:edge")
	nodeResolver = vpc.Num("postern:resolver")

	// ServiceInterface is the number that packets of the service port (health
	// checks, answers of the edge) are counted under.
	ServiceInterface = vpc.Num("postern:service")

	// UplinkInterface is the number of the host's own network.
	UplinkInterface = vpc.Num("postern:uplink")
)

// OwnName names a number that no AWS id stands behind; "" if one may.
func OwnName(n uint64) string {
	switch n {
	case nodeEdge:
		return "edge"
	case nodeResolver:
		return "resolver"
	case ServiceInterface:
		return "service-port"
	case UplinkInterface:
		return "uplink"
	}
	if v, ok := overlayNumber(n); ok {
		return fmt.Sprintf("other-hosts-%d", v)
	}
	return ""
}

// overlayNumber is what OVERLAY_ENI of bpf/types.h is joined with: the number of
// the link, or of the VPC, of clients on other hosts.
func overlayNumber(n uint64) (vpc.VNI, bool) {
	return vpc.VNI(n &^ overlayEni), n&overlayEni == overlayEni
}

const overlayEni = uint64(0xffffffffff000000)

// ClientSpace is the space of a flow's client, and whether that is on another
// host, which OVERLAY_KEY of bpf/types.h marks.
func ClientSpace(v vpc.VNI) (space vpc.VNI, far bool) {
	if v>>30 == 1 { // with the bit above it is a peering's
		return v &^ (1 << 30), true
	}
	return v, false
}

func clientSpace(v uint32) vpc.VNI {
	space, _ := ClientSpace(vpc.VNI(v))
	return space
}

// PeeringSpace is the space of the flows across a peering with this number:
// PEERING_KEY of bpf/datapath.c.
func PeeringSpace(n uint64) vpc.VNI { return 1<<31 | vpc.VNI(uint32(n)) }

// serviceGateway is the MAC address that the datapath has towards the service
// namespace.
var serviceGateway = [6]uint8{0x02, 'p', 'o', 's', 't', 'n'}

// routerMAC is a subnet's router as its workloads see it: stable, so that a
// workload's neighbour table survives everything.
func routerMAC(s vpc.SubnetID) [6]uint8 {
	sum := sha256.Sum256([]byte(s))
	return [6]uint8{0x02, sum[0], sum[1], sum[2], sum[3], sum[4]}
}

// toAddr gives an address as the maps hold it: 16 bytes in network order, IPv4
// mapped into IPv6.
func toAddr(a netip.Addr) bpf.DatapathAddr {
	if !a.IsValid() {
		return bpf.DatapathAddr{}
	}
	b := a.As16()
	var out bpf.DatapathAddr
	for i := range out.W {
		out.W[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return out
}

func fromAddr(a bpf.DatapathAddr) netip.Addr {
	var b [16]byte
	for i, w := range a.W {
		binary.NativeEndian.PutUint32(b[4*i:], w)
	}
	return netip.AddrFrom16(b).Unmap()
}

// toPort gives a port as the maps hold it, in network order; fromPort is the
// same operation.
func toPort(p uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], p)
	return binary.NativeEndian.Uint16(b[:])
}

func fromPort(p uint16) uint16 { return toPort(p) }

// addrBits is a prefix's length among 128-bit addresses.
func addrBits(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 96 + p.Bits()
	}
	return p.Bits()
}

func split(n uint64) [2]uint32 { return [2]uint32{uint32(n), uint32(n >> 32)} }
func join(n [2]uint32) uint64  { return uint64(n[0]) | uint64(n[1])<<32 }

// contentID is the number of a list by what is in it. Tenants write the lists,
// so it is a cryptographic hash: nobody can make a list that passes for
// another's. It is never 0.
func contentID(content []byte) uint64 {
	sum := sha256.Sum256(content)
	if n := binary.BigEndian.Uint64(sum[:]); n != 0 {
		return n
	}
	return 1
}
