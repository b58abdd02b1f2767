// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// What is done to a record set.
const (
	CreateRecords = "CREATE"
	DeleteRecords = "DELETE"
	UpsertRecords = "UPSERT"
)

// RecordChange is one change of a batch, as it was sent: names are not read yet.
type RecordChange struct {
	Action string
	Name   string
	Type   vpc.RecordType
	TTL    *int64
	Values []string
	Alias  *vpc.Alias
}

// ChangeRecordSets makes all changes of a batch, or none. What is wrong with
// them is told at once, as one error.
func (c *Control) ChangeRecordSets(ctx context.Context, caller Caller, id vpc.HostedZoneID, comment string, changes []RecordChange) (*vpc.DNSChange, error) {
	if err := checkDNSComment(comment); err != nil {
		return nil, err
	}
	if err := checkBatchSize(changes); err != nil {
		return nil, err
	}
	return c.changeDNS(ctx, caller, comment, func(tx *store.Tx) error {
		found, err := OwnedZone(tx, caller, id)
		if err != nil {
			return err
		}
		z := vpc.Edit(found)
		b := &batch{tx: tx, zone: z, region: RegionOf(tx), former: map[string]string{}}
		var sets []*vpc.RecordSet
		for _, change := range changes {
			set, err := b.read(change)
			if err != nil {
				return err
			}
			sets = append(sets, set)
		}
		if err := b.err(); err != nil {
			return err
		}
		for i, set := range sets {
			b.apply(changes[i].Action, set)
		}
		b.checkNames(changes, sets)
		if z.Records > c.Quotas.RecordSetsPerZone {
			b.bad("Number of records limit of %d exceeded.", c.Quotas.RecordSetsPerZone)
		}
		if err := b.err(); err != nil {
			return err
		}
		// This is also what makes changes of one zone conflict with one another.
		tx.Put(z)
		return nil
	})
}

// batch is a batch of changes on its way.
type batch struct {
	tx     *store.Tx
	zone   *vpc.HostedZone
	region *vpc.Region
	// former are the actions done so far, by record set.
	former map[string]string
	wrong  []string
}

func (b *batch) bad(format string, args ...any) {
	b.wrong = append(b.wrong, fmt.Sprintf(format, args...))
}

// maxWrong bounds what is said of one batch.
const maxWrong = 20

func (b *batch) err() error {
	if len(b.wrong) == 0 {
		return nil
	}
	if n := len(b.wrong) - maxWrong; n > 0 {
		b.wrong = append(b.wrong[:maxWrong], fmt.Sprintf("and %d more", n))
	}
	return &vpc.Error{Kind: vpc.Invalid, Resource: "change-batch", ID: string(b.zone.ID), Message: "[" + strings.Join(b.wrong, ", ") + "]"}
}

// apply does one change that was read without a complaint.
func (b *batch) apply(action string, set *vpc.RecordSet) {
	key := set.Key()
	if before, again := b.former[key]; again && (before != DeleteRecords || action != CreateRecords) {
		b.bad("The request contains an invalid set of changes for a resource record set '%s %s.'", set.Type, set.Name)
		return
	}
	b.former[key] = action
	have, exists := vpc.Get[vpc.RecordSet](b.tx, key)
	what := fmt.Sprintf("resource record set [name='%s.', type='%s']", set.Name, set.Type)
	switch {
	case action == CreateRecords && exists:
		b.bad("Tried to create %s but it already exists", what)
	case action == DeleteRecords && !exists:
		b.bad("Tried to delete %s but it was not found", what)
	case action == DeleteRecords && !sameRecords(have, set):
		b.bad("Tried to delete %s but the values provided do not match the current values", what)
	case action == DeleteRecords:
		b.tx.Delete(have)
		b.zone.Records--
	default:
		b.tx.Put(set)
		if !exists {
			b.zone.Records++
		}
	}
}

// sameRecords reports whether two record sets of one name and type say the same.
func sameRecords(a, b *vpc.RecordSet) bool {
	if a.Alias != nil && b.Alias != nil {
		return *a.Alias == *b.Alias
	}
	return a.Alias == nil && b.Alias == nil && a.TTL == b.TTL && slices.Equal(recordData(a), recordData(b))
}

// recordData are the data of a record set, sorted.
func recordData(r *vpc.RecordSet) []string {
	var out []string
	for _, v := range r.Values {
		if d, err := vpc.RecordData(r.Type, v); err == nil {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out
}

// checkNames holds what the zone has become against the rules for names with
// several record sets, for the apex, and for what aliases lead to.
func (b *batch) checkNames(changes []RecordChange, sets []*vpc.RecordSet) {
	done := map[string]bool{}
	for _, s := range sets {
		if done[s.Name] {
			continue
		}
		done[s.Name] = true
		var cname *vpc.RecordSet
		var others []*vpc.RecordSet
		for r := range vpc.By[vpc.RecordSet](b.tx, vpc.IndexZoneName, vpc.ZoneNameValue(b.zone.ID, s.Name)) {
			if r.Type == "CNAME" {
				cname = r
			} else {
				others = append(others, r)
			}
		}
		if cname == nil || len(others) == 0 {
			continue
		}
		if _, changed := b.former[cname.Key()]; changed {
			b.bad("RRSet of type CNAME with DNS name %s. is not permitted as it conflicts with other records with the same DNS name in zone %s.", s.Name, b.zone.Name)
		} else {
			b.bad("RRSet of type %s with DNS name %s. is not permitted because a conflicting RRSet of type CNAME with the same DNS name already exists in zone %s.", s.Type, s.Name, b.zone.Name)
		}
	}
	for _, t := range []vpc.RecordType{"NS", "SOA"} {
		if b.former[vpc.RecordSetKey(b.zone.ID, b.zone.Name, t)] != DeleteRecords {
			continue
		}
		if t == "SOA" {
			b.bad("A HostedZone must contain exactly one SOA record.")
		} else {
			b.bad("A HostedZone must contain at least one NS record for the zone itself.")
		}
	}
	for i, s := range sets {
		if s.Alias != nil && changes[i].Action != DeleteRecords {
			b.checkAlias(s)
		}
	}
}

// RecordSets are the record sets of a zone in Route 53's order, from the name
// on, and of that from the type on; "" is the beginning. At most limit are
// answered, and the one after them, nil if there is none.
func RecordSets(v vpc.View, z *vpc.HostedZone, name string, t vpc.RecordType, limit int) (page []*vpc.RecordSet, next *vpc.RecordSet) {
	after := ""
	if name != "" {
		// Nothing has a key between this and the first that is wanted.
		after = vpc.RecordSetKey(z.ID, name, "")
		if t != "" {
			after = vpc.RecordSetKey(z.ID, name, t)
			if r, ok := vpc.Get[vpc.RecordSet](v, after); ok {
				page = append(page, r)
			}
		}
	}
	for r := range vpc.ByAfter[vpc.RecordSet](v, vpc.IndexZone, z.ID, after) {
		if len(page) == limit {
			return page, r
		}
		page = append(page, r)
	}
	return page, nil
}
