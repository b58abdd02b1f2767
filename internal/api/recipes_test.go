// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// recipes are calls that are likely to succeed, so that the random ones meet
// something. Pairs that begin with ? are there every other time; a value that
// begins with $ is chosen anew; see dollar. The first word is the weight.
var recipes = map[string][]string{
	"CreateVpc":                       {"3 CidrBlock=$cidr16 ?AmazonProvidedIpv6CidrBlock=true ?TagSpecification.1.ResourceType=vpc ?TagSpecification.1.Tag.1.Key=Name"},
	"ModifyVpcAttribute":              {"2 VpcId=$vpc EnableDnsHostnames.Value=true", "1 VpcId=$vpc EnableDnsSupport.Value=$bool"},
	"AssociateVpcCidrBlock":           {"1 VpcId=$vpc CidrBlock=$cidr16", "2 VpcId=$vpc AmazonProvidedIpv6CidrBlock=true"},
	"AssociateSubnetCidrBlock":        {"4 SubnetId=$subnet Ipv6CidrBlock=$six64"},
	"DisassociateSubnetCidrBlock":     {"2 AssociationId=$subnet-cidr-assoc"},
	"ModifySubnetAttribute":           {"2 SubnetId=$subnet AssignIpv6AddressOnCreation.Value=$bool"},
	"AssignIpv6Addresses":             {"3 NetworkInterfaceId=$eni Ipv6AddressCount=1", "1 NetworkInterfaceId=$eni Ipv6Addresses.1=$addr6"},
	"UnassignIpv6Addresses":           {"2 NetworkInterfaceId=$eni Ipv6Addresses.1=$addr6"},
	"CreateEgressOnlyInternetGateway": {"2 VpcId=$vpc ?ClientToken=$token"},
	"DeleteEgressOnlyInternetGateway": {"1 EgressOnlyInternetGatewayId=$eigw"},
	"DisassociateVpcCidrBlock":        {"1 AssociationId=$vpc-cidr-assoc"},
	"DeleteVpc":                       {"1 VpcId=$vpc"},
	"CreateSubnet":                    {"6 VpcId=$vpc CidrBlock=$cidr24 ?Ipv6CidrBlock=$six64 ?AvailabilityZone=$zone"},
	"DeleteSubnet":                    {"1 SubnetId=$subnet"},
	"CreateRouteTable":                {"3 VpcId=$vpc ?ClientToken=$token"},
	"AssociateRouteTable":             {"3 RouteTableId=$rtb SubnetId=$subnet"},
	"DisassociateRouteTable":          {"1 AssociationId=$rtbassoc"},
	"ReplaceRouteTableAssociation":    {"2 AssociationId=$rtbassoc RouteTableId=$rtb"},
	"DeleteRouteTable":                {"1 RouteTableId=$rtb"},
	"CreateRoute": {"3 RouteTableId=$rtb DestinationCidrBlock=$cidr24 NetworkInterfaceId=$eni", "2 RouteTableId=$rtb DestinationIpv6CidrBlock=$six64 NetworkInterfaceId=$eni",
		"2 RouteTableId=$rtb DestinationIpv6CidrBlock=::/0 EgressOnlyInternetGatewayId=$eigw"},
	"ReplaceRoute":                               {"2 RouteTableId=$rtb DestinationCidrBlock=$cidr24 InstanceId=$i"},
	"DeleteRoute":                                {"2 RouteTableId=$rtb DestinationCidrBlock=$cidr24"},
	"CreateNetworkAcl":                           {"2 VpcId=$vpc"},
	"CreateNetworkAclEntry":                      {"3 NetworkAclId=$acl RuleNumber=$port Protocol=6 RuleAction=allow Egress=$bool CidrBlock=$cidr24 PortRange.From=1 PortRange.To=$port"},
	"ReplaceNetworkAclEntry":                     {"1 NetworkAclId=$acl RuleNumber=100 Protocol=-1 RuleAction=deny Egress=$bool CidrBlock=$cidr24"},
	"DeleteNetworkAclEntry":                      {"1 NetworkAclId=$acl RuleNumber=100 Egress=$bool"},
	"ReplaceNetworkAclAssociation":               {"3 AssociationId=$aclassoc NetworkAclId=$acl"},
	"DeleteNetworkAcl":                           {"1 NetworkAclId=$acl"},
	"CreateSecurityGroup":                        {"4 VpcId=$vpc GroupName=$name GroupDescription=x"},
	"AuthorizeSecurityGroupIngress":              {"3 GroupId=$sg IpPermissions.1.IpProtocol=tcp IpPermissions.1.FromPort=1 IpPermissions.1.ToPort=$port IpPermissions.1.IpRanges.1.CidrIp=$cidr24 ?IpPermissions.1.Groups.1.GroupId=$sg", "1 GroupId=$sg IpProtocol=tcp FromPort=80 ToPort=80 CidrIp=$cidr24"},
	"AuthorizeSecurityGroupEgress":               {"2 GroupId=$sg IpPermissions.1.IpProtocol=-1 IpPermissions.1.Groups.1.GroupId=$sg"},
	"RevokeSecurityGroupIngress":                 {"2 GroupId=$sg SecurityGroupRuleId.1=$sgr"},
	"RevokeSecurityGroupEgress":                  {"1 GroupId=$sg SecurityGroupRuleId.1=$sgr"},
	"ModifySecurityGroupRules":                   {"2 GroupId=$sg SecurityGroupRule.1.SecurityGroupRuleId=$sgr SecurityGroupRule.1.SecurityGroupRule.IpProtocol=udp SecurityGroupRule.1.SecurityGroupRule.FromPort=1 SecurityGroupRule.1.SecurityGroupRule.ToPort=$port SecurityGroupRule.1.SecurityGroupRule.CidrIpv4=$cidr24"},
	"UpdateSecurityGroupRuleDescriptionsIngress": {"1 GroupId=$sg SecurityGroupRuleDescription.1.SecurityGroupRuleId=$sgr SecurityGroupRuleDescription.1.Description=x"},
	"DeleteSecurityGroup":                        {"1 GroupId=$sg"},
	"CreateNetworkInterface":                     {"4 SubnetId=$subnet ?SecurityGroupId.1=$sg ?PrivateIpAddress=$addr ?Ipv6AddressCount=1 ?ClientToken=$token"},
	"ModifyNetworkInterfaceAttribute":            {"2 NetworkInterfaceId=$eni SecurityGroupId.1=$sg", "1 NetworkInterfaceId=$eni SourceDestCheck.Value=false"},
	"DeleteNetworkInterface":                     {"1 NetworkInterfaceId=$eni"},
	"RunInstances":                               {"4 ImageId=ami-12345678 MinCount=1 MaxCount=2 SubnetId=$subnet ?SecurityGroupId.1=$sg ?ClientToken=$token", "2 ImageId=ami-12345678 MinCount=1 MaxCount=1 NetworkInterface.1.DeviceIndex=0 NetworkInterface.1.NetworkInterfaceId=$eni"},
	"TerminateInstances":                         {"3 InstanceId.1=$i"},
	"CreateVpcEndpoint": {"4 VpcId=$vpc ServiceName=com.amazonaws.us-east-1.s3 ?RouteTableId.1=$rtb ?ClientToken=$token",
		"4 VpcId=$vpc VpcEndpointType=Interface ServiceName=$service PrivateDnsEnabled=false ?SubnetId.1=$subnet ?SubnetId.2=$subnet ?SecurityGroupId.1=$sg",
		"2 VpcId=$vpc VpcEndpointType=Interface ServiceName=$service PrivateDnsEnabled=true SubnetId.1=$subnet"},
	"ModifyVpcEndpoint": {"2 VpcEndpointId=$vpce ?AddRouteTableId.1=$rtb ?RemoveRouteTableId.1=$rtb", "3 VpcEndpointId=$vpce ?AddSubnetId.1=$subnet ?RemoveSubnetId.1=$subnet ?AddSecurityGroupId.1=$sg ?RemoveSecurityGroupId.1=$sg",
		"2 VpcEndpointId=$vpce PrivateDnsEnabled=$bool", "1 VpcEndpointId=$vpce SubnetConfiguration.1.SubnetId=$subnet SubnetConfiguration.1.Ipv4=$addr"},
	"DeleteVpcEndpoints":                            {"2 VpcEndpointId.1=$vpce"},
	"CreateVpcEndpointServiceConfiguration":         {"5 NetworkLoadBalancerArn.1=$lb ?AcceptanceRequired=$bool ?PrivateDnsName=svc.example.com"},
	"ModifyVpcEndpointServiceConfiguration":         {"2 ServiceId=$svc ?AddNetworkLoadBalancerArn.1=$lb ?RemoveNetworkLoadBalancerArn.1=$lb ?PrivateDnsName=x.example.com ?AcceptanceRequired=$bool"},
	"ModifyVpcEndpointServicePermissions":           {"4 ServiceId=$svc AddAllowedPrincipals.1=*", "1 ServiceId=$svc RemoveAllowedPrincipals.1=*"},
	"StartVpcEndpointServicePrivateDnsVerification": {"1 ServiceId=$svc"},
	"DeleteVpcEndpointServiceConfigurations":        {"1 ServiceId.1=$svc"},
	"AcceptVpcEndpointConnections":                  {"4 ServiceId=$svc VpcEndpointId.1=$asker ?VpcEndpointId.2=$asker"},
	"RejectVpcEndpointConnections":                  {"2 ServiceId=$svc VpcEndpointId.1=$asker"},
	"CreateTags":                                    {"3 ResourceId.1=$any Tag.1.Key=Name Tag.1.Value=$name"},
	"DeleteTags":                                    {"1 ResourceId.1=$any Tag.1.Key=Name"},
	"CreateLoadBalancer":                            {"5 Name=$name Type=network Scheme=internal Subnets.member.1=$subnet ?SecurityGroups.member.1=$sg"},
	"SetSubnets":                                    {"2 LoadBalancerArn=$lb SubnetMappings.member.1.SubnetId=$subnet ?SubnetMappings.member.2.SubnetId=$subnet"},
	"SetSecurityGroups":                             {"2 LoadBalancerArn=$lb SecurityGroups.member.1=$sg"},
	"ModifyLoadBalancerAttributes":                  {"1 LoadBalancerArn=$lb Attributes.member.1.Key=load_balancing.cross_zone.enabled Attributes.member.1.Value=$bool"},
	"DeleteLoadBalancer":                            {"1 LoadBalancerArn=$lb"},
	"CreateTargetGroup":                             {"4 Name=$name Protocol=TCP Port=$port VpcId=$vpc TargetType=ip", "2 Name=$name Protocol=TCP Port=80 VpcId=$vpc ?HealthCheckProtocol=HTTP"},
	"ModifyTargetGroup":                             {"1 TargetGroupArn=$tg HealthCheckIntervalSeconds=10"},
	"ModifyTargetGroupAttributes":                   {"1 TargetGroupArn=$tg Attributes.member.1.Key=deregistration_delay.timeout_seconds Attributes.member.1.Value=1"},
	"RegisterTargets":                               {"4 TargetGroupArn=$tg Targets.member.1.Id=$addr ?Targets.member.1.Port=$port", "2 TargetGroupArn=$tg Targets.member.1.Id=$i"},
	"DeregisterTargets":                             {"2 TargetGroupArn=$tg Targets.member.1.Id=$addr"},
	"DeleteTargetGroup":                             {"1 TargetGroupArn=$tg"},
	"CreateListener":                                {"4 LoadBalancerArn=$lb Protocol=TCP Port=$port DefaultActions.member.1.Type=forward DefaultActions.member.1.TargetGroupArn=$tg"},
	"ModifyListener":                                {"1 ListenerArn=$listener Port=$port", "1 ListenerArn=$listener DefaultActions.member.1.Type=forward DefaultActions.member.1.TargetGroupArn=$tg"},
	"DeleteListener":                                {"1 ListenerArn=$listener"},
	"AddTags":                                       {"1 ResourceArns.member.1=$lb Tags.member.1.Key=a Tags.member.1.Value=b"},
	"RemoveTags":                                    {"1 ResourceArns.member.1=$lb TagKeys.member.1=a"},
	"DescribeTargetHealth":                          {"1 TargetGroupArn=$tg"},
	"CreateResolverEndpoint":                        {"3 CreatorRequestId=$token Direction=INBOUND SecurityGroupIds.member.1=$sg IpAddresses.member.1.SubnetId=$subnet IpAddresses.member.2.SubnetId=$subnet ?ResolverEndpointType=DUALSTACK", "1 CreatorRequestId=$token Direction=OUTBOUND SecurityGroupIds.member.1=$sg IpAddresses.member.1.SubnetId=$subnet IpAddresses.member.2.SubnetId=$subnet"},
	"UpdateResolverEndpoint":                        {"2 ResolverEndpointId=$rslvr-in ResolverEndpointType=DUALSTACK", "2 ResolverEndpointId=$rslvr-out ResolverEndpointType=IPV4 Name=$name"},
	"AssociateResolverEndpointIpAddress":            {"3 ResolverEndpointId=$rslvr-in IpAddress.SubnetId=$subnet"},
	"DisassociateResolverEndpointIpAddress":         {"2 ResolverEndpointId=$rslvr-in IpAddress.SubnetId=$subnet IpAddress.Ip=$addr"},
	"DeleteResolverEndpoint":                        {"1 ResolverEndpointId=$rslvr-in", "1 ResolverEndpointId=$rslvr-out"},
	"CreateResolverRule":                            {"3 CreatorRequestId=$token RuleType=FORWARD DomainName=$name ResolverEndpointId=$rslvr-out TargetIps.member.1.Ip=192.0.2.1 ?TargetIps.member.1.Port=$port", "2 CreatorRequestId=$token RuleType=SYSTEM DomainName=a.$name"},
	"UpdateResolverRule":                            {"2 ResolverRuleId=$rslvr-rr Config.TargetIps.member.1.Ip=$addr", "1 ResolverRuleId=$rslvr-rr Config.Name=$name ?Config.ResolverEndpointId=$rslvr-out"},
	"AssociateResolverRule":                         {"4 ResolverRuleId=$rslvr-rr VPCId=$vpc"},
	"DisassociateResolverRule":                      {"2 ResolverRuleId=$rslvr-rr VPCId=$vpc"},
	"DeleteResolverRule":                            {"1 ResolverRuleId=$rslvr-rr"},
	"ListResolverRules":                             {"1 ?MaxResults=1"},
	"DescribeSubnets":                               {"1 ?SubnetId.1=$subnet ?Filter.1.Name=vpc-id ?Filter.1.Value.1=$vpc"},
}

// firstSteps are what every account does first, so that the random calls find
// something of everything.
var firstSteps = []string{
	"CreateVpc CidrBlock=10.0.0.0/16", "AssociateVpcCidrBlock VpcId=$vpc AmazonProvidedIpv6CidrBlock=true", "ModifyVpcAttribute VpcId=$vpc EnableDnsHostnames.Value=true",
	"CreateSubnet VpcId=$vpc CidrBlock=10.0.0.0/24 AvailabilityZone=us-east-1a", "CreateSubnet VpcId=$vpc CidrBlock=10.0.1.0/24 AvailabilityZone=us-east-1b",
	"CreateSubnet VpcId=$vpc CidrBlock=10.0.2.0/24 AvailabilityZone=us-east-1a", "CreateRouteTable VpcId=$vpc", "CreateNetworkAcl VpcId=$vpc",
	"CreateSecurityGroup VpcId=$vpc GroupName=one GroupDescription=x", "CreateNetworkInterface SubnetId=$subnet", "CreateNetworkInterface SubnetId=$subnet",
	"RunInstances ImageId=ami-12345678 MinCount=1 MaxCount=2 SubnetId=$subnet",
	"CreateLoadBalancer Name=one Type=network Scheme=internal Subnets.member.1=$subnet", "CreateLoadBalancer Name=two Type=network Subnets.member.1=$subnet",
	"CreateTargetGroup Name=one Protocol=TCP Port=80 VpcId=$vpc TargetType=ip", "RegisterTargets TargetGroupArn=$tg Targets.member.1.Id=10.0.0.99",
	"CreateListener LoadBalancerArn=$lb Protocol=TCP Port=80 DefaultActions.member.1.Type=forward DefaultActions.member.1.TargetGroupArn=$tg",
	"CreateVpcEndpointServiceConfiguration NetworkLoadBalancerArn.1=$lb AcceptanceRequired=true PrivateDnsName=svc.example.com",
	"ModifyVpcEndpointServicePermissions ServiceId=$svc AddAllowedPrincipals.1=*",
	"CreateVpcEndpoint VpcId=$vpc ServiceName=com.amazonaws.us-east-1.s3 RouteTableId.1=$rtb",
	"CreateVpcEndpoint VpcId=$vpc VpcEndpointType=Interface ServiceName=$service PrivateDnsEnabled=false SubnetId.1=$subnet",
	"CreateResolverEndpoint CreatorRequestId=first Direction=OUTBOUND SecurityGroupIds.member.1=$sg IpAddresses.member.1.SubnetId=$subnet IpAddresses.member.2.SubnetId=$subnet",
	"CreateResolverRule CreatorRequestId=first RuleType=FORWARD DomainName=corp.example ResolverEndpointId=$rslvr-out TargetIps.member.1.Ip=192.0.2.1",
	"AssociateResolverRule ResolverRuleId=$rslvr-rr VPCId=$vpc",
}

// beginning are the requests of the first steps; each is made when it is asked for.
func (g *generator) beginning(each func(request)) {
	for i := range signers {
		g.owner = signers[i].caller.Account
		for _, step := range firstSteps {
			name, recipe, _ := strings.Cut(step, " ")
			at := slices.IndexFunc(g.ops, func(op operation) bool { return op.name == name })
			d := g.follow(g.ops[at], recipe)
			each(request{signer: &signers[i], service: d.op.service, body: d.encode(g)})
		}
	}
}

// cook makes a draft of one of the recipes.
func (g *generator) cook() draft {
	type dish struct {
		op     operation
		recipe string
	}
	if g.dishes == nil {
		for _, op := range g.ops {
			for _, r := range recipes[op.name] {
				weight, recipe, _ := strings.Cut(r, " ")
				n, err := strconv.Atoi(weight)
				if err != nil {
					panic("recipe of " + op.name + " has no weight")
				}
				for range n {
					d := dish{op, recipe}
					g.dishes = append(g.dishes, func() draft { return g.follow(d.op, d.recipe) })
				}
			}
		}
	}
	return g.dishes[g.IntN(len(g.dishes))]()
}

func (g *generator) follow(op operation, recipe string) draft {
	d := draft{op: op}
	if all := slices.Collect(vpc.By[vpc.VPC](g.view(), vpc.IndexOwner, g.owner)); len(all) > 0 && g.chance(90) {
		g.focus = all[g.IntN(len(all))].ID
		defer func() { g.focus = "" }()
	}
	for _, pair := range strings.Fields(recipe) {
		if rest, optional := strings.CutPrefix(pair, "?"); optional {
			if g.chance(50) {
				continue
			}
			pair = rest
		}
		name, value, _ := strings.Cut(pair, "=")
		if kind, chosen := strings.CutPrefix(value, "$"); chosen {
			value = g.dollar(kind)
		}
		d.pairs = append(d.pairs, [2]string{name, value})
	}
	return d
}

// dollar is a value for a recipe: an id of a kind, or something of a form.
func (g *generator) dollar(kind string) string {
	switch kind {
	case "cidr16":
		return fmt.Sprintf("10.%d.0.0/16", g.IntN(3))
	case "cidr24":
		return fmt.Sprintf("10.%d.%d.0/24", g.IntN(3), g.IntN(5))
	case "addr":
		return fmt.Sprintf("10.%d.%d.%d", g.IntN(3), g.IntN(5), g.IntN(256))
	case "six64":
		if all := g.blocks(); len(all) > 0 {
			return all[g.IntN(len(all))].String()
		}
		return "2001:db8:8000::/64"
	case "addr6":
		var all []netip.Addr
		for n := range vpc.By[vpc.NetworkInterface](g.view(), vpc.IndexOwner, g.owner) {
			all = append(all, n.IPv6...)
		}
		if len(all) > 0 {
			return all[g.IntN(len(all))].String()
		}
		return "2001:db8:8000::4"
	case "zone":
		return g.one("us-east-1a", "us-east-1b", "us-east-1c")
	case "bool":
		return g.one("true", "false")
	case "port":
		return strconv.Itoa(1 + g.IntN(300))
	case "name":
		return "n" + strconv.Itoa(g.IntN(100))
	case "token":
		return "t" + strconv.Itoa(g.IntN(50))
	case "service":
		return g.id("servicename", "com.amazonaws.us-east-1.s3")
	case "svc":
		return g.id(vpc.PrefixService, "vpce-svc-00000000000000000")
	case "lb":
		return g.id("loadbalancer/", "arn:aws:elasticloadbalancing:us-east-1:111111111111:loadbalancer/net/x/0")
	case "tg":
		return g.id("targetgroup/", "arn:aws:elasticloadbalancing:us-east-1:111111111111:targetgroup/x/0")
	case "listener":
		return g.id("listener/", "arn:aws:elasticloadbalancing:us-east-1:111111111111:listener/net/x/0/0")
	case "asker": // an endpoint of anybody's
		mine, focus := g.owner, g.focus
		g.owner, g.focus = "", ""
		defer func() { g.owner, g.focus = mine, focus }()
		return g.id(vpc.PrefixEndpoint, "vpce-00000000000000000")
	case "any":
		return g.id("", "vpc-00000000000000000")
	}
	return g.id(kind, kind+"-00000000000000000")
}

// blocks are the first IPv6 blocks that subnets of the account's VPCs could have.
func (g *generator) blocks() []netip.Prefix {
	var out []netip.Prefix
	for v := range vpc.By[vpc.VPC](g.view(), vpc.IndexOwner, g.owner) {
		for _, a := range v.IPv6 {
			b := a.CIDR.Addr().As16()
			for b[7] = range byte(4) {
				out = append(out, netip.PrefixFrom(netip.AddrFrom16(b), vpc.SubnetBits6))
			}
		}
	}
	return out
}

// vpcOf is the VPC an object is in, "" if it is in none.
func vpcOf(o vpc.Object) vpc.VPCID {
	switch o := o.(type) {
	case *vpc.VPC:
		return o.ID
	case *vpc.Subnet:
		return o.VPC
	case *vpc.EgressOnlyGateway:
		return o.VPC
	case *vpc.RouteTable:
		return o.VPC
	case *vpc.NetworkACL:
		return o.VPC
	case *vpc.SecurityGroup:
		return o.VPC
	case *vpc.NetworkInterface:
		return o.VPC
	case *vpc.Instance:
		return o.VPC
	case *vpc.Endpoint:
		return o.VPC
	case *vpc.LoadBalancer:
		return o.VPC
	case *vpc.ResolverEndpoint:
		return o.VPC
	case *vpc.TargetGroup:
		return o.VPC
	}
	return ""
}
