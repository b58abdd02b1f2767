// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"encoding/base64"
	"strings"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("ModifyInstanceAttribute", true, modifyInstanceAttribute)
	register("ModifyPrivateDnsNameOptions", true, modifyPrivateDNSNameOptions)
	register("StopInstances", true, stopInstances)
	register("StartInstances", true, startInstances)
}

// ModifyInstanceAttributeInput is the input of ModifyInstanceAttribute: one
// attribute, in a field of its own or, by old clients, as Attribute and Value.
// What would need a stopped instance or a kernel is refused.
type ModifyInstanceAttributeInput struct {
	DryRun
	InstanceID            string         `query:"InstanceId,required"`
	Attribute             string         `query:"Attribute,enum=disableApiStop|disableApiTermination|instanceInitiatedShutdownBehavior|sourceDestCheck|groupSet"`
	Value                 *string        `query:"Value"`
	DisableAPITermination *Boolean       `query:"DisableApiTermination"`
	DisableAPIStop        *Boolean       `query:"DisableApiStop,stored"`
	ShutdownBehavior      *AttributeText `query:"InstanceInitiatedShutdownBehavior,stored"`
	SourceDestCheck       *Boolean       `query:"SourceDestCheck"`
	GroupIDs              []string       `query:"GroupId"`
	_                     refused        `query:"BlockDeviceMapping,refuse"`
	_                     refused        `query:"EbsOptimized,refuse"`
	_                     refused        `query:"EnaSupport,refuse"`
	_                     refused        `query:"EnclaveOptions,refuse"`
	_                     refused        `query:"InstanceType,refuse"`
	_                     refused        `query:"Kernel,refuse"`
	_                     refused        `query:"Ramdisk,refuse"`
	_                     refused        `query:"SriovNetSupport,refuse"`
	_                     refused        `query:"UserData,refuse"`
}

// AttributeText is an attribute's new value.
type AttributeText struct {
	Value string `query:"Value"`
}

// old takes the value of an old client's call to where it belongs.
func (in *ModifyInstanceAttributeInput) old() error {
	switch {
	case in.Attribute == "" && in.Value == nil:
		return nil
	case in.Attribute == "" || in.Value == nil:
		return vpc.Errorf(vpc.Missing, "Value", "", "The parameters attribute and value must be specified together")
	}
	v := *in.Value
	switch in.Attribute {
	case "groupSet":
		in.GroupIDs = append(in.GroupIDs, v)
		return nil
	case "instanceInitiatedShutdownBehavior":
		in.ShutdownBehavior = &AttributeText{v}
		return nil
	}
	b := &Boolean{strings.EqualFold(v, "true")}
	if !b.Value && !strings.EqualFold(v, "false") {
		return vpc.Errorf(vpc.Invalid, "value", v, "Value (%.64s) for parameter value is invalid. It must be true or false.", v)
	}
	switch in.Attribute {
	case "disableApiStop":
		in.DisableAPIStop = b
	case "disableApiTermination":
		in.DisableAPITermination = b
	case "sourceDestCheck":
		in.SourceDestCheck = b
	}
	return nil
}

func modifyInstanceAttribute(call *Call, in *ModifyInstanceAttributeInput) (*void, error) {
	if err := checkID(vpc.KindInstance, vpc.PrefixInstance, in.InstanceID); err != nil {
		return nil, err
	}
	if err := in.old(); err != nil {
		return nil, err
	}
	err := oneAttribute(map[string]bool{
		"disableApiStop": in.DisableAPIStop != nil, "disableApiTermination": in.DisableAPITermination != nil, "groupSet": len(in.GroupIDs) > 0,
		"instanceInitiatedShutdownBehavior": in.ShutdownBehavior != nil, "sourceDestCheck": in.SourceDestCheck != nil,
	}, "disableApiStop", "disableApiTermination", "groupSet", "instanceInitiatedShutdownBehavior", "sourceDestCheck")
	if err != nil {
		return nil, err
	}
	value := func(b *Boolean) *bool {
		if b == nil {
			return nil
		}
		return &b.Value
	}
	ch := control.InstanceChange{SourceDestCheck: value(in.SourceDestCheck)}
	ch.KeepRunning, ch.DisableAPIStop = value(in.DisableAPITermination), value(in.DisableAPIStop)
	if s := in.ShutdownBehavior; s != nil {
		if ch.ShutdownBehavior = s.Value; s.Value == "" {
			return nil, vpc.Errorf(vpc.Missing, "InstanceInitiatedShutdownBehavior", "", "The request must contain the parameter instanceInitiatedShutdownBehavior.value")
		}
	}
	if ch.Groups, err = groupIDs(in.GroupIDs); err != nil {
		return nil, err
	}
	return done, call.Control.ModifyInstance(call.Context, call.Caller, vpc.InstanceID(in.InstanceID), ch)
}

// ModifyPrivateDNSNameOptionsInput is the input of ModifyPrivateDnsNameOptions.
// No workload has a host name of its own to change, so it may run meanwhile.
type ModifyPrivateDNSNameOptionsInput struct {
	DryRun
	InstanceID   string  `query:"InstanceId,required"`
	HostnameType *string `query:"PrivateDnsHostnameType,enum=ip-name|resource-name"`
	A            *bool   `query:"EnableResourceNameDnsARecord"`
	AAAA         *bool   `query:"EnableResourceNameDnsAAAARecord"`
}

func modifyPrivateDNSNameOptions(call *Call, in *ModifyPrivateDNSNameOptionsInput) (*void, error) {
	if err := checkID(vpc.KindInstance, vpc.PrefixInstance, in.InstanceID); err != nil {
		return nil, err
	}
	return done, call.Control.ModifyInstance(call.Context, call.Caller, vpc.InstanceID(in.InstanceID), control.InstanceChange{
		Hostname: control.HostnameChange{Type: in.HostnameType, A: in.A, AAAA: in.AAAA},
	})
}

// DescribeInstanceAttributeInput is the input of DescribeInstanceAttribute.
type DescribeInstanceAttributeInput struct {
	DryRun
	InstanceID string `query:"InstanceId,required"`
	Attribute  string `query:"Attribute,required,enum=blockDeviceMapping|disableApiStop|disableApiTermination|ebsOptimized|enaSupport|enclaveOptions|groupSet|instanceInitiatedShutdownBehavior|instanceType|kernel|productCodes|ramdisk|rootDeviceName|sourceDestCheck|sriovNetSupport|userData"`
}

// DescribeInstanceAttributeOutput is the output of DescribeInstanceAttribute:
// the attribute asked for. An instance has no disks, kernel or hardware, so
// those that speak of them are empty.
type DescribeInstanceAttributeOutput struct {
	InstanceID            string          `xml:"instanceId"`
	DisableAPIStop        *BoolValue      `xml:"disableApiStop"`
	DisableAPITermination *BoolValue      `xml:"disableApiTermination"`
	EbsOptimized          *BoolValue      `xml:"ebsOptimized"`
	EnaSupport            *BoolValue      `xml:"enaSupport"`
	EnclaveOptions        *EnclaveOptions `xml:"enclaveOptions"`
	Groups                []InstanceGroup `xml:"groupSet,omitempty"`
	ShutdownBehavior      *TextValue      `xml:"instanceInitiatedShutdownBehavior"`
	InstanceType          *TextValue      `xml:"instanceType"`
	Kernel                *TextValue      `xml:"kernel"`
	Ramdisk               *TextValue      `xml:"ramdisk"`
	RootDeviceName        *TextValue      `xml:"rootDeviceName"`
	SourceDestCheck       *BoolValue      `xml:"sourceDestCheck"`
	SriovNetSupport       *TextValue      `xml:"sriovNetSupport"`
	UserData              *TextValue      `xml:"userData"` // base64
}

// BoolValue is an attribute that is true or false.
type BoolValue struct {
	Value bool `xml:"value"`
}

// TextValue is an attribute that is a text; absent when it was never set.
type TextValue struct {
	Value string `xml:"value,omitempty"`
}

// EnclaveOptions says that there are no enclaves.
type EnclaveOptions struct {
	Enabled bool `xml:"enabled"`
}

func describeInstanceAttribute(call *Call, in *DescribeInstanceAttributeInput) (*DescribeInstanceAttributeOutput, error) {
	if err := checkID(vpc.KindInstance, vpc.PrefixInstance, in.InstanceID); err != nil {
		return nil, err
	}
	v := call.View()
	i, err := control.Owned[vpc.Instance](v, call.Caller, in.InstanceID)
	if err != nil {
		return nil, err
	}
	r := renderInstance(v, i)
	out := &DescribeInstanceAttributeOutput{InstanceID: in.InstanceID}
	switch in.Attribute {
	case "disableApiStop":
		out.DisableAPIStop = &BoolValue{i.DisableAPIStop}
	case "disableApiTermination":
		out.DisableAPITermination = &BoolValue{i.KeepRunning}
	case "ebsOptimized":
		out.EbsOptimized = &BoolValue{}
	case "enaSupport":
		out.EnaSupport = &BoolValue{}
	case "enclaveOptions":
		out.EnclaveOptions = &EnclaveOptions{}
	case "groupSet":
		out.Groups = r.Groups
	case "instanceInitiatedShutdownBehavior":
		out.ShutdownBehavior = &TextValue{i.ShutdownBehavior}
		if i.ShutdownBehavior == "" {
			out.ShutdownBehavior.Value = "stop"
		}
	case "instanceType":
		out.InstanceType = &TextValue{i.InstanceType}
	case "kernel":
		out.Kernel = &TextValue{}
	case "ramdisk":
		out.Ramdisk = &TextValue{}
	case "rootDeviceName":
		out.RootDeviceName = &TextValue{}
	case "sourceDestCheck":
		out.SourceDestCheck = &BoolValue{r.SourceDestCheck != nil && *r.SourceDestCheck}
	case "sriovNetSupport":
		out.SriovNetSupport = &TextValue{}
	case "userData":
		out.UserData = &TextValue{base64.StdEncoding.EncodeToString(i.UserData)}
	}
	return out, nil
}

// StopInstancesInput is the input of StopInstances.
type StopInstancesInput struct {
	DryRun
	InstanceIDs []string `query:"InstanceId,required"`
	_           refused  `query:"Force,refuse,unless=true,unless=false"`
	_           refused  `query:"Hibernate,refuse,unless=false"`
	_           refused  `query:"SkipOsShutdown,refuse,unless=true,unless=false"`
}

// StateChangesOutput is the output of StopInstances and StartInstances.
type StateChangesOutput struct {
	Instances []InstanceStateChange `xml:"instancesSet"`
}

// namedInstances finds the instances a call names.
func namedInstances(call *Call, ids []string) ([]*vpc.Instance, error) {
	v := call.View()
	var out []*vpc.Instance
	for _, id := range ids {
		if err := checkID(vpc.KindInstance, vpc.PrefixInstance, id); err != nil {
			return nil, err
		}
		i, err := control.Owned[vpc.Instance](v, call.Caller, id)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

// stopInstances answers as AWS does for instances without a disk that outlives
// them, which all of ours are.
func stopInstances(call *Call, in *StopInstancesInput) (*StateChangesOutput, error) {
	list, err := namedInstances(call, in.InstanceIDs)
	if err != nil {
		return nil, err
	}
	return nil, vpc.Errorf(vpc.Unsupported, "InstanceId", string(list[0].ID),
		"The instance '%s' does not have an 'ebs' root device type and cannot be stopped", list[0].ID)
}

// StartInstancesInput is the input of StartInstances.
type StartInstancesInput struct {
	DryRun
	InstanceIDs []string `query:"InstanceId,required"`
	_           refused  `query:"AdditionalInfo,refuse"`
}

// startInstances has nothing to do: no instance is ever stopped. Starting what
// runs succeeds, as in AWS.
func startInstances(call *Call, in *StartInstancesInput) (*StateChangesOutput, error) {
	list, err := namedInstances(call, in.InstanceIDs)
	if err != nil {
		return nil, err
	}
	out := &StateChangesOutput{}
	for _, i := range list {
		if i.State != vpc.InstancePending && i.State != vpc.InstanceRunning {
			return nil, vpc.Errorf(vpc.WrongState, string(vpc.KindInstance), string(i.ID), "The instance '%s' is not in a state from which it can be started.", i.ID)
		}
		out.Instances = append(out.Instances, InstanceStateChange{string(i.ID), stateItem(i.State), stateItem(i.State)})
	}
	if call.Caller.DryRun {
		return nil, vpc.Errorf(vpc.DryRun, "", "", "Request would have succeeded, but DryRun flag is set.")
	}
	return out, nil
}
