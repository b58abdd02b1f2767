// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"strings"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("AttachNetworkInterface", true, attachNetworkInterface)
	register("DetachNetworkInterface", true, detachNetworkInterface)
}

// AttachNetworkInterfaceInput is the input of AttachNetworkInterface.
type AttachNetworkInterfaceInput struct {
	DryRun
	InterfaceID string           `query:"NetworkInterfaceId,required"`
	InstanceID  string           `query:"InstanceId,required"`
	DeviceIndex *int             `query:"DeviceIndex,required"`
	_           awsquery.Refused `query:"NetworkCardIndex,refuse,unless=0"`
	_           awsquery.Refused `query:"EnaSrdSpecification,refuse"`
	_           awsquery.Refused `query:"EnaQueueCount,refuse"`
}

// AttachNetworkInterfaceOutput is the output of AttachNetworkInterface.
type AttachNetworkInterfaceOutput struct {
	AttachmentID     string `xml:"attachmentId"`
	NetworkCardIndex int    `xml:"networkCardIndex"`
}

func attachNetworkInterface(call *Call, in *AttachNetworkInterfaceInput) (*AttachNetworkInterfaceOutput, error) {
	if err := checkID(vpc.KindInterface, vpc.PrefixInterface, in.InterfaceID); err != nil {
		return nil, err
	}
	if err := checkID(vpc.KindInstance, vpc.PrefixInstance, in.InstanceID); err != nil {
		return nil, err
	}
	id, err := call.Control.AttachInterface(call.Context, call.Caller, vpc.InterfaceID(in.InterfaceID), vpc.InstanceID(in.InstanceID), *in.DeviceIndex)
	return &AttachNetworkInterfaceOutput{AttachmentID: id}, err
}

// DetachNetworkInterfaceInput is the input of DetachNetworkInterface. Nothing
// of the instance has to agree, so that Force changes nothing.
type DetachNetworkInterfaceInput struct {
	DryRun
	AttachmentID string           `query:"AttachmentId,required"`
	_            awsquery.Refused `query:"Force,refuse,unless=true,unless=false"`
}

// checkAttachmentID takes the ids of users' attachments and, to answer them as
// AWS does, of managed ones.
func checkAttachmentID(id string) error {
	if strings.HasPrefix(id, "ela-attach-") {
		return nil
	}
	return checkID("attachment", vpc.PrefixAttachment, id)
}

func detachNetworkInterface(call *Call, in *DetachNetworkInterfaceInput) (*void, error) {
	if err := checkAttachmentID(in.AttachmentID); err != nil {
		return nil, err
	}
	return done, call.Control.DetachInterface(call.Context, call.Caller, in.AttachmentID)
}
