// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"net/netip"
	"time"
)

// KindPeering is the kind of VPC peering connections.
const KindPeering Kind = "vpc-peering-connection"

// PeeringID is a VPC peering connection's id.
type PeeringID string // pcx-...

// PrefixPeering is the prefix of peering connections' ids.
const PrefixPeering = "pcx"

// PeeringState is AWS's status code of a peering connection.
type PeeringState string

// States that occur. initiating-request, provisioning and deleting do not:
// each of those steps is one transaction.
const (
	PeeringPending  PeeringState = "pending-acceptance"
	PeeringActive   PeeringState = "active"
	PeeringRejected PeeringState = "rejected"
	PeeringExpired  PeeringState = "expired"
	PeeringFailed   PeeringState = "failed"
	PeeringDeleted  PeeringState = "deleted"
)

// Live reports whether the connection is one or can still become one.
func (s PeeringState) Live() bool { return s == PeeringPending || s == PeeringActive }

// PeeringSide is one of the two VPCs of a peering connection.
type PeeringSide struct {
	Owner AccountID `json:"owner"`
	VPC   VPCID     `json:"vpc"`
	// CIDRs are the VPC's blocks when the connection was last made or
	// accepted; a live connection's are the VPC's own now (see PeeringCIDRs).
	CIDRs []netip.Prefix `json:"cidrs,omitempty"`
	// AllowDNS is AllowDnsResolutionFromRemoteVpc: in the other VPC the public
	// names of this one's addresses answer with private addresses.
	AllowDNS bool `json:"allowDns,omitempty"`
	// Tags are each account's own; the other side never sees them. When both
	// sides are one account, the requester's side holds them.
	Tags Tags `json:"tags,omitempty"`
}

// Peering is a VPC peering connection. Both accounts see it.
type Peering struct {
	ID        PeeringID    `json:"id"`
	Requester PeeringSide  `json:"requester"`
	Accepter  PeeringSide  `json:"accepter"`
	State     PeeringState `json:"state"`
	Created   time.Time    `json:"created"`
	// Ended is when it left the live states, EndedBy the account that ended
	// it ("" when time or a conflict did): they decide how long who sees it.
	Ended   time.Time `json:"ended,omitzero"`
	EndedBy AccountID `json:"endedBy,omitempty"`
}

// How long an unanswered request waits, and how long an ended connection is
// still seen: by the account that ended it (and by the requester of one that
// failed), and by everybody else. One that failed at once is never seen by the
// other side, which may not even exist.
const (
	PeeringAcceptance   = 7 * 24 * time.Hour
	peeringShownBriefly = 2 * time.Hour
	peeringShown        = 2 * 24 * time.Hour
)

// Side is the caller's side: the requester's when both are.
func (p *Peering) Side(a AccountID) (*PeeringSide, bool) {
	switch a {
	case p.Requester.Owner:
		return &p.Requester, true
	case p.Accepter.Owner:
		return &p.Accepter, true
	}
	return nil, false
}

// Other is the side that faces a VPC, nil if the VPC is on neither.
func (p *Peering) Other(v VPCID) *PeeringSide {
	switch v {
	case p.Requester.VPC:
		return &p.Accepter
	case p.Accepter.VPC:
		return &p.Requester
	}
	return nil
}

// Expires is when an unanswered request ends.
func (p *Peering) Expires() time.Time { return p.Created.Add(PeeringAcceptance) }

// ShownUntil is when an account stops seeing a connection that has ended; the
// zero time for a live one and for one that the account never sees.
func (p *Peering) ShownUntil(a AccountID) time.Time {
	_, mine := p.Side(a)
	switch {
	case !mine || p.State.Live() || p.State == PeeringFailed && a != p.Requester.Owner && a != p.EndedBy:
		return time.Time{}
	case p.State == PeeringFailed || p.State != PeeringExpired && p.EndedBy == a:
		return p.Ended.Add(peeringShownBriefly)
	}
	return p.Ended.Add(peeringShown)
}

// VisibleTo reports whether an account sees the connection at a time.
func (p *Peering) VisibleTo(a AccountID, now time.Time) bool {
	if p.State.Live() {
		_, mine := p.Side(a)
		return mine
	}
	return now.Before(p.ShownUntil(a))
}

// ForgottenAt is when nobody sees an ended connection any more.
func (p *Peering) ForgottenAt() time.Time {
	r, a := p.ShownUntil(p.Requester.Owner), p.ShownUntil(p.Accepter.Owner)
	if a.After(r) {
		return a
	}
	return r
}

// PeeringCIDRs are the blocks of a side: the VPC's own while the connection is
// live, else those it had.
func PeeringCIDRs(v View, p *Peering, s *PeeringSide) []netip.Prefix {
	if p.State.Live() {
		if o, ok := Get[VPC](v, s.VPC); ok && o.Owner == s.Owner {
			return o.Prefixes()
		}
	}
	return s.CIDRs
}

// PeeringBetween finds the active connection of two VPCs.
func PeeringBetween(v View, a, b VPCID) (*Peering, bool) {
	for p := range By[Peering](v, IndexVPC, a) {
		if o := p.Other(a); p.State == PeeringActive && o.VPC == b {
			return p, true
		}
	}
	return nil, false
}

func (*Peering) Kind() Kind    { return KindPeering }
func (p *Peering) Key() string { return string(p.ID) }
func (p *Peering) Index(add func(index, value string)) {
	add("state", string(p.State))
	add(IndexOwner, string(p.Requester.Owner))
	if p.Accepter.Owner != p.Requester.Owner {
		add(IndexOwner, string(p.Accepter.Owner))
	}
	add(IndexVPC, string(p.Requester.VPC))
	if p.Accepter.VPC != p.Requester.VPC {
		add(IndexVPC, string(p.Accepter.VPC))
	}
}

// Refs of a live connection are its VPCs. A request alone holds only the VPC
// of the account that made it: nobody can keep another's VPC from being deleted.
func (p *Peering) Refs(add func(Kind, string)) {
	if p.State.Live() {
		add(KindVPC, string(p.Requester.VPC))
	}
	if p.State == PeeringActive {
		add(KindVPC, string(p.Accepter.VPC))
	}
}

// Claims of a live connection are its pair of VPCs, whoever asked.
func (p *Peering) Claims(add func(string)) {
	if p.State.Live() {
		add(PeeringClaim(p.Requester.VPC, p.Accepter.VPC))
	}
}

// PeeringClaim is the claim that makes two VPCs have one live connection at most.
func PeeringClaim(a, b VPCID) string {
	return "peering/" + string(min(a, b)) + "/" + string(max(a, b))
}

func init() { register[Peering]() }
