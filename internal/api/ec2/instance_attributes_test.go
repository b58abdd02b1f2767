// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"postern.dev/postern/internal/control/controltest"
)

func TestInstanceAttributes(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s := a.subnet(v, "10.0.1.0/24")
	i := a.instance(s, "UserData", "IyEvYmluL3No", "InstanceInitiatedShutdownBehavior", "terminate", "InstanceType", "t3.micro")
	get := func(attribute, path string) string {
		t.Helper()
		return a.do("DescribeInstanceAttribute", "InstanceId", i, "Attribute", attribute).one(path)
	}
	set := func(pairs ...string) []string { return append([]string{"InstanceId", i}, pairs...) }
	equal(t, "the user data", get("userData", "userData/value"), "IyEvYmluL3No")
	equal(t, "the behavior", get("instanceInitiatedShutdownBehavior", "instanceInitiatedShutdownBehavior/value"), "terminate")
	for _, c := range []struct{ attribute, parameter, value string }{
		{"disableApiStop", "DisableApiStop", "true"}, {"disableApiTermination", "DisableApiTermination", "true"},
		{"sourceDestCheck", "SourceDestCheck", "false"}, {"instanceInitiatedShutdownBehavior", "InstanceInitiatedShutdownBehavior", "stop"},
	} {
		before := get(c.attribute, c.attribute+"/value")
		a.do("ModifyInstanceAttribute", set(c.parameter+".Value", c.value)...)
		equal(t, c.attribute, get(c.attribute, c.attribute+"/value"), c.value)
		a.do("ModifyInstanceAttribute", set("Attribute", c.attribute, "Value", before)...) // as old clients do
		equal(t, c.attribute+" again", get(c.attribute, c.attribute+"/value"), before)
	}
	g := a.group(v, "web")
	a.do("ModifyInstanceAttribute", set("GroupId.1", g)...)
	equal(t, "the group", get("groupSet", "groupSet/item/groupId"), g)
	for _, attribute := range []string{"kernel", "ramdisk", "rootDeviceName", "sriovNetSupport", "enclaveOptions", "enaSupport", "ebsOptimized", "productCodes", "blockDeviceMapping"} {
		get(attribute, "instanceId")
	}

	modify := func(code string, pairs ...string) string {
		t.Helper()
		return a.refused(code, "ModifyInstanceAttribute", set(pairs...)...)
	}
	if m := modify("InvalidParameterCombination", "DisableApiStop.Value", "true", "SourceDestCheck.Value", "true"); m != "Fields for multiple attribute types specified: disableApiStop, sourceDestCheck" {
		t.Error(m)
	}
	modify("InvalidParameterCombination")
	modify("MissingParameter", "Attribute", "disableApiStop")
	modify("InvalidParameterValue", "Attribute", "disableApiStop", "Value", "perhaps")
	modify("InvalidParameterValue", "InstanceInitiatedShutdownBehavior.Value", "sleep")
	modify("InvalidGroup.NotFound", "GroupId.1", "sg-00000000000000001")
	modify("UnsupportedOperation", "InstanceType.Value", "t3.large")
	modify("UnsupportedOperation", "UserData.Value", "IyEvYmluL3No")
	a.refusedAs(controltest.Provider, "InvalidInstanceID.NotFound", "ModifyInstanceAttribute", set("DisableApiStop.Value", "true")...)
	a.do("AttachNetworkInterface", "NetworkInterfaceId", a.eni(s), "InstanceId", i, "DeviceIndex", "1")
	modify("InvalidParameterValue", "SourceDestCheck.Value", "false") // of which interface?

	// Protection holds, for the whole call, until it is taken away.
	other := a.instance(s)
	a.do("ModifyInstanceAttribute", set("DisableApiTermination.Value", "true")...)
	if m := a.refused("OperationNotPermitted", "TerminateInstances", "InstanceId.1", other, "InstanceId.2", i); !strings.Contains(m, "Modify its 'disableApiTermination' instance attribute") {
		t.Error(m)
	}
	a.do("ModifyInstanceAttribute", set("DisableApiTermination.Value", "false")...)
	a.do("TerminateInstances", "InstanceId.1", other, "InstanceId.2", i)
	modify("IncorrectInstanceState", "DisableApiTermination.Value", "true")
	kept := a.do("RunInstances", "ImageId", "ami-1", "MinCount", "1", "MaxCount", "1", "SubnetId", s, "DisableApiTermination", "true").one("instancesSet/item/instanceId")
	a.refused("OperationNotPermitted", "TerminateInstances", "InstanceId.1", kept)
}

func TestPrivateDNSNameOptions(t *testing.T) {
	a := newNetAPI(t)
	s := a.subnet(a.vpc("10.0.0.0/16"), "10.0.1.0/24")
	const launched = "EnableResourceNameDnsAAAARecordOnLaunch.Value"
	shown := func(i string) string {
		t.Helper()
		const in = "reservationSet/item/instancesSet/item/"
		d := a.do("DescribeInstances", "InstanceId.1", i)
		name := strings.Replace(d.one(in+"privateDnsName"), i, "ID", 1)
		const o = in + "privateDnsNameOptions/"
		return name + " " + d.one(o+"hostnameType") + " " + d.one(o+"enableResourceNameDnsARecord") + " " + d.one(o+"enableResourceNameDnsAAAARecord")
	}
	plain := a.instance(s)
	equal(t, "as subnets are made", shown(plain), "ip-10-0-1-4.ec2.internal ip-name false false")
	a.do("ModifySubnetAttribute", "SubnetId", s, "PrivateDnsHostnameTypeOnLaunch", "resource-name")
	a.do("ModifySubnetAttribute", "SubnetId", s, launched, "true")
	equal(t, "the subnet", a.do("DescribeSubnets", "Filter.1.Name", "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record",
		"Filter.1.Value.1", "true").one("subnetSet/item/privateDnsNameOptionsOnLaunch/enableResourceNameDnsAAAARecord"), "true")
	equal(t, "one that was there", shown(plain), "ip-10-0-1-4.ec2.internal ip-name false false")
	equal(t, "as the subnet says", shown(a.instance(s)), "ID.ec2.internal resource-name false true")
	own := a.instance(s, "PrivateDnsNameOptions.HostnameType", "ip-name", "PrivateDnsNameOptions.EnableResourceNameDnsARecord", "true")
	equal(t, "as the launch says", shown(own), "ip-10-0-1-6.ec2.internal ip-name true true")

	modify := func(pairs ...string) []string { return append([]string{"InstanceId", own}, pairs...) }
	equal(t, "the answer", a.do("ModifyPrivateDnsNameOptions", modify("PrivateDnsHostnameType", "resource-name", "EnableResourceNameDnsAAAARecord", "false")...).one("return"), "true")
	equal(t, "what was not named stays", shown(own), "ID.ec2.internal resource-name true false")
	for _, f := range []string{"private-dns-name-options.enable-resource-name-dns-a-record=true", "private-dns-name-options.enable-resource-name-dns-aaaa-record=true",
		"private-dns-name-options.hostname-type=ip-name", "private-dns-name=ip-10-0-1-4.ec2.internal"} {
		name, value, _ := strings.Cut(f, "=")
		if got := a.do("DescribeInstances", "Filter.1.Name", name, "Filter.1.Value.1", value).all("reservationSet/item/instancesSet/item/instanceId"); len(got) != 1 {
			t.Errorf("instances with %s: %v", f, got)
		}
	}
	a.refused("InvalidParameterValue", "ModifyPrivateDnsNameOptions", modify("PrivateDnsHostnameType", "x")...)
	a.refused("MissingParameter", "ModifyPrivateDnsNameOptions", "EnableResourceNameDnsARecord", "true")
	a.refused("DryRunOperation", "ModifyPrivateDnsNameOptions", modify("EnableResourceNameDnsARecord", "false", "DryRun", "true")...)
	a.refusedAs(controltest.Provider, "InvalidInstanceID.NotFound", "ModifyPrivateDnsNameOptions", modify("EnableResourceNameDnsARecord", "false")...)
	a.do("TerminateInstances", "InstanceId.1", own)
	a.refused("IncorrectInstanceState", "ModifyPrivateDnsNameOptions", modify("EnableResourceNameDnsARecord", "false")...)
}

func TestInstancesAreNotStopped(t *testing.T) {
	a := newNetAPI(t)
	i := a.instance(a.subnet(a.vpc("10.0.0.0/16"), "10.0.1.0/24"))
	if m := a.refused("UnsupportedOperation", "StopInstances", "InstanceId.1", i); m != "The instance '"+i+"' does not have an 'ebs' root device type and cannot be stopped" {
		t.Error(m)
	}
	a.refused("InvalidInstanceID.NotFound", "StopInstances", "InstanceId.1", "i-00000000000000001")
	equal(t, "a running one after it is started", a.do("StartInstances", "InstanceId.1", i).one("instancesSet/item/currentState/name"), "running")
	a.refused("DryRunOperation", "StartInstances", "InstanceId.1", i, "DryRun", "true")
	a.ended(i)
	a.refused("IncorrectInstanceState", "StartInstances", "InstanceId.1", i)
	a.refusedAs(controltest.Provider, "InvalidInstanceID.NotFound", "StartInstances", "InstanceId.1", i)
}

func TestInstanceFilters(t *testing.T) {
	a := newNetAPI(t)
	s := a.subnet(a.vpc("10.0.0.0/16"), "10.0.1.0/24")
	i := a.instance(s)
	ended := a.instance(s)
	a.ended(ended)
	n := a.do("DescribeInstances", "InstanceId.1", i).one("reservationSet/item/instancesSet/item/networkInterfaceSet/item/networkInterfaceId")
	a.do("ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", n, "Description.Value", "mine")
	find := func(name, value string) []string {
		return a.do("DescribeInstances", "Filter.1.Name", name, "Filter.1.Value.1", value).all("reservationSet/item/instancesSet/item/instanceId")
	}
	for name, value := range map[string]string{
		"source-dest-check": "true", "network-interface.description": "mine", "network-interface.network-interface-id": n,
		"network-interface.attachment.instance-id": i, "private-ip-address": "10.0.1.4", "instance-state-code": "16",
		"network-interface.private-dns-name": "ip-10-0-1-4.ec2.internal",
	} {
		equalLists(t, name, find(name, value), []string{i})
		equalLists(t, name+" with another value", find(name, value+"x"), nil)
	}
	for name, value := range map[string]string{
		"network-interface.addresses.primary": "true", "network-interface.availability-zone": "us-east-1a", "network-interface.owner-id": "111111111111",
		"network-interface.requester-id": "111111111111", "network-interface.requester-managed": "false", "network-interface.source-dest-check": "true",
		"network-interface.status": "in-use", "network-interface.attachment.device-index": "0", "network-interface.attachment.status": "attached",
		"network-interface.attachment.attach-time": "2026-01-02T03:04:05.000Z", "network-interface.attachment.instance-owner-id": "111111111111",
		"network-interface.attachment.delete-on-termination": "true", "monitoring-state": "disabled", "root-device-type": "instance-store",
	} {
		if got := find(name, value); len(got) == 0 {
			t.Errorf("%s=%s finds nothing", name, value)
		}
		equalLists(t, name+" with another value", find(name, value+"x"), nil)
	}
	equalLists(t, "by reason", find("state-reason-code", "Client.UserInitiatedShutdown"), []string{ended})
	for _, name := range []string{"block-device-mapping.volume-id", "iam-instance-profile.arn", "spot-instance-request-id"} {
		equalLists(t, name, find(name, "*"), nil)
	}
	a.refused("InvalidParameterValue", "DescribeInstances", "Filter.1.Name", "color", "Filter.1.Value.1", "x")
}

// What Terraform reads about an instance besides the instance.
func TestWhatThereIsNotOfInstances(t *testing.T) {
	a := newEndpointAPI(t)
	ctx := context.Background()
	c := a.client(controltest.Consumer)
	kinds, err := c.DescribeInstanceTypes(ctx, &sdk.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"t3.micro"}})
	if err != nil || len(kinds.InstanceTypes) != 1 || kinds.InstanceTypes[0].InstanceType != "t3.micro" || aws.ToBool(kinds.InstanceTypes[0].BurstablePerformanceSupported) ||
		aws.ToInt32(kinds.InstanceTypes[0].NetworkInfo.MaximumNetworkInterfaces) != 15 {
		t.Errorf("types: %+v %v", kinds, err)
	}
	if _, err := c.DescribeInstanceTypes(ctx, &sdk.DescribeInstanceTypesInput{}); code(err) != "UnsupportedOperation" {
		t.Errorf("every type: %v", err)
	}
	if _, err := c.DescribeInstanceTypes(ctx, &sdk.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"huge"}}); code(err) != "InvalidInstanceType" {
		t.Errorf("no type: %v", err)
	}
	filter := []types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{"i-00000000000000001"}}}
	if v, err := c.DescribeVolumes(ctx, &sdk.DescribeVolumesInput{Filters: filter}); err != nil || len(v.Volumes) != 0 {
		t.Errorf("volumes: %+v %v", v, err)
	}
	if _, err := c.DescribeVolumes(ctx, &sdk.DescribeVolumesInput{VolumeIds: []string{"vol-00000000000000001"}}); code(err) != "InvalidVolume.NotFound" {
		t.Errorf("a volume: %v", err)
	}
	if _, err := c.DescribeVolumes(ctx, &sdk.DescribeVolumesInput{VolumeIds: []string{"disk"}}); code(err) != "InvalidVolumeID.Malformed" {
		t.Errorf("no volume: %v", err)
	}
	if v, err := c.DescribeImages(ctx, &sdk.DescribeImagesInput{Owners: []string{"amazon"}, Filters: []types.Filter{{Name: aws.String("name"), Values: []string{"al2023*"}}}}); err != nil || len(v.Images) != 0 {
		t.Errorf("images: %+v %v", v, err)
	}
	if _, err := c.DescribeImages(ctx, &sdk.DescribeImagesInput{ImageIds: []string{"ami-1"}}); code(err) != "InvalidAMIID.NotFound" {
		t.Errorf("an image: %v", err)
	}
	if _, err := c.DescribeImages(ctx, &sdk.DescribeImagesInput{Filters: filter}); code(err) != "InvalidParameterValue" {
		t.Errorf("a volume's filter for images: %v", err)
	}
	if v, err := c.DescribeInstanceCreditSpecifications(ctx, &sdk.DescribeInstanceCreditSpecificationsInput{}); err != nil || len(v.InstanceCreditSpecifications) != 0 {
		t.Errorf("credits: %+v %v", v, err)
	}
	if _, err := c.DescribeInstanceCreditSpecifications(ctx, &sdk.DescribeInstanceCreditSpecificationsInput{InstanceIds: []string{"i-00000000000000001"}}); code(err) != "InvalidInstanceID.NotFound" {
		t.Errorf("credits of no instance: %v", err)
	}
}
