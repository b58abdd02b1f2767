// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"maps"
	"strings"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// maxTagged bounds the resources of one call, as AWS does.
const maxTagged = 1000

// TagRef names a tag to delete. With a Value only a tag that has it is deleted.
type TagRef struct {
	Key   string
	Value *string
}

// Tagged is one resource with its tags, as DescribeTags shows it.
type Tagged struct {
	ID   string
	Type string // AWS's resource type: "vpc", "subnet", ...
	Tags vpc.Tags
}

// CreateTags adds tags to resources or overwrites them, all or none.
func (c *Control) CreateTags(ctx context.Context, caller Caller, ids []string, tags vpc.Tags) error {
	if err := CheckTags(tags); err != nil {
		return err
	}
	return c.retag(ctx, caller, ids, func(t vpc.Tags) error {
		maps.Copy(t, tags)
		return CheckTags(t)
	})
}

// DeleteTags removes tags from resources, all or none; no refs mean all tags.
// A tag that is not there is no error.
func (c *Control) DeleteTags(ctx context.Context, caller Caller, ids []string, refs []TagRef) error {
	for _, r := range refs {
		if strings.HasPrefix(strings.ToLower(r.Key), "aws:") {
			return vpc.Errorf(vpc.Invalid, "Tag", r.Key, "Tag keys starting with 'aws:' are reserved for internal use")
		}
	}
	return c.retag(ctx, caller, ids, func(t vpc.Tags) error {
		if len(refs) == 0 {
			clear(t)
		}
		for _, r := range refs {
			if v, ok := t[r.Key]; ok && (r.Value == nil || *r.Value == v) {
				delete(t, r.Key)
			}
		}
		return nil
	})
}

func (c *Control) retag(ctx context.Context, caller Caller, ids []string, change func(vpc.Tags) error) error {
	if len(ids) > maxTagged {
		return vpc.Errorf(vpc.Limit, "tagged-resource", "", "A call can tag at most %d resources", maxTagged)
	}
	return c.update(ctx, caller, func(tx *store.Tx) error {
		for _, id := range ids {
			o, tags, err := c.taggable(tx, caller, id)
			if err != nil {
				return err
			}
			if *tags == nil {
				*tags = vpc.Tags{}
			}
			if err := change(*tags); err != nil {
				return err
			}
			tx.Put(o)
		}
		return nil
	})
}

// taggable finds what an id names and answers a copy to change and the place
// of its tags in it.
func (c *Control) taggable(tx *store.Tx, caller Caller, id string) (vpc.Object, *vpc.Tags, error) {
	prefix := id[:max(strings.LastIndexByte(id, '-'), 0)]
	if !vpc.ValidID(prefix, id) {
		prefix = ""
	}
	switch prefix {
	case vpc.PrefixVPC:
		return edited(tx, caller, vpc.VPCID(id), func(o *vpc.VPC) *vpc.Tags { return &o.Tags })
	case vpc.PrefixSubnet:
		return edited(tx, caller, vpc.SubnetID(id), func(o *vpc.Subnet) *vpc.Tags { return &o.Tags })
	case vpc.PrefixRouteTable:
		return edited(tx, caller, vpc.RouteTableID(id), func(o *vpc.RouteTable) *vpc.Tags { return &o.Tags })
	case vpc.PrefixACL:
		return edited(tx, caller, vpc.ACLID(id), func(o *vpc.NetworkACL) *vpc.Tags { return &o.Tags })
	case vpc.PrefixInterface:
		return edited(tx, caller, vpc.InterfaceID(id), func(o *vpc.NetworkInterface) *vpc.Tags { return &o.Tags })
	case vpc.PrefixInstance:
		return edited(tx, caller, vpc.InstanceID(id), func(o *vpc.Instance) *vpc.Tags { return &o.Tags })
	case vpc.PrefixService:
		return edited(tx, caller, vpc.ServiceID(id), func(o *vpc.EndpointService) *vpc.Tags { return &o.Tags })
	case vpc.PrefixPeering:
		p, err := c.Peering(tx, caller, vpc.PeeringID(id))
		if err != nil {
			return nil, nil, err
		}
		p = vpc.Edit(p)
		side, _ := p.Side(caller.Account)
		return p, &side.Tags, nil
	case vpc.PrefixEndpoint:
		e, err := OwnedEndpoint(tx, caller, vpc.EndpointID(id))
		if err != nil {
			return nil, nil, err
		}
		e = vpc.Edit(e)
		return e, &e.Tags, nil
	case vpc.PrefixGroup:
		g, err := ownedGroup(tx, caller, vpc.GroupID(id))
		if err != nil {
			return nil, nil, err
		}
		g = vpc.Edit(g)
		return g, &g.Tags, nil
	case vpc.PrefixRule:
		g, err := groupByRule(tx, caller, vpc.RuleID(id))
		if err != nil {
			return nil, nil, err
		}
		g = vpc.Edit(g)
		for i := range g.Rules {
			if g.Rules[i].ID == vpc.RuleID(id) {
				return g, &g.Rules[i].Tags, nil
			}
		}
		return nil, nil, noRule(vpc.RuleID(id))
	case vpc.PrefixPermission:
		for s := range vpc.By[vpc.EndpointService](tx, vpc.IndexOwner, caller.Account) {
			for i := range s.Permissions {
				if s.Permissions[i].ID == id {
					s, err := Owned[vpc.EndpointService](tx, caller, s.ID)
					if err != nil {
						return nil, nil, err
					}
					s = vpc.Edit(s)
					return s, &s.Permissions[i].Tags, nil
				}
			}
		}
		return nil, nil, vpc.Errorf(vpc.NotFound, "endpoint-service-permission", id, "The vpc endpoint service permission ID '%s' does not exist", id)
	case vpc.PrefixInternetGateway:
		g, err := OwnedInternetGateway(tx, caller, vpc.InternetGatewayID(id))
		return editedOf(g, err, func(o *vpc.InternetGateway) *vpc.Tags { return &o.Tags })
	case vpc.PrefixEgressOnly:
		g, err := OwnedEgressOnlyGateway(tx, caller, vpc.EgressOnlyGatewayID(id))
		return editedOf(g, err, func(o *vpc.EgressOnlyGateway) *vpc.Tags { return &o.Tags })
	case vpc.PrefixNATGateway:
		g, err := OwnedNATGateway(tx, caller, vpc.NATGatewayID(id))
		return editedOf(g, err, func(o *vpc.NATGateway) *vpc.Tags { return &o.Tags })
	case vpc.PrefixAllocation:
		e, err := OwnedAddress(tx, caller, AddressRef{Allocation: vpc.AllocationID(id)})
		return editedOf(e, err, func(o *vpc.ElasticIP) *vpc.Tags { return &o.Tags })
	case vpc.PrefixDHCPOptions:
		if id == RegionOf(tx).DHCPOptions {
			return nil, nil, ofTheRegion(id)
		}
		d, err := SeenDHCPOptions(tx, caller, vpc.DHCPOptionsID(id))
		return editedOf(d, err, func(o *vpc.DHCPOptions) *vpc.Tags { return &o.Tags })
	case vpc.PrefixConnection:
		e, err := ownedConnection(tx, caller, id)
		return editedOf(e, err, func(o *vpc.Endpoint) *vpc.Tags { return &o.ConnectionTags })
	case vpc.PrefixManagedList:
		if catalogueList(tx, vpc.PrefixListID(id)) {
			return nil, nil, ofTheRegion(id)
		}
		return edited(tx, caller, vpc.PrefixListID(id), func(o *vpc.PrefixList) *vpc.Tags { return &o.Tags })
	}
	return nil, nil, vpc.Errorf(vpc.Malformed, "tagged-resource", id, "The ID '%.128s' is not valid", id)
}

func edited[T any, P object[T], K ~string](tx *store.Tx, caller Caller, id K, tags func(P) *vpc.Tags) (vpc.Object, *vpc.Tags, error) {
	o, err := Owned[T, P](tx, caller, id)
	return editedOf(o, err, tags)
}

// editedOf is what taggable answers for an object that was looked up.
func editedOf[T any, P object[T]](o P, err error, tags func(P) *vpc.Tags) (vpc.Object, *vpc.Tags, error) {
	if err != nil {
		return nil, nil, err
	}
	o = vpc.Edit[T, P](o)
	return o, tags(o), nil
}

func ofTheRegion(id string) error {
	return vpc.Errorf(vpc.Unsupported, "ResourceId", id, "%s belongs to the region and cannot be tagged", id)
}

// AllTags lists the resources of an account that can have tags, in no order.
func AllTags(v vpc.View, owner vpc.AccountID) []Tagged {
	var out []Tagged
	add := func(id, kind string, t vpc.Tags) {
		if len(t) > 0 {
			out = append(out, Tagged{id, kind, t})
		}
	}
	for o := range vpc.By[vpc.VPC](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "vpc", o.Tags)
	}
	for o := range vpc.By[vpc.Subnet](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "subnet", o.Tags)
	}
	for o := range vpc.By[vpc.RouteTable](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "route-table", o.Tags)
	}
	for o := range vpc.By[vpc.NetworkACL](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "network-acl", o.Tags)
	}
	for o := range vpc.By[vpc.NetworkInterface](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "network-interface", o.Tags)
	}
	for o := range vpc.By[vpc.Instance](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "instance", o.Tags)
	}
	for o := range vpc.By[vpc.InternetGateway](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "internet-gateway", o.Tags)
	}
	for o := range vpc.By[vpc.EgressOnlyGateway](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "egress-only-internet-gateway", o.Tags)
	}
	for o := range vpc.By[vpc.NATGateway](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "natgateway", o.Tags)
	}
	for o := range vpc.By[vpc.ElasticIP](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "elastic-ip", o.Tags)
	}
	for o := range vpc.By[vpc.DHCPOptions](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "dhcp-options", o.Tags)
	}
	for o := range vpc.By[vpc.Endpoint](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "vpc-endpoint", o.Tags)
	}
	for o := range vpc.By[vpc.EndpointService](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "vpc-endpoint-service", o.Tags)
		for _, p := range o.Permissions {
			add(p.ID, "vpc-endpoint-service-permission", p.Tags)
		}
		// The provider's tags of a connection are not the consumer's of the endpoint.
		for e := range vpc.By[vpc.Endpoint](v, vpc.IndexService, o.ID) {
			add(e.Connection, string(KindConnection), e.ConnectionTags)
		}
	}
	for o := range vpc.By[vpc.PrefixList](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "prefix-list", o.Tags)
	}
	for o := range vpc.By[vpc.Peering](v, vpc.IndexOwner, owner) {
		if side, ok := o.Side(owner); ok && o.State.Live() {
			add(string(o.ID), "vpc-peering-connection", side.Tags)
		}
	}
	for o := range vpc.By[vpc.SecurityGroup](v, vpc.IndexOwner, owner) {
		add(string(o.ID), "security-group", o.Tags)
		for _, r := range o.Rules {
			add(string(r.ID), "security-group-rule", r.Tags)
		}
	}
	return out
}
