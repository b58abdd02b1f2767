// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("DescribeVpcEndpointAssociations", false, describeVpcEndpointAssociations)
}

// DescribeVpcEndpointAssociationsInput is the input of DescribeVpcEndpointAssociations.
type DescribeVpcEndpointAssociationsInput struct {
	DryRun
	Page
	VpcEndpointIDs []string `query:"VpcEndpointId"`
	Filters        []Filter `query:"Filter"`
}

// DescribeVpcEndpointAssociationsOutput is the output of
// DescribeVpcEndpointAssociations. What an endpoint can be associated with are
// service networks and resource configurations, of which there are none here.
type DescribeVpcEndpointAssociationsOutput struct {
	Associations []endpointAssociation `xml:"vpcEndpointAssociationSet>item"`
}

type endpointAssociation struct{}

var associationResource = resource[*vpc.Endpoint]{filters: filterSet[*vpc.Endpoint]{
	"vpc-endpoint-id":                   never[*vpc.Endpoint],
	"associated-resource-accessibility": never[*vpc.Endpoint],
	"association-id":                    never[*vpc.Endpoint],
	"associated-resource-id":            never[*vpc.Endpoint],
	"service-network-arn":               never[*vpc.Endpoint],
	"resource-configuration-group-arn":  never[*vpc.Endpoint],
}}

func describeVpcEndpointAssociations(call *Call, in *DescribeVpcEndpointAssociationsInput) (*DescribeVpcEndpointAssociationsOutput, error) {
	if err := in.Page.within(1, 100); err != nil {
		return nil, err
	}
	if err := associationResource.checkFilters(in.Filters); err != nil {
		return nil, err
	}
	if in.NextToken != "" {
		if _, err := openToken(in.NextToken); err != nil {
			return nil, err
		}
	}
	v := call.View()
	for _, id := range in.VpcEndpointIDs {
		if err := checkFamilyID(vpc.KindEndpoint, vpc.PrefixEndpoint, id); err != nil {
			return nil, err
		}
		if _, err := control.OwnedEndpoint(v, call.Caller, vpc.EndpointID(id)); err != nil {
			return nil, err
		}
	}
	return &DescribeVpcEndpointAssociationsOutput{}, nil
}
