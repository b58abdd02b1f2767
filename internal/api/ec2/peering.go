// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"net/netip"
	"time"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateVpcPeeringConnection", true, createVpcPeeringConnection)
	register("AcceptVpcPeeringConnection", true, acceptVpcPeeringConnection)
	register("RejectVpcPeeringConnection", true, rejectVpcPeeringConnection)
	register("DeleteVpcPeeringConnection", true, deleteVpcPeeringConnection)
	register("DescribeVpcPeeringConnections", false, describeVpcPeeringConnections)
	register("ModifyVpcPeeringConnectionOptions", true, modifyVpcPeeringConnectionOptions)
}

// CreateVpcPeeringConnectionInput is the input of CreateVpcPeeringConnection.
// PeerRegion may name this region, which is the only one.
type CreateVpcPeeringConnectionInput struct {
	DryRun
	VpcID             string             `query:"VpcId,required"`
	PeerVpcID         string             `query:"PeerVpcId,required"`
	PeerOwnerID       string             `query:"PeerOwnerId"`
	PeerRegion        string             `query:"PeerRegion"`
	TagSpecifications []TagSpecification `query:"TagSpecification"`
}

// PeeringOutput is the output of the actions that answer with a connection.
type PeeringOutput struct {
	Peering VpcPeeringConnection `xml:"vpcPeeringConnection"`
}

// VpcPeeringConnection is <VpcPeeringConnection>.
type VpcPeeringConnection struct {
	ID         string         `xml:"vpcPeeringConnectionId"`
	Requester  PeeringVpcInfo `xml:"requesterVpcInfo"`
	Accepter   PeeringVpcInfo `xml:"accepterVpcInfo"`
	Status     PeeringStatus  `xml:"status"`
	Expiration *time.Time     `xml:"expirationTime"`
	Tags       []Tag          `xml:"tagSet>item"`
}

// PeeringStatus is a connection's state.
type PeeringStatus struct {
	Code    string `xml:"code"`
	Message string `xml:"message"`
}

// PeeringVpcInfo is <VpcPeeringConnectionVpcInfo>.
type PeeringVpcInfo struct {
	CIDR      string          `xml:"cidrBlock,omitempty"`
	CIDRs     []CidrBlock     `xml:"cidrBlockSet>item,omitempty"`
	IPv6CIDRs []IPv6CidrBlock `xml:"ipv6CidrBlockSet>item,omitempty"`
	OwnerID   string          `xml:"ownerId"`
	VpcID     string          `xml:"vpcId"`
	Region    string          `xml:"region"`
	Options   *PeeringOptions `xml:"peeringOptions"`
}

// CidrBlock is one block of a peered VPC.
type CidrBlock struct {
	CIDR string `xml:"cidrBlock"`
}

// IPv6CidrBlock is one IPv6 block of a peered VPC.
type IPv6CidrBlock struct {
	CIDR string `xml:"ipv6CidrBlock"`
}

// PeeringOptions are the options of one side; those of EC2-Classic are off.
type PeeringOptions struct {
	AllowDNS       bool `xml:"allowDnsResolutionFromRemoteVpc"`
	ClassicToVpc   bool `xml:"allowEgressFromLocalClassicLinkToRemoteVpc"`
	VpcToClassicOn bool `xml:"allowEgressFromLocalVpcToRemoteClassicLink"`
}

func peeringOptions(s *vpc.PeeringSide) *PeeringOptions { return &PeeringOptions{AllowDNS: s.AllowDNS} }

func peeringStatus(p *vpc.Peering) PeeringStatus {
	text := map[vpc.PeeringState]string{
		vpc.PeeringPending:  "Pending Acceptance by " + string(p.Accepter.Owner),
		vpc.PeeringActive:   "Active",
		vpc.PeeringRejected: "Rejected by " + string(p.EndedBy),
		vpc.PeeringExpired:  "Expired",
		vpc.PeeringFailed:   "Failed due to incorrect VPC-ID, Account-ID, or overlapping CIDR range",
		vpc.PeeringDeleted:  "Deleted by " + string(p.EndedBy),
	}
	return PeeringStatus{Code: string(p.State), Message: text[p.State]}
}

// shownBlocks are the blocks of a side as an account sees them: a requester
// learns the accepter's only when that has accepted. One that was deleted may
// never have been accepted, so it no longer shows them.
func shownBlocks(v vpc.View, p *vpc.Peering, s *vpc.PeeringSide, caller vpc.AccountID) []netip.Prefix {
	if s == &p.Accepter && caller != s.Owner && p.State != vpc.PeeringActive {
		return nil
	}
	return vpc.PeeringCIDRs(v, p, s)
}

func renderPeering(v vpc.View, p *vpc.Peering, caller vpc.AccountID) VpcPeeringConnection {
	side := func(s *vpc.PeeringSide) PeeringVpcInfo {
		out := PeeringVpcInfo{OwnerID: string(s.Owner), VpcID: string(s.VPC), Region: control.RegionOf(v).Name}
		for i, c := range shownBlocks(v, p, s, caller) {
			if c.Addr().Is6() {
				out.IPv6CIDRs = append(out.IPv6CIDRs, IPv6CidrBlock{c.String()})
				continue
			}
			if i == 0 {
				out.CIDR = c.String()
			}
			out.CIDRs = append(out.CIDRs, CidrBlock{c.String()})
		}
		if p.State == vpc.PeeringActive {
			out.Options = peeringOptions(s)
		}
		return out
	}
	out := VpcPeeringConnection{
		ID: string(p.ID), Requester: side(&p.Requester), Accepter: side(&p.Accepter), Status: peeringStatus(p),
	}
	if p.State == vpc.PeeringPending {
		t := p.Expires()
		out.Expiration = &t
	}
	if s, ok := p.Side(caller); ok {
		out.Tags = tagList(s.Tags)
	}
	return out
}

// showPeering answers with a connection that the caller just changed.
func showPeering(call *Call, id vpc.PeeringID) (*PeeringOutput, error) {
	v := call.View()
	p, err := call.Control.Peering(v, call.Caller, id)
	if err != nil {
		return nil, err
	}
	return &PeeringOutput{renderPeering(v, p, call.Caller.Account)}, nil
}

func createVpcPeeringConnection(call *Call, in *CreateVpcPeeringConnectionInput) (*PeeringOutput, error) {
	for _, id := range []string{in.VpcID, in.PeerVpcID} {
		if err := checkID(vpc.KindVPC, vpc.PrefixVPC, id); err != nil {
			return nil, err
		}
	}
	if r := call.Control.Region().Name; in.PeerRegion != "" && in.PeerRegion != r {
		return nil, vpc.Errorf(vpc.Unsupported, "PeerRegion", in.PeerRegion, "The parameter PeerRegion is supported for this region (%s) only, not for %.64s", r, in.PeerRegion)
	}
	if in.PeerOwnerID != "" && !isAccountID(in.PeerOwnerID) {
		return nil, vpc.Errorf(vpc.Invalid, "peerOwnerId", in.PeerOwnerID, "Value (%.64s) for parameter peerOwnerId is invalid. It is not an account id of 12 digits.", in.PeerOwnerID)
	}
	tags, err := tagsFor(in.TagSpecifications, "vpc-peering-connection")
	if err != nil {
		return nil, err
	}
	id, err := call.Control.CreatePeering(call.Context, call.Caller, control.CreatePeeringInput{
		VPC: vpc.VPCID(in.VpcID), PeerVPC: vpc.VPCID(in.PeerVpcID), PeerOwner: vpc.AccountID(in.PeerOwnerID),
		Tags: tags["vpc-peering-connection"],
	})
	if err != nil {
		return nil, err
	}
	return showPeering(call, id)
}

// isAccountID reports whether s has the form of an account's id.
func isAccountID(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) == 12
}

// PeeringInput is the input of accept, reject and delete.
type PeeringInput struct {
	DryRun
	ID string `query:"VpcPeeringConnectionId,required"`
}

func (in *PeeringInput) id() (vpc.PeeringID, error) {
	return vpc.PeeringID(in.ID), checkID(vpc.KindPeering, vpc.PrefixPeering, in.ID)
}

func acceptVpcPeeringConnection(call *Call, in *PeeringInput) (*PeeringOutput, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	if err := call.Control.AcceptPeering(call.Context, call.Caller, id); err != nil {
		return nil, err
	}
	return showPeering(call, id)
}

func rejectVpcPeeringConnection(call *Call, in *PeeringInput) (*void, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	return done, call.Control.RejectPeering(call.Context, call.Caller, id)
}

func deleteVpcPeeringConnection(call *Call, in *PeeringInput) (*void, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	return done, call.Control.DeletePeering(call.Context, call.Caller, id)
}

// DescribeVpcPeeringConnectionsInput is the input of DescribeVpcPeeringConnections.
type DescribeVpcPeeringConnectionsInput struct {
	DryRun
	Page
	IDs     []string `query:"VpcPeeringConnectionId"`
	Filters []Filter `query:"Filter"`
}

// DescribeVpcPeeringConnectionsOutput is the output of DescribeVpcPeeringConnections.
type DescribeVpcPeeringConnectionsOutput struct {
	Peerings  []VpcPeeringConnection `xml:"vpcPeeringConnectionSet>item"`
	NextToken string                 `xml:"nextToken,omitempty"`
}

// peeringResource is how an account sees connections: filters and tags are
// about what is shown to it.
func peeringResource(caller vpc.AccountID) resource[*vpc.Peering] {
	shown := func(f func(VpcPeeringConnection) []string) func(vpc.View, *vpc.Peering) []string {
		return func(v vpc.View, p *vpc.Peering) []string { return f(renderPeering(v, p, caller)) }
	}
	blocks := func(s PeeringVpcInfo) (out []string) {
		for _, c := range s.CIDRs {
			out = append(out, c.CIDR)
		}
		return out
	}
	return resource[*vpc.Peering]{
		prefix: vpc.PrefixPeering,
		tags: func(p *vpc.Peering) vpc.Tags {
			s, _ := p.Side(caller)
			return s.Tags
		},
		filters: filterSet[*vpc.Peering]{
			"accepter-vpc-info.cidr-block":  shown(func(p VpcPeeringConnection) []string { return blocks(p.Accepter) }),
			"accepter-vpc-info.owner-id":    one(func(p *vpc.Peering) vpc.AccountID { return p.Accepter.Owner }),
			"accepter-vpc-info.vpc-id":      one(func(p *vpc.Peering) vpc.VPCID { return p.Accepter.VPC }),
			"requester-vpc-info.cidr-block": shown(func(p VpcPeeringConnection) []string { return blocks(p.Requester) }),
			"requester-vpc-info.owner-id":   one(func(p *vpc.Peering) vpc.AccountID { return p.Requester.Owner }),
			"requester-vpc-info.vpc-id":     one(func(p *vpc.Peering) vpc.VPCID { return p.Requester.VPC }),
			"expiration-time": shown(func(p VpcPeeringConnection) []string {
				if p.Expiration == nil {
					return nil
				}
				return []string{p.Expiration.UTC().Format("2006-01-02T15:04:05.000Z")}
			}),
			"status-code":               one(func(p *vpc.Peering) vpc.PeeringState { return p.State }),
			"status-message":            one(func(p *vpc.Peering) string { return peeringStatus(p).Message }),
			"vpc-peering-connection-id": one(func(p *vpc.Peering) vpc.PeeringID { return p.ID }),
		},
	}
}

func describeVpcPeeringConnections(call *Call, in *DescribeVpcPeeringConnectionsInput) (*DescribeVpcPeeringConnectionsOutput, error) {
	v := call.View()
	get := func(id string) (*vpc.Peering, error) {
		return call.Control.Peering(v, call.Caller, vpc.PeeringID(id))
	}
	list, next, err := describe(call, v, peeringResource(call.Caller.Account), in.IDs, in.Filters, in.Page,
		get, call.Control.Peerings(v, call.Caller))
	if err != nil {
		return nil, err
	}
	out := &DescribeVpcPeeringConnectionsOutput{NextToken: next}
	for _, p := range list {
		out.Peerings = append(out.Peerings, renderPeering(v, p, call.Caller.Account))
	}
	return out, nil
}

// ModifyVpcPeeringConnectionOptionsInput is the input of ModifyVpcPeeringConnectionOptions.
type ModifyVpcPeeringConnectionOptionsInput struct {
	DryRun
	ID        string                 `query:"VpcPeeringConnectionId,required"`
	Requester *PeeringOptionsRequest `query:"RequesterPeeringConnectionOptions"`
	Accepter  *PeeringOptionsRequest `query:"AccepterPeeringConnectionOptions"`
}

// PeeringOptionsRequest are new options of one side. Whether names resolve to
// private addresses from the other VPC is kept and shown: the resolver has no
// public names of instances.
type PeeringOptionsRequest struct {
	AllowDNS *bool            `query:"AllowDnsResolutionFromRemoteVpc,stored"`
	_        awsquery.Refused `query:"AllowEgressFromLocalClassicLinkToRemoteVpc,refuse,unless=false"`
	_        awsquery.Refused `query:"AllowEgressFromLocalVpcToRemoteClassicLink,refuse,unless=false"`
}

// ModifyVpcPeeringConnectionOptionsOutput is the output of
// ModifyVpcPeeringConnectionOptions: the sides that were changed.
type ModifyVpcPeeringConnectionOptionsOutput struct {
	Accepter  *PeeringOptions `xml:"accepterPeeringConnectionOptions"`
	Requester *PeeringOptions `xml:"requesterPeeringConnectionOptions"`
}

func modifyVpcPeeringConnectionOptions(call *Call, in *ModifyVpcPeeringConnectionOptionsInput) (*ModifyVpcPeeringConnectionOptionsOutput, error) {
	if err := checkID(vpc.KindPeering, vpc.PrefixPeering, in.ID); err != nil {
		return nil, err
	}
	id := vpc.PeeringID(in.ID)
	if in.Requester == nil && in.Accepter == nil {
		return nil, vpc.Errorf(vpc.Missing, "RequesterPeeringConnectionOptions", "",
			"The request must contain the parameter requesterPeeringConnectionOptions or accepterPeeringConnectionOptions")
	}
	change := func(r *PeeringOptionsRequest) *control.PeeringOptions {
		if r == nil {
			return nil
		}
		return &control.PeeringOptions{AllowDNS: r.AllowDNS}
	}
	if err := call.Control.ModifyPeeringOptions(call.Context, call.Caller, id, change(in.Requester), change(in.Accepter)); err != nil {
		return nil, err
	}
	p, err := call.Control.Peering(call.View(), call.Caller, id)
	if err != nil {
		return nil, err
	}
	out := &ModifyVpcPeeringConnectionOptionsOutput{}
	if in.Requester != nil {
		out.Requester = peeringOptions(&p.Requester)
	}
	if in.Accepter != nil {
		out.Accepter = peeringOptions(&p.Accepter)
	}
	return out, nil
}
