// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/netip"

	"postern.dev/postern/internal/desired"
)

// digest stands for a desired value, which is too large to be kept beside what
// was made of it. Tenants choose what is in it, so it is of a kind of which
// nobody can make two alike.
type digest [sha256.Size]byte

type digester struct {
	h   hash.Hash
	buf []byte
}

func digestVPC(v desired.VPC) digest {
	d := digester{h: sha256.New()}
	d.text(string(v.ID))
	d.flag(v.DNS)
	d.number(len(v.CIDRs))
	for _, p := range v.CIDRs {
		d.addr(p.Addr())
		d.number(p.Bits())
	}
	d.texts(v.PrivateZones)
	d.texts(v.InboundZones)
	d.number(len(v.Zones))
	for _, z := range v.Zones {
		d.text(string(z))
	}
	d.records(v.Records)
	d.number(len(v.Forwards))
	for _, f := range v.Forwards {
		d.text(f.Domain)
		d.number(len(f.Targets))
		for _, t := range f.Targets {
			d.addr(t.Addr())
			d.number(int(t.Port()))
		}
	}
	return d.sum()
}

func digestZone(z desired.Zone) digest {
	d := digester{h: sha256.New()}
	d.text(z.Name)
	d.records(z.Records)
	return d.sum()
}

func (d *digester) records(records []desired.Record) {
	d.number(len(records))
	for _, r := range records {
		d.text(r.Name)
		d.number(len(r.Addrs))
		for _, a := range r.Addrs {
			d.addr(a)
		}
		d.text(r.CNAME)
		d.text(r.PTR)
		d.text(r.Alias)
		d.text(r.AliasType)
		d.text(r.Type)
		d.texts(r.Values)
		d.number(int(r.TTL))
		d.flag(r.InboundOnly)
	}
}

func (d *digester) texts(all []string) {
	d.number(len(all))
	for _, s := range all {
		d.text(s)
	}
}

func (d *digester) text(s string) {
	d.number(len(s))
	d.buf = append(d.buf, s...)
	d.flush(4096)
}

func (d *digester) addr(a netip.Addr) {
	b := a.As16()
	if !a.IsValid() {
		d.number(0)
		return
	}
	d.number(a.BitLen())
	d.buf = append(d.buf, b[:]...)
	d.text(a.Zone())
}

func (d *digester) number(n int) { d.buf = binary.BigEndian.AppendUint64(d.buf, uint64(n)) }

func (d *digester) flag(f bool) {
	if f {
		d.buf = append(d.buf, 1)
	} else {
		d.buf = append(d.buf, 0)
	}
}

func (d *digester) flush(above int) {
	if len(d.buf) > above {
		d.h.Write(d.buf)
		d.buf = d.buf[:0]
	}
}

func (d *digester) sum() (out digest) {
	d.flush(0)
	d.h.Sum(out[:0])
	return out
}
