// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"slices"
	"strings"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// AWS's limits on the VPCs of a hosted zone.
const (
	maxZoneVPCs       = 300
	maxAuthorizedVPCs = 1000
)

// AssociateZone makes a zone answer in a VPC of the caller's. A zone of another
// account must have authorised it.
func (c *Control) AssociateZone(ctx context.Context, caller Caller, id vpc.HostedZoneID, v vpc.VPCID, comment string) (*vpc.DNSChange, error) {
	if err := checkDNSComment(comment); err != nil {
		return nil, err
	}
	return c.changeDNS(ctx, caller, comment, func(tx *store.Tx) error {
		z, ok := vpc.Get[vpc.HostedZone](tx, id)
		if !ok {
			return noZone(id)
		}
		if z.Owner != caller.Account && !slices.Contains(z.Authorized, v) {
			return vpc.Errorf(vpc.NotPermitted, "vpc-association", string(v), "The VPC: %.64s that you provided is not authorized to make the association.", v)
		}
		z = vpc.Edit(z)
		if err := associate(tx, caller, z, v); err != nil {
			return err
		}
		tx.Put(z)
		return nil
	})
}

// DisassociateZone makes a zone no longer answer in a VPC. The owner of either
// may ask for it.
func (c *Control) DisassociateZone(ctx context.Context, caller Caller, id vpc.HostedZoneID, v vpc.VPCID, comment string) (*vpc.DNSChange, error) {
	if err := checkDNSComment(comment); err != nil {
		return nil, err
	}
	return c.changeDNS(ctx, caller, comment, func(tx *store.Tx) error {
		z, ok := vpc.Get[vpc.HostedZone](tx, id)
		if !ok {
			return noZone(id)
		}
		_, err := Owned[vpc.VPC](tx, caller, v)
		mine := z.Owner == caller.Account
		switch at := slices.Index(z.VPCs, v); {
		case !mine && (err != nil || at < 0):
			return noZone(id)
		case at < 0:
			return vpc.Errorf(vpc.NotFound, "vpc-association", string(v), "The VPC: %.64s and hosted zone: %s are not associated.", v, id)
		case len(z.VPCs) == 1:
			return vpc.Errorf(vpc.WrongState, "vpc-association", string(v), "The VPC: %s that you are trying to disassociate from the private hosted zone is the last VPC that is associated with the private hosted zone. Amazon Route 53 doesn't support disassociating the last VPC from a private hosted zone.", v)
		default:
			z = vpc.Edit(z)
			z.VPCs = slices.Delete(z.VPCs, at, at+1)
		}
		tx.Put(z)
		return nil
	})
}

// AuthorizeZone lets the owner of a VPC associate it with a zone of the
// caller's. Nothing is said of whether there is such a VPC.
func (c *Control) AuthorizeZone(ctx context.Context, caller Caller, id vpc.HostedZoneID, v vpc.VPCID) error {
	if !vpc.ValidID(vpc.PrefixVPC, string(v)) {
		return noZoneVPC(v)
	}
	_, err := c.editZone(ctx, caller, id, func(z *vpc.HostedZone) error {
		if slices.Contains(z.Authorized, v) {
			return nil
		}
		if len(z.Authorized) >= maxAuthorizedVPCs {
			return vpc.Errorf(vpc.Limit, "vpc-authorization", string(id), "The maximum number of VPC association authorizations of a hosted zone, %d, has been reached", maxAuthorizedVPCs)
		}
		z.Authorized = append(z.Authorized, v)
		slices.Sort(z.Authorized)
		return nil
	})
	return err
}

// UnauthorizeZone takes an authorisation back; an association made by it stays.
func (c *Control) UnauthorizeZone(ctx context.Context, caller Caller, id vpc.HostedZoneID, v vpc.VPCID) error {
	_, err := c.editZone(ctx, caller, id, func(z *vpc.HostedZone) error {
		at := slices.Index(z.Authorized, v)
		if at < 0 {
			return vpc.Errorf(vpc.NotFound, "vpc-authorization", string(v), "The VPC: %.64s is not authorized to be associated with the hosted zone %s.", v, id)
		}
		z.Authorized = slices.Delete(z.Authorized, at, at+1)
		return nil
	})
	return err
}

// ZonesOfVPC are the zones of any account that are associated with a VPC of
// the caller's.
func ZonesOfVPC(v vpc.View, caller Caller, id vpc.VPCID) ([]*vpc.HostedZone, error) {
	if _, err := Owned[vpc.VPC](v, caller, id); err != nil {
		return nil, noZoneVPC(id)
	}
	return slices.Collect(vpc.By[vpc.HostedZone](v, vpc.IndexVPC, id)), nil
}

// associate adds a VPC of the caller's to a zone that is about to be written.
func associate(tx *store.Tx, caller Caller, z *vpc.HostedZone, id vpc.VPCID) error {
	v, err := Owned[vpc.VPC](tx, caller, id)
	if err != nil {
		return noZoneVPC(id)
	}
	if tx.Claimed(vpc.ZoneNameClaim(id, z.Name)) {
		for other := range vpc.By[vpc.HostedZone](tx, vpc.IndexVPC, id) {
			if other.Name == z.Name {
				return conflictingZone(tx, id, "the hosted zone "+string(other.ID))
			}
		}
	}
	for e := range vpc.By[vpc.Endpoint](tx, vpc.IndexVPC, id) {
		if e.PrivateDNS && slices.Contains(privateZones(tx, e), z.Name) {
			return conflictingZone(tx, id, "the VPC endpoint "+string(e.ID))
		}
	}
	if len(z.VPCs) >= maxZoneVPCs {
		return vpc.Errorf(vpc.Limit, "vpc-association", string(z.ID), "The maximum number of VPCs that can be associated with a hosted zone, %d, has been reached", maxZoneVPCs)
	}
	// An endpoint with a private name of this zone would conflict.
	tx.Touch(v)
	z.VPCs = append(z.VPCs, id)
	return nil
}

// privateZones are the domains that an endpoint's private names take in its
// VPC, as hosted zones are called.
func privateZones(v vpc.View, e *vpc.Endpoint) []string {
	var out []string
	for _, n := range vpc.PrivateNames(vpc.ServiceOf(v, e)) {
		if name, err := vpc.ParseDomainName(strings.TrimPrefix(n, "*.")); err == nil {
			out = append(out, name)
		}
	}
	return out
}

func conflictingZone(v vpc.View, id vpc.VPCID, with string) error {
	return vpc.Errorf(vpc.Conflict, string(vpc.KindHostedZone), string(id), "The VPC %s in region %s has already been associated with %s with the same domain name.", id, RegionOf(v).Name, with)
}

func noZoneVPC(id vpc.VPCID) error {
	return vpc.Errorf(vpc.NotFound, string(vpc.KindVPC), string(id), "The VPC ID is invalid: '%.64s' is not a VPC of this account in this region.", id)
}
