// SPDX-License-Identifier: Apache-2.0

package elbv2

import (
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("RegisterTargets", registerTargets)
	register("DeregisterTargets", deregisterTargets)
	register("DescribeTargetHealth", describeTargetHealth)
}

// Target is <TargetDescription> in a request.
type Target struct {
	ID               string  `query:"Id,required"`
	Port             *int    `query:"Port"`
	AvailabilityZone string  `query:"AvailabilityZone"`
	_                refused `query:"QuicServerId,refuse"`
}

func targetsOf(list []Target) ([]control.TargetInput, error) {
	var out []control.TargetInput
	for _, t := range list {
		in := control.TargetInput{ID: t.ID, Zone: t.AvailabilityZone}
		if t.Port != nil {
			if *t.Port < 1 || *t.Port > 65535 {
				return nil, vpc.Errorf(vpc.Invalid, "Port", "", "Port '%d' of target '%.64s' must be from 1 to 65535", *t.Port, t.ID)
			}
			in.Port = *t.Port
		}
		out = append(out, in)
	}
	return out, nil
}

// TargetsInput is the input of RegisterTargets and DeregisterTargets.
type TargetsInput struct {
	GroupInput
	Targets []Target `query:"Targets,required"`
}

func registerTargets(call *Call, in *TargetsInput) (*void, error) {
	g, targets, err := in.read(call)
	if err != nil {
		return nil, err
	}
	return &void{}, call.Control.RegisterTargets(call.Context, call.Caller, g, targets)
}

func deregisterTargets(call *Call, in *TargetsInput) (*void, error) {
	g, targets, err := in.read(call)
	if err != nil {
		return nil, err
	}
	return &void{}, call.Control.DeregisterTargets(call.Context, call.Caller, g, targets)
}

func (in *TargetsInput) read(call *Call) (vpc.ARN, []control.TargetInput, error) {
	g, err := find[vpc.TargetGroup](call, call.View(), in.Arn)
	if err != nil {
		return "", nil, err
	}
	targets, err := targetsOf(in.Targets)
	return g.ARN, targets, err
}

// DescribeTargetHealthInput is the input of DescribeTargetHealth.
type DescribeTargetHealthInput struct {
	GroupInput
	Targets []Target `query:"Targets"`
	_       refused  `query:"Include,refuse"`
}

// DescribeTargetHealthOutput is the output of DescribeTargetHealth.
type DescribeTargetHealthOutput struct {
	Descriptions []TargetHealthDescription `xml:"TargetHealthDescriptions"`
}

// TargetHealthDescription is one target with its health.
type TargetHealthDescription struct {
	Target          TargetDescription `xml:"Target"`
	HealthCheckPort string            `xml:"HealthCheckPort"`
	Health          TargetHealth      `xml:"TargetHealth"`
}

// TargetDescription is <TargetDescription> in an answer.
type TargetDescription struct {
	ID               string `xml:"Id"`
	Port             int    `xml:"Port"`
	AvailabilityZone string `xml:"AvailabilityZone,omitempty"`
}

// TargetHealth is a target's health.
type TargetHealth struct {
	State       string `xml:"State"`
	Reason      string `xml:"Reason,omitempty"`
	Description string `xml:"Description,omitempty"`
}

func describeTargetHealth(call *Call, in *DescribeTargetHealthInput) (*DescribeTargetHealthOutput, error) {
	g, err := find[vpc.TargetGroup](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	targets, err := targetsOf(in.Targets)
	if err != nil {
		return nil, err
	}
	list, err := call.Control.DescribeTargetHealth(call.Caller, g.ARN, targets)
	if err != nil {
		return nil, err
	}
	out := &DescribeTargetHealthOutput{}
	for _, h := range list {
		out.Descriptions = append(out.Descriptions, TargetHealthDescription{
			Target:          TargetDescription{h.Target.ID, h.Target.Port, h.Target.Zone},
			HealthCheckPort: h.CheckPort, Health: TargetHealth{h.State, h.Reason, h.Description},
		})
	}
	return out, nil
}
