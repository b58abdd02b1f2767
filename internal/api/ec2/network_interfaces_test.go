// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"strings"
	"testing"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

func TestNetworkInterfaceLifeCycle(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s := a.subnet(v, "10.0.1.0/24")
	g := a.group(v, "web")
	n := a.do("CreateNetworkInterface", "SubnetId", s, "PrivateIpAddress", "10.0.1.9", "SecurityGroupId.1", g, "Description", "mine", "ClientToken", "t",
		"TagSpecification.1.ResourceType", "network-interface", "TagSpecification.1.Tag.1.Key", "k", "TagSpecification.1.Tag.1.Value", "v")
	id := n.one("networkInterface/networkInterfaceId")
	for path, want := range map[string]string{
		"status": "available", "interfaceType": "interface", "privateIpAddress": "10.0.1.9", "sourceDestCheck": "true", "requesterManaged": "false",
		"ownerId": "111111111111", "vpcId": v, "subnetId": s, "availabilityZone": "us-east-1a", "availabilityZoneId": "use1-az1", "description": "mine",
		"groupSet/item/groupId": g, "groupSet/item/groupName": "web", "privateIpAddressesSet/item/primary": "true", "tagSet/item/value": "v",
		"attachment/attachmentId": "", "privateDnsName": "",
	} {
		equal(t, path, n.one("networkInterface/"+path), want)
	}
	again := a.do("CreateNetworkInterface", "SubnetId", s, "PrivateIpAddress", "10.0.1.9", "SecurityGroupId.1", g, "Description", "mine", "ClientToken", "t",
		"TagSpecification.1.ResourceType", "network-interface", "TagSpecification.1.Tag.1.Key", "k", "TagSpecification.1.Tag.1.Value", "v")
	equal(t, "the interface of the same call", again.one("networkInterface/networkInterfaceId"), id)
	a.refused("IdempotentParameterMismatch", "CreateNetworkInterface", "SubnetId", s, "ClientToken", "t")

	byDefault := a.do("CreateNetworkInterface", "SubnetId", s, "PrivateIpAddresses.1.PrivateIpAddress", "10.0.1.10", "PrivateIpAddresses.1.Primary", "true")
	equal(t, "the group when none is named", byDefault.one("networkInterface/groupSet/item/groupName"), "default")
	equal(t, "the address", byDefault.one("networkInterface/privateIpAddress"), "10.0.1.10")

	a.do("ModifyVpcAttribute", "VpcId", v, "EnableDnsHostnames.Value", "true")
	equal(t, "the name", a.do("DescribeNetworkInterfaces", "NetworkInterfaceId.1", id).one("networkInterfaceSet/item/privateDnsName"), "ip-10-0-1-9.ec2.internal")

	a.do("ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", id, "Description.Value", "")
	a.do("ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", id, "SourceDestCheck.Value", "false")
	def := byDefault.one("networkInterface/groupSet/item/groupId")
	a.do("ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", id, "SecurityGroupId.1", def)
	at := func(attribute string) xmlTree {
		return a.do("DescribeNetworkInterfaceAttribute", "NetworkInterfaceId", id, "Attribute", attribute)
	}
	equal(t, "the description", at("description").one("description/value"), "")
	equal(t, "the check", at("sourceDestCheck").one("sourceDestCheck/value"), "false")
	equal(t, "the group", at("groupSet").one("groupSet/item/groupId"), def)
	equal(t, "the attachment", at("attachment").one("attachment/status"), "")
	a.do("DeleteSecurityGroup", "GroupId", g)

	for filter, value := range map[string]string{"subnet-id": s, "group-id": def, "private-ip-address": "10.0.1.9", "vpc-id": v, "status": "available",
		"addresses.private-ip-address": "10.0.1.9", "source-dest-check": "false", "availability-zone": "us-east-1a", "requester-managed": "false"} {
		equal(t, "the interface by "+filter, a.do("DescribeNetworkInterfaces", "Filter.1.Name", filter, "Filter.1.Value.1", value,
			"Filter.2.Name", "network-interface-id", "Filter.2.Value.1", id).one("networkInterfaceSet/item/networkInterfaceId"), id)
	}
	a.do("DeleteNetworkInterface", "NetworkInterfaceId", id)
	a.refused("InvalidNetworkInterfaceID.NotFound", "DescribeNetworkInterfaces", "NetworkInterfaceId.1", id)
}

func TestNetworkInterfaceErrors(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s := a.subnet(v, "10.0.1.0/24")
	n := a.do("CreateNetworkInterface", "SubnetId", s, "PrivateIpAddress", "10.0.1.9").one("networkInterface/networkInterfaceId")
	far := a.group(a.vpc("10.1.0.0/16"), "far")
	create := func(code string, pairs ...string) {
		t.Helper()
		a.refused(code, "CreateNetworkInterface", append([]string{"SubnetId", s}, pairs...)...)
	}
	create("InvalidIPAddress.InUse", "PrivateIpAddress", "10.0.1.9")
	create("InvalidParameterValue", "PrivateIpAddress", "10.0.2.9")
	create("InvalidParameterValue", "PrivateIpAddress", "10.0.1.2")
	create("InvalidParameterValue", "PrivateIpAddress", "10.0.1.255")
	create("InvalidParameterValue", "PrivateIpAddress", "here")
	create("InvalidParameterValue", "PrivateIpAddress", "2001:db8::1")
	create("InvalidGroup.NotFound", "SecurityGroupId.1", far)
	create("InvalidGroupId.Malformed", "SecurityGroupId.1", "sg-x")
	create("UnsupportedOperation", "Ipv4PrefixCount", "1")
	create("UnsupportedOperation", "Ipv4Prefix.1.Ipv4Prefix", "10.0.1.16/28")
	create("UnsupportedOperation", "InterfaceType", "efa")
	create("InvalidParameterCombination", "PrivateIpAddresses.1.PrivateIpAddress", "10.0.1.10", "PrivateIpAddresses.1.Primary", "true", "PrivateIpAddress", "10.0.1.10")
	a.refused("InvalidSubnetID.NotFound", "CreateNetworkInterface", "SubnetId", "subnet-00000000000000001")
	a.refusedAs(controltest.Provider, "InvalidSubnetID.NotFound", "CreateNetworkInterface", "SubnetId", s)
	a.refusedAs(controltest.Provider, "InvalidNetworkInterfaceID.NotFound", "DeleteNetworkInterface", "NetworkInterfaceId", n)
	a.refusedAs(controltest.Provider, "InvalidNetworkInterfaceID.NotFound", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", n, "Description.Value", "x")
	a.refusedAs(controltest.Provider, "InvalidNetworkInterfaceID.NotFound", "DescribeNetworkInterfaceAttribute", "NetworkInterfaceId", n, "Attribute", "description")
	equal(t, "the text", a.refused("InvalidParameterCombination", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", n, "Description.Value", "x", "SourceDestCheck.Value", "true"),
		"Fields for multiple attribute types specified: description, sourceDestCheck")
	a.refused("InvalidParameterCombination", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", n)
}

func TestManagedInterfacesCanOnlyBeTagged(t *testing.T) {
	a := newNetAPI(t)
	controltest.HandMade(a.c) // interfaces whose owners do not exist
	s := a.subnet(a.vpc("10.0.0.0/16"), "10.0.1.0/24")
	for _, x := range []struct {
		kind               vpc.InterfaceType
		description, owner string
	}{{vpc.TypeEndpoint, "VPC Endpoint Interface vpce-00000000000000001", "amazon-aws"}, {vpc.TypeBalancer, "ELB net/one/0000000000000001", "amazon-aws"}} {
		id := a.eni(s)
		o, _ := vpc.Get[vpc.NetworkInterface](a.c.View(), id)
		o = vpc.Edit(o)
		o.RequesterManaged, o.RequesterID, o.Type, o.Description = true, "727180483921", x.kind, x.description
		a.put(o)
		d := a.do("DescribeNetworkInterfaces", "Filter.1.Name", "attachment.instance-owner-id", "Filter.1.Value.1", x.owner, "Filter.2.Name", "description", "Filter.2.Value.1", x.description)
		for path, want := range map[string]string{"networkInterfaceId": id, "status": "in-use", "requesterId": "727180483921", "requesterManaged": "true",
			"attachment/instanceOwnerId": x.owner, "attachment/status": "attached", "attachment/deviceIndex": "1", "attachment/deleteOnTermination": "false",
			"attachment/attachmentId": "ela-attach-" + id[4:], "attachment/instanceId": "", "interfaceType": string(x.kind)} {
			equal(t, path, d.one("networkInterfaceSet/item/"+path), want)
		}
		a.refused("OperationNotPermitted", "DeleteNetworkInterface", "NetworkInterfaceId", id)
		a.refused("OperationNotPermitted", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", id, "Description.Value", "x")
		const instance, attachment = "i-00000000000000001", "eni-attach-00000000000000001"
		for action, pairs := range map[string][]string{
			"AttachNetworkInterface":          {"NetworkInterfaceId", id, "InstanceId", instance, "DeviceIndex", "1"},
			"DetachNetworkInterface":          {"AttachmentId", "ela-attach-" + id[4:], "Force", "true"},
			"AssignPrivateIpAddresses":        {"NetworkInterfaceId", id, "SecondaryPrivateIpAddressCount", "1"},
			"UnassignPrivateIpAddresses":      {"NetworkInterfaceId", id, "PrivateIpAddress.1", "10.0.1.4"},
			"ModifyNetworkInterfaceAttribute": {"NetworkInterfaceId", id, "Attachment.AttachmentId", attachment, "Attachment.DeleteOnTermination", "true"},
		} {
			if m := a.refused("OperationNotPermitted", action, pairs...); !strings.HasPrefix(m, "You are not allowed to manage 'ela-attach' attachments.") {
				t.Errorf("%s: %s", action, m)
			}
		}
		for _, attribute := range [][]string{{"SourceDestCheck.Value", "false"}, {"SecurityGroupId.1", string(o.Groups[0])}} {
			a.refused("OperationNotPermitted", "ModifyNetworkInterfaceAttribute", append([]string{"NetworkInterfaceId", id}, attribute...)...)
		}
		a.refusedAs(controltest.Provider, "InvalidAttachmentID.NotFound", "DetachNetworkInterface", "AttachmentId", "ela-attach-"+id[4:])
		a.do("CreateTags", "ResourceId.1", id, "Tag.1.Key", "k")
	}
}

func TestExternalWorkloadMakesAnInterfaceInUse(t *testing.T) {
	a := newNetAPI(t)
	s := a.subnet(a.vpc("10.0.0.0/16"), "10.0.1.0/24")
	id, other := a.eni(s), a.eni(s)
	a.put(&vpc.Host{ID: "h1"}, &vpc.Host{ID: "elsewhere", Zone: "us-east-1c"})
	ctx := context.Background()
	operator := control.Caller{Account: "999999999999", Operator: true}
	tap := vpc.ExternalWorkload{Ifname: "tap0"}
	fails := func(what string, err error, kind vpc.ErrorKind) {
		t.Helper()
		if control.KindOf(err) != kind {
			t.Errorf("%s: %v, want %s", what, err, kind)
		}
	}
	fails("a tenant attaches", a.c.AttachExternal(ctx, controltest.Consumer, vpc.InterfaceID(id), tap, "h1"), vpc.Denied)
	fails("no workload", a.c.AttachExternal(ctx, operator, vpc.InterfaceID(id), vpc.ExternalWorkload{}, "h1"), vpc.Combination)
	fails("two workloads", a.c.AttachExternal(ctx, operator, vpc.InterfaceID(id), vpc.ExternalWorkload{Ifname: "x", PID: 7}, "h1"), vpc.Combination)
	fails("a relative path", a.c.AttachExternal(ctx, operator, vpc.InterfaceID(id), vpc.ExternalWorkload{Netns: "ns"}, "h1"), vpc.Invalid)
	fails("a bad device", a.c.AttachExternal(ctx, operator, vpc.InterfaceID(id), vpc.ExternalWorkload{Ifname: "../eth0"}, "h1"), vpc.Invalid)
	fails("no such host", a.c.AttachExternal(ctx, operator, vpc.InterfaceID(id), tap, "h2"), vpc.NotFound)
	fails("a host of another zone", a.c.AttachExternal(ctx, operator, vpc.InterfaceID(id), tap, "elsewhere"), vpc.Invalid)
	fails("no such interface", a.c.AttachExternal(ctx, operator, "eni-00000000000000001", tap, "h1"), vpc.NotFound)
	if err := a.c.AttachExternal(ctx, operator, vpc.InterfaceID(id), tap, "h1"); err != nil {
		t.Fatal(err)
	}
	d := a.do("DescribeNetworkInterfaces", "NetworkInterfaceId.1", id)
	equal(t, "the status", d.one("networkInterfaceSet/item/status"), "in-use")
	equal(t, "the attachment's owner", d.one("networkInterfaceSet/item/attachment/instanceOwnerId"), "111111111111")
	equal(t, "the text", a.refused("InvalidParameterValue", "DeleteNetworkInterface", "NetworkInterfaceId", id), "Network interface '"+id+"' is currently in use.")
	fails("attached twice", a.c.AttachExternal(ctx, operator, vpc.InterfaceID(id), tap, "h1"), vpc.InUse)
	fails("one device for two", a.c.AttachExternal(ctx, operator, vpc.InterfaceID(other), tap, "h1"), vpc.Conflict)
	fails("a tenant detaches", a.c.DetachExternal(ctx, controltest.Consumer, vpc.InterfaceID(id)), vpc.Denied)
	if err := a.c.DetachExternal(ctx, operator, vpc.InterfaceID(id)); err != nil {
		t.Fatal(err)
	}
	fails("detached twice", a.c.DetachExternal(ctx, operator, vpc.InterfaceID(id)), vpc.NotFound)
	a.do("DeleteNetworkInterface", "NetworkInterfaceId", id)
}
