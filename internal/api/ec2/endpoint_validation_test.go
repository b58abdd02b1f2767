// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// refusal is a call that must fail: with the code, a message that names
// everything in names, and without a write.
type refusal struct {
	action string
	pairs  []string
	code   string
	names  []string
}

func (a *endpointAPI) refuses(caller control.Caller, list ...refusal) {
	a.t.Helper()
	for _, r := range list {
		before := a.c.View().Revision()
		status, body := a.call(caller, form(r.action, r.pairs...))
		var e struct {
			Code    string `xml:"Errors>Error>Code"`
			Message string `xml:"Errors>Error>Message"`
		}
		if err := xml.Unmarshal([]byte(body), &e); err != nil {
			a.t.Fatal(err)
		}
		if status/100 != 4 || e.Code != r.code {
			a.t.Errorf("%s %q: %d %s (%s), want %s", r.action, r.pairs, status, e.Code, e.Message, r.code)
		}
		for _, n := range r.names {
			if !strings.Contains(e.Message, n) {
				a.t.Errorf("%s %q: the message %q does not name %q", r.action, r.pairs, e.Message, n)
			}
		}
		if after := a.c.View().Revision(); after != before {
			a.t.Errorf("%s %q wrote revision %d", r.action, r.pairs, after)
		}
	}
}

func (a *endpointAPI) put(fn func(tx *store.Tx)) {
	a.t.Helper()
	if _, err := a.c.Store.Update(context.Background(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		a.t.Fatal(err)
	}
}

// settled waits until the life cycle has nothing to write.
func (a *endpointAPI) settled() {
	a.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		snap, changed := a.c.Store.Changed()
		_, pending := vpc.First[vpc.Endpoint](snap, "state", string(vpc.EndpointPending))
		if !pending {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			a.t.Fatal("endpoints are pending after 10 s")
		}
	}
}

// texts runs a call that must succeed and answers the texts of all elements of
// one name.
func (a *endpointAPI) texts(caller control.Caller, element, action string, pairs ...string) []string {
	a.t.Helper()
	return a.textsOf(caller, element, form(action, pairs...))
}

func (a *endpointAPI) textsOf(caller control.Caller, element string, f url.Values) []string {
	a.t.Helper()
	status, body := a.call(caller, f)
	if status != 200 {
		a.t.Fatalf("%v: %d %s", f, status, body)
	}
	var out []string
	d := xml.NewDecoder(strings.NewReader(body))
	for {
		tok, err := d.Token()
		if err != nil {
			return out
		}
		if s, ok := tok.(xml.StartElement); ok && s.Name.Local == element {
			var text string
			if err := d.DecodeElement(&text, &s); err != nil {
				a.t.Fatal(err)
			}
			out = append(out, text)
		}
	}
}

const (
	badVPC    = "vpc-00000000000000bad"
	badSubnet = "subnet-00000000000000bad"
	badGroup  = "sg-00000000000000bad"
	badTable  = "rtb-00000000000000bad"
	badEP     = "vpce-00000000000000bad"
	badSvc    = "vpce-svc-00000000000000bad"
	noDNS     = "vpc-00000000000000d05"
)

// The rows of CreateVpcEndpoint's validation, in AWS's order.
func TestCreateVpcEndpointNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	a := newEndpointAPI(t)
	me := controltest.Consumer
	controltest.HandMade(a.c)
	a.put(func(tx *store.Tx) {
		tx.Put(&vpc.VPC{ID: noDNS, Owner: me.Account, VNI: 0x4444, EnableDNSSupport: true, CIDRs: []vpc.CIDRAssociation{{CIDR: netip.MustParsePrefix("10.9.0.0/16")}}})
		tx.Put(&vpc.Subnet{ID: "subnet-000000000000000d0", Owner: me.Account, VPC: noDNS, CIDR: netip.MustParsePrefix("10.9.0.0/24"), Zone: "us-east-1c"})
		tx.Put(&vpc.Subnet{ID: "subnet-000000000000000a2", Owner: me.Account, VPC: vpc.VPCID(a.vpc), CIDR: netip.MustParsePrefix("10.0.3.0/24"), Zone: "us-east-1a"})
		tx.Put(&vpc.Subnet{ID: "subnet-0000000000000000c", Owner: me.Account, VPC: vpc.VPCID(a.vpc), CIDR: netip.MustParsePrefix("10.0.4.0/28"), Zone: "us-east-1c"})
		tx.Put(&vpc.CatalogueService{Name: "dynamodb", ServiceName: "com.amazonaws.us-east-1.dynamodb", ID: "vpce-svc-0000000000000005c", PrefixList: "pl-0000000000000000d",
			Types: []vpc.EndpointType{vpc.GatewayEndpoint}, PolicySupported: true})
		for i := range 11 { // the small subnet is full
			addr := netip.AddrFrom4([4]byte{10, 0, 4, byte(4 + i)})
			tx.Put(&vpc.NetworkInterface{ID: vpc.InterfaceID(fmt.Sprintf("eni-%017x", 0x900+i)), Owner: me.Account, VPC: vpc.VPCID(a.vpc), Subnet: "subnet-0000000000000000c", Addr: addr, MAC: fmt.Sprintf("02:00:00:00:09:%02x", i)})
		}
	})
	service := a.texts(controltest.Provider, "serviceName", "CreateVpcEndpointServiceConfiguration", "NetworkLoadBalancerArn.1", epNLB, "AcceptanceRequired", "false")[0]
	refuseService := refusal{"CreateVpcEndpoint", []string{"VpcId", a.vpc, "ServiceName", service, "VpcEndpointType", "Interface"}, "InvalidServiceName", []string{"The Vpc Endpoint Service '" + service + "' does not exist"}}
	a.refuses(me, refuseService)
	id := service[strings.LastIndex(service, ".")+1:]
	a.texts(controltest.Provider, "return", "ModifyVpcEndpointServicePermissions", "ServiceId", id, "AddAllowedPrincipals.1", me.Account.RootARN())
	a.texts(me, "state", "CreateVpcEndpoint", "VpcId", a.vpc, "ServiceName", epS3, "RouteTableId.1", a.table, "ClientToken", "used")
	taken := a.texts(me, "vpcEndpointId", "CreateVpcEndpoint", "VpcId", a.vpc, "ServiceName", epS3, "VpcEndpointType", "Interface", "SubnetId.1", epSubnetA)
	a.settled()
	group := a.texts(me, "groupId", "CreateSecurityGroup", "VpcId", noDNS, "GroupName", "other", "GroupDescription", "of another VPC")[0]

	with := func(base []string, pairs []string) []string {
		out := slices.Clone(base)
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, pairs[i], pairs[i+1])
		}
		return out
	}
	row := func(code string, base []string, pairs []string, names ...string) refusal {
		return refusal{"CreateVpcEndpoint", with(base, pairs), code, names}
	}
	gateway := []string{"VpcId", a.vpc, "ServiceName", epS3}
	iface := []string{"VpcId", a.vpc, "ServiceName", service, "VpcEndpointType", "Interface"}
	s3 := []string{"VpcId", a.vpc, "ServiceName", epS3, "VpcEndpointType", "Interface"}
	p := func(pairs ...string) []string { return pairs }
	five := p()
	for i := range 6 {
		five = append(five, fmt.Sprintf("SecurityGroupId.%d", i+1), fmt.Sprintf("sg-%017x", i))
	}
	policy := func(body string) []string {
		return p("PolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*",`+body+`}]}`)
	}
	a.refuses(me,
		row("MissingParameter", p("ServiceName", epS3), nil, "VpcId"),
		row("MissingParameter", p("VpcId", a.vpc), nil, "ServiceName"),
		row("InvalidVpcID.Malformed", gateway, p("VpcId", "vpc-xyz"), "Vpc Id", "vpc-xyz"),
		row("InvalidVpcID.NotFound", gateway, p("VpcId", badVPC), "The vpc ID '"+badVPC+"' does not exist"),
		row("InvalidServiceName", gateway, p("ServiceName", "com.example"), "The Vpc Endpoint Service 'com.example' does not exist"),
		row("InvalidParameter", iface, p("VpcEndpointType", "Gateway"), "Endpoint type (Gateway) does not match available service types ([Interface])"),
		row("InvalidVpcEndpointType", gateway, p("VpcEndpointType", "gateway"), "VpcEndpointType", "gateway"),
		row("UnsupportedOperation", gateway, p("VpcEndpointType", "GatewayLoadBalancer"), "VpcEndpointType", "GatewayLoadBalancer"),
		row("UnsupportedOperation", gateway, p("VpcEndpointType", "Resource"), "VpcEndpointType", "Resource"),
		row("UnsupportedOperation", gateway, p("VpcEndpointType", "ServiceNetwork"), "VpcEndpointType", "ServiceNetwork"),
		row("UnsupportedOperation", gateway, p("ServiceNetworkArn", "arn:x"), "ServiceNetworkArn"),
		row("UnsupportedOperation", gateway, p("ResourceConfigurationArn", "arn:x"), "ResourceConfigurationArn"),
		row("UnsupportedOperation", gateway, p("ServiceRegion", "eu-west-1"), "ServiceRegion", "eu-west-1"),
		row("InvalidParameter", iface, p("IpAddressType", "ipv6"), "IpAddressType", "ipv6"),
		row("InvalidParameter", iface, p("IpAddressType", "dualstack"), "IpAddressType", "dualstack"),
		row("InvalidParameter", iface, p("IpAddressType", "ipv5"), "IpAddressType", "ipv5"),
		row("InvalidParameter", iface, p("DnsOptions.DnsRecordIpType", "dualstack"), "DnsRecordIpType", "dualstack"),
		row("InvalidParameter", iface, p("DnsOptions.DnsRecordIpType", "service-defined"), "DnsRecordIpType", "service-defined"),
		row("InvalidParameter", gateway, p("DnsOptions.DnsRecordIpType", "a"), "DnsRecordIpType", "'a'"),
		row("InvalidParameter", gateway, p("ServiceName", "com.amazonaws.us-east-1.dynamodb", "DnsOptions.DnsRecordIpType", "ipv4"), "DnsRecordIpType", "ipv4"),
		row("InvalidParameter", gateway, p("VpcId", noDNS, "DnsOptions.DnsRecordIpType", "ipv4"), "DnsRecordIpType", noDNS),
		row("UnsupportedOperation", iface, p("DnsOptions.PrivateDnsPreference", "ALL_DOMAINS"), "PrivateDnsPreference"),
		row("UnsupportedOperation", iface, p("DnsOptions.PrivateDnsSpecifiedDomain.1", "x"), "PrivateDnsSpecifiedDomain"),
		row("InvalidParameter", iface, p("DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint", "true"), "PrivateDnsOnlyForInboundResolverEndpoint", service),
		row("InvalidParameter", s3, p("PrivateDnsEnabled", "false", "DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint", "true"), "PrivateDnsOnlyForInboundResolverEndpoint", "PrivateDnsEnabled"),
		row("InvalidSubnetID.Malformed", iface, p("SubnetId.1", "subnet-x"), "Invalid Subnet Id: 'subnet-x' (expecting 'subnet-...; the Id may only contain lowercase alphanumeric characters and a single dash')"),
		row("InvalidSubnetID.NotFound", iface, p("SubnetId.1", badSubnet), "The subnet ID '"+badSubnet+"' does not exist"),
		row("InvalidSubnetID.NotFound", iface, p("SubnetId.1", "subnet-0000000000000000f"), "subnet-0000000000000000f"), // the provider's
		row("InvalidParameter", iface, p("SubnetId.1", "subnet-000000000000000d0"), "subnet-000000000000000d0", a.vpc),
		row("DuplicateSubnetsInSameZone", iface, p("SubnetId.1", epSubnetA, "SubnetId.2", "subnet-000000000000000a2"), "Found another VPC endpoint subnet in the availability zone of subnet-000000000000000a2."),
		row("InvalidParameter", iface, p("SubnetId.1", "subnet-0000000000000000c"), "The VPC endpoint service "+service+" does not support the availability zone of the subnet: subnet-0000000000000000c."),
		row("InvalidParameter", s3, p("VpcId", noDNS), "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for "+noDNS),
		row("InvalidParameter", iface, p("PrivateDnsEnabled", "true"), "Private DNS can't be enabled because the service "+service+" does not provide a private DNS name."),
		row("InvalidParameter", s3, nil, "private-dns-enabled cannot be set because there is already a conflicting DNS domain for s3.us-east-1.amazonaws.com in the VPC "+a.vpc),
		row("InvalidGroupId.Malformed", iface, p("SecurityGroupId.1", "sg-x"), "Security Group Id", "sg-x"),
		row("InvalidGroup.NotFound", iface, p("SecurityGroupId.1", badGroup), "The security group '"+badGroup+"' does not exist"),
		row("InvalidGroup.NotFound", iface, p("SecurityGroupId.1", group), group),
		row("SecurityGroupsPerInterfaceLimitExceeded", iface, five, "SecurityGroupId", "5", "6"),
		row("InvalidRouteTableId.Malformed", gateway, p("RouteTableId.1", "rtb-x"), "Route Table Id", "rtb-x"),
		row("InvalidRouteTableID.NotFound", gateway, p("RouteTableId.1", badTable), "The routeTable ID '"+badTable+"' does not exist"),
		row("RouteAlreadyExists", gateway, p("RouteTableId.1", a.table), "route table "+a.table+" already has a route with destination-prefix-list-id pl-0000000000000000a"),
		row("InvalidPolicyDocument", gateway, p("PolicyDocument", "{"), "PolicyDocument"),
		row("InvalidPolicyDocument", gateway, p("PolicyDocument", strings.Repeat(" ", 20481)), "PolicyDocument", "20481"),
		row("InvalidPolicyDocument", gateway, policy(`"Resource":"*","Condition":{"StringLike":{"aws:SourceVpc":"vpc-012345*"}}`), "PolicyDocument", "aws:SourceVpc"),
		row("InvalidPolicyDocument", gateway, policy(`"Resource":"*","Condition":{"StringLike":{"s3:prefix":"a*"}}`), "PolicyDocument", "a*"),
		row("InvalidPolicyDocument", gateway, policy(`"Resource":"arn:aws:s3::11*:b"`), "PolicyDocument", "11*"),
		row("InvalidParameter", iface, policy(`"Resource":"*"`), "PolicyDocument", service),
		row("InsufficientFreeAddressesInSubnet", s3, p("PrivateDnsEnabled", "false", "SubnetId.1", "subnet-0000000000000000c"), "subnet-0000000000000000c"),
		row("InvalidParameterValue", iface, p("SubnetId.1", epSubnetA, "SubnetConfiguration.1.SubnetId", epSubnetA, "SubnetConfiguration.1.Ipv4", "10.0.1.3"), "10.0.1.3"),
		row("InvalidParameterValue", iface, p("SubnetId.1", epSubnetA, "SubnetConfiguration.1.SubnetId", epSubnetA, "SubnetConfiguration.1.Ipv4", "10.0.1.255"), "10.0.1.255"),
		row("InvalidParameterValue", iface, p("SubnetId.1", epSubnetA, "SubnetConfiguration.1.SubnetId", epSubnetA, "SubnetConfiguration.1.Ipv4", "10.0.2.9"), "10.0.2.9"),
		row("InvalidParameterValue", iface, p("SubnetId.1", epSubnetA, "SubnetConfiguration.1.SubnetId", epSubnetA, "SubnetConfiguration.1.Ipv4", "x"), "Ipv4", "x"),
		row("InvalidIPAddress.InUse", iface, p("SubnetId.1", epSubnetA, "SubnetConfiguration.1.SubnetId", epSubnetA, "SubnetConfiguration.1.Ipv4", "10.0.1.4"), "10.0.1.4"),
		row("InvalidParameter", iface, p("SubnetConfiguration.1.SubnetId", epSubnetA), "SubnetConfiguration", epSubnetA),
		row("InvalidParameter", iface, p("SubnetId.1", epSubnetA, "SubnetConfiguration.1.SubnetId", epSubnetA, "SubnetConfiguration.1.Ipv6", "2001:db8::1"), "2001:db8::1", "ipv4"),
		row("InvalidParameterValue", iface, p("SubnetId.1", epSubnetA, "SubnetConfiguration.1.SubnetId", epSubnetA, "SubnetConfiguration.1.Ipv6", "::ffff:10.0.1.9"), "::ffff:10.0.1.9", "Ipv6"),
		row("InvalidParameter", gateway, p("SubnetId.1", epSubnetA), "SubnetId", epSubnetA, "Gateway"),
		row("InvalidParameter", gateway, p("SubnetConfiguration.1.SubnetId", epSubnetA), "SubnetConfiguration", epSubnetA, "Gateway"),
		row("InvalidParameter", gateway, p("SecurityGroupId.1", badGroup), "SecurityGroupId", badGroup, "Gateway"),
		row("InvalidParameter", gateway, p("PrivateDnsEnabled", "true"), "PrivateDnsEnabled", "true", "Gateway"),
		row("InvalidParameter", gateway, p("DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint", "true"), "PrivateDnsOnlyForInboundResolverEndpoint", "Gateway"),
		row("InvalidParameter", iface, p("RouteTableId.1", a.table), "RouteTableId", a.table, "Interface"),
		row("IdempotentParameterMismatch", gateway, p("ClientToken", "used"), "used"),
		row("InvalidParameterValue", gateway, p("ClientToken", strings.Repeat("t", 65)), "clientToken", "ttt", "64"),
		row("InvalidParameterValue", gateway, p("TagSpecification.1.ResourceType", "vpc-endpoint-service"), "vpc-endpoint-service"),
		row("InvalidParameterValue", gateway, p("TagSpecification.1.ResourceType", "vpc-endpoint", "TagSpecification.1.Tag.1.Key", "aws:x"), "aws:"),
		row("DryRunOperation", gateway, p("DryRun", "true"), "Request would have succeeded, but DryRun flag is set."),
	)
	// The quotas, of interface endpoints in the VPC and of gateways in the region.
	cfg := a.c.Config
	cfg.Quotas.InterfaceEndpointsPerVPC, cfg.Quotas.GatewayEndpoints = 1, 1
	a.c = control.New(cfg)
	a.refuses(me,
		row("VpcEndpointLimitExceeded", iface, nil, a.vpc, "1"),
		row("VpcEndpointLimitExceeded", gateway, nil, "gateway", "1"),
	)

	modify := func(code string, id string, pairs []string, names ...string) refusal {
		return refusal{"ModifyVpcEndpoint", with(p("VpcEndpointId", id), pairs), code, names}
	}
	gw := a.texts(me, "vpcEndpointId", "DescribeVpcEndpoints", "Filter.1.Name", "vpc-endpoint-type", "Filter.1.Value.1", "Gateway")[0]
	def := a.texts(me, "groupId", "DescribeVpcEndpoints", "VpcEndpointId.1", taken[0])[0]
	a.refuses(me,
		modify("InvalidVpcEndpointId.Malformed", "vpce-x", nil, "Vpc Endpoint Id", "vpce-x"),
		modify("InvalidVpcEndpointId.NotFound", badEP, nil, "The Vpc Endpoint Id '"+badEP+"' does not exist"),
		modify("InvalidParameterCombination", gw, p("PolicyDocument", "{}", "ResetPolicy", "true"), "PolicyDocument", "ResetPolicy"),
		modify("InvalidPolicyDocument", gw, p("PolicyDocument", "{}"), "PolicyDocument"),
		modify("InvalidParameter", gw, p("AddSubnetId.1", epSubnetB), "AddSubnetId", epSubnetB, "Gateway"),
		modify("InvalidParameter", gw, p("RemoveSubnetId.1", epSubnetB), "RemoveSubnetId", epSubnetB, "Gateway"),
		modify("InvalidParameter", gw, p("AddSecurityGroupId.1", def), "AddSecurityGroupId", def, "Gateway"),
		modify("InvalidParameter", gw, p("RemoveSecurityGroupId.1", def), "RemoveSecurityGroupId", def, "Gateway"),
		modify("InvalidParameter", gw, p("PrivateDnsEnabled", "true"), "PrivateDnsEnabled", "Gateway"),
		modify("InvalidRouteTableID.NotFound", gw, p("AddRouteTableId.1", badTable), badTable),
		modify("InvalidRouteTableID.NotFound", gw, p("RemoveRouteTableId.1", badTable), badTable),
		modify("InvalidParameterCombination", gw, p("AddRouteTableId.1", a.table, "RemoveRouteTableId.1", a.table), "AddRouteTableId", a.table),
		modify("InvalidParameter", gw, p("IpAddressType", "ipv6"), "IpAddressType", "ipv6"),
		modify("InvalidParameter", taken[0], p("AddRouteTableId.1", a.table), "AddRouteTableId", a.table, "Interface"),
		modify("InvalidParameter", taken[0], p("RemoveRouteTableId.1", a.table), "RemoveRouteTableId", a.table, "Interface"),
		modify("InvalidSubnetID.NotFound", taken[0], p("AddSubnetId.1", badSubnet), badSubnet),
		modify("InvalidSubnetID.NotFound", taken[0], p("RemoveSubnetId.1", badSubnet), badSubnet),
		modify("DuplicateSubnetsInSameZone", taken[0], p("AddSubnetId.1", "subnet-000000000000000a2"), "subnet-000000000000000a2"),
		modify("InvalidParameterCombination", taken[0], p("AddSubnetId.1", epSubnetB, "RemoveSubnetId.1", epSubnetB), "AddSubnetId", epSubnetB),
		modify("InvalidGroup.NotFound", taken[0], p("AddSecurityGroupId.1", badGroup), badGroup),
		modify("InvalidGroup.NotFound", taken[0], p("RemoveSecurityGroupId.1", badGroup), badGroup),
		modify("InvalidParameter", taken[0], p("RemoveSecurityGroupId.1", def), "RemoveSecurityGroupId", def),
		modify("InvalidParameterCombination", taken[0], p("RemoveSecurityGroupId.1", def, "AddSecurityGroupId.1", def), "AddSecurityGroupId", def),
		modify("InvalidParameter", taken[0], p("SubnetConfiguration.1.SubnetId", epSubnetB, "SubnetConfiguration.1.Ipv4", "10.0.2.9"), "SubnetConfiguration", epSubnetB),
		modify("InvalidParameter", taken[0], p("DnsOptions.DnsRecordIpType", "service-defined"), "DnsRecordIpType", "service-defined"),
	)
	a.refuses(controltest.Provider, modify("InvalidVpcEndpointId.NotFound", gw, nil, "The Vpc Endpoint Id '"+gw+"' does not exist"))
}

func TestEndpointServicesNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	a := newEndpointAPI(t)
	provider := controltest.Provider
	id := a.texts(provider, "serviceId", "CreateVpcEndpointServiceConfiguration", "NetworkLoadBalancerArn.1", epNLB, "AcceptanceRequired", "false", "ClientToken", "used")[0]
	other := strings.Replace(epNLB, "one", "two", 1)
	create := func(code string, pairs []string, names ...string) refusal {
		return refusal{"CreateVpcEndpointServiceConfiguration", pairs, code, names}
	}
	modify := func(code string, pairs []string, names ...string) refusal {
		return refusal{"ModifyVpcEndpointServiceConfiguration", append([]string{"ServiceId", id}, pairs...), code, names}
	}
	p := func(pairs ...string) []string { return pairs }
	a.refuses(provider,
		create("InvalidParameter", nil, "exactly one of network_load_balancer_arn or gateway_load_balancer_arn is a required member"),
		create("UnsupportedOperation", p("GatewayLoadBalancerArn.1", "x"), "GatewayLoadBalancerArn"),
		create("InvalidNetworkLoadBalancerArn.Malformed", p("NetworkLoadBalancerArn.1", "arn:x"), "arn:x"),
		create("InvalidNetworkLoadBalancerArn.NotFound", p("NetworkLoadBalancerArn.1", other), other),
		create("InvalidParameter", p("NetworkLoadBalancerArn.1", strings.Replace(epNLB, "/net/", "/app/", 1)), "/app/"),
		create("InvalidParameter", p("NetworkLoadBalancerArn.1", epNLB), epNLB), // another service has it
		create("InvalidParameter", p("NetworkLoadBalancerArn.1", epNLB, "SupportedIpAddressType.1", "dualstack"), "SupportedIpAddressType", "dualstack"),
		create("UnsupportedOperation", p("NetworkLoadBalancerArn.1", epNLB, "SupportedRegion.1", "eu-west-1"), "SupportedRegion", "eu-west-1"),
		create("InvalidParameter", p("NetworkLoadBalancerArn.1", epNLB, "PrivateDnsName", "Api.example.com"), "PrivateDnsName", "Api.example.com"),
		create("InvalidParameter", p("NetworkLoadBalancerArn.1", epNLB, "PrivateDnsName", strings.Repeat("a", 64)+".example.com"), "PrivateDnsName", "63"),
		create("InvalidParameter", p("NetworkLoadBalancerArn.1", epNLB, "PrivateDnsName", strings.Repeat("a.", 127)+"com"), "PrivateDnsName", "255"),
		create("IdempotentParameterMismatch", p("NetworkLoadBalancerArn.1", epNLB, "ClientToken", "used"), "used"),
		create("InvalidParameterValue", p("NetworkLoadBalancerArn.1", epNLB, "TagSpecification.1.ResourceType", "vpc-endpoint"), "vpc-endpoint"),
		refusal{"ModifyVpcEndpointServiceConfiguration", p("ServiceId", badSvc), "InvalidVpcEndpointServiceId.NotFound", p("The VpcEndpointService Id '"+badSvc+"' does not exist", "")},
		refusal{"ModifyVpcEndpointServiceConfiguration", p("ServiceId", "svc"), "InvalidVpcEndpointServiceIdId.Malformed", p("svc", "Vpc Endpoint Service Id")},
		modify("InvalidParameter", p("RemoveNetworkLoadBalancerArn.1", epNLB), id),
		modify("InvalidNetworkLoadBalancerArn.NotFound", p("AddNetworkLoadBalancerArn.1", other), other),
		modify("InvalidParameterCombination", p("PrivateDnsName", "a.example.com", "RemovePrivateDnsName", "true"), "PrivateDnsName", "RemovePrivateDnsName"),
		modify("InvalidParameter", p("PrivateDnsName", "example"), "PrivateDnsName", "'example'"),
		modify("UnsupportedOperation", p("AddSupportedRegion.1", "eu-west-1"), "SupportedRegion", "eu-west-1"),
		modify("InvalidParameter", p("RemoveSupportedRegion.1", "us-east-1"), "RemoveSupportedRegion", "us-east-1"),
		modify("InvalidParameter", p("AddSupportedIpAddressType.1", "ipv6"), "SupportedIpAddressType", "ipv6", epNLB),
		modify("InvalidParameterCombination", p("AddSupportedIpAddressType.1", "ipv6", "RemoveSupportedIpAddressType.1", "ipv6"), "AddSupportedIpAddressType", "ipv6"),
		modify("InvalidParameter", p("RemoveSupportedIpAddressType.1", "ipv4"), "RemoveSupportedIpAddressType", "ipv4"),
		modify("UnsupportedOperation", p("AddGatewayLoadBalancerArn.1", "x"), "AddGatewayLoadBalancerArn"),
		refusal{"StartVpcEndpointServicePrivateDnsVerification", p("ServiceId", id), "InvalidParameter", p(id, "private DNS name")},
		refusal{"ModifyVpcEndpointServicePayerResponsibility", p("ServiceId", id, "PayerResponsibility", "Consumer"), "InvalidParameterValue", p("payerResponsibility", "Consumer")},
		refusal{"ModifyVpcEndpointServicePayerResponsibility", p("ServiceId", id), "MissingParameter", p("PayerResponsibility", "")},
		refusal{"ModifyVpcEndpointServicePermissions", p("ServiceId", id, "AddAllowedPrincipals.1", "arn:aws:iam::111111111111:user/team/ann"), "InvalidPrincipal", p("arn:aws:iam::111111111111:user/team/ann", "path")},
		refusal{"ModifyVpcEndpointServicePermissions", p("ServiceId", id, "AddAllowedPrincipals.1", "arn:aws:organizations::111111111111:organization/o-1"), "UnknownPrincipalType.Unsupported", p("organization/o-1", "")},
	)
	a.refuses(controltest.Consumer, modify("InvalidVpcEndpointServiceId.NotFound", nil, id),
		refusal{"ModifyVpcEndpointServicePayerResponsibility", p("ServiceId", id, "PayerResponsibility", "ServiceOwner"), "InvalidVpcEndpointServiceId.NotFound", p(id, "")})
	// What is not there is removed without an error.
	a.texts(provider, "return", "ModifyVpcEndpointServiceConfiguration", "ServiceId", id, "RemoveSupportedRegion.1", "eu-west-1", "RemoveSupportedIpAddressType.1", "ipv6")
}

func TestDescribeCallsOfTheFamilyBoundTheirPages(t *testing.T) {
	t.Parallel()
	a := newEndpointAPI(t)
	service := a.texts(controltest.Provider, "serviceId", "CreateVpcEndpointServiceConfiguration", "NetworkLoadBalancerArn.1", epNLB)[0]
	for action, tc := range map[string]struct {
		low, high string // refused
		fine      []string
		also      []string
	}{
		"DescribeVpcEndpoints":                     {"0", "", []string{"1", "1000", "1001", "2000000000"}, nil},
		"DescribeVpcEndpointServices":              {"0", "", []string{"1", "1001"}, nil},
		"DescribeVpcEndpointServiceConfigurations": {"4", "", []string{"5", "1001"}, nil},
		"DescribeVpcEndpointServicePermissions":    {"4", "", []string{"5", "1001"}, []string{"ServiceId", service}},
		"DescribeVpcEndpointConnections":           {"4", "", []string{"5", "1001"}, nil},
		"DescribeVpcEndpointAssociations":          {"0", "101", []string{"1", "100"}, nil},
		"DescribeManagedPrefixLists":               {"0", "101", []string{"1", "100"}, nil},
		"GetManagedPrefixListEntries":              {"0", "101", []string{"1", "100"}, []string{"PrefixListId", "pl-0000000000000000a"}},
		"GetManagedPrefixListAssociations":         {"4", "256", []string{"5", "255"}, []string{"PrefixListId", "pl-0000000000000000a"}},
	} {
		for _, n := range []string{tc.low, tc.high, "-1"} {
			if n != "" {
				a.refuses(controltest.Provider, refusal{action, append([]string{"MaxResults", n}, tc.also...), "InvalidParameterValue", []string{"maxResults", n}})
			}
		}
		for _, n := range tc.fine {
			a.texts(controltest.Provider, "requestId", action, append([]string{"MaxResults", n}, tc.also...)...)
		}
		a.refuses(controltest.Provider, refusal{action, append([]string{"NextToken", "bogus"}, tc.also...), "InvalidNextToken", []string{"bogus"}})
	}
	// Ids with a page size: the intersection, not an error.
	id := a.texts(controltest.Consumer, "vpcEndpointId", "CreateVpcEndpoint", "VpcId", a.vpc, "ServiceName", epS3)[0]
	if got := a.texts(controltest.Consumer, "vpcEndpointId", "DescribeVpcEndpoints", "VpcEndpointId.1", id, "MaxResults", "5"); !slices.Equal(got, []string{id}) {
		t.Errorf("an id with a page size: %q", got)
	}
}

// Every filter of the family finds what has the value and nothing else.
func TestFiltersOfTheFamily(t *testing.T) {
	t.Parallel()
	a := newEndpointAPI(t)
	me, provider := controltest.Consumer, controltest.Provider
	service := a.texts(provider, "serviceId", "CreateVpcEndpointServiceConfiguration", "NetworkLoadBalancerArn.1", epNLB, "AcceptanceRequired", "true",
		"TagSpecification.1.ResourceType", "vpc-endpoint-service", "TagSpecification.1.Tag.1.Key", "team", "TagSpecification.1.Tag.1.Value", "net")[0]
	name := "com.amazonaws.vpce.us-east-1." + service
	a.texts(provider, "return", "ModifyVpcEndpointServicePermissions", "ServiceId", service, "AddAllowedPrincipals.1", me.Account.RootARN(), "AddAllowedPrincipals.2", "*")
	i := a.texts(me, "vpcEndpointId", "CreateVpcEndpoint", "VpcId", a.vpc, "ServiceName", name, "VpcEndpointType", "Interface",
		"TagSpecification.1.ResourceType", "vpc-endpoint", "TagSpecification.1.Tag.1.Key", "team", "TagSpecification.1.Tag.1.Value", "web*")[0]
	a.texts(me, "vpcEndpointId", "CreateVpcEndpoint", "VpcId", a.vpc, "ServiceName", epS3)
	a.settled()
	for _, tc := range []struct {
		caller          control.Caller
		action, element string
		want            string
		filters         map[string][]string // name to values that find it and, last, one that does not
	}{
		{me, "DescribeVpcEndpoints", "vpcEndpointId", i, map[string][]string{
			"vpc-endpoint-id": {i, "vpce-*", badEP}, "vpc-endpoint-state": {"pendingAcceptance", "PendingAcceptance", "pending"}, "vpc-endpoint-type": {"Interface", "I?terface", "interface"},
			"service-name": {name, "com.amazonaws.vpce.*", "nope"}, "service-region": {"us-east-1", "eu-west-1"}, "vpc-id": {a.vpc, badVPC}, "ip-address-type": {"ipv4", "dualstack"},
			"tag:team": {`web\*`, "web?", "web"}, "tag-key": {"team", "Team"},
		}},
		{me, "DescribeVpcEndpointServices", "serviceName", name, map[string][]string{
			"owner": {"222222222222", "111111111111"}, "service-name": {name, "nope"}, "service-region": {"us-east-1", "eu-west-1"}, "service-type": {"Interface", "GatewayLoadBalancer"},
			"supported-ip-address-types": {"ipv4", "ipv6"},
		}},
		{provider, "DescribeVpcEndpointServices", "serviceName", name, map[string][]string{"tag:team": {"net", "x"}, "tag-key": {"team", "x"}}},
		{provider, "DescribeVpcEndpointServiceConfigurations", "serviceId", service, map[string][]string{
			"service-name": {name, "nope"}, "service-id": {service, badSvc}, "service-state": {"Available", "available"}, "supported-ip-address-types": {"ipv4", "ipv6"},
			"tag:team": {"net", "x"}, "tag-key": {"team", "x"},
		}},
		{provider, "DescribeVpcEndpointServicePermissions", "principal", "*", map[string][]string{"principal": {`\*`, "nobody"}, "principal-type": {"All", "Role"}}},
		{provider, "DescribeVpcEndpointConnections", "vpcEndpointId", i, map[string][]string{
			"ip-address-type": {"ipv4", "ipv6"}, "service-id": {service, badSvc}, "vpc-endpoint-owner": {"111111111111", "222222222222"}, "vpc-endpoint-region": {"us-east-1", "eu-west-1"},
			"vpc-endpoint-state": {"pendingAcceptance", "PendingAcceptance", "rejected"}, "vpc-endpoint-id": {i, badEP},
		}},
		{me, "DescribePrefixLists", "prefixListId", "pl-0000000000000000a", map[string][]string{"prefix-list-id": {"pl-0000000000000000a", "pl-x"}, "prefix-list-name": {epS3, name}}},
		{me, "DescribeManagedPrefixLists", "prefixListId", "pl-0000000000000000a", map[string][]string{
			"prefix-list-id": {"pl-0000000000000000a", "pl-x"}, "prefix-list-name": {epS3, name}, "owner-id": {"AWS", "111111111111"},
		}},
		{me, "DescribeVpcEndpointAssociations", "id", "", map[string][]string{
			"vpc-endpoint-id": {i}, "associated-resource-accessibility": {"x"}, "association-id": {"x"}, "associated-resource-id": {"x"}, "service-network-arn": {"x"}, "resource-configuration-group-arn": {"x"},
		}},
	} {
		var also []string
		if tc.action == "DescribeVpcEndpointServicePermissions" {
			also = []string{"ServiceId", service}
		}
		for filter, values := range tc.filters {
			for n, value := range values {
				got := a.texts(tc.caller, tc.element, tc.action, append([]string{"Filter.1.Name", filter, "Filter.1.Value.1", value}, also...)...)
				if want := n < len(values)-1; slices.Contains(got, tc.want) != want {
					t.Errorf("%s %s=%s finds %q; %s among them: want %v", tc.action, filter, value, got, tc.want, want)
				}
			}
		}
		code := "InvalidParameterValue"
		names := []string{"nope"}
		if tc.action == "DescribeVpcEndpointConnections" {
			code, names = "InvalidFilter", []string{"The filter nope is invalid"}
		}
		a.refuses(tc.caller, refusal{tc.action, append([]string{"Filter.1.Name", "nope", "Filter.1.Value.1", "x"}, also...), code, names})
	}
	// Another's tags find nothing.
	if got := a.texts(me, "serviceName", "DescribeVpcEndpointServices", "Filter.1.Name", "tag:team", "Filter.1.Value.1", "net"); len(got) != 0 {
		t.Errorf("the provider's tags are seen by the consumer: %q", got)
	}
}

func TestTagsOfConnectionsAndPermissionsAreTheProviders(t *testing.T) {
	t.Parallel()
	a := newEndpointAPI(t)
	ctx := context.Background()
	me, provider := a.client(controltest.Consumer), a.client(controltest.Provider)
	made, err := provider.CreateVpcEndpointServiceConfiguration(ctx, &sdk.CreateVpcEndpointServiceConfigurationInput{NetworkLoadBalancerArns: []string{epNLB}})
	if err != nil {
		t.Fatal(err)
	}
	service := made.ServiceConfiguration.ServiceId
	perm, err := provider.ModifyVpcEndpointServicePermissions(ctx, &sdk.ModifyVpcEndpointServicePermissionsInput{ServiceId: service, AddAllowedPrincipals: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := me.CreateVpcEndpoint(ctx, &sdk.CreateVpcEndpointInput{VpcId: &a.vpc, ServiceName: made.ServiceConfiguration.ServiceName, VpcEndpointType: types.VpcEndpointTypeInterface,
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVpcEndpoint, Tags: []types.Tag{{Key: aws.String("mine"), Value: aws.String("1")}}}}})
	if err != nil {
		t.Fatal(err)
	}
	connections := func() types.VpcEndpointConnection {
		t.Helper()
		out, err := provider.DescribeVpcEndpointConnections(ctx, &sdk.DescribeVpcEndpointConnectionsInput{})
		if err != nil || len(out.VpcEndpointConnections) != 1 {
			t.Fatal(out, err)
		}
		return out.VpcEndpointConnections[0]
	}
	con, per := connections().VpcEndpointConnectionId, perm.AddedPrincipals[0].ServicePermissionId
	if !vpc.ValidID("vpce-con", *con) || !vpc.ValidID("vpce-svc-perm", *per) {
		t.Errorf("ids %s %s", *con, *per)
	}
	tags := []types.Tag{{Key: aws.String("theirs"), Value: aws.String("2")}}
	if _, err := provider.CreateTags(ctx, &sdk.CreateTagsInput{Resources: []string{*con, *per}, Tags: tags}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{*con, *per} {
		if _, err := me.CreateTags(ctx, &sdk.CreateTagsInput{Resources: []string{id}, Tags: tags}); !strings.HasSuffix(code(err), ".NotFound") {
			t.Errorf("the consumer tags %s: %v", id, err)
		}
		if _, err := me.DeleteTags(ctx, &sdk.DeleteTagsInput{Resources: []string{id}}); !strings.HasSuffix(code(err), ".NotFound") {
			t.Errorf("the consumer takes the tags of %s: %v", id, err)
		}
	}
	if c := connections(); len(c.Tags) != 1 || *c.Tags[0].Key != "theirs" {
		t.Errorf("the connection's tags %+v", c.Tags)
	}
	ps, err := provider.DescribeVpcEndpointServicePermissions(ctx, &sdk.DescribeVpcEndpointServicePermissionsInput{ServiceId: service})
	if err != nil || len(ps.AllowedPrincipals[0].Tags) != 1 {
		t.Errorf("the permission's tags %+v %v", ps, err)
	}
	mine, err := me.DescribeVpcEndpoints(ctx, &sdk.DescribeVpcEndpointsInput{VpcEndpointIds: []string{*e.VpcEndpoint.VpcEndpointId}})
	if err != nil || len(mine.VpcEndpoints[0].Tags) != 1 || *mine.VpcEndpoints[0].Tags[0].Key != "mine" {
		t.Errorf("the endpoint's tags %+v %v", mine, err)
	}
	kinds := func(c *sdk.Client) map[string]string {
		t.Helper()
		out, err := c.DescribeTags(ctx, &sdk.DescribeTagsInput{})
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]string{}
		for _, d := range out.Tags {
			m[*d.ResourceId] = string(d.ResourceType)
		}
		return m
	}
	if got := kinds(provider); len(got) != 2 || got[*con] != "vpc-endpoint-connection" || got[*per] != "vpc-endpoint-service-permission" {
		t.Errorf("the provider sees the tags of %v", got)
	}
	if got := kinds(me); len(got) != 1 || got[*e.VpcEndpoint.VpcEndpointId] != "vpc-endpoint" {
		t.Errorf("the consumer sees the tags of %v", got)
	}
	if _, err := provider.DeleteTags(ctx, &sdk.DeleteTagsInput{Resources: []string{*con, *per}, Tags: tags}); err != nil || len(kinds(provider)) != 0 {
		t.Errorf("%v, tags of %v are left", err, kinds(provider))
	}
}

func TestPayerAndAssociationsThroughTheSDK(t *testing.T) {
	t.Parallel()
	a := newEndpointAPI(t)
	ctx := context.Background()
	me, provider := a.client(controltest.Consumer), a.client(controltest.Provider)
	made, err := provider.CreateVpcEndpointServiceConfiguration(ctx, &sdk.CreateVpcEndpointServiceConfigurationInput{NetworkLoadBalancerArns: []string{epNLB}})
	if err != nil || made.ServiceConfiguration.PayerResponsibility != "" || aws.ToBool(made.ServiceConfiguration.RemoteAccessEnabled) {
		t.Fatalf("%+v %v", made, err)
	}
	id := made.ServiceConfiguration.ServiceId
	for range 2 {
		out, err := provider.ModifyVpcEndpointServicePayerResponsibility(ctx, &sdk.ModifyVpcEndpointServicePayerResponsibilityInput{ServiceId: id, PayerResponsibility: types.PayerResponsibilityServiceOwner})
		if err != nil || !aws.ToBool(out.ReturnValue) {
			t.Errorf("%+v %v", out, err)
		}
	}
	conf, err := provider.DescribeVpcEndpointServiceConfigurations(ctx, &sdk.DescribeVpcEndpointServiceConfigurationsInput{ServiceIds: []string{*id}})
	if err != nil || conf.ServiceConfigurations[0].PayerResponsibility != types.PayerResponsibilityServiceOwner {
		t.Errorf("%+v %v", conf, err)
	}
	seen, err := provider.DescribeVpcEndpointServices(ctx, &sdk.DescribeVpcEndpointServicesInput{ServiceNames: []string{*made.ServiceConfiguration.ServiceName}})
	if err != nil || seen.ServiceDetails[0].PayerResponsibility != types.PayerResponsibilityServiceOwner {
		t.Errorf("%+v %v", seen, err)
	}

	e, err := me.CreateVpcEndpoint(ctx, &sdk.CreateVpcEndpointInput{VpcId: &a.vpc, ServiceName: aws.String(epS3)})
	if err != nil {
		t.Fatal(err)
	}
	as, err := me.DescribeVpcEndpointAssociations(ctx, &sdk.DescribeVpcEndpointAssociationsInput{VpcEndpointIds: []string{*e.VpcEndpoint.VpcEndpointId}, MaxResults: aws.Int32(100)})
	if err != nil || len(as.VpcEndpointAssociations) != 0 || as.NextToken != nil {
		t.Errorf("%+v %v", as, err)
	}
	_, err = provider.DescribeVpcEndpointAssociations(ctx, &sdk.DescribeVpcEndpointAssociationsInput{VpcEndpointIds: []string{*e.VpcEndpoint.VpcEndpointId}})
	if code(err) != "InvalidVpcEndpointId.NotFound" {
		t.Errorf("another's endpoint: %v", err)
	}
}
