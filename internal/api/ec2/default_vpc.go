// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateDefaultVpc", true, createDefaultVpc)
	register("CreateDefaultSubnet", true, createDefaultSubnet)
	register("ModifyVpcTenancy", true, modifyVpcTenancy)
}

// CreateDefaultVpcInput is the input of CreateDefaultVpc.
type CreateDefaultVpcInput struct {
	DryRun
}

func createDefaultVpc(call *Call, _ *CreateDefaultVpcInput) (*CreateVpcOutput, error) {
	id, err := call.Control.CreateDefaultVPC(call.Context, call.Caller)
	if err != nil {
		return nil, err
	}
	v := call.View()
	o, err := control.Owned[vpc.VPC](v, call.Caller, id)
	if err != nil {
		return nil, err
	}
	return &CreateVpcOutput{renderVpc(v, o)}, nil
}

// CreateDefaultSubnetInput is the input of CreateDefaultSubnet.
type CreateDefaultSubnetInput struct {
	DryRun
	AvailabilityZone   string           `query:"AvailabilityZone"`
	AvailabilityZoneID string           `query:"AvailabilityZoneId"`
	_                  awsquery.Refused `query:"Ipv6Native,refuse,unless=false"`
}

func createDefaultSubnet(call *Call, in *CreateDefaultSubnetInput) (*CreateSubnetOutput, error) {
	if in.AvailabilityZone == "" && in.AvailabilityZoneID == "" {
		return nil, vpc.Errorf(vpc.Missing, "AvailabilityZone", "", "The request must contain the parameter AvailabilityZone or AvailabilityZoneId")
	}
	id, err := call.Control.CreateDefaultSubnet(call.Context, call.Caller, in.AvailabilityZone, in.AvailabilityZoneID)
	return subnetMade(call, id, err)
}

// ModifyVpcTenancyInput is the input of ModifyVpcTenancy: a dedicated VPC can
// become a default one, and not the reverse.
type ModifyVpcTenancyInput struct {
	DryRun
	VpcID           string `query:"VpcId,required"`
	InstanceTenancy string `query:"InstanceTenancy,required,stored,enum=default"`
}

func modifyVpcTenancy(call *Call, in *ModifyVpcTenancyInput) (*void, error) {
	if err := checkID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID); err != nil {
		return nil, err
	}
	return done, call.Control.SetDefaultTenancy(call.Context, call.Caller, vpc.VPCID(in.VpcID))
}
