// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"strings"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateRoute", true, createRoute)
	register("ReplaceRoute", true, replaceRoute)
	register("DeleteRoute", true, deleteRoute)
}

// routeDestination names a route in a table.
type routeDestination struct {
	RouteTableID string `query:"RouteTableId,required"`
	CIDR         string `query:"DestinationCidrBlock"`
	IPv6CIDR     string `query:"DestinationIpv6CidrBlock"`
	PrefixList   string `query:"DestinationPrefixListId"`
}

// routeTarget is where a route leads: one of them. GatewayID and VpcEndpointID
// take an endpoint's id only to be answered as AWS does.
type routeTarget struct {
	NetworkInterfaceID string           `query:"NetworkInterfaceId"`
	InstanceID         string           `query:"InstanceId"`
	GatewayID          string           `query:"GatewayId"`
	EgressOnlyID       string           `query:"EgressOnlyInternetGatewayId"`
	NatGatewayID       string           `query:"NatGatewayId"`
	VpcEndpointID      string           `query:"VpcEndpointId"`
	PeeringID          string           `query:"VpcPeeringConnectionId"`
	_                  awsquery.Refused `query:"CarrierGatewayId,refuse"`
	_                  awsquery.Refused `query:"CoreNetworkArn,refuse"`
	_                  awsquery.Refused `query:"LocalGatewayId,refuse"`
	_                  awsquery.Refused `query:"OdbNetworkArn,refuse"`
	_                  awsquery.Refused `query:"TransitGatewayId,refuse"`
}

// CreateRouteInput is the input of CreateRoute.
type CreateRouteInput struct {
	DryRun
	routeDestination
	routeTarget
}

// ReplaceRouteInput is the input of ReplaceRoute.
type ReplaceRouteInput struct {
	DryRun
	routeDestination
	routeTarget
	LocalTarget bool `query:"LocalTarget"`
}

// DeleteRouteInput is the input of DeleteRoute.
type DeleteRouteInput struct {
	DryRun
	routeDestination
}

// exactlyOne refuses no value and more than one of parameters that exclude each other.
func exactlyOne(what string, values ...string) error {
	n := 0
	for _, v := range values {
		if v != "" {
			n++
		}
	}
	switch {
	case n == 0:
		return vpc.Errorf(vpc.Missing, what, "", "The request must contain exactly one %s", what)
	case n > 1:
		return vpc.Errorf(vpc.Combination, what, "", "The request must contain exactly one %s", what)
	}
	return nil
}

func (d routeDestination) read() (in control.RouteInput, err error) {
	if err := checkID(vpc.KindRouteTable, vpc.PrefixRouteTable, d.RouteTableID); err != nil {
		return in, err
	}
	if err := exactlyOne("destination: destinationCidrBlock, destinationIpv6CidrBlock or destinationPrefixListId", d.CIDR, d.IPv6CIDR, d.PrefixList); err != nil {
		return in, err
	}
	in.Table = vpc.RouteTableID(d.RouteTableID)
	if d.PrefixList != "" {
		in.PrefixList = vpc.PrefixListID(d.PrefixList)
		return in, checkID("prefix-list", vpc.PrefixManagedList, d.PrefixList)
	}
	name, value := "destinationCidrBlock", d.CIDR
	if d.IPv6CIDR != "" {
		name, value = "destinationIpv6CidrBlock", d.IPv6CIDR
	}
	in.CIDR, err = parseCIDR(name, value)
	if err == nil && (in.CIDR.Addr().Is6() != (d.IPv6CIDR != "") || in.CIDR.Addr().Is4In6()) {
		err = vpc.Errorf(vpc.Invalid, name, value, "Value (%.64s) for parameter %s is invalid. This is not a valid CIDR block.", value, name)
	}
	return in, err
}

// localGateway is the GatewayId of the routes inside the VPC.
const localGateway = "local"

// read finds the one target. local is LocalTarget, where the call has it.
func (t routeTarget) read(in *control.RouteInput, local bool) error {
	also := ""
	if local {
		also = localGateway
	}
	err := exactlyOne("target: gatewayId, egressOnlyInternetGatewayId, natGatewayId, networkInterfaceId, instanceId or vpcPeeringConnectionId",
		t.NetworkInterfaceID, t.InstanceID, t.GatewayID, t.EgressOnlyID, t.NatGatewayID, t.VpcEndpointID, t.PeeringID, also)
	if err != nil {
		return err
	}
	switch {
	case t.NetworkInterfaceID != "":
		in.Interface = vpc.InterfaceID(t.NetworkInterfaceID)
		return checkID(vpc.KindInterface, vpc.PrefixInterface, t.NetworkInterfaceID)
	case t.InstanceID != "":
		in.Instance = vpc.InstanceID(t.InstanceID)
		return checkID(vpc.KindInstance, vpc.PrefixInstance, t.InstanceID)
	case t.EgressOnlyID != "":
		in.Egress = vpc.EgressOnlyGatewayID(t.EgressOnlyID)
		return checkID(vpc.KindEgressOnly, vpc.PrefixEgressOnly, t.EgressOnlyID)
	case t.NatGatewayID != "":
		in.NAT = vpc.NATGatewayID(t.NatGatewayID)
		return checkID(vpc.KindNATGateway, vpc.PrefixNATGateway, t.NatGatewayID)
	case t.PeeringID != "":
		in.Peering = vpc.PeeringID(t.PeeringID)
		return checkID(vpc.KindPeering, vpc.PrefixPeering, t.PeeringID)
	case t.VpcEndpointID != "" || strings.HasPrefix(t.GatewayID, vpc.PrefixEndpoint+"-"):
		in.Endpoint = vpc.EndpointID(t.VpcEndpointID + t.GatewayID)
		return checkID(vpc.KindEndpoint, vpc.PrefixEndpoint, string(in.Endpoint))
	case local || t.GatewayID == localGateway:
		in.Local = true
		return nil
	case strings.HasPrefix(t.GatewayID, vpc.PrefixInternetGateway+"-"):
		in.Internet = vpc.InternetGatewayID(t.GatewayID)
		return checkID(vpc.KindInternetGateway, vpc.PrefixInternetGateway, t.GatewayID)
	}
	// A virtual private gateway, of which there are none, or no gateway at all.
	return vpc.Errorf(vpc.NotFound, "gateway", t.GatewayID, "The gateway ID '%.64s' does not exist", t.GatewayID)
}

func createRoute(call *Call, in *CreateRouteInput) (*void, error) {
	r, err := in.routeDestination.read()
	if err != nil {
		return nil, err
	}
	if err := in.routeTarget.read(&r, false); err != nil {
		return nil, err
	}
	return done, call.Control.CreateRoute(call.Context, call.Caller, r)
}

func replaceRoute(call *Call, in *ReplaceRouteInput) (*void, error) {
	r, err := in.routeDestination.read()
	if err != nil {
		return nil, err
	}
	if err := in.routeTarget.read(&r, in.LocalTarget); err != nil {
		return nil, err
	}
	return done, call.Control.ReplaceRoute(call.Context, call.Caller, r)
}

func deleteRoute(call *Call, in *DeleteRouteInput) (*void, error) {
	r, err := in.routeDestination.read()
	if err != nil {
		return nil, err
	}
	return done, call.Control.DeleteRoute(call.Context, call.Caller, r)
}
