// SPDX-License-Identifier: Apache-2.0

package control

import (
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// peerGroup finds the group a rule of g refers to and writes it into r: one of
// the same VPC, by id or name, or by id one of a VPC that an active peering
// connection leads to. For a revocation (exists false) an id is enough, since
// the group may be gone.
func peerGroup(tx *store.Tx, caller Caller, g *vpc.SecurityGroup, s RuleSpec, exists bool, r *vpc.GroupRule) error {
	r.GroupOwner = caller.Account
	if s.Group == "" {
		if s.GroupOwner != "" && s.GroupOwner != caller.Account || s.GroupVPC != "" && s.GroupVPC != g.VPC {
			return noGroup(s.GroupName)
		}
		for peer := range vpc.By[vpc.SecurityGroup](tx, vpc.IndexVPC, g.VPC) {
			if peer.Name == s.GroupName {
				r.Group = peer.ID
				return nil
			}
		}
		return noGroup(s.GroupName)
	}
	r.Group = s.Group
	if s.Group == g.ID && (s.GroupOwner == "" || s.GroupOwner == g.Owner) && (s.GroupVPC == "" || s.GroupVPC == g.VPC) {
		return nil
	}
	if !exists {
		return nil
	}
	peer, ok := vpc.Get[vpc.SecurityGroup](tx, s.Group)
	switch {
	case !ok,
		s.GroupName != "" && peer.Name != s.GroupName,
		s.GroupVPC != "" && peer.VPC != s.GroupVPC,
		s.GroupOwner != "" && peer.Owner != s.GroupOwner,
		s.GroupOwner == "" && peer.Owner != caller.Account:
		return noGroup(string(s.Group))
	}
	if peer.VPC == g.VPC {
		if s.Peering != "" {
			return noGroup(string(s.Group))
		}
		return nil
	}
	p, ok := vpc.PeeringBetween(tx, g.VPC, peer.VPC)
	if !ok || s.Peering != "" && p.ID != s.Peering {
		return noGroup(string(s.Group))
	}
	r.GroupOwner, r.GroupVPC, r.Peering = peer.Owner, peer.VPC, p.ID
	return nil
}

// PeeringStatus is the state of the connection that a rule's peer group is
// reached over, "" for a group of the same VPC.
func PeeringStatus(v vpc.View, r vpc.GroupRule) vpc.PeeringState {
	if r.Peering == "" {
		return ""
	}
	if p, ok := vpc.Get[vpc.Peering](v, r.Peering); ok {
		return p.State
	}
	return vpc.PeeringDeleted
}

// GroupReference is a VPC whose groups refer to one of the caller's groups over
// a peering connection.
type GroupReference struct {
	Group   vpc.GroupID
	VPC     vpc.VPCID
	Peering vpc.PeeringID
}

// GroupReferences lists the VPCs on the other side of peering connections whose
// security groups refer to the given ones of the caller.
func GroupReferences(v vpc.View, caller Caller, ids []vpc.GroupID) ([]GroupReference, error) {
	var out []GroupReference
	for _, id := range unique(ids) {
		g, err := ownedGroup(v, caller, id)
		if err != nil {
			return nil, err
		}
		for o := range vpc.By[vpc.SecurityGroup](v, vpc.IndexGroup, id) {
			for _, r := range o.Rules {
				ref := GroupReference{Group: id, VPC: o.VPC, Peering: r.Peering}
				if r.Group == id && o.VPC != g.VPC && PeeringStatus(v, r) == vpc.PeeringActive && !slices.Contains(out, ref) {
					out = append(out, ref)
				}
			}
		}
	}
	return out, nil
}

// Stale reports whether a rule names a group of a peer VPC that is gone, or
// that no active peering connection leads to any more.
func Stale(v vpc.View, r vpc.GroupRule) bool {
	if r.Peering == "" {
		return false
	}
	if _, ok := vpc.Get[vpc.SecurityGroup](v, r.Group); !ok {
		return true
	}
	return PeeringStatus(v, r) != vpc.PeeringActive
}
