// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"postern.dev/postern/internal/vpc"
)

// AWS's limits on a batch of changes, in which an UPSERT counts twice, and on
// a record set.
const (
	maxBatchRecords    = 1000
	maxBatchCharacters = 32_000
	maxRecords         = 400
	maxTTL             = 1<<31 - 1
	maxAliases         = 16 // that lead to one another
)

func checkBatchSize(changes []RecordChange) error {
	if len(changes) == 0 {
		return vpc.Errorf(vpc.Invalid, "ChangeBatch", "", "The batch has no changes")
	}
	records, characters := 0, 0
	for _, c := range changes {
		times := 1
		if c.Action == UpsertRecords {
			times = 2
		}
		records += times * max(len(c.Values), 1)
		for _, v := range c.Values {
			characters += times * utf8.RuneCountInString(v)
		}
	}
	switch {
	case records > maxBatchRecords:
		return vpc.Errorf(vpc.Invalid, "change-batch", "", "[Number of records limit of %d exceeded.]", maxBatchRecords)
	case characters > maxBatchCharacters:
		return vpc.Errorf(vpc.Invalid, "change-batch", "", "[Number of characters limit of %d exceeded.]", maxBatchCharacters)
	}
	return nil
}

// read makes a record set of a change. A change that can be of no batch is an
// error; what is wrong with the records is noted.
func (b *batch) read(c RecordChange) (*vpc.RecordSet, error) {
	plain := c.TTL != nil && len(c.Values) > 0
	if plain == (c.Alias != nil) || !plain && (c.TTL != nil || len(c.Values) > 0) {
		found := "none"
		if plain {
			found = "more than one"
		} else if c.TTL != nil || len(c.Values) > 0 {
			found = "a part"
		}
		return nil, vpc.Errorf(vpc.Invalid, "ResourceRecordSet", c.Name,
			"Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId], but found %s in Change with [Action=%s, Name=%s, Type=%s, SetIdentifier=null]",
			found, c.Action, c.Name, c.Type)
	}
	if c.TTL != nil && (*c.TTL < 0 || *c.TTL > maxTTL) {
		return nil, vpc.Errorf(vpc.Invalid, "TTL", c.Name, "Invalid request: the TTL %d of %s is not a number from 0 to %d", *c.TTL, c.Name, maxTTL)
	}
	name, err := vpc.ParseDomainName(c.Name)
	if err != nil {
		b.bad("%v", err)
		return nil, nil
	}
	set := &vpc.RecordSet{Zone: b.zone.ID, Name: name, Type: c.Type, Values: c.Values}
	if c.TTL != nil {
		set.TTL = uint32(*c.TTL)
	}
	apex := name == b.zone.Name
	switch {
	case !vpc.WithinDomain(name, b.zone.Name):
		b.bad("RRSet with DNS name %s. is not permitted in zone %s.", name, b.zone.Name)
	case c.Type == "CNAME" && apex:
		b.bad("RRSet of type CNAME with DNS name %s. is not permitted at apex in zone %s.", name, b.zone.Name)
	case c.Type == "SOA" && !apex:
		b.bad("RRSet of type SOA with DNS name %s. is permitted only at apex in zone %s.", name, b.zone.Name)
	case c.Type == "NS" && vpc.WildcardName(name):
		b.bad("RRSet of type NS with DNS name %s. is not permitted: a wildcard cannot have NS records", name)
	}
	if c.Alias != nil {
		b.readAlias(set, *c.Alias)
	}
	b.checkValues(set)
	return set, nil
}

func (b *batch) checkValues(set *vpc.RecordSet) {
	switch n := len(set.Values); {
	case n > maxRecords:
		b.bad("RRSet of type %s with DNS name %s. has %d resource records, at most %d are allowed", set.Type, set.Name, n, maxRecords)
		return
	case n > 1 && (set.Type == "CNAME" || set.Type == "SOA"):
		b.bad("RRSet of type %s with DNS name %s. must have exactly one resource record, not %d", set.Type, set.Name, n)
		return
	}
	seen := map[string]bool{}
	for _, v := range set.Values {
		data, err := vpc.RecordData(set.Type, v)
		switch {
		case err != nil:
			b.bad("Invalid Resource Record: '%v'", err)
		case seen[data]:
			b.bad("Duplicate Resource Record: '%.256s'", v)
		}
		seen[data] = true
	}
}

func (b *batch) readAlias(set *vpc.RecordSet, a vpc.Alias) {
	name, err := vpc.ParseDomainName(a.Name)
	if err != nil {
		b.bad("%v", err)
		return
	}
	a.Name = name
	set.Alias = &a
	said := aliasText(set)
	address := set.Type == "A" || set.Type == "AAAA"
	switch {
	case set.Type == "NS" || set.Type == "SOA":
		b.bad("RRSet of type %s with DNS name %s. cannot be an alias", set.Type, set.Name)
	case a.Zone == b.zone.ID:
		if !vpc.WithinDomain(name, b.zone.Name) {
			b.bad("%s but the alias target name does not lie within the target zone", said)
		}
	case a.Zone != vpc.EndpointZoneID(b.region) && a.Zone != vpc.BalancerZoneID(b.region):
		b.bad("%s but that zone is neither this one, %s, nor the zone of VPC endpoints, %s, nor that of load balancers, %s",
			said, b.zone.ID, vpc.EndpointZoneID(b.region), vpc.BalancerZoneID(b.region))
	case !address:
		b.bad("%s but only the types A and AAAA have targets there", said)
	}
}

func aliasText(set *vpc.RecordSet) string {
	return fmt.Sprintf("Tried to create an alias that targets %s., type %s in zone %.64s,", set.Alias.Name, set.Type, set.Alias.Zone)
}

// checkAlias looks for what an alias leads to, in the zone as the batch makes it.
func (b *batch) checkAlias(set *vpc.RecordSet) {
	said := aliasText(set)
	hops := 0
	for at := set; at.Alias != nil; hops++ {
		if at.Alias.Zone != b.zone.ID {
			if at == set && !namedInRegion(b.tx, b.region, at.Alias) {
				b.bad("%s but that target was not found", said)
			}
			return
		}
		next := b.lookup(at.Alias.Name, set.Type)
		switch {
		case next == nil && at == set:
			b.bad("%s but that target was not found", said)
			return
		case next == nil:
			return // of an alias that was there before
		}
		if next.Name == set.Name || hops == maxAliases {
			b.bad("%s but that target leads back to the alias, or over more than %d others", said, maxAliases)
			return
		}
		at = next
	}
}

// lookup finds a record set without making the commit depend on it alone: the
// zone is written, which is what every other change of it conflicts with.
func (b *batch) lookup(name string, t vpc.RecordType) *vpc.RecordSet {
	for r := range vpc.By[vpc.RecordSet](b.tx, vpc.IndexZoneName, vpc.ZoneNameValue(b.zone.ID, name)) {
		if r.Type == t {
			return r
		}
	}
	return nil
}

// namedInRegion reports whether an alias leads to a name that an endpoint or a
// load balancer has outside of private zones.
func namedInRegion(v vpc.View, r *vpc.Region, a *vpc.Alias) bool {
	name := vpc.ZoneFileName(a.Name)
	if a.Zone == vpc.BalancerZoneID(r) {
		rest, ok := strings.CutSuffix(strings.TrimPrefix(name, vpc.DualStackPrefix), vpc.CanonicalName(".elb."+r.Name+".amazonaws.com"))
		zone, label, zonal := strings.Cut(rest, ".")
		if !zonal {
			zone, label = "", rest
		}
		lb, found := vpc.First[vpc.LoadBalancer](v, vpc.IndexDNSLabel, label)
		return ok && found && (!zonal || slices.ContainsFunc(lb.Nodes, func(n vpc.BalancerNode) bool { return n.Zone == zone }))
	}
	for label := range strings.SplitSeq(name, ".") {
		const idLength = len("vpce-") + 17
		if !strings.HasPrefix(label, "vpce-") || len(label) < idLength {
			continue
		}
		e, ok := vpc.Get[vpc.Endpoint](v, label[:idLength])
		return ok && slices.ContainsFunc(vpc.EndpointNamesIn(v, e), func(n vpc.EndpointName) bool {
			below, wild := strings.CutPrefix(n.Name, "*")
			return n.Zone == "" && (n.Name == name || wild && strings.HasSuffix(name, below))
		})
	}
	return false
}
