// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/awsquery/goldentest"
	"postern.dev/postern/internal/api/ec2"
)

// Every parameter the SDK can send is honoured, kept or in this list.
func TestNetworkActionsKnowEveryParameter(t *testing.T) {
	const targets = "CarrierGatewayId CoreNetworkArn DestinationIpv6CidrBlock EgressOnlyInternetGatewayId LocalGatewayId OdbNetworkArn TransitGatewayId VpcPeeringConnectionId"
	const pair = "IpPermissions.N.Groups.N.PeeringStatus IpPermissions.N.Groups.N.VpcPeeringConnectionId"
	const byName = " SourceSecurityGroupName SourceSecurityGroupOwnerId"
	for action, refused := range map[string]string{
		"CreateVpc":    "AmazonProvidedIpv6CidrBlock Ipv4IpamPoolId Ipv4NetmaskLength Ipv6CidrBlock Ipv6CidrBlockNetworkBorderGroup Ipv6IpamPoolId Ipv6NetmaskLength Ipv6Pool VpcEncryptionControl.*",
		"DescribeVpcs": "", "DeleteVpc": "", "ModifyVpcAttribute": "", "DescribeVpcAttribute": "", "DisassociateVpcCidrBlock": "",
		"AssociateVpcCidrBlock": "AmazonProvidedIpv6CidrBlock Ipv4IpamPoolId Ipv4NetmaskLength Ipv6CidrBlock Ipv6CidrBlockNetworkBorderGroup Ipv6IpamPoolId Ipv6NetmaskLength Ipv6Pool",
		"DescribeDhcpOptions":   "",
		"CreateSubnet":          "Ipv4IpamPoolId Ipv4NetmaskLength Ipv6CidrBlock Ipv6IpamPoolId Ipv6Native Ipv6NetmaskLength OutpostArn",
		"DescribeSubnets":       "", "DeleteSubnet": "",
		"ModifySubnetAttribute": "AssignIpv6AddressOnCreation.Value CustomerOwnedIpv4Pool DisableLniAtDeviceIndex.Value EnableDns64.Value EnableLniAtDeviceIndex EnableResourceNameDnsAAAARecordOnLaunch.Value MapCustomerOwnedIpOnLaunch.Value",
		"CreateRouteTable":      "", "DescribeRouteTables": "", "DeleteRouteTable": "",
		"AssociateRouteTable":    "GatewayId PublicIpv4Pool",
		"DisassociateRouteTable": "", "ReplaceRouteTableAssociation": "",
		"CreateRoute": targets, "ReplaceRoute": targets, "DeleteRoute": "DestinationIpv6CidrBlock",
		"CreateSecurityGroup": "", "DescribeSecurityGroups": "", "DeleteSecurityGroup": "",
		"AuthorizeSecurityGroupIngress": pair + byName,
		"AuthorizeSecurityGroupEgress":  "CidrIp FromPort IpProtocol ToPort " + pair + byName,
		"RevokeSecurityGroupIngress":    pair + byName,
		"RevokeSecurityGroupEgress":     "CidrIp FromPort IpProtocol ToPort " + pair + byName,
		"DescribeSecurityGroupRules":    "", "ModifySecurityGroupRules": "",
		"UpdateSecurityGroupRuleDescriptionsIngress": pair,
		"UpdateSecurityGroupRuleDescriptionsEgress":  pair,
		"CreateNetworkAcl":                           "", "DescribeNetworkAcls": "", "DeleteNetworkAcl": "", "CreateNetworkAclEntry": "",
		"ReplaceNetworkAclEntry": "", "DeleteNetworkAclEntry": "", "ReplaceNetworkAclAssociation": "",
		"CreateNetworkInterface": "ConnectionTrackingSpecification.TcpEstablishedTimeout ConnectionTrackingSpecification.UdpStreamTimeout ConnectionTrackingSpecification.UdpTimeout EnablePrimaryIpv6 InterfaceType Ipv4Prefix.N.Ipv4Prefix Ipv4PrefixCount Ipv6AddressCount " +
			"Ipv6Addresses.N.Ipv6Address Ipv6Addresses.N.IsPrimaryIpv6 Ipv6Prefix.N.Ipv6Prefix Ipv6PrefixCount Operator.Principal SecondaryPrivateIpAddressCount",
		"DescribeNetworkInterfaces": "IncludeManagedResources", "DeleteNetworkInterface": "", "DescribeNetworkInterfaceAttribute": "",
		"ModifyNetworkInterfaceAttribute": "AssociatePublicIpAddress AssociatedSubnetId.N Attachment.AttachmentId Attachment.DefaultEnaQueueCount Attachment.DeleteOnTermination Attachment.EnaQueueCount " +
			"ConnectionTrackingSpecification.TcpEstablishedTimeout ConnectionTrackingSpecification.UdpStreamTimeout ConnectionTrackingSpecification.UdpTimeout EnaSrdSpecification.EnaSrdEnabled EnaSrdSpecification.EnaSrdUdpSpecification.EnaSrdUdpEnabled EnablePrimaryIpv6",
		"CreateInternetGateway": "", "DescribeInternetGateways": "", "AttachInternetGateway": "", "DetachInternetGateway": "", "DeleteInternetGateway": "",
		"AllocateAddress": "CustomerOwnedIpv4Pool IpamPoolId PublicIpv4Pool", "DescribeAddresses": "", "AssociateAddress": "",
		"DisassociateAddress": "", "ReleaseAddress": "", "DescribeAddressesAttribute": "",
		"CreateNatGateway":    "AvailabilityMode AvailabilityZoneAddress.* SecondaryAllocationId.N SecondaryPrivateIpAddress.N SecondaryPrivateIpAddressCount VpcId",
		"DescribeNatGateways": "", "DeleteNatGateway": "",
		"CreateDhcpOptions": "", "AssociateDhcpOptions": "", "DeleteDhcpOptions": "",
		"CreateDefaultVpc": "", "CreateDefaultSubnet": "Ipv6Native", "ModifyVpcTenancy": "",
		"CreateTags": "", "DeleteTags": "", "DescribeTags": "",
		"DescribeAvailabilityZones": "AllAvailabilityZones", "DescribeRegions": "AllRegions", "DescribeAccountAttributes": "",
		"DescribePrefixLists": "", "DescribeManagedPrefixLists": "", "GetManagedPrefixListEntries": "",
	} {
		in := ec2.Input(action)
		if in == nil {
			t.Errorf("%s is not registered", action)
			continue
		}
		got := goldentest.Cover(t, awsquery.EC2, "ec2", action, reflect.New(in).Interface())
		for i, name := range got {
			got[i] = regexp.MustCompile(`\.[0-9]+(\.|$)`).ReplaceAllString(name, ".N$1")
			// A whole structure may be listed as Name.*.
			if all := strings.SplitN(name, ".", 2)[0] + ".*"; slices.Contains(strings.Fields(refused), all) {
				got[i] = all
			}
		}
		slices.Sort(got)
		want := strings.Fields(refused)
		slices.Sort(want)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("%s refuses %q, want %q", action, got, want)
		}
	}
}
