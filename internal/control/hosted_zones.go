// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"maps"
	"strings"
	"unicode/utf8"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// AWS's limits on hosted zones, beside the quotas.
const (
	maxCallerReference = 128
	maxDNSComment      = 256
	maxZoneTagChanges  = 10 // tags added, and keys removed, by a call
)

// CreateZoneInput are the parameters of CreateHostedZone. Private zones are the
// only ones: VPC is the first that is associated.
type CreateZoneInput struct {
	Name, CallerReference, Comment string
	VPC                            vpc.VPCID
}

// CreateZone makes a private hosted zone with its NS and SOA record sets.
func (c *Control) CreateZone(ctx context.Context, caller Caller, in CreateZoneInput) (*vpc.HostedZone, *vpc.DNSChange, error) {
	name, err := zoneName(in.Name)
	if err != nil {
		return nil, nil, err
	}
	if n := utf8.RuneCountInString(in.CallerReference); n < 1 || n > maxCallerReference || !utf8.ValidString(in.CallerReference) {
		return nil, nil, vpc.Errorf(vpc.Invalid, "CallerReference", "", "The caller reference must have 1 to %d characters, not %d", maxCallerReference, n)
	}
	if err := checkDNSComment(in.Comment); err != nil {
		return nil, nil, err
	}
	var z *vpc.HostedZone
	change, err := c.changeDNS(ctx, caller, "", func(tx *store.Tx) error {
		if tx.Claimed(vpc.CallerReferenceClaim(caller.Account, in.CallerReference)) {
			return vpc.Errorf(vpc.Duplicate, string(vpc.KindHostedZone), "", "A hosted zone has already been created with the specified caller reference.")
		}
		touchAccount(tx, caller.Account)
		if count[vpc.HostedZone](tx, vpc.IndexOwner, caller.Account) >= c.Quotas.HostedZones {
			return vpc.Errorf(vpc.Limit, string(vpc.KindHostedZone), "", "The maximum number of hosted zones of an account, %d, has been reached", c.Quotas.HostedZones)
		}
		id, err := vpc.NewHostedZoneID(c.Random)
		if err != nil {
			return err
		}
		z = &vpc.HostedZone{ID: id, Owner: caller.Account, Name: name, CallerReference: in.CallerReference, Comment: in.Comment, Created: c.Now()}
		if err := associate(tx, caller, z, in.VPC); err != nil {
			return err
		}
		for _, r := range z.ApexRecords() {
			tx.Put(r)
			z.Records++
		}
		tx.Put(z)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return z, change, nil
}

// SetZoneComment changes a zone's comment.
func (c *Control) SetZoneComment(ctx context.Context, caller Caller, id vpc.HostedZoneID, comment string) (*vpc.HostedZone, error) {
	if err := checkDNSComment(comment); err != nil {
		return nil, err
	}
	return c.editZone(ctx, caller, id, func(z *vpc.HostedZone) error {
		z.Comment = comment
		return nil
	})
}

// SetZoneTags adds tags to a zone or overwrites them, and removes others.
func (c *Control) SetZoneTags(ctx context.Context, caller Caller, id vpc.HostedZoneID, add vpc.Tags, remove []string) error {
	if len(add) > maxZoneTagChanges || len(remove) > maxZoneTagChanges {
		return vpc.Errorf(vpc.Invalid, "Tag", "", "A request can add %d tags and remove %d, not %d and %d", maxZoneTagChanges, maxZoneTagChanges, len(add), len(remove))
	}
	if err := CheckTags(add); err != nil {
		return err
	}
	_, err := c.editZone(ctx, caller, id, func(z *vpc.HostedZone) error {
		if z.Tags == nil {
			z.Tags = vpc.Tags{}
		}
		for _, k := range remove {
			delete(z.Tags, k)
		}
		maps.Copy(z.Tags, add)
		return CheckTags(z.Tags)
	})
	return err
}

// DeleteZone removes a zone that has no record sets but those it was made with.
func (c *Control) DeleteZone(ctx context.Context, caller Caller, id vpc.HostedZoneID) (*vpc.DNSChange, error) {
	return c.changeDNS(ctx, caller, "", func(tx *store.Tx) error {
		z, err := OwnedZone(tx, caller, id)
		if err != nil {
			return err
		}
		for r := range vpc.By[vpc.RecordSet](tx, vpc.IndexZone, id) {
			if r.Name != z.Name || r.Type != "NS" && r.Type != "SOA" {
				return vpc.Errorf(vpc.InUse, string(vpc.KindHostedZone), string(id), "The specified hosted zone contains non-required resource record sets and so cannot be deleted.")
			}
			tx.Delete(r)
		}
		tx.Delete(z)
		return nil
	})
}

// OwnedZone finds a zone of the caller's.
func OwnedZone(v vpc.View, caller Caller, id vpc.HostedZoneID) (*vpc.HostedZone, error) {
	z, err := Owned[vpc.HostedZone](v, caller, id)
	if err != nil {
		return nil, noZone(id)
	}
	return z, nil
}

// DNSChange finds a change that the caller made, and whether the resolver of
// every live host answers by it.
func (c *Control) DNSChange(v vpc.View, caller Caller, id string) (change *vpc.DNSChange, done bool, err error) {
	change, err = Owned[vpc.DNSChange](v, caller, id)
	if err != nil {
		return nil, false, vpc.Errorf(vpc.NotFound, string(vpc.KindDNSChange), id, "Could not find resource with ID: %.64s", id)
	}
	done, _ = c.Hosts.NamedByAll(v.Changed(vpc.KindDNSChange, id))
	return change, done, nil
}

// changeDNS runs fn in a transaction that also writes down that there was a
// change, for it to be asked after.
func (c *Control) changeDNS(ctx context.Context, caller Caller, comment string, fn func(tx *store.Tx) error) (*vpc.DNSChange, error) {
	var change *vpc.DNSChange
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		id, err := vpc.NewDNSChangeID(c.Random)
		if err != nil {
			return err
		}
		change = &vpc.DNSChange{ID: id, Owner: caller.Account, Comment: comment, Submitted: c.Now()}
		tx.Put(change)
		return fn(tx)
	})
	if err != nil {
		return nil, err
	}
	return change, nil
}

func (c *Control) editZone(ctx context.Context, caller Caller, id vpc.HostedZoneID, edit func(*vpc.HostedZone) error) (*vpc.HostedZone, error) {
	var z *vpc.HostedZone
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		found, err := OwnedZone(tx, caller, id)
		if err != nil {
			return err
		}
		z = vpc.Edit(found)
		if err := edit(z); err != nil {
			return err
		}
		tx.Put(z)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return z, nil
}

func noZone(id vpc.HostedZoneID) error {
	return vpc.Errorf(vpc.NotFound, string(vpc.KindHostedZone), string(id), "No hosted zone found with ID: %.64s", id)
}

// zoneName reads the name of a zone to be made.
func zoneName(s string) (string, error) {
	name, err := vpc.ParseDomainName(s)
	switch {
	case err != nil:
		return "", vpc.Errorf(vpc.Invalid, "domain-name", s, "%v", err)
	case name == "":
		return "", vpc.Errorf(vpc.Invalid, "domain-name", s, "The root of all names cannot be a hosted zone")
	case strings.HasPrefix(name, "\\052"):
		return "", vpc.Errorf(vpc.Invalid, "domain-name", s, "The name of a hosted zone cannot begin with an asterisk: %s", s)
	}
	return name, nil
}

func checkDNSComment(s string) error {
	if n := utf8.RuneCountInString(s); n > maxDNSComment || !utf8.ValidString(s) {
		return vpc.Errorf(vpc.Invalid, "Comment", "", "The comment must have at most %d characters, not %d", maxDNSComment, n)
	}
	return nil
}
