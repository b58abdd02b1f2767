// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"encoding/xml"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

func TestInterfaceEndpointThroughTheSDK(t *testing.T) {
	t.Parallel()
	a := newEndpointAPI(t)
	ctx := context.Background()
	consumer, provider := a.client(controltest.Consumer), a.client(controltest.Provider)
	if _, err := a.c.Store.Update(ctx, func(tx *store.Tx) error {
		tx.Put(&vpc.VerifiedDomain{Account: controltest.Provider.Account, Domain: "example.com"})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	made, err := provider.CreateVpcEndpointServiceConfiguration(ctx, &sdk.CreateVpcEndpointServiceConfigurationInput{
		NetworkLoadBalancerArns: []string{epNLB}, PrivateDnsName: aws.String("api.example.com"), ClientToken: aws.String("t1"),
		SupportedIpAddressTypes: []string{"ipv4"}, SupportedRegions: []string{"us-east-1"},
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVpcEndpointService, Tags: []types.Tag{{Key: aws.String("n"), Value: aws.String("")}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := made.ServiceConfiguration
	id := aws.ToString(s.ServiceId)
	if s.ServiceState != types.ServiceStateAvailable || !aws.ToBool(s.AcceptanceRequired) || aws.ToString(made.ClientToken) != "t1" ||
		!slices.Equal(s.AvailabilityZones, []string{"us-east-1a", "us-east-1b"}) || !slices.Equal(s.AvailabilityZoneIds, []string{"use1-az1", "use1-az2"}) ||
		!slices.Equal(s.BaseEndpointDnsNames, []string{id + ".us-east-1.vpce.amazonaws.com"}) || s.ServiceType[0].ServiceType != types.ServiceTypeInterface ||
		s.PrivateDnsNameConfiguration.State != types.DnsNameStateVerified || aws.ToString(s.PrivateDnsNameConfiguration.Type) != "TXT" ||
		!slices.Equal(s.NetworkLoadBalancerArns, []string{epNLB}) || aws.ToString(s.SupportedRegions[0].Region) != "us-east-1" || len(s.Tags) != 1 {
		t.Errorf("service %+v", s)
	}

	_, err = consumer.DescribeVpcEndpointServices(ctx, &sdk.DescribeVpcEndpointServicesInput{ServiceNames: []string{*s.ServiceName}})
	if code(err) != "InvalidServiceName" {
		t.Errorf("a service that is not allowed: %v", err)
	}
	perm, err := provider.ModifyVpcEndpointServicePermissions(ctx, &sdk.ModifyVpcEndpointServicePermissionsInput{
		ServiceId: &id, AddAllowedPrincipals: []string{"arn:aws:iam::111111111111:root"},
	})
	if err != nil || !aws.ToBool(perm.ReturnValue) || len(perm.AddedPrincipals) != 1 || aws.ToString(perm.AddedPrincipals[0].ServiceId) != id || perm.AddedPrincipals[0].PrincipalType != types.PrincipalTypeAccount {
		t.Fatalf("%+v %v", perm, err)
	}
	allowed, err := provider.DescribeVpcEndpointServicePermissions(ctx, &sdk.DescribeVpcEndpointServicePermissionsInput{
		ServiceId: &id, Filters: []types.Filter{{Name: aws.String("principal-type"), Values: []string{"Account"}}},
	})
	if err != nil || len(allowed.AllowedPrincipals) != 1 || *allowed.AllowedPrincipals[0].ServicePermissionId != *perm.AddedPrincipals[0].ServicePermissionId {
		t.Errorf("%+v %v", allowed, err)
	}

	e, err := consumer.CreateVpcEndpoint(ctx, &sdk.CreateVpcEndpointInput{
		VpcEndpointType: types.VpcEndpointTypeInterface, VpcId: &a.vpc, ServiceName: s.ServiceName, SubnetIds: []string{epSubnetA, epSubnetB},
		PrivateDnsEnabled: aws.Bool(true), IpAddressType: types.IpAddressTypeIpv4, ClientToken: aws.String("t2"), ServiceRegion: aws.String("us-east-1"),
		DnsOptions:           &types.DnsOptionsSpecification{DnsRecordIpType: types.DnsRecordIpTypeIpv4, PrivateDnsOnlyForInboundResolverEndpoint: aws.Bool(false)},
		SubnetConfigurations: []types.SubnetConfiguration{{SubnetId: aws.String(epSubnetB), Ipv4: aws.String("10.0.2.50")}},
		TagSpecifications:    []types.TagSpecification{{ResourceType: types.ResourceTypeVpcEndpoint, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("mine")}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ep := e.VpcEndpoint
	if ep.State != "pendingAcceptance" || aws.ToString(ep.Groups[0].GroupName) != "default" || len(ep.NetworkInterfaceIds) != 2 || !slices.Equal(ep.SubnetIds, []string{epSubnetA, epSubnetB}) ||
		!aws.ToBool(ep.PrivateDnsEnabled) || aws.ToBool(ep.RequesterManaged) || aws.ToString(ep.OwnerId) != "111111111111" || ep.CreationTimestamp == nil || aws.ToString(ep.ServiceRegion) != "us-east-1" ||
		ep.IpAddressType != types.IpAddressTypeIpv4 || ep.DnsOptions.DnsRecordIpType != types.DnsRecordIpTypeIpv4 || aws.ToString(e.ClientToken) != "t2" || !strings.Contains(aws.ToString(ep.PolicyDocument), "Allow") {
		t.Errorf("endpoint %+v", ep)
	}
	if len(ep.DnsEntries) != 4 || aws.ToString(ep.DnsEntries[3].DnsName) != "api.example.com" || *ep.DnsEntries[0].HostedZoneId != *ep.DnsEntries[2].HostedZoneId || *ep.DnsEntries[3].HostedZoneId == *ep.DnsEntries[0].HostedZoneId {
		t.Errorf("DNS entries %+v", ep.DnsEntries)
	}

	con, err := provider.DescribeVpcEndpointConnections(ctx, &sdk.DescribeVpcEndpointConnectionsInput{Filters: []types.Filter{
		{Name: aws.String("service-id"), Values: []string{id}}, {Name: aws.String("vpc-endpoint-state"), Values: []string{"PendingAcceptance"}},
	}})
	if err != nil || len(con.VpcEndpointConnections) != 1 {
		t.Fatalf("%+v %v", con, err)
	}
	c := con.VpcEndpointConnections[0]
	if *c.VpcEndpointId != *ep.VpcEndpointId || *c.VpcEndpointOwner != "111111111111" || len(c.DnsEntries) != 3 || len(c.Tags) != 0 || *c.VpcEndpointRegion != "us-east-1" || !slices.Equal(c.NetworkLoadBalancerArns, []string{epNLB}) {
		t.Errorf("connection %+v", c)
	}
	_, err = provider.DescribeVpcEndpointConnections(ctx, &sdk.DescribeVpcEndpointConnectionsInput{Filters: []types.Filter{{Name: aws.String("nope"), Values: []string{"x"}}}})
	if code(err) != "InvalidFilter" || !strings.Contains(err.Error(), "The filter nope is invalid") {
		t.Errorf("unknown filter: %v", err)
	}
	acc, err := provider.AcceptVpcEndpointConnections(ctx, &sdk.AcceptVpcEndpointConnectionsInput{ServiceId: &id, VpcEndpointIds: []string{*ep.VpcEndpointId, "vpce-00000000000000bad"}})
	if err != nil || len(acc.Unsuccessful) != 1 || *acc.Unsuccessful[0].ResourceId != "vpce-00000000000000bad" || *acc.Unsuccessful[0].Error.Code != "InvalidVpcEndpointId.NotFound" {
		t.Errorf("accept %+v %v", acc, err)
	}
	got, err := consumer.DescribeVpcEndpoints(ctx, &sdk.DescribeVpcEndpointsInput{
		VpcEndpointIds: []string{*ep.VpcEndpointId}, Filters: []types.Filter{
			{Name: aws.String("vpc-endpoint-state"), Values: []string{"available"}}, {Name: aws.String("vpc-endpoint-type"), Values: []string{"Interface"}},
			{Name: aws.String("tag:Name"), Values: []string{"m*"}}, {Name: aws.String("service-name"), Values: []string{*s.ServiceName}},
		},
	})
	if err != nil || len(got.VpcEndpoints) != 1 || got.VpcEndpoints[0].State != "available" {
		t.Errorf("right after accept: %+v %v", got, err)
	}
	again, err := provider.AcceptVpcEndpointConnections(ctx, &sdk.AcceptVpcEndpointConnectionsInput{ServiceId: &id, VpcEndpointIds: []string{*ep.VpcEndpointId}})
	if err != nil || len(again.Unsuccessful) != 1 || *again.Unsuccessful[0].Error.Code != "InvalidState" {
		t.Errorf("accept again %+v %v", again, err)
	}
	del, err := provider.DeleteVpcEndpointServiceConfigurations(ctx, &sdk.DeleteVpcEndpointServiceConfigurationsInput{ServiceIds: []string{id, "vpce-svc-00000000000000bad"}})
	if err != nil || len(del.Unsuccessful) != 2 || *del.Unsuccessful[0].Error.Code != "ExistingVpcEndpointConnections" || *del.Unsuccessful[1].Error.Code != "InvalidVpcEndpointService.NotFound" {
		t.Errorf("delete service %+v %v", del, err)
	}
	mod, err := consumer.ModifyVpcEndpoint(ctx, &sdk.ModifyVpcEndpointInput{VpcEndpointId: ep.VpcEndpointId, RemoveSubnetIds: []string{epSubnetA}, PrivateDnsEnabled: aws.Bool(false)})
	if err != nil || !aws.ToBool(mod.Return) {
		t.Errorf("modify %+v %v", mod, err)
	}
	gone, err := consumer.DeleteVpcEndpoints(ctx, &sdk.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*ep.VpcEndpointId, "vpce-00000000000000bad"}})
	if err != nil || len(gone.Unsuccessful) != 1 || *gone.Unsuccessful[0].Error.Code != "InvalidVpcEndpoint.NotFound" || *gone.Unsuccessful[0].Error.Message != "The Vpc Endpoint Id 'vpce-00000000000000bad' does not exist" {
		t.Errorf("delete %+v %v", gone, err)
	}
	_, err = consumer.DescribeVpcEndpoints(ctx, &sdk.DescribeVpcEndpointsInput{VpcEndpointIds: []string{*ep.VpcEndpointId}})
	if code(err) != "InvalidVpcEndpointId.NotFound" {
		t.Errorf("describing what is gone: %v", err)
	}
	if _, err := provider.ModifyVpcEndpointServiceConfiguration(ctx, &sdk.ModifyVpcEndpointServiceConfigurationInput{ServiceId: &id, PrivateDnsName: aws.String("")}); err != nil {
		t.Error(err)
	}
	conf, err := provider.DescribeVpcEndpointServiceConfigurations(ctx, &sdk.DescribeVpcEndpointServiceConfigurationsInput{ServiceIds: []string{id}})
	if err != nil || len(conf.ServiceConfigurations) != 1 || conf.ServiceConfigurations[0].PrivateDnsName != nil || conf.ServiceConfigurations[0].PrivateDnsNameConfiguration != nil {
		t.Errorf("%+v %v", conf, err)
	}
	_, err = provider.StartVpcEndpointServicePrivateDnsVerification(ctx, &sdk.StartVpcEndpointServicePrivateDnsVerificationInput{ServiceId: &id})
	if code(err) != "InvalidParameter" {
		t.Errorf("verifying no name: %v", err)
	}
	if del, err = provider.DeleteVpcEndpointServiceConfigurations(ctx, &sdk.DeleteVpcEndpointServiceConfigurationsInput{ServiceIds: []string{id}}); err != nil || len(del.Unsuccessful) != 0 {
		t.Errorf("delete service %+v %v", del, err)
	}
}

func TestServiceListShowsEachTypeOfTheCatalogue(t *testing.T) {
	t.Parallel()
	a := newEndpointAPI(t)
	ctx := context.Background()
	out, err := a.client(controltest.Consumer).DescribeVpcEndpointServices(ctx, &sdk.DescribeVpcEndpointServicesInput{})
	if err != nil || !slices.Equal(out.ServiceNames, []string{epS3}) || len(out.ServiceDetails) != 2 {
		t.Fatalf("%+v %v", out, err)
	}
	g, i := out.ServiceDetails[0], out.ServiceDetails[1]
	if g.ServiceType[0].ServiceType != types.ServiceTypeGateway || i.ServiceType[0].ServiceType != types.ServiceTypeInterface || aws.ToString(g.Owner) != "amazon" ||
		g.PrivateDnsName != nil || aws.ToString(i.PrivateDnsName) != "s3.us-east-1.amazonaws.com" || len(i.PrivateDnsNames) != 2 || !aws.ToBool(i.VpcEndpointPolicySupported) ||
		i.PrivateDnsNameVerificationState != types.DnsNameStateVerified || len(i.AvailabilityZones) != 3 || !slices.Equal(g.BaseEndpointDnsNames, []string{"s3.us-east-1.amazonaws.com"}) {
		t.Errorf("gateway %+v\ninterface %+v", g, i)
	}
	one, err := a.client(controltest.Consumer).DescribeVpcEndpointServices(ctx, &sdk.DescribeVpcEndpointServicesInput{
		ServiceNames: []string{epS3}, Filters: []types.Filter{{Name: aws.String("service-type"), Values: []string{"Gateway"}}, {Name: aws.String("owner"), Values: []string{"amazon"}}},
	})
	if err != nil || len(one.ServiceDetails) != 1 {
		t.Errorf("%+v %v", one, err)
	}
	away, err := a.client(controltest.Consumer).DescribeVpcEndpointServices(ctx, &sdk.DescribeVpcEndpointServicesInput{ServiceRegions: []string{"eu-west-1"}})
	if err != nil || len(away.ServiceDetails) != 0 {
		t.Errorf("%+v %v", away, err)
	}
	// Pages go through every detail once.
	n := 0
	for in := (&sdk.DescribeVpcEndpointServicesInput{MaxResults: aws.Int32(1)}); n < 10; {
		page, err := a.client(controltest.Consumer).DescribeVpcEndpointServices(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.ServiceDetails)
		if in.NextToken = page.NextToken; in.NextToken == nil {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d details in pages of one, want 2", n)
	}
}

func TestGatewayEndpointOnTheWire(t *testing.T) {
	t.Parallel()
	a := newEndpointAPI(t)
	doc := `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}]}`
	status, body := a.call(controltest.Consumer, form("CreateVpcEndpoint", "VpcId", a.vpc, "ServiceName", epS3, "RouteTableId.1", a.table,
		"PrivateDnsEnabled", "false", "PolicyDocument", doc, "DnsOptions.DnsRecordIpType", "service-defined"))
	if status != 200 {
		t.Fatal(status, body)
	}
	want := `<CreateVpcEndpointResponse><requestId>ID</requestId><vpcEndpoint><vpcEndpointId>ID</vpcEndpointId><vpcEndpointType>Gateway</vpcEndpointType><vpcId>ID</vpcId>` +
		`<serviceName>com.amazonaws.us-east-1.s3</serviceName><state>pending</state><policyDocument>` + doc + `</policyDocument>` +
		`<routeTableIdSet><item>ID</item></routeTableIdSet><subnetIdSet></subnetIdSet><groupSet></groupSet><ipAddressType>ipv4</ipAddressType>` +
		`<dnsOptions><dnsRecordIpType>service-defined</dnsRecordIpType></dnsOptions><privateDnsEnabled>false</privateDnsEnabled><requesterManaged>false</requesterManaged>` +
		`<networkInterfaceIdSet></networkInterfaceIdSet><dnsEntrySet></dnsEntrySet><creationTimestamp>2026-01-02T03:04:05.000Z</creationTimestamp><tagSet></tagSet>` +
		`<ownerId>111111111111</ownerId><serviceRegion>us-east-1</serviceRegion></vpcEndpoint></CreateVpcEndpointResponse>`
	if got := plainXML(t, body); got != want {
		t.Errorf("answer\n%s\nwant\n%s", got, want)
	}
}

// plainXML is the elements and text of a body, ids as ID and without attributes.
func plainXML(t *testing.T, body string) string {
	t.Helper()
	var b strings.Builder
	d := xml.NewDecoder(strings.NewReader(body))
	ids := regexp.MustCompile(`^((vpce|vpc|rtb)-[0-9a-f]{17}|[0-9a-f-]{36})$`)
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			b.WriteString("<" + tok.Name.Local + ">")
		case xml.EndElement:
			b.WriteString("</" + tok.Name.Local + ">")
		case xml.CharData:
			b.WriteString(ids.ReplaceAllString(strings.TrimSpace(string(tok)), "ID"))
		}
	}
}

func TestEndpointErrorsHaveTheirAWSCodes(t *testing.T) {
	t.Parallel()
	a := newEndpointAPI(t)
	me, provider := controltest.Consumer, controltest.Provider
	status, body := a.call(provider, form("CreateVpcEndpointServiceConfiguration", "NetworkLoadBalancerArn.1", epNLB, "AcceptanceRequired", "false"))
	if status != 200 {
		t.Fatal(body)
	}
	service := regexp.MustCompile(`vpce-svc-[0-9a-f]{17}`).FindString(body)
	iface := func(pairs ...string) []string {
		return append([]string{"VpcEndpointType", "Interface", "VpcId", a.vpc, "ServiceName", epS3}, pairs...)
	}
	gateway := func(pairs ...string) []string { return append([]string{"VpcId", a.vpc, "ServiceName", epS3}, pairs...) }
	if status, body := a.call(me, form("CreateVpcEndpoint", gateway("RouteTableId.1", a.table, "ClientToken", "t")...)); status != 200 {
		t.Fatal(body)
	}
	for _, tc := range []struct {
		caller control.Caller
		action string
		pairs  []string
		code   string
		text   string
	}{
		{me, "CreateVpcEndpoint", []string{"ServiceName", epS3}, "MissingParameter", "The request must contain the parameter VpcId"},
		{me, "CreateVpcEndpoint", []string{"VpcId", a.vpc}, "MissingParameter", "The request must contain the parameter ServiceName"},
		{me, "CreateVpcEndpoint", []string{"VpcId", "vpc-00000000000000bad", "ServiceName", epS3}, "InvalidVpcID.NotFound", ""},
		{me, "CreateVpcEndpoint", []string{"VpcId", "nope", "ServiceName", epS3}, "InvalidVpcID.Malformed", ""},
		{me, "CreateVpcEndpoint", []string{"VpcId", a.vpc, "ServiceName", "nope"}, "InvalidServiceName", "The Vpc Endpoint Service 'nope' does not exist"},
		{me, "CreateVpcEndpoint", []string{"VpcId", a.vpc, "ServiceName", "com.amazonaws.vpce.us-east-1." + service, "VpcEndpointType", "Interface"}, "InvalidServiceName", ""},
		{provider, "CreateVpcEndpoint", []string{"VpcId", a.vpc, "ServiceName", epS3}, "InvalidVpcID.NotFound", ""},
		{me, "CreateVpcEndpoint", gateway("VpcEndpointType", "Portal"), "InvalidVpcEndpointType", ""},
		{me, "CreateVpcEndpoint", gateway("VpcEndpointType", "Resource"), "UnsupportedOperation", ""},
		{me, "CreateVpcEndpoint", gateway("ServiceNetworkArn", "x"), "UnsupportedOperation", "ServiceNetworkArn"},
		{me, "CreateVpcEndpoint", gateway("IpAddressType", "dualstack"), "InvalidParameter", "The IP address type dualstack (IpAddressType) is not supported by the service com.amazonaws.us-east-1.s3"},
		{me, "CreateVpcEndpoint", gateway("DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint", "true"), "InvalidParameter", ""},
		{me, "CreateVpcEndpoint", gateway("ServiceRegion", "eu-west-1"), "UnsupportedOperation", ""},
		{me, "CreateVpcEndpoint", gateway("Unknown", "x"), "UnknownParameter", ""},
		{me, "CreateVpcEndpoint", gateway("RouteTableId.1", a.table), "RouteAlreadyExists", ""},
		{me, "CreateVpcEndpoint", gateway("RouteTableId.1", "rtb-00000000000000bad"), "InvalidRouteTableID.NotFound", ""},
		{me, "CreateVpcEndpoint", gateway("SubnetId.1", epSubnetA), "InvalidParameter", ""},
		{me, "CreateVpcEndpoint", gateway("PolicyDocument", "x"), "InvalidPolicyDocument", ""},
		{me, "CreateVpcEndpoint", gateway("ClientToken", "t"), "IdempotentParameterMismatch", ""},
		{me, "CreateVpcEndpoint", gateway("TagSpecification.1.ResourceType", "vpc", "TagSpecification.1.Tag.1.Key", "a"), "InvalidParameterValue", ""},
		{me, "CreateVpcEndpoint", gateway("DryRun", "true"), "DryRunOperation", ""},
		{me, "CreateVpcEndpoint", iface("SubnetId.1", "subnet-00000000000000bad"), "InvalidSubnetID.NotFound", ""},
		{me, "CreateVpcEndpoint", iface("SubnetId.1", "bad"), "InvalidSubnetID.Malformed", ""},
		{me, "CreateVpcEndpoint", iface("SecurityGroupId.1", "sg-00000000000000bad"), "InvalidGroup.NotFound", ""},
		{me, "CreateVpcEndpoint", iface("SubnetId.1", epSubnetA, "SubnetConfiguration.1.SubnetId", epSubnetA, "SubnetConfiguration.1.Ipv4", "10.0.1.2"), "InvalidParameterValue", ""},
		{me, "CreateVpcEndpoint", iface("SubnetId.1", epSubnetA, "SubnetConfiguration.1.SubnetId", epSubnetA, "SubnetConfiguration.1.Ipv4", "x"), "InvalidParameterValue", ""},
		{me, "ModifyVpcEndpoint", []string{"VpcEndpointId", "vpce-00000000000000bad"}, "InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id 'vpce-00000000000000bad' does not exist"},
		{me, "ModifyVpcEndpoint", []string{"VpcEndpointId", service}, "InvalidVpcEndpointId.Malformed", ""},
		{me, "ModifyVpcEndpoint", []string{"VpcEndpointId", "vpce-00000000000000bad", "ResetPolicy", "true", "PolicyDocument", "{}"}, "InvalidParameterCombination", ""},
		{me, "DeleteVpcEndpoints", []string{"VpcEndpointId.1", "vpc-1"}, "InvalidVpcEndpointId.Malformed", ""},
		{me, "DescribeVpcEndpoints", []string{"Filter.1.Name", "nope", "Filter.1.Value.1", "x"}, "InvalidParameterValue", ""},
		{me, "DescribeVpcEndpoints", []string{"NextToken", "x"}, "InvalidNextToken", ""},
		{me, "DescribeVpcEndpointServices", []string{"ServiceName.1", "nope"}, "InvalidServiceName", ""},
		{me, "AcceptVpcEndpointConnections", []string{"ServiceId", service, "VpcEndpointId.1", "vpce-00000000000000bad"}, "InvalidVpcEndpointServiceId.NotFound", "The VpcEndpointService Id '" + service + "' does not exist"},
		{me, "DescribeVpcEndpointServicePermissions", []string{"ServiceId", service}, "InvalidVpcEndpointServiceId.NotFound", ""},
		{me, "DescribeVpcEndpointServiceConfigurations", []string{"ServiceId.1", service}, "InvalidVpcEndpointServiceId.NotFound", ""},
		{provider, "DescribeVpcEndpointServiceConfigurations", []string{"ServiceId.1", "vpce-1"}, "InvalidVpcEndpointServiceIdId.Malformed", ""},
		{provider, "ModifyVpcEndpointServiceConfiguration", []string{"ServiceId", service, "RemoveNetworkLoadBalancerArn.1", epNLB}, "InvalidParameter", ""},
		{provider, "ModifyVpcEndpointServiceConfiguration", []string{"ServiceId", service, "AddSupportedRegion.1", "eu-west-1"}, "UnsupportedOperation", ""},
		{provider, "ModifyVpcEndpointServicePermissions", []string{"ServiceId", service, "AddAllowedPrincipals.1", "ann"}, "InvalidPrincipal", ""},
		{provider, "ModifyVpcEndpointServicePermissions", []string{"ServiceId", service, "AddAllowedPrincipals.1", "ec2.amazonaws.com"}, "UnknownPrincipalType.Unsupported", ""},
		{provider, "CreateVpcEndpointServiceConfiguration", nil, "InvalidParameter", "exactly one of network_load_balancer_arn or gateway_load_balancer_arn is a required member"},
		{provider, "CreateVpcEndpointServiceConfiguration", []string{"NetworkLoadBalancerArn.1", epNLB}, "InvalidParameter", ""},
		{provider, "CreateVpcEndpointServiceConfiguration", []string{"NetworkLoadBalancerArn.1", "nope"}, "InvalidNetworkLoadBalancerArn.Malformed", ""},
		{provider, "CreateVpcEndpointServiceConfiguration", []string{"NetworkLoadBalancerArn.1", strings.Replace(epNLB, "/net/", "/app/", 1)}, "InvalidParameter", ""},
		{provider, "CreateVpcEndpointServiceConfiguration", []string{"NetworkLoadBalancerArn.1", strings.Replace(epNLB, "one", "two", 1)}, "InvalidNetworkLoadBalancerArn.NotFound", ""},
		{provider, "CreateVpcEndpointServiceConfiguration", []string{"NetworkLoadBalancerArn.1", epNLB, "SupportedIpAddressType.1", "ipv5"}, "InvalidParameter", "'ipv5' is not an IP address type (SupportedIpAddressType), use ipv4 or ipv6"},
	} {
		status, body := a.call(tc.caller, form(tc.action, tc.pairs...))
		want := 400
		if tc.code == "DryRunOperation" {
			want = 412
		}
		if status != want || !strings.Contains(body, "<Code>"+tc.code+"</Code>") || !strings.Contains(strings.NewReplacer("&#39;", "'", "&apos;", "'").Replace(body), tc.text) {
			t.Errorf("%s %q: %d %s\nwant %d %s %s", tc.action, tc.pairs, status, body, want, tc.code, tc.text)
		}
	}
}
