// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateInternetGateway", true, createInternetGateway)
	register("DescribeInternetGateways", false, describeInternetGateways)
	register("AttachInternetGateway", true, attachInternetGateway)
	register("DetachInternetGateway", true, detachInternetGateway)
	register("DeleteInternetGateway", true, deleteInternetGateway)
}

// CreateInternetGatewayInput is the input of CreateInternetGateway.
type CreateInternetGatewayInput struct {
	DryRun
	TagSpecifications []TagSpecification `query:"TagSpecification"`
}

// CreateInternetGatewayOutput is the output of CreateInternetGateway.
type CreateInternetGatewayOutput struct {
	Gateway InternetGateway `xml:"internetGateway"`
}

// InternetGateway is <InternetGateway>.
type InternetGateway struct {
	ID          string              `xml:"internetGatewayId"`
	OwnerID     string              `xml:"ownerId"`
	Attachments []GatewayAttachment `xml:"attachmentSet>item"`
	Tags        []Tag               `xml:"tagSet>item"`
}

// GatewayAttachment ties an internet gateway to a VPC; its state is one that
// AWS's model does not name, and answers.
type GatewayAttachment struct {
	VpcID string `xml:"vpcId"`
	State string `xml:"state"`
}

func renderInternetGateway(g *vpc.InternetGateway) InternetGateway {
	out := InternetGateway{ID: string(g.ID), OwnerID: string(g.Owner), Tags: tagList(g.Tags)}
	if g.VPC != "" {
		out.Attachments = []GatewayAttachment{{string(g.VPC), "available"}}
	}
	return out
}

func createInternetGateway(call *Call, in *CreateInternetGatewayInput) (*CreateInternetGatewayOutput, error) {
	tags, err := tagsFor(in.TagSpecifications, "internet-gateway")
	if err != nil {
		return nil, err
	}
	id, err := call.Control.CreateInternetGateway(call.Context, call.Caller, tags["internet-gateway"])
	if err != nil {
		return nil, err
	}
	g, err := control.OwnedInternetGateway(call.View(), call.Caller, id)
	if err != nil {
		return nil, err
	}
	return &CreateInternetGatewayOutput{renderInternetGateway(g)}, nil
}

// DescribeInternetGatewaysInput is the input of DescribeInternetGateways.
type DescribeInternetGatewaysInput struct {
	DryRun
	Page
	IDs     []string `query:"InternetGatewayId"`
	Filters []Filter `query:"Filter"`
}

// DescribeInternetGatewaysOutput is the output of DescribeInternetGateways.
type DescribeInternetGatewaysOutput struct {
	Gateways  []InternetGateway `xml:"internetGatewaySet>item"`
	NextToken string            `xml:"nextToken,omitempty"`
}

// optional makes a filter of a property that may be absent.
func optional[T any, S ~string](f func(T) S) func(vpc.View, T) []string {
	return func(_ vpc.View, o T) []string {
		if s := f(o); s != "" {
			return []string{string(s)}
		}
		return nil
	}
}

var internetGatewayResource = resource[*vpc.InternetGateway]{
	prefix: vpc.PrefixInternetGateway,
	tags:   func(g *vpc.InternetGateway) vpc.Tags { return g.Tags },
	filters: filterSet[*vpc.InternetGateway]{
		"attachment.state": func(_ vpc.View, g *vpc.InternetGateway) []string {
			if g.VPC == "" {
				return nil
			}
			return []string{"available"}
		},
		"attachment.vpc-id":   optional(func(g *vpc.InternetGateway) vpc.VPCID { return g.VPC }),
		"internet-gateway-id": one(func(g *vpc.InternetGateway) vpc.InternetGatewayID { return g.ID }),
		"owner-id":            one(func(g *vpc.InternetGateway) vpc.AccountID { return g.Owner }),
	},
}

func describeInternetGateways(call *Call, in *DescribeInternetGatewaysInput) (*DescribeInternetGatewaysOutput, error) {
	v := call.View()
	get := func(id string) (*vpc.InternetGateway, error) {
		return control.OwnedInternetGateway(v, call.Caller, vpc.InternetGatewayID(id))
	}
	list, next, err := describeOwned(call, v, internetGatewayResource, in.IDs, in.Filters, in.Page, get)
	if err != nil {
		return nil, err
	}
	out := &DescribeInternetGatewaysOutput{NextToken: next}
	for _, g := range list {
		out.Gateways = append(out.Gateways, renderInternetGateway(g))
	}
	return out, nil
}

// InternetGatewayAttachmentInput is the input of AttachInternetGateway and
// DetachInternetGateway.
type InternetGatewayAttachmentInput struct {
	DryRun
	ID    string `query:"InternetGatewayId,required"`
	VpcID string `query:"VpcId,required"`
}

func (in *InternetGatewayAttachmentInput) check() error {
	if err := checkID(vpc.KindInternetGateway, vpc.PrefixInternetGateway, in.ID); err != nil {
		return err
	}
	return checkID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID)
}

func attachInternetGateway(call *Call, in *InternetGatewayAttachmentInput) (*void, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return done, call.Control.AttachInternetGateway(call.Context, call.Caller, vpc.InternetGatewayID(in.ID), vpc.VPCID(in.VpcID))
}

func detachInternetGateway(call *Call, in *InternetGatewayAttachmentInput) (*void, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return done, call.Control.DetachInternetGateway(call.Context, call.Caller, vpc.InternetGatewayID(in.ID), vpc.VPCID(in.VpcID))
}

// DeleteInternetGatewayInput is the input of DeleteInternetGateway.
type DeleteInternetGatewayInput struct {
	DryRun
	ID string `query:"InternetGatewayId,required"`
}

func deleteInternetGateway(call *Call, in *DeleteInternetGatewayInput) (*void, error) {
	if err := checkID(vpc.KindInternetGateway, vpc.PrefixInternetGateway, in.ID); err != nil {
		return nil, err
	}
	return done, call.Control.DeleteInternetGateway(call.Context, call.Caller, vpc.InternetGatewayID(in.ID))
}
