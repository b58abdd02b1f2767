// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"strconv"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateRouteTable", true, createRouteTable)
	register("DescribeRouteTables", false, describeRouteTables)
	register("DeleteRouteTable", true, deleteRouteTable)
	register("AssociateRouteTable", true, associateRouteTable)
	register("DisassociateRouteTable", true, disassociateRouteTable)
	register("ReplaceRouteTableAssociation", true, replaceRouteTableAssociation)
}

// CreateRouteTableInput is the input of CreateRouteTable.
type CreateRouteTableInput struct {
	DryRun
	VpcID             string             `query:"VpcId,required"`
	ClientToken       string             `query:"ClientToken"`
	TagSpecifications []TagSpecification `query:"TagSpecification"`
}

// CreateRouteTableOutput is the output of CreateRouteTable.
type CreateRouteTableOutput struct {
	RouteTable  RouteTable `xml:"routeTable"`
	ClientToken string     `xml:"clientToken,omitempty"`
}

// RouteTable is <RouteTable>.
type RouteTable struct {
	RouteTableID string                  `xml:"routeTableId"`
	VpcID        string                  `xml:"vpcId"`
	OwnerID      string                  `xml:"ownerId"`
	Routes       []Route                 `xml:"routeSet>item"`
	Associations []RouteTableAssociation `xml:"associationSet>item"`
	Propagating  []struct{}              `xml:"propagatingVgwSet>item"`
	Tags         []Tag                   `xml:"tagSet>item"`
}

// Route is <Route>.
type Route struct {
	DestinationCIDR  string `xml:"destinationCidrBlock,omitempty"`
	DestinationIPv6  string `xml:"destinationIpv6CidrBlock,omitempty"`
	DestinationList  string `xml:"destinationPrefixListId,omitempty"`
	GatewayID        string `xml:"gatewayId,omitempty"`
	EgressOnlyID     string `xml:"egressOnlyInternetGatewayId,omitempty"`
	NatGatewayID     string `xml:"natGatewayId,omitempty"`
	InstanceID       string `xml:"instanceId,omitempty"`
	InstanceOwnerID  string `xml:"instanceOwnerId,omitempty"`
	NetworkInterface string `xml:"networkInterfaceId,omitempty"`
	Peering          string `xml:"vpcPeeringConnectionId,omitempty"`
	State            string `xml:"state"`
	Origin           string `xml:"origin"`
}

// RouteTableAssociation is <RouteTableAssociation>; the main one has no subnet.
type RouteTableAssociation struct {
	ID           string           `xml:"routeTableAssociationId"`
	RouteTableID string           `xml:"routeTableId"`
	SubnetID     string           `xml:"subnetId,omitempty"`
	Main         bool             `xml:"main"`
	State        AssociationState `xml:"associationState"`
}

// AssociationState is the state of an association.
type AssociationState struct {
	State string `xml:"state"`
}

var associated = AssociationState{"associated"}

func createRouteTable(call *Call, in *CreateRouteTableInput) (*CreateRouteTableOutput, error) {
	if err := checkID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID); err != nil {
		return nil, err
	}
	tags, err := tagsFor(in.TagSpecifications, "route-table")
	if err != nil {
		return nil, err
	}
	id, err := call.Control.CreateRouteTable(call.Context, call.Caller, control.CreateRouteTableInput{
		VPC: vpc.VPCID(in.VpcID), Tags: tags["route-table"], Token: in.ClientToken,
	})
	if err != nil {
		return nil, err
	}
	v := call.View()
	t, err := control.Owned[vpc.RouteTable](v, call.Caller, id)
	if err != nil {
		return nil, err
	}
	return &CreateRouteTableOutput{RouteTable: renderRouteTable(v, t), ClientToken: in.ClientToken}, nil
}

func renderRouteTable(v vpc.View, t *vpc.RouteTable) RouteTable {
	out := RouteTable{RouteTableID: string(t.ID), VpcID: string(t.VPC), OwnerID: string(t.Owner), Tags: tagList(t.Tags)}
	for _, r := range t.Routes {
		out.Routes = append(out.Routes, renderRoute(v, t, r))
	}
	if t.Main != "" {
		out.Associations = append(out.Associations, RouteTableAssociation{ID: t.Main, RouteTableID: string(t.ID), Main: true, State: associated})
	}
	for _, a := range t.Associations {
		out.Associations = append(out.Associations, RouteTableAssociation{ID: a.ID, RouteTableID: string(t.ID), SubnetID: string(a.Subnet), State: associated})
	}
	return out
}

func renderRoute(v vpc.View, t *vpc.RouteTable, r vpc.Route) Route {
	out := Route{DestinationList: string(r.PrefixList), Origin: r.Origin, State: "blackhole"}
	switch {
	case !r.CIDR.IsValid():
	case r.CIDR.Addr().Is6():
		out.DestinationIPv6 = r.CIDR.String()
	default:
		out.DestinationCIDR = r.CIDR.String()
	}
	if control.RouteActive(v, t, r) {
		out.State = "active"
	}
	switch r.TargetKind {
	case vpc.TargetLocal:
		out.GatewayID = "local"
	case vpc.TargetEndpoint, vpc.TargetInternet:
		out.GatewayID = r.Target
	case vpc.TargetEgressOnly:
		out.EgressOnlyID = r.Target
	case vpc.TargetNAT:
		out.NatGatewayID = r.Target
	case vpc.TargetPeering:
		out.Peering = r.Target
	case vpc.TargetENI:
		out.NetworkInterface = r.Target
		if n, ok := vpc.Get[vpc.NetworkInterface](v, r.Target); ok && n.Attachment != nil && n.Attachment.Instance != "" {
			out.InstanceID, out.InstanceOwnerID = string(n.Attachment.Instance), string(n.Owner)
		}
	}
	return out
}

// DescribeRouteTablesInput is the input of DescribeRouteTables.
type DescribeRouteTablesInput struct {
	DryRun
	Page
	RouteTableIDs []string `query:"RouteTableId"`
	Filters       []Filter `query:"Filter"`
}

// DescribeRouteTablesOutput is the output of DescribeRouteTables.
type DescribeRouteTablesOutput struct {
	RouteTables []RouteTable `xml:"routeTableSet>item"`
	NextToken   string       `xml:"nextToken,omitempty"`
}

// routeFilter makes a filter of one property of a table's routes.
func routeFilter(f func(Route) string) func(vpc.View, *vpc.RouteTable) []string {
	return func(v vpc.View, t *vpc.RouteTable) []string {
		var out []string
		for _, r := range t.Routes {
			if s := f(renderRoute(v, t, r)); s != "" {
				out = append(out, s)
			}
		}
		return out
	}
}

// routeAssociationFilter makes a filter of one property of a table's associations.
func routeAssociationFilter(f func(RouteTableAssociation) string) func(vpc.View, *vpc.RouteTable) []string {
	return func(v vpc.View, t *vpc.RouteTable) []string {
		var out []string
		for _, a := range renderRouteTable(v, t).Associations {
			if s := f(a); s != "" {
				out = append(out, s)
			}
		}
		return out
	}
}

var routeTableResource = resource[*vpc.RouteTable]{
	prefix: vpc.PrefixRouteTable,
	tags:   func(t *vpc.RouteTable) vpc.Tags { return t.Tags },
	filters: filterSet[*vpc.RouteTable]{
		"association.gateway-id":                 never[*vpc.RouteTable],
		"association.main":                       routeAssociationFilter(func(a RouteTableAssociation) string { return strconv.FormatBool(a.Main) }),
		"association.route-table-association-id": routeAssociationFilter(func(a RouteTableAssociation) string { return a.ID }),
		"association.route-table-id":             routeAssociationFilter(func(a RouteTableAssociation) string { return a.RouteTableID }),
		"association.subnet-id":                  routeAssociationFilter(func(a RouteTableAssociation) string { return a.SubnetID }),
		"owner-id":                               one(func(t *vpc.RouteTable) vpc.AccountID { return t.Owner }),
		"route-table-id":                         one(func(t *vpc.RouteTable) vpc.RouteTableID { return t.ID }),
		"route.destination-cidr-block":           routeFilter(func(r Route) string { return r.DestinationCIDR }),
		"route.destination-ipv6-cidr-block":      routeFilter(func(r Route) string { return r.DestinationIPv6 }),
		"route.destination-prefix-list-id":       routeFilter(func(r Route) string { return r.DestinationList }),
		"route.egress-only-internet-gateway-id":  routeFilter(func(r Route) string { return r.EgressOnlyID }),
		"route.gateway-id":                       routeFilter(func(r Route) string { return r.GatewayID }),
		"route.instance-id":                      routeFilter(func(r Route) string { return r.InstanceID }),
		"route.nat-gateway-id":                   routeFilter(func(r Route) string { return r.NatGatewayID }),
		"route.transit-gateway-id":               never[*vpc.RouteTable],
		"route.origin":                           routeFilter(func(r Route) string { return r.Origin }),
		"route.state":                            routeFilter(func(r Route) string { return r.State }),
		"route.vpc-peering-connection-id":        routeFilter(func(r Route) string { return r.Peering }),
		"vpc-id":                                 one(func(t *vpc.RouteTable) vpc.VPCID { return t.VPC }),
	},
}

func describeRouteTables(call *Call, in *DescribeRouteTablesInput) (*DescribeRouteTablesOutput, error) {
	v := call.View()
	list, next, err := describeOwned(call, v, routeTableResource, in.RouteTableIDs, in.Filters, in.Page, nil)
	if err != nil {
		return nil, err
	}
	out := &DescribeRouteTablesOutput{NextToken: next}
	for _, t := range list {
		out.RouteTables = append(out.RouteTables, renderRouteTable(v, t))
	}
	return out, nil
}

// DeleteRouteTableInput is the input of DeleteRouteTable.
type DeleteRouteTableInput struct {
	DryRun
	RouteTableID string `query:"RouteTableId,required"`
}

func deleteRouteTable(call *Call, in *DeleteRouteTableInput) (*void, error) {
	if err := checkID(vpc.KindRouteTable, vpc.PrefixRouteTable, in.RouteTableID); err != nil {
		return nil, err
	}
	return done, call.Control.DeleteRouteTable(call.Context, call.Caller, vpc.RouteTableID(in.RouteTableID))
}

// AssociateRouteTableInput is the input of AssociateRouteTable.
type AssociateRouteTableInput struct {
	DryRun
	RouteTableID string           `query:"RouteTableId,required"`
	SubnetID     string           `query:"SubnetId,required"`
	_            awsquery.Refused `query:"GatewayId,refuse"`
	_            awsquery.Refused `query:"PublicIpv4Pool,refuse"`
}

// AssociateRouteTableOutput is the output of AssociateRouteTable.
type AssociateRouteTableOutput struct {
	AssociationID string           `xml:"associationId"`
	State         AssociationState `xml:"associationState"`
}

func associateRouteTable(call *Call, in *AssociateRouteTableInput) (*AssociateRouteTableOutput, error) {
	if err := checkID(vpc.KindRouteTable, vpc.PrefixRouteTable, in.RouteTableID); err != nil {
		return nil, err
	}
	if err := checkID(vpc.KindSubnet, vpc.PrefixSubnet, in.SubnetID); err != nil {
		return nil, err
	}
	id, err := call.Control.AssociateRouteTable(call.Context, call.Caller, vpc.RouteTableID(in.RouteTableID), vpc.SubnetID(in.SubnetID))
	return &AssociateRouteTableOutput{id, associated}, err
}

// DisassociateRouteTableInput is the input of DisassociateRouteTable.
type DisassociateRouteTableInput struct {
	DryRun
	AssociationID string `query:"AssociationId,required"`
}

func disassociateRouteTable(call *Call, in *DisassociateRouteTableInput) (*void, error) {
	if err := checkID("association", vpc.PrefixRouteAssoc, in.AssociationID); err != nil {
		return nil, err
	}
	return done, call.Control.DisassociateRouteTable(call.Context, call.Caller, in.AssociationID)
}

// ReplaceRouteTableAssociationInput is the input of ReplaceRouteTableAssociation.
type ReplaceRouteTableAssociationInput struct {
	DryRun
	AssociationID string `query:"AssociationId,required"`
	RouteTableID  string `query:"RouteTableId,required"`
}

// ReplaceRouteTableAssociationOutput is the output of ReplaceRouteTableAssociation.
type ReplaceRouteTableAssociationOutput struct {
	NewAssociationID string           `xml:"newAssociationId"`
	State            AssociationState `xml:"associationState"`
}

func replaceRouteTableAssociation(call *Call, in *ReplaceRouteTableAssociationInput) (*ReplaceRouteTableAssociationOutput, error) {
	if err := checkID("association", vpc.PrefixRouteAssoc, in.AssociationID); err != nil {
		return nil, err
	}
	if err := checkID(vpc.KindRouteTable, vpc.PrefixRouteTable, in.RouteTableID); err != nil {
		return nil, err
	}
	id, err := call.Control.ReplaceRouteTableAssociation(call.Context, call.Caller, in.AssociationID, vpc.RouteTableID(in.RouteTableID))
	return &ReplaceRouteTableAssociationOutput{id, associated}, err
}
