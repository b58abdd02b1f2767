// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"

	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

// instance launches one in a subnet and makes it running.
func (a *netAPI) instance(subnet string, more ...string) string {
	a.t.Helper()
	made := a.do("RunInstances", append([]string{"ImageId", "ami-1", "MinCount", "1", "MaxCount", "1", "SubnetId", subnet}, more...)...)
	id := made.one("instancesSet/item/instanceId")
	a.become(id, vpc.InstanceRunning)
	return id
}

func (a *netAPI) become(id string, s vpc.InstanceState) {
	a.t.Helper()
	i, ok := vpc.Get[vpc.Instance](a.c.View(), id)
	if !ok {
		a.t.Fatalf("no instance %s", id)
	}
	i = vpc.Edit(i)
	i.State = s
	a.put(i)
}

// ended runs the instances' life cycle until one is terminated.
func (a *netAPI) ended(id string) {
	a.t.Helper()
	a.do("TerminateInstances", "InstanceId.1", id)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { a.c.RunInstanceLifecycle(ctx) })
	defer func() { cancel(); wg.Wait() }()
	deadline := time.After(20 * time.Second)
	for {
		snap, changed := a.c.Store.Changed()
		if i, ok := vpc.Get[vpc.Instance](snap, id); ok && i.State == vpc.InstanceTerminated {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			a.t.Fatalf("%s is not terminated", id)
		}
	}
}

func TestInterfacesAreAttachedAndDetached(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s := a.subnet(v, "10.0.1.0/24")
	i, n, second := a.instance(s), a.eni(s), a.eni(s)
	attach := func(eni, index string) []string {
		return []string{"NetworkInterfaceId", eni, "InstanceId", i, "DeviceIndex", index}
	}
	a.refused("InvalidParameterValue", "AttachNetworkInterface", attach(n, "0")...)
	got := a.do("AttachNetworkInterface", append(attach(n, "1"), "NetworkCardIndex", "0")...)
	id := got.one("attachmentId")
	equal(t, "the card", got.one("networkCardIndex"), "0")
	d := a.do("DescribeNetworkInterfaces", "Filter.1.Name", "attachment.attachment-id", "Filter.1.Value.1", id)
	for path, want := range map[string]string{
		"networkInterfaceId": n, "status": "in-use", "attachment/instanceId": i, "attachment/deviceIndex": "1", "attachment/status": "attached",
		"attachment/deleteOnTermination": "false", "attachment/attachTime": "2026-01-02T03:04:05.000Z", "attachment/instanceOwnerId": "111111111111",
	} {
		equal(t, path, d.one("networkInterfaceSet/item/"+path), want)
	}
	x := a.do("DescribeInstances", "InstanceId.1", i)
	equalLists(t, "the instance's interfaces", x.all("reservationSet/item/instancesSet/item/networkInterfaceSet/item/attachment/deviceIndex"), []string{"0", "1"})
	equal(t, "the instance's address", x.one("reservationSet/item/instancesSet/item/privateIpAddress"), "10.0.1.4")

	if m := a.refused("InvalidParameterValue", "AttachNetworkInterface", attach(second, "1")...); m != "Instance '"+i+"' already has an interface attached at device index '1'." {
		t.Error(m)
	}
	a.refused("InvalidNetworkInterface.InUse", "AttachNetworkInterface", attach(n, "2")...)
	a.refused("AttachmentLimitExceeded", "AttachNetworkInterface", attach(second, "15")...)
	a.refused("AttachmentLimitExceeded", "AttachNetworkInterface", attach(second, "-1")...)
	a.refused("UnsupportedOperation", "AttachNetworkInterface", append(attach(second, "2"), "NetworkCardIndex", "1")...)
	a.refused("MissingParameter", "AttachNetworkInterface", attach(second, "2")[:4]...)
	a.refused("InvalidInstanceID.NotFound", "AttachNetworkInterface", "NetworkInterfaceId", second, "InstanceId", "i-00000000000000001", "DeviceIndex", "2")
	a.refused("InvalidNetworkInterfaceID.NotFound", "AttachNetworkInterface", attach("eni-00000000000000001", "2")...)
	a.refusedAs(controltest.Provider, "InvalidNetworkInterfaceID.NotFound", "AttachNetworkInterface", attach(second, "2")...)
	other := a.do("CreateSubnet", "VpcId", v, "CidrBlock", "10.0.2.0/24", "AvailabilityZone", "us-east-1b").one("subnet/subnetId")
	a.refused("InvalidParameterCombination", "AttachNetworkInterface", attach(a.eni(other), "2")...)
	far := a.do("CreateSubnet", "VpcId", a.vpc("10.1.0.0/16"), "CidrBlock", "10.1.0.0/24", "AvailabilityZone", "us-east-1a").one("subnet/subnetId")
	a.refused("UnsupportedOperation", "AttachNetworkInterface", attach(a.eni(far), "2")...)
	a.refused("InvalidParameterValue", "DeleteNetworkInterface", "NetworkInterfaceId", n)

	// What becomes of it at the instance's end is its owner's choice.
	change := []string{"NetworkInterfaceId", n, "Attachment.AttachmentId", id, "Attachment.DeleteOnTermination", "true"}
	a.do("ModifyNetworkInterfaceAttribute", change...)
	equal(t, "the attachment's attribute", a.do("DescribeNetworkInterfaceAttribute", "NetworkInterfaceId", n, "Attribute", "attachment").one("attachment/deleteOnTermination"), "true")
	a.refused("InvalidParameterCombination", "ModifyNetworkInterfaceAttribute", append(change, "Description.Value", "x")...)
	a.refused("InvalidAttachmentID.NotFound", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", second, "Attachment.AttachmentId", id, "Attachment.DeleteOnTermination", "true")
	a.refused("InvalidAttachmentID.NotFound", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", n, "Attachment.AttachmentId", "eni-attach-00000000000000001", "Attachment.DeleteOnTermination", "true")
	a.refused("MissingParameter", "ModifyNetworkInterfaceAttribute", change[:4]...)

	a.refused("InvalidAttachmentID.NotFound", "DetachNetworkInterface", "AttachmentId", "eni-attach-00000000000000001")
	a.refused("InvalidNetworkInterfaceAttachmentId.Malformed", "DetachNetworkInterface", "AttachmentId", n)
	a.refusedAs(controltest.Provider, "InvalidAttachmentID.NotFound", "DetachNetworkInterface", "AttachmentId", id)
	primary := a.do("DescribeNetworkInterfaces", "Filter.1.Name", "attachment.device-index", "Filter.1.Value.1", "0").one("networkInterfaceSet/item/attachment/attachmentId")
	a.refused("OperationNotPermitted", "DetachNetworkInterface", "AttachmentId", primary, "Force", "true")
	a.do("DetachNetworkInterface", "AttachmentId", id, "Force", "true")
	equal(t, "the status", a.do("DescribeNetworkInterfaces", "NetworkInterfaceId.1", n).one("networkInterfaceSet/item/status"), "available")
	a.refused("InvalidAttachmentID.NotFound", "DetachNetworkInterface", "AttachmentId", id)
	a.do("DeleteNetworkInterface", "NetworkInterfaceId", n)

	a.become(i, vpc.InstanceShuttingDown)
	a.refused("IncorrectInstanceState", "AttachNetworkInterface", attach(second, "1")...)
}

// What the operator put behind an interface is the operator's to take away.
func TestATenantCannotDetachWhatTheOperatorAttached(t *testing.T) {
	a := newNetAPI(t)
	id := a.eni(a.subnet(a.vpc("10.0.0.0/16"), "10.0.1.0/24"))
	n, _ := vpc.Get[vpc.NetworkInterface](a.c.View(), id)
	n = vpc.Edit(n)
	n.Attachment = &vpc.Attachment{ID: "eni-attach-00000000000000001", Host: "h1", External: &vpc.ExternalWorkload{PID: 7}}
	a.put(n)
	a.refused("OperationNotPermitted", "DetachNetworkInterface", "AttachmentId", "eni-attach-00000000000000001")
	a.refused("OperationNotPermitted", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", id, "Attachment.AttachmentId", "eni-attach-00000000000000001", "Attachment.DeleteOnTermination", "true")
}

func TestSecondaryPrivateAddresses(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s := a.subnet(v, "10.0.1.0/24")
	const set = "networkInterface/privateIpAddressesSet/item/"
	made := a.do("CreateNetworkInterface", "SubnetId", s, "PrivateIpAddresses.1.PrivateIpAddress", "10.0.1.20", "PrivateIpAddresses.2.PrivateIpAddress", "10.0.1.10",
		"PrivateIpAddresses.2.Primary", "true", "PrivateIpAddresses.3.PrivateIpAddress", "10.0.1.21")
	n := made.one("networkInterface/networkInterfaceId")
	equal(t, "the primary address", made.one("networkInterface/privateIpAddress"), "10.0.1.10")
	equalLists(t, "the addresses", made.all(set+"privateIpAddress"), []string{"10.0.1.10", "10.0.1.20", "10.0.1.21"})
	equalLists(t, "which is primary", made.all(set+"primary"), []string{"true", "false", "false"})
	counted := a.do("CreateNetworkInterface", "SubnetId", s, "SecondaryPrivateIpAddressCount", "2")
	m := counted.one("networkInterface/networkInterfaceId")
	equalLists(t, "the free addresses", counted.all(set+"privateIpAddress"), []string{"10.0.1.4", "10.0.1.5", "10.0.1.6"})
	equal(t, "what the subnet has left", a.do("DescribeSubnets", "SubnetId.1", s).one("subnetSet/item/availableIpAddressCount"), "245")

	assign := func(eni string, pairs ...string) []string {
		return append([]string{"NetworkInterfaceId", eni}, pairs...)
	}
	got := a.do("AssignPrivateIpAddresses", assign(n, "SecondaryPrivateIpAddressCount", "2")...)
	equalLists(t, "the assigned addresses", got.all("assignedPrivateIpAddressesSet/item/privateIpAddress"), []string{"10.0.1.7", "10.0.1.8"})
	equal(t, "the interface", got.one("networkInterfaceId"), n)
	a.do("AssignPrivateIpAddresses", assign(n, "PrivateIpAddress.1", "10.0.1.30")...)
	for filter, value := range map[string]string{"addresses.private-ip-address": "10.0.1.30", "addresses.primary": "false"} {
		d := a.do("DescribeNetworkInterfaces", "Filter.1.Name", filter, "Filter.1.Value.1", value, "Filter.2.Name", "private-ip-address", "Filter.2.Value.1", "10.0.1.10")
		equal(t, filter, d.one("networkInterfaceSet/item/networkInterfaceId"), n)
	}
	equal(t, "by secondary address as primary", len(a.do("DescribeNetworkInterfaces", "Filter.1.Name", "private-ip-address", "Filter.1.Value.1", "10.0.1.30").all("networkInterfaceSet/item")), 0)

	// Nobody else gets an address that is taken, unless it is moved.
	a.refused("InvalidIPAddress.InUse", "CreateNetworkInterface", "SubnetId", s, "PrivateIpAddress", "10.0.1.30")
	if x := a.refused("InvalidParameterValue", "AssignPrivateIpAddresses", assign(m, "PrivateIpAddress.1", "10.0.1.30")...); x != "Some of [10.0.1.30] addresses are assigned, but move is not allowed." {
		t.Error(x)
	}
	a.refused("InvalidParameterValue", "AssignPrivateIpAddresses", assign(m, "PrivateIpAddress.1", "10.0.1.10", "AllowReassignment", "true")...) // another's primary
	a.do("AssignPrivateIpAddresses", assign(m, "PrivateIpAddress.1", "10.0.1.30", "AllowReassignment", "true")...)
	a.do("AssignPrivateIpAddresses", assign(m, "PrivateIpAddress.1", "10.0.1.30", "AllowReassignment", "true")...) // it is there
	has := func(eni string) []string {
		return a.do("DescribeNetworkInterfaces", "NetworkInterfaceId.1", eni).all("networkInterfaceSet/item/privateIpAddressesSet/item/privateIpAddress")
	}
	equalLists(t, "the interface that it went to", has(m), []string{"10.0.1.4", "10.0.1.5", "10.0.1.6", "10.0.1.30"})
	equalLists(t, "the interface that it left", has(n), []string{"10.0.1.10", "10.0.1.20", "10.0.1.21", "10.0.1.7", "10.0.1.8"})

	for what, pairs := range map[string][]string{
		"InvalidParameterValue address outside":   {"PrivateIpAddress.1", "10.0.2.9"},
		"InvalidParameterValue address reserved":  {"PrivateIpAddress.1", "10.0.1.255"},
		"InvalidParameterValue no address":        {"PrivateIpAddress.1", "here"},
		"InvalidParameterValue one good, one bad": {"PrivateIpAddress.1", "10.0.1.99", "PrivateIpAddress.2", "10.0.1.1"},
		"InvalidParameterValue negative":          {"SecondaryPrivateIpAddressCount", "-1"},
		"MissingParameter nothing":                {},
		"InvalidParameterCombination both":        {"PrivateIpAddress.1", "10.0.1.99", "SecondaryPrivateIpAddressCount", "1"},
		"PrivateIpAddressLimitExceeded":           {"SecondaryPrivateIpAddressCount", "46"},
		"UnsupportedOperation prefix":             {"Ipv4PrefixCount", "1"},
		"UnsupportedOperation prefixes":           {"Ipv4Prefix.1", "10.0.1.16/28"},
	} {
		a.refused(strings.Fields(what)[0], "AssignPrivateIpAddresses", assign(n, pairs...)...)
	}
	a.refusedAs(controltest.Provider, "InvalidNetworkInterfaceID.NotFound", "AssignPrivateIpAddresses", assign(n, "SecondaryPrivateIpAddressCount", "1")...)
	a.refusedAs(controltest.Provider, "InvalidNetworkInterfaceID.NotFound", "UnassignPrivateIpAddresses", assign(n, "PrivateIpAddress.1", "10.0.1.7")...)
	a.refused("InvalidParameterValue", "UnassignPrivateIpAddresses", assign(n, "PrivateIpAddress.1", "10.0.1.10")...)
	a.refused("InvalidParameterValue", "UnassignPrivateIpAddresses", assign(n, "PrivateIpAddress.1", "10.0.1.7", "PrivateIpAddress.2", "10.0.1.99")...)
	a.refused("MissingParameter", "UnassignPrivateIpAddresses", assign(n)...)
	a.do("UnassignPrivateIpAddresses", assign(n, "PrivateIpAddress.1", "10.0.1.7", "PrivateIpAddress.2", "10.0.1.20")...)
	equalLists(t, "what is left", has(n), []string{"10.0.1.10", "10.0.1.21", "10.0.1.8"})
	a.do("CreateNetworkInterface", "SubnetId", s, "PrivateIpAddress", "10.0.1.7")

	create := func(code string, pairs ...string) {
		t.Helper()
		a.refused(code, "CreateNetworkInterface", append([]string{"SubnetId", s}, pairs...)...)
	}
	create("InvalidParameterCombination", "PrivateIpAddresses.1.PrivateIpAddress", "10.0.1.40", "SecondaryPrivateIpAddressCount", "1")
	create("InvalidParameterCombination", "PrivateIpAddresses.1.PrivateIpAddress", "10.0.1.40", "PrivateIpAddresses.1.Primary", "true", "PrivateIpAddresses.2.PrivateIpAddress", "10.0.1.41", "PrivateIpAddresses.2.Primary", "true")
	create("InvalidParameterValue", "PrivateIpAddress", "10.0.1.40", "PrivateIpAddresses.1.PrivateIpAddress", "10.0.1.40")
	create("PrivateIpAddressLimitExceeded", "SecondaryPrivateIpAddressCount", "50")
	create("PrivateIpAddressLimitExceeded", "SecondaryPrivateIpAddressCount", "2147483647")

	i := a.do("RunInstances", "ImageId", "ami-1", "MinCount", "1", "MaxCount", "1", "NetworkInterface.1.DeviceIndex", "0", "NetworkInterface.1.SubnetId", s,
		"NetworkInterface.1.PrivateIpAddresses.1.PrivateIpAddress", "10.0.1.50", "NetworkInterface.1.PrivateIpAddresses.1.Primary", "true",
		"NetworkInterface.1.PrivateIpAddresses.2.PrivateIpAddress", "10.0.1.51")
	equalLists(t, "an instance's addresses", i.all("instancesSet/item/networkInterfaceSet/item/privateIpAddressesSet/item/privateIpAddress"), []string{"10.0.1.50", "10.0.1.51"})
	d := a.do("DescribeInstances", "Filter.1.Name", "network-interface.addresses.private-ip-address", "Filter.1.Value.1", "10.0.1.51")
	equal(t, "the instance by its secondary address", d.one("reservationSet/item/instancesSet/item/privateIpAddress"), "10.0.1.50")
	small := a.subnet(v, "10.0.9.0/28") // 11 addresses
	many := a.do("RunInstances", "ImageId", "ami-1", "MinCount", "1", "MaxCount", "9", "NetworkInterface.1.DeviceIndex", "0", "NetworkInterface.1.SubnetId", small,
		"NetworkInterface.1.SecondaryPrivateIpAddressCount", "2")
	equal(t, "how many fit with three addresses each", len(many.all("instancesSet/item")), 3)
}

func TestAttachmentsThroughTheSDK(t *testing.T) {
	a := newEndpointAPI(t)
	ctx := context.Background()
	c := a.client(controltest.Consumer)
	run, err := c.RunInstances(ctx, &sdk.RunInstancesInput{ImageId: aws.String("ami-1"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: aws.String(epSubnetA)})
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.CreateNetworkInterface(ctx, &sdk.CreateNetworkInterfaceInput{SubnetId: aws.String(epSubnetA), SecondaryPrivateIpAddressCount: aws.Int32(1)})
	if err != nil || len(n.NetworkInterface.PrivateIpAddresses) != 2 {
		t.Fatalf("%+v %v", n, err)
	}
	id := n.NetworkInterface.NetworkInterfaceId
	got, err := c.AssignPrivateIpAddresses(ctx, &sdk.AssignPrivateIpAddressesInput{NetworkInterfaceId: id, PrivateIpAddresses: []string{"10.0.1.99"}})
	if err != nil || len(got.AssignedPrivateIpAddresses) != 1 || *got.AssignedPrivateIpAddresses[0].PrivateIpAddress != "10.0.1.99" {
		t.Errorf("assign: %+v %v", got, err)
	}
	if _, err := c.UnassignPrivateIpAddresses(ctx, &sdk.UnassignPrivateIpAddressesInput{NetworkInterfaceId: id, PrivateIpAddresses: []string{"10.0.1.99"}}); err != nil {
		t.Error(err)
	}
	at, err := c.AttachNetworkInterface(ctx, &sdk.AttachNetworkInterfaceInput{NetworkInterfaceId: id, InstanceId: run.Instances[0].InstanceId, DeviceIndex: aws.Int32(1)})
	if err != nil || aws.ToString(at.AttachmentId) == "" {
		t.Fatalf("attach: %+v %v", at, err)
	}
	if _, err := c.DetachNetworkInterface(ctx, &sdk.DetachNetworkInterfaceInput{AttachmentId: at.AttachmentId, Force: aws.Bool(true)}); err != nil {
		t.Error(err)
	}
}

func TestInstancesAreLaunchedWithSeveralInterfaces(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s, s2 := a.subnet(v, "10.0.1.0/24"), a.subnet(v, "10.0.2.0/24")
	n := a.eni(s2)
	run := func(count string, pairs ...string) []string {
		return append([]string{"ImageId", "ami-1", "MinCount", count, "MaxCount", count, "NetworkInterface.1.DeviceIndex", "1", "NetworkInterface.2.DeviceIndex", "0",
			"NetworkInterface.2.SubnetId", s}, pairs...)
	}
	made := a.do("RunInstances", run("1", "NetworkInterface.1.NetworkInterfaceId", n,
		"NetworkInterface.3.DeviceIndex", "2", "NetworkInterface.3.SubnetId", s, "NetworkInterface.3.PrivateIpAddress", "10.0.1.99", "NetworkInterface.3.Description", "third")...)
	const eni = "instancesSet/item/networkInterfaceSet/item/"
	equal(t, "the instance's address", made.one("instancesSet/item/privateIpAddress"), "10.0.1.4")
	equal(t, "its interfaces", len(made.all(eni+"networkInterfaceId")), 3)
	for index, want := range map[string][2]string{"0": {"10.0.1.4", "true"}, "1": {"10.0.2.4", "false"}, "2": {"10.0.1.99", "true"}} {
		d := a.do("DescribeNetworkInterfaces", "Filter.1.Name", "attachment.device-index", "Filter.1.Value.1", index)
		equal(t, "the address of interface "+index, d.one("networkInterfaceSet/item/privateIpAddress"), want[0])
		equal(t, "what becomes of interface "+index, d.one("networkInterfaceSet/item/attachment/deleteOnTermination"), want[1])
	}
	two := a.do("RunInstances", run("2", "NetworkInterface.1.SubnetId", s2)...)
	equal(t, "the interfaces of two instances", len(two.all(eni+"networkInterfaceId")), 4)

	other := a.do("CreateSubnet", "VpcId", v, "CidrBlock", "10.0.3.0/24", "AvailabilityZone", "us-east-1b").one("subnet/subnetId")
	for _, c := range []struct {
		code  string
		pairs []string
	}{
		{"InvalidNetworkInterface.InUse", run("1", "NetworkInterface.1.NetworkInterfaceId", n)},
		{"InvalidParameterCombination", run("2", "NetworkInterface.1.NetworkInterfaceId", n)},
		{"InvalidParameterCombination", run("1", "NetworkInterface.1.NetworkInterfaceId", n, "NetworkInterface.1.SubnetId", s2)},
		{"InvalidParameterCombination", run("1", "NetworkInterface.1.SubnetId", other)}, // another zone
		{"MissingParameter", run("1")},
		{"InvalidParameterValue", run("1", "NetworkInterface.1.SubnetId", s2, "NetworkInterface.3.DeviceIndex", "1", "NetworkInterface.3.SubnetId", s2)},
		{"InvalidParameterValue", run("1", "NetworkInterface.1.SubnetId", s2, "NetworkInterface.3.DeviceIndex", "0", "NetworkInterface.3.SubnetId", s2)},
		{"AttachmentLimitExceeded", run("1", "NetworkInterface.1.SubnetId", s2, "NetworkInterface.3.DeviceIndex", "15", "NetworkInterface.3.SubnetId", s2)},
		{"InvalidParameterValue", []string{"ImageId", "ami-1", "MinCount", "1", "MaxCount", "1", "NetworkInterface.1.DeviceIndex", "1", "NetworkInterface.1.SubnetId", s}},
		{"MissingParameter", []string{"ImageId", "ami-1", "MinCount", "1", "MaxCount", "1", "NetworkInterface.1.SubnetId", s}},
	} {
		a.refused(c.code, "RunInstances", c.pairs...)
	}
}
