// SPDX-License-Identifier: Apache-2.0

package vpc

func (c *checker) prefixList(l *PrefixList) {
	c.must(l.Name != "" && l.MaxEntries >= 1 && l.MaxEntries <= 1000, l, "it has the name %q and room for %d entries", l.Name, l.MaxEntries)
	current, ok := Get[PrefixListVersion](c.v, ListVersionKey(l.ID, l.Version))
	if !ok {
		c.bad(l, "its version %d does not exist", l.Version)
		return
	}
	c.must(len(current.Entries) <= l.MaxEntries, l, "it has %d entries and room for %d", len(current.Entries), l.MaxEntries)
	for v := range By[PrefixListVersion](c.v, IndexPrefixList, l.ID) {
		c.must(v.Number <= l.Version, l, "it has the version %d and is at %d", v.Number, l.Version)
		for i, e := range v.Entries {
			c.must(e.CIDR.IsValid() && e.CIDR == e.CIDR.Masked() && e.CIDR.Addr().Is6() == l.IPv6, v, "it has the block %s", e.CIDR)
			if i > 0 {
				before := v.Entries[i-1].CIDR
				n := before.Addr().Compare(e.CIDR.Addr())
				c.must(n < 0 || n == 0 && before.Bits() < e.CIDR.Bits(), v, "block %s is after %s", e.CIDR, before)
			}
		}
	}
}

// list notes a reference to a prefix list that cannot be: to a customer's list
// of another account, or to none of the catalogue's.
func (c *checker) list(o OwnedObject, id PrefixListID, customer bool) {
	if !customer {
		_, ok := First[CatalogueService](c.v, IndexPrefixList, id)
		c.must(ok, o, "it refers to %s, which no catalogue service has", id)
		return
	}
	if l, ok := Get[PrefixList](c.v, id); ok {
		c.must(l.Owner == o.OwnerID(), o, "it refers to %s, which belongs to account %s", id, l.Owner)
	}
}
