// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("DescribeVpcEndpointConnections", false, describeVpcEndpointConnections)
	register("AcceptVpcEndpointConnections", true, acceptVpcEndpointConnections)
	register("RejectVpcEndpointConnections", true, rejectVpcEndpointConnections)
}

// DescribeVpcEndpointConnectionsInput is the input of DescribeVpcEndpointConnections.
type DescribeVpcEndpointConnectionsInput struct {
	DryRun
	Page
	Filters []Filter `query:"Filter"`
}

// DescribeVpcEndpointConnectionsOutput is the output of DescribeVpcEndpointConnections.
type DescribeVpcEndpointConnectionsOutput struct {
	Connections []VpcEndpointConnection `xml:"vpcEndpointConnectionSet"`
	NextToken   string                  `xml:"nextToken,omitempty"`
}

// VpcEndpointConnection is <VpcEndpointConnection>: an endpoint as its
// provider sees it.
type VpcEndpointConnection struct {
	ServiceID               string     `xml:"serviceId"`
	VpcEndpointID           string     `xml:"vpcEndpointId"`
	VpcEndpointOwner        string     `xml:"vpcEndpointOwner"`
	VpcEndpointState        string     `xml:"vpcEndpointState"`
	CreationTimestamp       time.Time  `xml:"creationTimestamp"`
	DNSEntries              []DNSEntry `xml:"dnsEntrySet"`
	NetworkLoadBalancerARNs []string   `xml:"networkLoadBalancerArnSet"`
	GatewayLoadBalancerARNs []string   `xml:"gatewayLoadBalancerArnSet"`
	IPAddressType           string     `xml:"ipAddressType"`
	VpcEndpointConnectionID string     `xml:"vpcEndpointConnectionId"`
	Tags                    []Tag      `xml:"tagSet"`
	VpcEndpointRegion       string     `xml:"vpcEndpointRegion"`
}

var connectionResource = resource[*vpc.Endpoint]{
	filters: filterSet[*vpc.Endpoint]{
		"ip-address-type":     one((*vpc.Endpoint).AddressType),
		"service-id":          func(_ vpc.View, e *vpc.Endpoint) []string { return []string{string(e.Service)} },
		"vpc-endpoint-owner":  func(_ vpc.View, e *vpc.Endpoint) []string { return []string{string(e.Owner)} },
		"vpc-endpoint-region": func(v vpc.View, _ *vpc.Endpoint) []string { return []string{control.RegionOf(v).Name} },
		"vpc-endpoint-state":  func(_ vpc.View, e *vpc.Endpoint) []string { return endpointStates(e.State) },
		"vpc-endpoint-id":     func(_ vpc.View, e *vpc.Endpoint) []string { return []string{string(e.ID)} },
	},
}

func describeVpcEndpointConnections(call *Call, in *DescribeVpcEndpointConnectionsInput) (*DescribeVpcEndpointConnectionsOutput, error) {
	for _, f := range in.Filters {
		// This action has a code and a text of its own for it.
		if _, ok := connectionResource.filters[f.Name]; !ok {
			return nil, vpc.Errorf(vpc.BadFilter, string(control.KindConnection), f.Name, "The filter %.128s is invalid", f.Name)
		}
	}
	if err := in.Page.atLeast(minServicePage); err != nil {
		return nil, err
	}
	v := call.View()
	list, next, err := describe(call, v, connectionResource, nil, in.Filters, in.Page, nil, control.Connections(v, call.Caller))
	if err != nil {
		return nil, err
	}
	out := &DescribeVpcEndpointConnectionsOutput{NextToken: next}
	for _, e := range list {
		c := VpcEndpointConnection{
			ServiceID: string(e.Service), VpcEndpointID: string(e.ID), VpcEndpointOwner: string(e.Owner),
			VpcEndpointState: string(e.State), CreationTimestamp: e.Created, DNSEntries: dnsEntries(v, e, false),
			IPAddressType: e.AddressType(), VpcEndpointConnectionID: e.Connection,
			Tags: tagList(e.ConnectionTags), VpcEndpointRegion: control.RegionOf(v).Name,
		}
		if s, ok := vpc.Get[vpc.EndpointService](v, e.Service); ok {
			c.NetworkLoadBalancerARNs = texts(s.Balancers)
		}
		out.Connections = append(out.Connections, c)
	}
	return out, nil
}

// AcceptVpcEndpointConnectionsInput is the input of AcceptVpcEndpointConnections.
type AcceptVpcEndpointConnectionsInput struct {
	DryRun
	ServiceID      string   `query:"ServiceId,required"`
	VpcEndpointIDs []string `query:"VpcEndpointId,required"`
}

func acceptVpcEndpointConnections(call *Call, in *AcceptVpcEndpointConnectionsInput) (*UnsuccessfulOutput, error) {
	if err := checkFamilyID(vpc.KindService, vpc.PrefixService, in.ServiceID); err != nil {
		return nil, err
	}
	ids, err := checkIDs[vpc.EndpointID](vpc.KindEndpoint, vpc.PrefixEndpoint, in.VpcEndpointIDs)
	if err != nil {
		return nil, err
	}
	failed, err := call.Control.AcceptConnections(call.Context, call.Caller, vpc.ServiceID(in.ServiceID), ids)
	if err != nil {
		return nil, err
	}
	return unsuccessful("AcceptVpcEndpointConnections", failed), nil
}

// RejectVpcEndpointConnectionsInput is the input of RejectVpcEndpointConnections.
type RejectVpcEndpointConnectionsInput struct {
	DryRun
	ServiceID      string   `query:"ServiceId,required"`
	VpcEndpointIDs []string `query:"VpcEndpointId,required"`
}

func rejectVpcEndpointConnections(call *Call, in *RejectVpcEndpointConnectionsInput) (*UnsuccessfulOutput, error) {
	if err := checkFamilyID(vpc.KindService, vpc.PrefixService, in.ServiceID); err != nil {
		return nil, err
	}
	ids, err := checkIDs[vpc.EndpointID](vpc.KindEndpoint, vpc.PrefixEndpoint, in.VpcEndpointIDs)
	if err != nil {
		return nil, err
	}
	failed, err := call.Control.RejectConnections(call.Context, call.Caller, vpc.ServiceID(in.ServiceID), ids)
	if err != nil {
		return nil, err
	}
	return unsuccessful("RejectVpcEndpointConnections", failed), nil
}
