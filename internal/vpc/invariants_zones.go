// SPDX-License-Identifier: Apache-2.0

package vpc

import "slices"

func (c *checker) hostedZone(z *HostedZone) {
	name, err := ParseDomainName(z.Name)
	c.must(err == nil && name == z.Name && name != "", z, "its name is %q", z.Name)
	c.must(z.CallerReference != "", z, "it has no caller reference")
	c.must(len(z.VPCs) > 0, z, "it is associated with no VPC")
	unique(c, z, "VPC", z.VPCs)
	unique(c, z, "authorized VPC", z.Authorized)
	n := 0
	apex := map[RecordType]bool{}
	for r := range By[RecordSet](c.v, IndexZone, z.ID) {
		n++
		if r.Name == z.Name {
			apex[r.Type] = true
		}
	}
	c.must(n == z.Records, z, "it counts %d record sets and has %d", z.Records, n)
	c.must(apex["SOA"] && apex["NS"], z, "its apex has no SOA or NS record set")
}

func (c *checker) recordSet(r *RecordSet) {
	name, err := ParseDomainName(r.Name)
	c.must(err == nil && name == r.Name && name != "", r, "its name is %q", r.Name)
	c.must(slices.Contains(RecordTypes(), r.Type), r, "its type is %q", r.Type)
	z, ok := Get[HostedZone](c.v, r.Zone)
	if !ok {
		c.bad(r, "its hosted zone does not exist")
		return
	}
	c.must(WithinDomain(r.Name, z.Name), r, "it is outside of the zone %s", z.Name)
	c.must((r.Alias == nil) != (len(r.Values) == 0), r, "it has %d values and the alias %v", len(r.Values), r.Alias)
	for _, v := range r.Values {
		_, err := RecordData(r.Type, v)
		c.must(err == nil, r, "its value %q cannot be: %v", v, err)
	}
	if r.Type != "CNAME" {
		return
	}
	c.must(r.Name != z.Name, r, "a CNAME is at the apex")
	for other := range By[RecordSet](c.v, IndexZoneName, ZoneNameValue(r.Zone, r.Name)) {
		c.must(other.Type == "CNAME", r, "beside the CNAME is a record set of type %s", other.Type)
	}
}
