// SPDX-License-Identifier: Apache-2.0

package authz_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/api/ec2"
	"postern.dev/postern/internal/authz"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// params are a request's parameters: name, value, name, value.
type params []string

func (p params) Names() []string {
	var out []string
	for i := 0; i < len(p); i += 2 {
		out = append(out, p[i])
	}
	slices.Sort(out)
	return out
}

func (p params) Get(name string) string {
	for i := 0; i < len(p); i += 2 {
		if p[i] == name {
			return p[i+1]
		}
	}
	return ""
}

const (
	us    vpc.AccountID = "111111111111"
	them  vpc.AccountID = "222222222222"
	own                 = "vpc-00000000000000001"
	alien               = "vpc-00000000000000002"
	nlb                 = "arn:aws:elasticloadbalancing:us-east-1:111111111111:loadbalancer/net/one/0123456789abcdef"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// world is what the tables run on: a user ann and a role build with the given
// documents, and a few resources of two accounts.
func world(userDoc, roleDoc string) *vpctest.View {
	inline := func(doc string) vpc.PolicySet {
		if doc == "" {
			return vpc.PolicySet{}
		}
		return vpc.PolicySet{Inline: map[string]string{"p": doc}}
	}
	return vpctest.Of(
		&vpc.User{ID: "AIDAANN", Owner: us, Name: "ann", Path: "/team/", Policies: inline(userDoc), Tags: vpc.Tags{"team": "red"}},
		&vpc.User{ID: "AIDABOB", Owner: us, Name: "bob", Path: "/"},
		&vpc.Role{ID: "AROABUILD", Owner: us, Name: "build", Path: "/ci/", Policies: inline(roleDoc), Tags: vpc.Tags{"team": "blue"}},
		&vpc.ManagedPolicy{ID: "ANPAOWN", Owner: us, Name: "own", Path: "/x/", Tags: vpc.Tags{"kind": "policy"}},
		&vpc.VPC{ID: own, Owner: us, Tags: vpc.Tags{"team": "red"}, CIDRs: []vpc.CIDRAssociation{{ID: "vpc-cidr-assoc-00000001", CIDR: netip.MustParsePrefix("10.0.0.0/16")}}, IPv6: []vpc.CIDRAssociation{{ID: "vpc-cidr-assoc-00000006"}}},
		&vpc.VPC{ID: alien, Owner: them, Tags: vpc.Tags{"team": "red"}, CIDRs: []vpc.CIDRAssociation{{ID: "vpc-cidr-assoc-00000002"}}},
		&vpc.Subnet{ID: "subnet-00000001", Owner: us, VPC: own, IPv6: vpc.CIDRAssociation{ID: "subnet-cidr-assoc-00000001"}},
		&vpc.Subnet{ID: "subnet-00000002", Owner: them, VPC: alien, IPv6: vpc.CIDRAssociation{ID: "subnet-cidr-assoc-00000002"}},
		&vpc.EgressOnlyGateway{ID: "eigw-00000001", Owner: us, VPC: own, Tags: vpc.Tags{"team": "red"}},
		&vpc.RouteTable{ID: "rtb-00000001", Owner: us, VPC: own, Main: "rtbassoc-00000001"},
		&vpc.SecurityGroup{ID: "sg-00000001", Owner: us, VPC: own, Rules: []vpc.GroupRule{{ID: "sgr-00000001", Tags: vpc.Tags{"rule": "yes"}}}},
		&vpc.Endpoint{ID: "vpce-00000001", Owner: us, VPC: own, ServiceName: "com.amazonaws.us-east-1.s3"},
		&vpc.EndpointService{ID: "vpce-svc-00000001", Owner: us, PrivateDNSName: "api.example.com"},
		&vpc.CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", PrefixList: "pl-00000001"},
		&vpc.VPC{ID: "vpc-0000000d", Owner: us, Default: true},
		&vpc.SecurityGroup{ID: "sg-0000000d", Owner: us, VPC: "vpc-0000000d", Name: "web"},
		&vpc.ElasticIP{ID: "eipalloc-00000001", Owner: us, Addr: netip.MustParseAddr("203.0.113.9"), Association: "eipassoc-00000001"},
		&vpc.ElasticIP{ID: "eipalloc-00000002", Owner: them, Addr: netip.MustParseAddr("203.0.113.10")},
		&vpc.PrefixList{ID: "pl-00000002", Owner: us, Tags: vpc.Tags{"team": "red"}},
		&vpc.ResolverRule{ID: "rslvr-rr-1", Owner: us, Tags: vpc.Tags{"team": "red"}},
		&vpc.ResolverRule{ID: "rslvr-rr-2", Owner: them, Tags: vpc.Tags{"team": "red"}},
		&vpc.ResolverAssociation{ID: "rslvr-rrassoc-1", Owner: us, Rule: "rslvr-rr-1"},
		&vpc.ResolverAssociation{ID: "rslvr-rrassoc-2", Owner: them, Rule: "rslvr-rr-2"},
		&vpc.LoadBalancer{ARN: nlb, Owner: us, Name: "one", Tags: vpc.Tags{"team": "red"}},
	)
}

var ann = authz.Principal{Account: us, ARN: "arn:aws:iam::111111111111:user/team/ann", UserID: "AIDAANN", User: "AIDAANN"}
var build = authz.Principal{
	Account: us, ARN: "arn:aws:sts::111111111111:assumed-role/build/job", UserID: "AROABUILD:job", Role: "AROABUILD", Temporary: true, Issued: now,
}

func request(service, action string, p ...string) authz.Request {
	return authz.Request{
		Service: service, Action: action, Params: params(p), Region: "us-east-1", Time: now,
		Source: authz.Source{IP: netip.MustParseAddr("192.0.2.7"), UserAgent: "tester", TLS: true},
		ServiceOwner: func(name string) string {
			switch name {
			case "com.amazonaws.us-east-1.s3":
				return "amazon"
			case "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0":
				return string(them)
			}
			return ""
		},
	}
}

func doc(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[{` + strings.Join(statements, "},{") + `}]}`
}

const any = `"Effect":"Allow","Action":"*","Resource":"*"`

func TestRequestsAreJudgedOnEveryResource(t *testing.T) {
	const ec2ARN, iamARN, elbARN = "arn:aws:ec2:us-east-1:111111111111:", "arn:aws:iam::111111111111:", "arn:aws:elasticloadbalancing:us-east-1:111111111111:"
	const rslvrARN = "arn:aws:route53resolver:us-east-1:111111111111:"
	for _, c := range []struct {
		service, action string
		params          []string
		want            []string
	}{
		{"ec2", "DescribeVpcs", []string{"VpcId.1", own}, []string{"ec2:DescribeVpcs *"}},
		{"ec2", "CreateVpc", []string{"CidrBlock", "10.0.0.0/16"}, []string{"ec2:CreateVpc " + ec2ARN + "vpc/*"}},
		{"ec2", "DeleteVpc", []string{"VpcId", own}, []string{"ec2:DeleteVpc " + ec2ARN + "vpc/" + own}},
		{"ec2", "DeleteVpc", []string{"VpcId", alien}, []string{"ec2:DeleteVpc " + ec2ARN + "vpc/" + alien}},
		{"ec2", "DeleteVpc", []string{"VpcId", "nonsense"}, []string{"ec2:DeleteVpc *"}},
		{"ec2", "DeleteVpc", []string{"VpcId", "*"}, []string{"ec2:DeleteVpc *"}},
		{"ec2", "CreateVpcEndpoint", []string{"VpcId", own, "SubnetId.1", "subnet-00000001", "SecurityGroupId.1", "sg-00000001", "SecurityGroupId.2", "sg-00000001", "SubnetConfiguration.1.SubnetId", "subnet-00000002", "ServiceName", "x"}, []string{
			"ec2:CreateVpcEndpoint " + ec2ARN + "vpc-endpoint/*", "ec2:CreateVpcEndpoint " + ec2ARN + "security-group/sg-00000001",
			"ec2:CreateVpcEndpoint " + ec2ARN + "subnet/subnet-00000002", "ec2:CreateVpcEndpoint " + ec2ARN + "subnet/subnet-00000001",
			"ec2:CreateVpcEndpoint " + ec2ARN + "vpc/" + own,
		}},
		{"ec2", "CreateVpcEndpointServiceConfiguration", []string{"NetworkLoadBalancerArn.1", nlb}, []string{"ec2:CreateVpcEndpointServiceConfiguration " + ec2ARN + "vpc-endpoint-service/*"}},
		{"ec2", "AcceptVpcEndpointConnections", []string{"ServiceId", "vpce-svc-00000001", "VpcEndpointId.1", "vpce-00000009"}, []string{"ec2:AcceptVpcEndpointConnections " + ec2ARN + "vpc-endpoint-service/vpce-svc-00000001"}},
		{"ec2", "AuthorizeSecurityGroupIngress", []string{"GroupId", "sg-00000001", "IpPermissions.1.Groups.1.GroupId", "sg-00000002", "IpPermissions.1.PrefixListIds.1.PrefixListId", "pl-00000001"}, []string{"ec2:AuthorizeSecurityGroupIngress " + ec2ARN + "security-group/sg-00000001"}},
		{"ec2", "ModifySecurityGroupRules", []string{"GroupId", "sg-00000001", "SecurityGroupRule.1.SecurityGroupRuleId", "sgr-00000001", "SecurityGroupRule.1.SecurityGroupRule.ReferencedGroupId", "sg-00000002"}, []string{
			"ec2:ModifySecurityGroupRules " + ec2ARN + "security-group/sg-00000001", "ec2:ModifySecurityGroupRules " + ec2ARN + "security-group-rule/sgr-00000001",
		}},
		{"ec2", "RevokeSecurityGroupIngress", []string{"SecurityGroupRuleId.1", "sgr-00000001"}, []string{
			"ec2:RevokeSecurityGroupIngress " + ec2ARN + "security-group-rule/sgr-00000001", "ec2:RevokeSecurityGroupIngress " + ec2ARN + "security-group/sg-00000001",
		}},
		{"ec2", "DeleteSecurityGroup", []string{"GroupName", "web"}, []string{"ec2:DeleteSecurityGroup " + ec2ARN + "security-group/sg-0000000d"}},
		{"ec2", "AuthorizeSecurityGroupIngress", []string{"GroupName", "web"}, []string{"ec2:AuthorizeSecurityGroupIngress " + ec2ARN + "security-group/sg-0000000d"}},
		{"ec2", "DeleteSecurityGroup", []string{"GroupName", "none"}, []string{"ec2:DeleteSecurityGroup *"}},
		{"ec2", "ReleaseAddress", []string{"PublicIp", "203.0.113.9"}, []string{"ec2:ReleaseAddress " + ec2ARN + "elastic-ip/eipalloc-00000001"}},
		{"ec2", "ReleaseAddress", []string{"PublicIp", "203.0.113.10"}, []string{"ec2:ReleaseAddress *"}},
		{"ec2", "DisassociateAddress", []string{"AssociationId", "eipassoc-00000001"}, []string{"ec2:DisassociateAddress " + ec2ARN + "elastic-ip/eipalloc-00000001"}},
		{"ec2", "AllocateAddress", nil, []string{"ec2:AllocateAddress " + ec2ARN + "elastic-ip/*"}},
		{"ec2", "CreateNatGateway", []string{"SubnetId", "subnet-00000001", "AllocationId", "eipalloc-00000001"}, []string{
			"ec2:CreateNatGateway " + ec2ARN + "natgateway/*", "ec2:CreateNatGateway " + ec2ARN + "elastic-ip/eipalloc-00000001", "ec2:CreateNatGateway " + ec2ARN + "subnet/subnet-00000001",
		}},
		{"ec2", "CreateRoute", []string{"RouteTableId", "rtb-00000001", "NetworkInterfaceId", "eni-00000001", "DestinationCidrBlock", "0.0.0.0/0"}, []string{"ec2:CreateRoute " + ec2ARN + "route-table/rtb-00000001"}},
		{"ec2", "ReplaceRouteTableAssociation", []string{"AssociationId", "rtbassoc-00000001", "RouteTableId", "rtb-00000002"}, []string{
			"ec2:ReplaceRouteTableAssociation " + ec2ARN + "route-table/rtb-00000001", "ec2:ReplaceRouteTableAssociation " + ec2ARN + "route-table/rtb-00000002",
		}},
		{"ec2", "DisassociateRouteTable", []string{"AssociationId", "rtbassoc-00000009"}, []string{"ec2:DisassociateRouteTable " + ec2ARN + "route-table/*"}},
		{"ec2", "DisassociateVpcCidrBlock", []string{"AssociationId", "vpc-cidr-assoc-00000001"}, []string{"ec2:DisassociateVpcCidrBlock " + ec2ARN + "vpc/" + own}},
		{"ec2", "DisassociateVpcCidrBlock", []string{"AssociationId", "vpc-cidr-assoc-00000002"}, []string{"ec2:DisassociateVpcCidrBlock " + ec2ARN + "vpc/*"}},
		{"ec2", "DisassociateVpcCidrBlock", []string{"AssociationId", "vpc-cidr-assoc-00000006"}, []string{"ec2:DisassociateVpcCidrBlock " + ec2ARN + "vpc/" + own}},
		{"ec2", "DisassociateSubnetCidrBlock", []string{"AssociationId", "subnet-cidr-assoc-00000001"}, []string{"ec2:DisassociateSubnetCidrBlock " + ec2ARN + "subnet/subnet-00000001"}},
		{"ec2", "DisassociateSubnetCidrBlock", []string{"AssociationId", "subnet-cidr-assoc-00000002"}, []string{"ec2:DisassociateSubnetCidrBlock " + ec2ARN + "subnet/*"}},
		{"ec2", "CreateEgressOnlyInternetGateway", []string{"VpcId", own}, []string{
			"ec2:CreateEgressOnlyInternetGateway " + ec2ARN + "egress-only-internet-gateway/*", "ec2:CreateEgressOnlyInternetGateway " + ec2ARN + "vpc/" + own,
		}},
		{"ec2", "DeleteEgressOnlyInternetGateway", []string{"EgressOnlyInternetGatewayId", "eigw-00000001"}, []string{"ec2:DeleteEgressOnlyInternetGateway " + ec2ARN + "egress-only-internet-gateway/eigw-00000001"}},
		{"ec2", "GetManagedPrefixListEntries", []string{"PrefixListId", "pl-00000001"}, []string{"ec2:GetManagedPrefixListEntries arn:aws:ec2:us-east-1:aws:prefix-list/pl-00000001"}},
		{"ec2", "RunInstances", []string{"ImageId", "ami-00000001", "NetworkInterface.1.SubnetId", "subnet-00000001", "MinCount", "1"}, []string{
			"ec2:RunInstances " + ec2ARN + "instance/*", "ec2:RunInstances " + ec2ARN + "network-interface/*", "ec2:RunInstances " + ec2ARN + "volume/*",
			"ec2:RunInstances arn:aws:ec2:us-east-1::image/ami-00000001", "ec2:RunInstances " + ec2ARN + "subnet/subnet-00000001",
		}},
		{"ec2", "RunInstances", []string{"NetworkInterface.1.NetworkInterfaceId", "eni-00000001"}, []string{
			"ec2:RunInstances " + ec2ARN + "instance/*", "ec2:RunInstances " + ec2ARN + "volume/*", "ec2:RunInstances " + ec2ARN + "network-interface/eni-00000001",
		}},
		{"ec2", "RunInstances", []string{"SecurityGroup.1", "web"}, []string{
			"ec2:RunInstances " + ec2ARN + "instance/*", "ec2:RunInstances " + ec2ARN + "network-interface/*", "ec2:RunInstances " + ec2ARN + "volume/*", "ec2:RunInstances " + ec2ARN + "security-group/sg-0000000d",
		}},
		{"ec2", "CreateSubnet", []string{"VpcId", own, "TagSpecification.1.ResourceType", "subnet", "TagSpecification.1.Tag.1.Key", "a", "TagSpecification.1.Tag.1.Value", "b"}, []string{
			"ec2:CreateSubnet " + ec2ARN + "subnet/*", "ec2:CreateSubnet " + ec2ARN + "vpc/" + own, "ec2:CreateTags " + ec2ARN + "subnet/*",
		}},
		{"ec2", "CreateTags", []string{"ResourceId.1", own, "ResourceId.2", "subnet-00000001", "Tag.1.Key", "a"}, []string{"ec2:CreateTags " + ec2ARN + "vpc/" + own, "ec2:CreateTags " + ec2ARN + "subnet/subnet-00000001"}},
		{"ec2", "CreateSecurityGroup", []string{"VpcId", own, "GroupName", "sg-00000009", "GroupDescription", "vpc-00000000000000009"}, []string{"ec2:CreateSecurityGroup " + ec2ARN + "security-group/*", "ec2:CreateSecurityGroup " + ec2ARN + "vpc/" + own}},
		{"ec2", "FutureAction", []string{"NewThingId", "thing-00000001"}, []string{"ec2:FutureAction " + ec2ARN + "thing/thing-00000001"}},
		{"ec2", "CreateFutureThing", nil, []string{"ec2:CreateFutureThing " + ec2ARN + "future-thing/*"}},

		{"elasticloadbalancing", "DescribeTags", []string{"ResourceArns.member.1", nlb}, []string{"elasticloadbalancing:DescribeTags *"}},
		{"elasticloadbalancing", "CreateLoadBalancer", []string{"Name", "one", "Subnets.member.1", "subnet-00000001", "Tags.member.1.Key", "a"}, []string{
			"elasticloadbalancing:CreateLoadBalancer " + elbARN + "loadbalancer/net/one/*", "elasticloadbalancing:AddTags " + elbARN + "loadbalancer/net/one/*",
		}},
		{"elasticloadbalancing", "CreateListener", []string{"LoadBalancerArn", nlb, "DefaultActions.member.1.TargetGroupArn", "arn:aws:x"}, []string{"elasticloadbalancing:CreateListener " + nlb}},
		{"elasticloadbalancing", "AddTags", []string{"ResourceArns.member.1", nlb, "ResourceArns.member.2", "arn:x", "Tags.member.1.Key", "a"}, []string{"elasticloadbalancing:AddTags " + nlb, "elasticloadbalancing:AddTags arn:x"}},
		{"elasticloadbalancing", "DeleteLoadBalancer", []string{"LoadBalancerArn", "arn:" + strings.Repeat("x", 3000)}, []string{"elasticloadbalancing:DeleteLoadBalancer *"}},

		{"iam", "ListUsers", nil, []string{"iam:ListUsers *"}},
		{"iam", "CreateUser", []string{"UserName", "eve", "Path", "/team/"}, []string{"iam:CreateUser " + iamARN + "user/team/eve"}},
		{"iam", "DeleteUser", []string{"UserName", "ann"}, []string{"iam:DeleteUser " + iamARN + "user/team/ann"}},
		{"iam", "UpdateUser", []string{"UserName", "ann", "NewPath", "/admin/"}, []string{"iam:UpdateUser " + iamARN + "user/team/ann", "iam:UpdateUser " + iamARN + "user/admin/ann"}},
		{"iam", "CreateAccessKey", nil, []string{"iam:CreateAccessKey " + iamARN + "user/team/ann"}},
		{"iam", "CreateAccessKey", []string{"UserName", "bob"}, []string{"iam:CreateAccessKey " + iamARN + "user/bob"}},
		{"iam", "AttachRolePolicy", []string{"RoleName", "build", "PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess"}, []string{"iam:AttachRolePolicy " + iamARN + "role/ci/build"}},
		{"iam", "CreatePolicy", []string{"PolicyName", "new"}, []string{"iam:CreatePolicy " + iamARN + "policy/new"}},
		{"route53resolver", "CreateResolverEndpoint", []string{"CreatorRequestId", "x"}, []string{"route53resolver:CreateResolverEndpoint " + rslvrARN + "resolver-endpoint/*"}},
		{"route53resolver", "ListResolverEndpoints", nil, []string{"route53resolver:ListResolverEndpoints " + rslvrARN + "resolver-endpoint/*"}},
		{"route53resolver", "DisassociateResolverEndpointIpAddress", []string{"ResolverEndpointId", "rslvr-in-1"}, []string{"route53resolver:DisassociateResolverEndpointIpAddress " + rslvrARN + "resolver-endpoint/rslvr-in-1"}},
		{"route53resolver", "CreateResolverRule", []string{"ResolverEndpointId", "rslvr-out-1"}, []string{"route53resolver:CreateResolverRule " + rslvrARN + "resolver-rule/*"}},
		{"route53resolver", "ListResolverRules", nil, []string{"route53resolver:ListResolverRules " + rslvrARN + "resolver-rule/*"}},
		{"route53resolver", "AssociateResolverRule", []string{"ResolverRuleId", "rslvr-rr-1", "VPCId", own}, []string{"route53resolver:AssociateResolverRule " + rslvrARN + "resolver-rule/rslvr-rr-1"}},
		{"route53resolver", "GetResolverRuleAssociation", []string{"ResolverRuleAssociationId", "rslvr-rrassoc-1"}, []string{"route53resolver:GetResolverRuleAssociation " + rslvrARN + "resolver-rule/rslvr-rr-1"}},
		{"route53resolver", "GetResolverRuleAssociation", []string{"ResolverRuleAssociationId", "rslvr-rrassoc-2"}, []string{"route53resolver:GetResolverRuleAssociation " + rslvrARN + "resolver-rule/*"}},
		{"route53resolver", "ListResolverRuleAssociations", nil, []string{"route53resolver:ListResolverRuleAssociations *"}},
		{"route53resolver", "TagResource", []string{"ResourceArn", rslvrARN + "resolver-rule/rslvr-rr-1"}, []string{"route53resolver:TagResource " + rslvrARN + "resolver-rule/rslvr-rr-1"}},
		{"iam", "GetPolicyVersion", []string{"PolicyArn", iamARN + "policy/x/own", "VersionId", "v1"}, []string{"iam:GetPolicyVersion " + iamARN + "policy/x/own"}},
	} {
		if got := authz.Checks(world("", ""), ann, request(c.service, c.action, c.params...)); !slices.Equal(got, c.want) {
			t.Errorf("%s %q:\n got %q\nwant %q", c.action, c.params, got, c.want)
		}
	}
}

func TestConditionKeysSayWhatIsKnownOfAResource(t *testing.T) {
	const arn = "arn:aws:ec2:us-east-1:111111111111:"
	spec := []string{"VpcId", own, "ServiceName", "com.amazonaws.us-east-1.s3", "TagSpecification.1.ResourceType", "vpc-endpoint",
		"TagSpecification.1.Tag.1.Key", "team", "TagSpecification.1.Tag.1.Value", "red", "TagSpecification.1.Tag.2.Key", "env", "TagSpecification.1.Tag.2.Value", "x"}
	for _, c := range []struct {
		service, action, resource string
		params                    []string
		want                      string
	}{
		{"ec2", "CreateVpcEndpoint", arn + "vpc/" + own, spec, "aws:ResourceTag/team=red ec2:Region=us-east-1 ec2:ResourceID=" + own + " ec2:ResourceTag/team=red"},
		{"ec2", "CreateVpcEndpoint", arn + "vpc-endpoint/*", spec, "aws:RequestTag/env=x aws:RequestTag/team=red aws:TagKeys=team,env ec2:CreateAction=CreateVpcEndpoint ec2:Region=us-east-1 ec2:Vpc=" + arn + "vpc/" + own +
			" ec2:VpceServiceName=com.amazonaws.us-east-1.s3 ec2:VpceServiceOwner=amazon ec2:VpceServiceRegion=us-east-1"},
		{"ec2", "CreateVpcEndpoint", arn + "vpc-endpoint/*", []string{"ServiceName", "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0", "ServiceRegion", "eu-west-1"},
			"ec2:Region=us-east-1 ec2:VpceServiceName=com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0 ec2:VpceServiceOwner=222222222222 ec2:VpceServiceRegion=eu-west-1"},
		{"ec2", "CreateVpcEndpoint", arn + "vpc-endpoint/*", []string{"ServiceName", "hidden"}, "ec2:Region=us-east-1 ec2:VpceServiceName=hidden ec2:VpceServiceRegion=us-east-1"},
		{"ec2", "DeleteVpcEndpoints", arn + "vpc-endpoint/vpce-00000001", []string{"VpcEndpointId.1", "vpce-00000001"},
			"ec2:Region=us-east-1 ec2:ResourceID=vpce-00000001 ec2:Vpc=" + arn + "vpc/" + own + " ec2:VpceServiceName=com.amazonaws.us-east-1.s3 ec2:VpceServiceOwner=amazon ec2:VpceServiceRegion=us-east-1"},
		{"ec2", "CreateVpcEndpointServiceConfiguration", arn + "vpc-endpoint-service/*", []string{"PrivateDnsName", "a.example.com"}, "ec2:Region=us-east-1 ec2:VpceServicePrivateDnsName=a.example.com"},
		{"ec2", "DeleteVpcEndpointServiceConfigurations", arn + "vpc-endpoint-service/vpce-svc-00000001", []string{"ServiceId.1", "vpce-svc-00000001"}, "ec2:Region=us-east-1 ec2:ResourceID=vpce-svc-00000001 ec2:VpceServicePrivateDnsName=api.example.com"},
		{"ec2", "DeleteSubnet", arn + "subnet/subnet-00000001", []string{"SubnetId", "subnet-00000001"}, "ec2:Region=us-east-1 ec2:ResourceID=subnet-00000001 ec2:Vpc=" + arn + "vpc/" + own},
		{"ec2", "DeleteManagedPrefixList", arn + "prefix-list/pl-00000002", []string{"PrefixListId", "pl-00000002"}, "aws:ResourceTag/team=red ec2:Region=us-east-1 ec2:ResourceID=pl-00000002 ec2:ResourceTag/team=red"},
		{"ec2", "DeleteVpc", arn + "vpc/" + alien, []string{"VpcId", alien}, "ec2:Region=us-east-1"},
		{"ec2", "CreateTags", arn + "security-group-rule/sgr-00000001", []string{"ResourceId.1", "sgr-00000001", "Tag.1.Key", "a", "Tag.1.Value", "b"},
			"aws:RequestTag/a=b aws:ResourceTag/rule=yes aws:TagKeys=a ec2:Region=us-east-1 ec2:ResourceID=sgr-00000001 ec2:ResourceTag/rule=yes ec2:Vpc=" + arn + "vpc/" + own},
		{"elasticloadbalancing", "DeleteLoadBalancer", nlb, []string{"LoadBalancerArn", nlb}, "aws:ResourceTag/team=red elasticloadbalancing:ResourceTag/team=red"},
		{"route53resolver", "DeleteResolverRule", "arn:aws:route53resolver:us-east-1:111111111111:resolver-rule/rslvr-rr-1", []string{"ResolverRuleId", "rslvr-rr-1"}, "aws:ResourceTag/team=red route53resolver:ResourceTag/team=red"},
		{"route53resolver", "DeleteResolverRule", "arn:aws:route53resolver:us-east-1:111111111111:resolver-rule/rslvr-rr-2", []string{"ResolverRuleId", "rslvr-rr-2"}, ""},
		{"route53resolver", "UntagResource", "arn:aws:route53resolver:us-east-1:111111111111:resolver-rule/rslvr-rr-1", []string{"ResourceArn", "arn:aws:route53resolver:us-east-1:111111111111:resolver-rule/rslvr-rr-1", "TagKeys.member.1", "team"}, "aws:ResourceTag/team=red aws:TagKeys=team route53resolver:ResourceTag/team=red"},
		{"route53resolver", "CreateResolverEndpoint", "arn:aws:route53resolver:us-east-1:111111111111:resolver-endpoint/*", []string{"Tags.member.1.Key", "team", "Tags.member.1.Value", "red"}, "aws:RequestTag/team=red aws:TagKeys=team"},
		{"elasticloadbalancing", "RemoveTags", nlb, []string{"ResourceArns.member.1", nlb, "TagKeys.member.1", "team"}, "aws:ResourceTag/team=red aws:TagKeys=team elasticloadbalancing:ResourceTag/team=red"},
		{"iam", "AttachUserPolicy", "arn:aws:iam::111111111111:user/team/ann", []string{"UserName", "ann", "PolicyArn", "arn:p"}, "aws:ResourceTag/team=red iam:PolicyARN=arn:p iam:ResourceTag/team=red"},
		{"iam", "UntagPolicy", "arn:aws:iam::111111111111:policy/x/own", []string{"PolicyArn", "arn:aws:iam::111111111111:policy/x/own", "TagKeys.member.1", "kind"}, "aws:ResourceTag/kind=policy aws:TagKeys=kind iam:ResourceTag/kind=policy"},
	} {
		if got := strings.Join(authz.Keys(world("", ""), ann, request(c.service, c.action, c.params...), c.resource), " "); got != c.want {
			t.Errorf("%s on %s:\n got %s\nwant %s", c.action, c.resource, got, c.want)
		}
	}
}

func TestPoliciesDecide(t *testing.T) {
	root := authz.Principal{Account: us, ARN: us.RootARN(), UserID: string(us)}
	narrow := func(doc string) authz.Principal { p := build; p.Policy = doc; return p }
	deleteVPC := request("ec2", "DeleteVpc", "VpcId", own)
	const implicit, explicit = "because no identity-based policy allows the ec2:DeleteVpc action", "with an explicit deny in an identity-based policy"
	for _, c := range []struct {
		name      string
		who       authz.Principal
		user, rol string
		request   authz.Request
		want      string // "" or the end of the message
	}{
		{"root", root, "", "", deleteVPC, ""},
		{"root whatever users have", root, doc(`"Effect":"Deny","Action":"*","Resource":"*"`), "", deleteVPC, ""},
		{"no policy", ann, "", "", deleteVPC, implicit},
		{"all", ann, doc(any), "", deleteVPC, ""},
		{"a role's policy is not the user's", ann, "", doc(any), deleteVPC, implicit},
		{"role", build, "", doc(any), deleteVPC, ""},
		{"a user's policy is not the role's", build, doc(any), "", deleteVPC, implicit},
		{"deny wins", ann, doc(any, `"Effect":"Deny","Action":"ec2:Delete*","Resource":"*"`), "", deleteVPC, explicit},
		{"another resource", ann, doc(`"Effect":"Allow","Action":"*","Resource":"arn:aws:ec2:*:*:vpc/vpc-00000000000000009"`), "", deleteVPC, implicit},
		{"this resource", ann, doc(`"Effect":"Allow","Action":"*","Resource":"arn:aws:ec2:*:111111111111:vpc/` + own + `"`), "", deleteVPC, ""},
		{"one of two resources", ann, doc(`"Effect":"Allow","Action":"*","Resource":"arn:aws:ec2:*:*:vpc/*"`), "", request("ec2", "CreateSubnet", "VpcId", own), "because no identity-based policy allows the ec2:CreateSubnet action"},
		{"resource tag", ann, doc(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"ec2:ResourceTag/team":"${aws:PrincipalTag/team}"}}`), "", deleteVPC, ""},
		{"resource tag of another team", build, "", doc(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"ec2:ResourceTag/team":"${aws:PrincipalTag/team}"}}`), deleteVPC, implicit},
		{"tags of a foreign resource are unknown", ann, doc(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"ec2:ResourceTag/team":"red"}}`), "", request("ec2", "DeleteVpc", "VpcId", alien), implicit},
		{"name", ann, doc(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:username":"ann","aws:userid":"AIDAANN","aws:PrincipalType":"User","aws:PrincipalAccount":"111111111111"},"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::111111111111:user/team/ann"}}`), "", deleteVPC, ""},
		{"session", build, "", doc(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:userid":"AROABUILD:job","aws:PrincipalType":"AssumedRole"},"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::111111111111:role/ci/build"},"Null":{"aws:username":"true"},"DateLessThanEquals":{"aws:TokenIssueTime":"2026-03-04T05:06:07Z"}}`), deleteVPC, ""},
		{"source", ann, doc(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"},"Bool":{"aws:SecureTransport":"true"},"StringEquals":{"aws:UserAgent":"tester","aws:RequestedRegion":"us-east-1"}}`), "", deleteVPC, ""},
		{"elsewhere", ann, doc(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"198.51.100.0/24"}}`), "", deleteVPC, implicit},
		{"time", ann, doc(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2026-03-04T05:06:06Z"},"NumericLessThan":{"aws:EpochTime":"1772600768"}}`), "", deleteVPC, ""},
		{"too late", ann, doc(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-03-04T05:06:07Z"}}`), "", deleteVPC, implicit},
		{"session policy allows", narrow(doc(`"Effect":"Allow","Action":"ec2:DeleteVpc","Resource":"*"`)), "", doc(any), deleteVPC, ""},
		{"session policy does not allow", narrow(doc(`"Effect":"Allow","Action":"ec2:CreateVpc","Resource":"*"`)), "", doc(any), deleteVPC, "because no session policy allows the ec2:DeleteVpc action"},
		{"session policy denies", narrow(doc(any, `"Effect":"Deny","Action":"ec2:*","Resource":"*"`)), "", doc(any), deleteVPC, "with an explicit deny in a session policy"},
		{"session policy adds nothing", narrow(doc(any)), "", "", deleteVPC, implicit},
		{"unreadable", ann, `{"Statement":`, "", deleteVPC, "not valid JSON"},
		{"user is gone", authz.Principal{Account: us, ARN: "arn:x", User: "AIDAGONE"}, doc(any), doc(any), deleteVPC, implicit},
		{"role is gone", authz.Principal{Account: us, ARN: "arn:x", Role: "AROAGONE"}, doc(any), doc(any), deleteVPC, implicit},
	} {
		err := authz.Authorize(world(c.user, c.rol), c.who, c.request)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		var e *vpc.Error
		if !errors.As(err, &e) || e.Kind != vpc.Denied || !strings.Contains(e.Message, c.want) || !strings.Contains(e.Message, c.who.ARN) {
			t.Errorf("%s: %v, want a denial with %q", c.name, err, c.want)
		}
	}
}

func TestHugeRequestsAreRefusedAndNotJudged(t *testing.T) {
	var ids, tags params
	for i := range 1500 {
		ids = append(ids, fmt.Sprintf("ResourceId.%d", i+1), fmt.Sprintf("vpc-%017x", i))
		if i < 51 {
			tags = append(tags, fmt.Sprintf("Tag.%d.Key", i+1), fmt.Sprint(i))
		}
	}
	for name, p := range map[string]params{"ids": append(ids, "Tag.1.Key", "a"), "tags": append(tags, "ResourceId.1", own)} {
		var e *vpc.Error
		if err := authz.Authorize(world(doc(any), ""), ann, request("ec2", "CreateTags", p...)); !errors.As(err, &e) || e.Kind != vpc.Limit {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := authz.Authorize(world(doc(any), ""), ann, request("ec2", "CreateTags", append(ids[:2000:2000], tags[:100]...)...)); err != nil {
		t.Errorf("as many as AWS allows: %v", err)
	}
}

// BenchmarkAuthorize judges a call of a user with as many policies as there can be.
func BenchmarkAuthorize(b *testing.B) {
	v := world(doc(any), "")
	u, _ := vpc.Get[vpc.User](v, "AIDAANN")
	statement := `"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::a-bucket-of-ours/prefix/*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"red"}}`
	statements := slices.Repeat([]string{statement}, 30)
	for i := range 10 {
		p := &vpc.ManagedPolicy{ID: vpc.PolicyID(fmt.Sprint("ANPA", i)), Owner: us, Default: 1, Versions: []vpc.PolicyVersion{{Number: 1, Document: doc(statements...)}}}
		v.Put(p)
		u.Policies.Attached = append(u.Policies.Attached, p.ID)
	}
	r := request("ec2", "CreateSubnet", "VpcId", own)
	for b.Loop() {
		if err := authz.Authorize(v, ann, r); err != nil {
			b.Fatal(err)
		}
	}
}

func TestManagedPoliciesCountByTheirDefaultVersion(t *testing.T) {
	v := world("", "")
	p := &vpc.ManagedPolicy{ID: "ANPATWO", Owner: us, Name: "two", Path: "/", Default: 1, Versions: []vpc.PolicyVersion{
		{Number: 1, Document: doc(`"Effect":"Allow","Action":"ec2:CreateVpc","Resource":"*"`)}, {Number: 2, Document: doc(any)},
	}}
	u, _ := vpc.Get[vpc.User](v, "AIDAANN")
	u.Policies.Attached = []vpc.PolicyID{p.ID}
	v.Put(p)
	if err := authz.Authorize(v, ann, request("ec2", "DeleteVpc", "VpcId", own)); err == nil {
		t.Error("a version that is not the default counted")
	}
	p.Default = 2
	if err := authz.Authorize(v, ann, request("ec2", "DeleteVpc", "VpcId", own)); err != nil {
		t.Errorf("the default version did not count: %v", err)
	}
	p.Default, u.Policies.Attached = 1, []vpc.PolicyID{p.ID, vpc.AWSPolicies[0].ID}
	if err := authz.Authorize(v, ann, request("ec2", "DeleteVpc", "VpcId", own)); err != nil {
		t.Errorf("AdministratorAccess did not count: %v", err)
	}
}

// An id whose prefix has no row would be a resource of a made-up type.
func TestEveryIDPrefixIsAResourceType(t *testing.T) {
	none := []string{
		"PrefixUser", "PrefixRole", "PrefixPolicy", "PrefixKey", "PrefixTemporary", // IAM's
		"PrefixResolverInbound", "PrefixResolverOutbound", "PrefixResolverRule", "PrefixResolverAssociation", "PrefixResolverAddress", // Route 53 Resolver's
	}
	files, err := filepath.Glob("../vpc/*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	look := func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Prefix") || slices.Contains(none, spec.Names[0].Name) {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		prefix, err := strconv.Unquote(lit.Value)
		if err != nil || !authz.HasType(prefix) {
			t.Errorf("vpc.%s (%s): say in resourceTypes what AWS's resource type of such ids is", spec.Names[0].Name, lit.Value)
		}
		n++
		return true
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, look)
	}
	if n < 15 {
		t.Errorf("found only %d prefixes", n)
	}
}

// What an action makes is guessed from its name unless makes says it.
func TestEveryActionThatMakesSomethingMakesAResourceOfAWS(t *testing.T) {
	types := strings.Fields(`vpc subnet route-table security-group network-acl network-interface instance volume vpc-endpoint vpc-endpoint-service
		natgateway internet-gateway egress-only-internet-gateway elastic-ip dhcp-options prefix-list vpc-peering-connection vpc-flow-log
		vpc-endpoint-connection-notification vpc-block-public-access-exclusion`)
	for _, action := range ec2.Actions.Names() {
		if !strings.HasPrefix(action, "Create") {
			continue
		}
		for _, c := range authz.Checks(world("", ""), ann, request("ec2", action)) {
			_, resource, _ := strings.Cut(c, " ")
			made, isNew := strings.CutSuffix(resource[strings.LastIndexByte(resource, ':')+1:], "/*")
			if isNew && !slices.Contains(types, made) {
				t.Errorf("%s makes %q: say in makes which resource type of AWS that is", action, made)
			}
		}
	}
}

func TestParsedDocumentsAreBounded(t *testing.T) {
	for i := range 1100 {
		who := build
		who.Policy = doc(fmt.Sprintf(`"Sid":"s%d",`, i) + any)
		if err := authz.Authorize(world("", doc(any)), who, request("ec2", "DeleteVpc", "VpcId", own)); err != nil {
			t.Fatal(err)
		}
	}
	if n := authz.Parsed(); n != 1024 {
		t.Errorf("%d documents are kept", n)
	}
}

// Each account's tags on a peering connection are its own.
func TestPeeringIsBothAccountsWithTheTagsOfEach(t *testing.T) {
	v := world(doc(`"Effect":"Allow","Action":"ec2:DeleteVpcPeeringConnection","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"red"}}`), "")
	p := &vpc.Peering{ID: "pcx-00000001", Requester: vpc.PeeringSide{Owner: them, Tags: vpc.Tags{"team": "red"}}, Accepter: vpc.PeeringSide{Owner: us, Tags: vpc.Tags{"team": "blue"}}}
	v.Put(p)
	req := request("ec2", "DeleteVpcPeeringConnection", "VpcPeeringConnectionId", "pcx-00000001")
	if err := authz.Authorize(v, ann, req); err == nil {
		t.Error("the other account's tag was taken for one's own")
	}
	p.Accepter.Tags["team"] = "red"
	if err := authz.Authorize(v, ann, req); err != nil {
		t.Errorf("one's own tag was not seen: %v", err)
	}
}
