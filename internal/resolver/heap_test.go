// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"fmt"
	"net/netip"
	"runtime"

	"postern.dev/postern/internal/desired"
)

// heap is how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what a finaliser held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// realistic is a VPC with names of the kinds that VPCs have: half of instances,
// forward and reverse, the others of endpoints and private zones.
func realistic(seed, names int) desired.VPC {
	v := desired.VPC{
		DNS: true, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
		PrivateZones: []string{"s3.us-east-1.amazonaws.com", "corp.example"},
	}
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	for i := range names {
		r := desired.Record{TTL: 60}
		switch name := fmt.Sprintf("ip-10-0-%d-%d.ec2.internal", i>>8, i&0xff); i % 4 {
		case 0:
			r.Name, r.Addrs = name, []netip.Addr{at(i)}
		case 1:
			r.Name, r.PTR = fmt.Sprintf("%d.%d.0.10.in-addr.arpa", i&0xff, i>>8), name
		case 2:
			r.Name = fmt.Sprintf("service-%d-%d.corp.example", seed, i)
			r.CNAME = fmt.Sprintf("vpce-0123456789abcde42-%d.svc.us-east-1.vpce.amazonaws.com", i)
		case 3:
			r.Name = fmt.Sprintf("vpce-0123456789abcde42-%d.svc.us-east-1.vpce.amazonaws.com", i)
			r.Addrs = []netip.Addr{at(i), at(i + 256), at(i + 512)}
		}
		v.Records = append(v.Records, r)
	}
	return v
}
