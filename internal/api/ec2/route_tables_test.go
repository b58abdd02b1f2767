// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"testing"

	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

func (a *netAPI) mainTable(v string) (table, association string) {
	a.t.Helper()
	d := a.do("DescribeRouteTables", "Filter.1.Name", "association.main", "Filter.1.Value.1", "true", "Filter.2.Name", "vpc-id", "Filter.2.Value.1", v)
	// The main association comes first.
	return d.one("routeTableSet/item/routeTableId"), d.all("routeTableSet/item/associationSet/item/routeTableAssociationId")[0]
}

func TestRouteTableAssociations(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s1, s2 := a.subnet(v, "10.0.1.0/24"), a.subnet(v, "10.0.2.0/24")
	main, mainAssoc := a.mainTable(v)
	made := a.do("CreateRouteTable", "VpcId", v, "ClientToken", "one")
	table := made.one("routeTable/routeTableId")
	equal(t, "the local route", made.one("routeTable/routeSet/item/destinationCidrBlock")+made.one("routeTable/routeSet/item/gatewayId")+
		made.one("routeTable/routeSet/item/origin")+made.one("routeTable/routeSet/item/state"), "10.0.0.0/16localCreateRouteTableactive")
	equal(t, "the table of the same call", a.do("CreateRouteTable", "VpcId", v, "ClientToken", "one").one("routeTable/routeTableId"), table)
	a.refused("IdempotentParameterMismatch", "CreateRouteTable", "VpcId", a.vpc("10.1.0.0/16"), "ClientToken", "one")

	x1 := a.do("AssociateRouteTable", "RouteTableId", table, "SubnetId", s1)
	equal(t, "the state", x1.one("associationState/state"), "associated")
	a.do("AssociateRouteTable", "RouteTableId", table, "SubnetId", s2)
	d := a.do("DescribeRouteTables", "Filter.1.Name", "association.route-table-association-id", "Filter.1.Value.1", x1.one("associationId"))
	equalLists(t, "all associations of the table", d.all("routeTableSet/item/associationSet/item/subnetId"), []string{s1, s2})
	a.refused("Resource.AlreadyAssociated", "AssociateRouteTable", "RouteTableId", main, "SubnetId", s1)
	equal(t, "the refusal", a.refused("DependencyViolation", "DeleteRouteTable", "RouteTableId", table), "The routeTable '"+table+"' has dependencies and cannot be deleted.")
	a.refused("DependencyViolation", "DeleteRouteTable", "RouteTableId", main)
	a.refused("InvalidParameterValue", "DisassociateRouteTable", "AssociationId", mainAssoc)

	// An explicit association moves and gets a new id.
	moved := a.do("ReplaceRouteTableAssociation", "AssociationId", x1.one("associationId"), "RouteTableId", main).one("newAssociationId")
	a.refused("InvalidAssociationID.NotFound", "DisassociateRouteTable", "AssociationId", x1.one("associationId"))
	a.do("DisassociateRouteTable", "AssociationId", moved)
	// The main one makes another table the main one.
	moved = a.do("ReplaceRouteTableAssociation", "AssociationId", mainAssoc, "RouteTableId", table).one("newAssociationId")
	now, nowAssoc := a.mainTable(v)
	equal(t, "the main table", now, table)
	equal(t, "the main association", nowAssoc, moved)
	a.do("DeleteRouteTable", "RouteTableId", main)
	same := a.do("ReplaceRouteTableAssociation", "AssociationId", moved, "RouteTableId", table).one("newAssociationId")
	if same == moved || same == "" {
		t.Errorf("replacing an association by its own table answered %q after %q", same, moved)
	}

	far := a.subnet(a.vpc("10.2.0.0/16"), "10.2.0.0/24")
	a.refused("InvalidParameterValue", "AssociateRouteTable", "RouteTableId", table, "SubnetId", far)
	a.refused("InvalidAssociationID.Malformed", "DisassociateRouteTable", "AssociationId", "x")
	a.refused("UnsupportedOperation", "AssociateRouteTable", "RouteTableId", table, "SubnetId", s1, "GatewayId", "igw-00000000000000001")
	for _, action := range []string{"DisassociateRouteTable", "ReplaceRouteTableAssociation"} {
		pairs := []string{"AssociationId", same}
		if action == "ReplaceRouteTableAssociation" {
			pairs = append(pairs, "RouteTableId", table)
		}
		a.refusedAs(controltest.Provider, "InvalidAssociationID.NotFound", action, pairs...)
	}
	a.refusedAs(controltest.Provider, "InvalidRouteTableID.NotFound", "AssociateRouteTable", "RouteTableId", table, "SubnetId", s1)
	a.refusedAs(controltest.Provider, "InvalidRouteTableID.NotFound", "DeleteRouteTable", "RouteTableId", table)
	a.refusedAs(controltest.Provider, "InvalidVpcID.NotFound", "CreateRouteTable", "VpcId", v)
}

func TestRoutes(t *testing.T) {
	a := newNetAPI(t)
	controltest.HandMade(a.c) // an instance without an interface
	v := a.vpc("10.0.0.0/16")
	table, _ := a.mainTable(v)
	s := a.subnet(v, "10.0.1.0/24")
	n, m := a.eni(s), a.eni(s)
	route := func(dest string) (target, state string) {
		t.Helper()
		d := a.do("DescribeRouteTables", "RouteTableId.1", table)
		for i, x := range d.all("routeTableSet/item/routeSet/item/destinationCidrBlock") {
			if x == dest {
				return d.all("routeTableSet/item/routeSet/item/networkInterfaceId")[i-1], d.all("routeTableSet/item/routeSet/item/state")[i]
			}
		}
		return "", ""
	}
	a.do("CreateRoute", "RouteTableId", table, "DestinationCidrBlock", "192.0.2.9/24", "NetworkInterfaceId", n)
	target, state := route("192.0.2.0/24")
	equal(t, "the route", target+" "+state, n+" blackhole")
	o, _ := vpc.Get[vpc.NetworkInterface](a.c.View(), n)
	o = vpc.Edit(o)
	o.Attachment = &vpc.Attachment{ID: "eni-attach-00000000000000001", Instance: "i-00000000000000001"}
	a.put(o, &vpc.Instance{ID: "i-00000000000000001", Owner: o.Owner, VPC: o.VPC, Subnet: o.Subnet, State: vpc.InstanceRunning, Primary: o.ID, Addr: o.Addr})
	_, state = route("192.0.2.0/24")
	equal(t, "the state with something attached", state, "active")
	d := a.do("DescribeRouteTables", "Filter.1.Name", "route.instance-id", "Filter.1.Value.1", "i-00000000000000001")
	equal(t, "the route's instance", d.one("routeTableSet/item/routeSet/item/instanceOwnerId"), "111111111111")

	equal(t, "the text", a.refused("RouteAlreadyExists", "CreateRoute", "RouteTableId", table, "DestinationCidrBlock", "192.0.2.0/24", "NetworkInterfaceId", m), "The route identified by 192.0.2.0/24 already exists.")
	a.refused("RouteAlreadyExists", "CreateRoute", "RouteTableId", table, "DestinationCidrBlock", "10.0.0.0/16", "NetworkInterfaceId", m)
	a.do("ReplaceRoute", "RouteTableId", table, "DestinationCidrBlock", "192.0.2.0/24", "NetworkInterfaceId", m)
	target, _ = route("192.0.2.0/24")
	equal(t, "the replaced target", target, m)
	a.do("DeleteNetworkInterface", "NetworkInterfaceId", m)
	_, state = route("192.0.2.0/24")
	equal(t, "the state without the interface", state, "blackhole")
	a.do("ReplaceRoute", "RouteTableId", table, "DestinationCidrBlock", "192.0.2.0/24", "InstanceId", "i-00000000000000001")
	target, _ = route("192.0.2.0/24")
	equal(t, "the instance's interface", target, n)

	to := []string{"RouteTableId", table, "DestinationCidrBlock", "198.51.100.0/24"}
	with := func(pairs ...string) []string { return append(append([]string(nil), to...), pairs...) }
	a.refused("InvalidParameterValue", "ReplaceRoute", with("NetworkInterfaceId", n)...)
	a.refused("InvalidRoute.NotFound", "DeleteRoute", to...)
	equal(t, "the text", a.refused("InvalidParameterValue", "DeleteRoute", "RouteTableId", table, "DestinationCidrBlock", "10.0.0.0/16"), "cannot remove local route 10.0.0.0/16 in route table "+table)
	a.refused("UnsupportedOperation", "ReplaceRoute", "RouteTableId", table, "DestinationCidrBlock", "10.0.0.0/16", "NetworkInterfaceId", n)
	a.refused("MissingParameter", "CreateRoute", to...)
	a.refused("InvalidParameterCombination", "CreateRoute", with("NetworkInterfaceId", n, "InstanceId", "i-00000000000000001")...)
	a.refused("MissingParameter", "CreateRoute", "RouteTableId", table, "NetworkInterfaceId", n)
	a.refused("InvalidParameterCombination", "CreateRoute", with("DestinationPrefixListId", netList, "NetworkInterfaceId", n)...)
	a.refused("InvalidParameterValue", "CreateRoute", "RouteTableId", table, "DestinationPrefixListId", netList, "NetworkInterfaceId", n)
	a.refused("InvalidPrefixListID.NotFound", "CreateRoute", "RouteTableId", table, "DestinationPrefixListId", "pl-00000000000000001", "NetworkInterfaceId", n)
	a.refused("InvalidParameterValue", "CreateRoute", "RouteTableId", table, "DestinationCidrBlock", "here", "NetworkInterfaceId", n)
	a.refused("InvalidNetworkInterfaceID.NotFound", "CreateRoute", with("NetworkInterfaceId", "eni-00000000000000001")...)
	a.refused("InvalidInstanceID.NotFound", "CreateRoute", with("InstanceId", "i-00000000000000002")...)
	for _, p := range []string{"TransitGatewayId", "CarrierGatewayId", "LocalGatewayId", "CoreNetworkArn", "OdbNetworkArn"} {
		a.refused("UnsupportedOperation", "CreateRoute", with(p, "x")...)
	}
	far := a.eni(a.subnet(a.vpc("10.1.0.0/16"), "10.1.0.0/24"))
	a.refused("InvalidParameterValue", "CreateRoute", with("NetworkInterfaceId", far)...)
	a.refusedAs(controltest.Provider, "InvalidRouteTableID.NotFound", "DeleteRoute", to...)
	a.refusedAs(controltest.Provider, "InvalidRouteTableID.NotFound", "CreateRoute", with("NetworkInterfaceId", n)...)
	a.do("DeleteRoute", "RouteTableId", table, "DestinationCidrBlock", "192.0.2.0/24")
}

func TestEndpointsInRouteTables(t *testing.T) {
	a := newNetAPI(t)
	controltest.HandMade(a.c) // an endpoint without interfaces
	v := a.vpc("10.0.0.0/16")
	table := a.do("CreateRouteTable", "VpcId", v).one("routeTable/routeTableId")
	gateway := a.do("CreateVpcEndpoint", "VpcId", v, "ServiceName", "com.amazonaws.us-east-1.s3", "RouteTableId.1", table).one("vpcEndpoint/vpcEndpointId")
	d := a.do("DescribeRouteTables", "Filter.1.Name", "route.gateway-id", "Filter.1.Value.1", gateway)
	equal(t, "the destination", d.one("routeTableSet/item/routeSet/item/destinationPrefixListId"), netList)
	equalLists(t, "the states", d.all("routeTableSet/item/routeSet/item/state"), []string{"active", "active"})
	equal(t, "the text", a.refused("InvalidParameterValue", "DeleteRoute", "RouteTableId", table, "DestinationPrefixListId", netList),
		"cannot remove VPC endpoint route "+netList+" in route table "+table)
	s := a.subnet(v, "10.0.1.0/24")
	n := a.eni(s)
	a.refused("InvalidParameterValue", "ReplaceRoute", "RouteTableId", table, "DestinationPrefixListId", netList, "NetworkInterfaceId", n)
	a.refused("InvalidParameterValue", "CreateRoute", "RouteTableId", table, "DestinationCidrBlock", "192.0.2.0/24", "GatewayId", gateway)
	a.refused("InvalidVpcEndpointId.NotFound", "CreateRoute", "RouteTableId", table, "DestinationCidrBlock", "192.0.2.0/24", "GatewayId", "vpce-00000000000000001")

	o := &vpc.Endpoint{ID: "vpce-00000000000000009", Owner: "111111111111", VPC: vpc.VPCID(v), Type: vpc.InterfaceEndpoint, State: vpc.EndpointAvailable}
	a.put(o)
	for _, p := range []string{"GatewayId", "VpcEndpointId"} {
		equal(t, "the text", a.refused("RouteNotSupported", "CreateRoute", "RouteTableId", table, "DestinationCidrBlock", "192.0.2.0/24", p, string(o.ID)),
			"Route table contains unsupported route target: vpce-00000000000000009. VPC Endpoints of this type cannot be used as route targets.")
	}

	// A table that goes takes the association with it.
	a.do("DeleteRouteTable", "RouteTableId", table)
	e, _ := vpc.Get[vpc.Endpoint](a.c.View(), gateway)
	equal(t, "the endpoint's tables", len(e.RouteTables), 0)
}
