// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateEgressOnlyInternetGateway", true, createEgressOnlyInternetGateway)
	register("DescribeEgressOnlyInternetGateways", false, describeEgressOnlyInternetGateways)
	register("DeleteEgressOnlyInternetGateway", true, deleteEgressOnlyInternetGateway)
}

// CreateEgressOnlyInternetGatewayInput is the input of CreateEgressOnlyInternetGateway.
type CreateEgressOnlyInternetGatewayInput struct {
	DryRun
	VpcID             string             `query:"VpcId,required"`
	ClientToken       string             `query:"ClientToken"`
	TagSpecifications []TagSpecification `query:"TagSpecification"`
}

// CreateEgressOnlyInternetGatewayOutput is the output of CreateEgressOnlyInternetGateway.
type CreateEgressOnlyInternetGatewayOutput struct {
	ClientToken string            `xml:"clientToken,omitempty"`
	Gateway     EgressOnlyGateway `xml:"egressOnlyInternetGateway"`
}

// EgressOnlyGateway is <EgressOnlyInternetGateway>.
type EgressOnlyGateway struct {
	ID          string              `xml:"egressOnlyInternetGatewayId"`
	Attachments []GatewayAttachment `xml:"attachmentSet>item"`
	Tags        []Tag               `xml:"tagSet>item"`
}

func renderEgressOnlyGateway(g *vpc.EgressOnlyGateway) EgressOnlyGateway {
	return EgressOnlyGateway{ID: string(g.ID), Attachments: []GatewayAttachment{{string(g.VPC), "attached"}}, Tags: tagList(g.Tags)}
}

func createEgressOnlyInternetGateway(call *Call, in *CreateEgressOnlyInternetGatewayInput) (*CreateEgressOnlyInternetGatewayOutput, error) {
	if err := checkID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID); err != nil {
		return nil, err
	}
	tags, err := tagsFor(in.TagSpecifications, "egress-only-internet-gateway")
	if err != nil {
		return nil, err
	}
	id, err := call.Control.CreateEgressOnlyGateway(call.Context, call.Caller, control.CreateEgressOnlyInput{
		VPC: vpc.VPCID(in.VpcID), Tags: tags["egress-only-internet-gateway"], Token: in.ClientToken,
	})
	if err != nil {
		return nil, err
	}
	g, err := control.OwnedEgressOnlyGateway(call.View(), call.Caller, id)
	if err != nil {
		return nil, err
	}
	return &CreateEgressOnlyInternetGatewayOutput{in.ClientToken, renderEgressOnlyGateway(g)}, nil
}

// DescribeEgressOnlyInternetGatewaysInput is the input of DescribeEgressOnlyInternetGateways.
type DescribeEgressOnlyInternetGatewaysInput struct {
	DryRun
	Page
	IDs     []string `query:"EgressOnlyInternetGatewayId"`
	Filters []Filter `query:"Filter"`
}

// DescribeEgressOnlyInternetGatewaysOutput is the output of DescribeEgressOnlyInternetGateways.
type DescribeEgressOnlyInternetGatewaysOutput struct {
	Gateways  []EgressOnlyGateway `xml:"egressOnlyInternetGatewaySet>item"`
	NextToken string              `xml:"nextToken,omitempty"`
}

// egressOnlyResource has the filters on tags alone, as AWS has.
var egressOnlyResource = resource[*vpc.EgressOnlyGateway]{
	prefix:  vpc.PrefixEgressOnly,
	tags:    func(g *vpc.EgressOnlyGateway) vpc.Tags { return g.Tags },
	filters: filterSet[*vpc.EgressOnlyGateway]{},
}

func describeEgressOnlyInternetGateways(call *Call, in *DescribeEgressOnlyInternetGatewaysInput) (*DescribeEgressOnlyInternetGatewaysOutput, error) {
	v := call.View()
	for _, id := range in.IDs {
		if err := checkID(vpc.KindEgressOnly, vpc.PrefixEgressOnly, id); err != nil {
			return nil, err
		}
	}
	// Unlike for other gateways an id that does not exist is no error: clients
	// wait for the answer to be empty.
	named := func(yield func(*vpc.EgressOnlyGateway) bool) {
		seen := map[string]bool{}
		for _, id := range in.IDs {
			g, err := control.OwnedEgressOnlyGateway(v, call.Caller, vpc.EgressOnlyGatewayID(id))
			if err == nil && !seen[id] && !yield(g) {
				return
			}
			seen[id] = true
		}
	}
	list, next, err := describeOwned(call, v, egressOnlyResource, nil, in.Filters, in.Page, nil)
	if len(in.IDs) > 0 {
		list, next, err = describe(call, v, egressOnlyResource, nil, in.Filters, in.Page, nil, named)
	}
	if err != nil {
		return nil, err
	}
	out := &DescribeEgressOnlyInternetGatewaysOutput{NextToken: next}
	for _, g := range list {
		out.Gateways = append(out.Gateways, renderEgressOnlyGateway(g))
	}
	return out, nil
}

// DeleteEgressOnlyInternetGatewayInput is the input of DeleteEgressOnlyInternetGateway.
type DeleteEgressOnlyInternetGatewayInput struct {
	DryRun
	ID string `query:"EgressOnlyInternetGatewayId,required"`
}

// DeleteEgressOnlyInternetGatewayOutput is the output of DeleteEgressOnlyInternetGateway.
type DeleteEgressOnlyInternetGatewayOutput struct {
	ReturnCode bool `xml:"returnCode"`
}

func deleteEgressOnlyInternetGateway(call *Call, in *DeleteEgressOnlyInternetGatewayInput) (*DeleteEgressOnlyInternetGatewayOutput, error) {
	if err := checkID(vpc.KindEgressOnly, vpc.PrefixEgressOnly, in.ID); err != nil {
		return nil, err
	}
	if err := call.Control.DeleteEgressOnlyGateway(call.Context, call.Caller, vpc.EgressOnlyGatewayID(in.ID)); err != nil {
		return nil, err
	}
	return &DeleteEgressOnlyInternetGatewayOutput{true}, nil
}
