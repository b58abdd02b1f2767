// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/test/compat"
)

// scenario is the scenario of checks.txt with the SDK for Go.
type scenario struct {
	*testing.T
	ctx                context.Context
	consumer, provider *ec2.Client
	elb                *elb.Client
	done               []string
}

func TestTheGoSDK(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	keys := func(who compat.Account) aws.CredentialsProvider {
		return credentials.NewStaticCredentialsProvider(who.AccessKey, who.Secret, "")
	}
	ec2For := func(who compat.Account) *ec2.Client {
		return ec2.New(ec2.Options{Region: region, HTTPClient: apitest.Client(), BaseEndpoint: &a.endpoint, RetryMaxAttempts: 1, Credentials: keys(who)})
	}
	stsFor := func(who compat.Account) *sts.Client {
		return sts.New(sts.Options{Region: region, HTTPClient: apitest.Client(), BaseEndpoint: &a.endpoint, RetryMaxAttempts: 1, Credentials: keys(who)})
	}
	s := &scenario{T: t, ctx: t.Context(), consumer: ec2For(a.consumer), provider: ec2For(a.provider),
		elb: elb.New(elb.Options{Region: region, HTTPClient: apitest.Client(), BaseEndpoint: &a.endpoint, RetryMaxAttempts: 1, Credentials: keys(a.provider)})}

	c := got(stsFor(a.consumer).GetCallerIdentity(s.ctx, &sts.GetCallerIdentityInput{})).or(t)
	p := got(stsFor(a.provider).GetCallerIdentity(s.ctx, &sts.GetCallerIdentityInput{})).or(t)
	s.equal([]string{a.consumer.ID, a.provider.ID}, []string{*c.Account, *p.Account})
	s.ok("identity")
	s.play(a.consumer.ID, a.provider.ID)
	compare(t, s.done)
}

// ok says that a check held.
func (s *scenario) ok(check string) { s.done = append(s.done, check) }

func (s *scenario) equal(want, got any) {
	s.Helper()
	if fmt.Sprintf("%#v", want) != fmt.Sprintf("%#v", got) {
		s.Fatalf("want %#v, got %#v", want, got)
	}
}

// refused wants a call to have failed with AWS's code.
func (s *scenario) refused(code string, err error) {
	s.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code {
		s.Fatalf("want %s, got %v", code, err)
	}
}

// becomes asks until the answer is the one wanted, a minute at most.
func becomes[T any](s *scenario, want T, ask func() T) {
	s.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		got := ask()
		if fmt.Sprintf("%#v", want) == fmt.Sprintf("%#v", got) {
			return
		}
		if time.Now().After(end) {
			s.Fatalf("want %#v within a minute, got %#v", want, got)
		}
	}
}

// result is an answer that may be an error: got(call()).or(t).
type result[T any] struct {
	v   T
	err error
}

func got[T any](v T, err error) result[T] { return result[T]{v, err} }

// or ends the test on an error.
func (r result[T]) or(t testing.TB) T {
	t.Helper()
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.v
}

// second is the error of a call whose answer does not matter.
func second[T any](_ T, err error) error { return err }

func filter(pairs ...string) []types.Filter {
	var f []types.Filter
	for i := 0; i+1 < len(pairs); i += 2 {
		f = append(f, types.Filter{Name: &pairs[i], Values: strings.Split(pairs[i+1], ",")})
	}
	return f
}

func each[T any](list []T, f func(T) string) []string {
	out := []string{}
	for _, v := range list {
		out = append(out, f(v))
	}
	slices.Sort(out)
	return out
}

func sorted(v ...string) []string { slices.Sort(v); return v }

const atMost = 30 * time.Second

// soon makes a waiter ask again sooner than it would ask AWS.
const soon = 200 * time.Millisecond

func (s *scenario) subnet(c *ec2.Client, vpc, cidr, zone string) string {
	s.Helper()
	return *got(c.CreateSubnet(s.ctx, &ec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: &cidr, AvailabilityZone: &zone})).or(s).Subnet.SubnetId
}

func (s *scenario) described(endpoint string) types.VpcEndpoint {
	s.Helper()
	return got(s.consumer.DescribeVpcEndpoints(s.ctx, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{endpoint}})).or(s).VpcEndpoints[0]
}

// endpoints are the ids of the consumer's endpoints that filters let through.
func (s *scenario) endpoints(pairs ...string) []string {
	s.Helper()
	d := got(s.consumer.DescribeVpcEndpoints(s.ctx, &ec2.DescribeVpcEndpointsInput{Filters: filter(pairs...)})).or(s)
	return each(d.VpcEndpoints, func(e types.VpcEndpoint) string { return *e.VpcEndpointId })
}

func (s *scenario) interfaces(vpc string) []types.NetworkInterface {
	s.Helper()
	return got(s.consumer.DescribeNetworkInterfaces(s.ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: filter("vpc-id", vpc, "interface-type", "vpc_endpoint")})).or(s).NetworkInterfaces
}

func failures(items []types.UnsuccessfulItem) []string {
	return each(items, func(u types.UnsuccessfulItem) string { return *u.ResourceId + " " + *u.Error.Code })
}

func statement(sid, action, resource string) *string {
	return aws.String(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":%q,"Effect":"Allow","Principal":"*","Action":%q,"Resource":%q}]}`, sid, action, resource))
}

func (s *scenario) play(cAccount, pAccount string) {
	t, ctx, consumer, provider := s.T, s.ctx, s.consumer, s.provider

	// --- two accounts and their networks

	var zones []string
	for _, z := range got(consumer.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{})).or(t).AvailabilityZones {
		if z.State == types.AvailabilityZoneStateAvailable {
			zones = append(zones, *z.ZoneName)
		}
	}
	if len(zones) < 2 {
		t.Fatalf("zones %v", zones)
	}
	s.ok("zones")

	cidr := aws.String("10.0.0.0/16")
	cVPC := *got(consumer.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: cidr, TagSpecifications: []types.TagSpecification{
		{ResourceType: types.ResourceTypeVpc, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("consumer")}}}}})).or(t).Vpc.VpcId
	pVPC := *got(provider.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: cidr})).or(t).Vpc.VpcId
	v := got(ec2.NewVpcAvailableWaiter(consumer).WaitForOutput(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{cVPC}}, atMost)).or(t).Vpcs[0]
	s.equal([]string{*cidr, "Name", "consumer"}, []string{*v.CidrBlock, *v.Tags[0].Key, *v.Tags[0].Value})
	s.ok("vpcs")

	s.refused("DryRunOperation", second(consumer.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16"), DryRun: aws.Bool(true)})))
	s.equal(1, len(got(consumer.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: filter("is-default", "false")})).or(t).Vpcs))
	s.ok("dry-run")

	got(consumer.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &cVPC, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}})).or(t)
	attr := got(consumer.DescribeVpcAttribute(ctx, &ec2.DescribeVpcAttributeInput{VpcId: &cVPC, Attribute: types.VpcAttributeNameEnableDnsHostnames})).or(t)
	s.equal(true, *attr.EnableDnsHostnames.Value)
	s.ok("vpc-attributes")

	cSubnets := []string{s.subnet(consumer, cVPC, "10.0.1.0/24", zones[0]), s.subnet(consumer, cVPC, "10.0.2.0/24", zones[1])}
	pSubnets := []string{s.subnet(provider, pVPC, "10.0.1.0/24", zones[0]), s.subnet(provider, pVPC, "10.0.2.0/24", zones[1])}
	got(ec2.NewSubnetAvailableWaiter(consumer).WaitForOutput(ctx, &ec2.DescribeSubnetsInput{SubnetIds: cSubnets}, atMost)).or(t)
	s.ok("subnets")

	s.refused("InvalidSubnet.Conflict", second(consumer.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &cVPC, CidrBlock: aws.String("10.0.1.128/25")})))
	s.ok("subnet-conflict")
	s.refused("InvalidVpcID.NotFound", second(consumer.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-0123456789abcdef0"}})))
	s.ok("unknown-vpc")

	// --- the provider offers a service

	lb := got(s.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String("compat"), Type: elbtypes.LoadBalancerTypeEnumNetwork,
		Scheme: elbtypes.LoadBalancerSchemeEnumInternal, Subnets: pSubnets})).or(t).LoadBalancers[0].LoadBalancerArn
	balancer := &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{*lb}}
	got(elb.NewLoadBalancerAvailableWaiter(s.elb, func(o *elb.LoadBalancerAvailableWaiterOptions) { o.MinDelay, o.MaxDelay = soon, soon }).WaitForOutput(ctx, balancer, atMost)).or(t)
	s.ok("balancer")
	targets := got(s.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: aws.String("compat"), Protocol: elbtypes.ProtocolEnumTcp,
		Port: aws.Int32(8080), VpcId: &pVPC, TargetType: elbtypes.TargetTypeEnumIp})).or(t).TargetGroups[0].TargetGroupArn
	tg := got(s.elb.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{Names: []string{"compat"}})).or(t)
	s.equal(int32(8080), *tg.TargetGroups[0].Port)
	s.ok("target-group")
	got(s.elb.CreateListener(ctx, &elb.CreateListenerInput{LoadBalancerArn: lb, Protocol: elbtypes.ProtocolEnumTcp, Port: aws.Int32(80),
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: targets}}})).or(t)
	ls := got(s.elb.DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: lb})).or(t)
	s.equal(int32(80), *ls.Listeners[0].Port)
	s.ok("listener")

	service := got(provider.CreateVpcEndpointServiceConfiguration(ctx, &ec2.CreateVpcEndpointServiceConfigurationInput{
		AcceptanceRequired: aws.Bool(true), NetworkLoadBalancerArns: []string{*lb}})).or(t).ServiceConfiguration
	configuration := &ec2.DescribeVpcEndpointServiceConfigurationsInput{ServiceIds: []string{*service.ServiceId}}
	s.equal(types.ServiceStateAvailable, got(provider.DescribeVpcEndpointServiceConfigurations(ctx, configuration)).or(t).ServiceConfigurations[0].ServiceState)
	s.ok("service")
	byName := &ec2.DescribeVpcEndpointServicesInput{ServiceNames: []string{*service.ServiceName}}
	s.refused("InvalidServiceName", second(consumer.DescribeVpcEndpointServices(ctx, byName)))
	s.ok("service-hidden")
	got(provider.ModifyVpcEndpointServicePermissions(ctx, &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: service.ServiceId,
		AddAllowedPrincipals: []string{"arn:aws:iam::" + cAccount + ":root"}})).or(t)
	offer := got(consumer.DescribeVpcEndpointServices(ctx, byName)).or(t).ServiceDetails[0]
	s.equal([]any{pAccount, types.ServiceTypeInterface, true}, []any{*offer.Owner, offer.ServiceType[0].ServiceType, *offer.AcceptanceRequired})
	s.ok("service-offered")

	// --- the consumer's interface endpoint

	group := *got(consumer.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &cVPC, GroupName: aws.String("endpoint"), Description: aws.String("the endpoint")})).or(t).GroupId
	fromRange := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(80), ToPort: aws.Int32(80), IpRanges: []types.IpRange{{CidrIp: cidr}}}
	fromItself := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &group}}}
	got(consumer.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []types.IpPermission{fromRange, fromItself}})).or(t)
	rules := got(consumer.DescribeSecurityGroupRules(ctx, &ec2.DescribeSecurityGroupRulesInput{Filters: filter("group-id", group)})).or(t).SecurityGroupRules
	rules = slices.DeleteFunc(rules, func(r types.SecurityGroupRule) bool { return *r.IsEgress })
	s.equal([]string{"443", "80"}, each(rules, func(r types.SecurityGroupRule) string { return fmt.Sprint(*r.FromPort) }))
	s.ok("group")
	s.refused("InvalidGroup.Duplicate", second(consumer.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &cVPC, GroupName: aws.String("endpoint"), Description: aws.String("again")})))
	s.ok("group-duplicate")
	s.refused("InvalidPermission.Duplicate", second(consumer.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []types.IpPermission{fromRange}})))
	s.ok("rule-duplicate")

	created := got(consumer.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcEndpointType: types.VpcEndpointTypeInterface, VpcId: &cVPC,
		ServiceName: service.ServiceName, SubnetIds: cSubnets, SecurityGroupIds: []string{group}, PrivateDnsEnabled: aws.Bool(false)})).or(t).VpcEndpoint
	endpoint := *created.VpcEndpointId
	// The SDK's constants begin with a capital: types.StatePendingAcceptance
	// is "PendingAcceptance". The service answers like this.
	s.equal(types.State("pendingAcceptance"), created.State)
	s.ok("endpoint")
	connections := got(provider.DescribeVpcEndpointConnections(ctx, &ec2.DescribeVpcEndpointConnectionsInput{
		Filters: filter("service-id", *service.ServiceId, "vpc-endpoint-state", "pendingAcceptance")})).or(t).VpcEndpointConnections
	s.equal([]string{endpoint + " " + cAccount}, each(connections, func(c types.VpcEndpointConnection) string { return *c.VpcEndpointId + " " + *c.VpcEndpointOwner }))
	s.ok("connection")

	state := func() types.State { return s.described(endpoint).State }
	accepted := got(provider.AcceptVpcEndpointConnections(ctx, &ec2.AcceptVpcEndpointConnectionsInput{ServiceId: service.ServiceId, VpcEndpointIds: []string{endpoint}})).or(t)
	s.equal([]string{}, failures(accepted.Unsuccessful))
	becomes(s, "available", state)
	s.ok("accepted")

	names := each(s.described(endpoint).DnsEntries, func(d types.DnsEntry) string { return *d.DnsName })
	domain := "." + *service.ServiceId + "." + region + ".vpce.amazonaws.com"
	shape := regexp.MustCompile("^" + endpoint + "-[a-z0-9]+(-" + zones[0] + "|-" + zones[1] + ")?" + regexp.QuoteMeta(domain) + "$")
	for _, n := range names {
		if !shape.MatchString(n) {
			t.Errorf("the name %s", n)
		}
	}
	s.equal(3, len(names))
	for _, z := range zones[:2] {
		s.equal(1, len(slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.Contains(n, "-"+z+".") })))
	}
	s.ok("dns-entries")

	interfaceSubnets := func() []string {
		return each(s.interfaces(cVPC), func(i types.NetworkInterface) string { return *i.SubnetId })
	}
	s.equal(sorted(slices.Clone(cSubnets)...), interfaceSubnets())
	for _, i := range s.interfaces(cVPC) {
		s.equal([]any{types.NetworkInterfaceStatusInUse, true, 1, group}, []any{i.Status, *i.RequesterManaged, len(i.Groups), *i.Groups[0].GroupId})
	}
	s.ok("interfaces")
	s.refused("InvalidVpcEndpointId.NotFound", second(provider.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{endpoint}})))
	s.ok("foreign-endpoint")

	// --- the consumer's gateway endpoint

	s3 := "com.amazonaws." + region + ".s3"
	table := *got(consumer.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: filter("vpc-id", cVPC, "association.main", "true")})).or(t).RouteTables[0].RouteTableId
	gateway := *got(consumer.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcEndpointType: types.VpcEndpointTypeGateway, VpcId: &cVPC, ServiceName: &s3,
		RouteTableIds: []string{table}, PolicyDocument: statement("ReadOnly", "s3:Get*", "*"), TagSpecifications: []types.TagSpecification{
			{ResourceType: types.ResourceTypeVpcEndpoint, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("s3")}}}}})).or(t).VpcEndpoint.VpcEndpointId
	becomes(s, "available", func() types.State { return s.described(gateway).State })
	policyHas := func(sid string) bool { return strings.Contains(*s.described(gateway).PolicyDocument, sid) }
	s.equal(true, policyHas("ReadOnly"))
	s.ok("gateway")
	var list string
	for _, r := range got(consumer.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{table}})).or(t).RouteTables[0].Routes {
		if aws.ToString(r.GatewayId) == gateway {
			list = aws.ToString(r.DestinationPrefixListId)
		}
	}
	s.equal(true, strings.HasPrefix(list, "pl-"))
	s.ok("gateway-route")
	s.refused("RouteAlreadyExists", second(consumer.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &cVPC, ServiceName: &s3, RouteTableIds: []string{table}})))
	s.ok("gateway-duplicate")
	byID := got(consumer.DescribePrefixLists(ctx, &ec2.DescribePrefixListsInput{PrefixListIds: []string{list}})).or(t).PrefixLists
	named := got(consumer.DescribePrefixLists(ctx, &ec2.DescribePrefixListsInput{Filters: filter("prefix-list-name", s3)})).or(t).PrefixLists
	s.equal([]any{1, 1, s3, byID[0].Cidrs}, []any{len(byID), len(named), *byID[0].PrefixListName, named[0].Cidrs})
	s.equal(true, len(byID[0].Cidrs) > 0)
	s.ok("prefix-list")

	both := sorted(endpoint, gateway)
	s.equal([]string{endpoint}, s.endpoints("vpc-id", cVPC, "vpc-endpoint-type", "Interface"))
	s.equal(both, s.endpoints("vpc-endpoint-state", "available,pending"))
	s.equal([]string{}, s.endpoints("service-name", "nothing"))
	s.ok("filters")
	var paged []string
	for p := ec2.NewDescribeVpcEndpointsPaginator(consumer, &ec2.DescribeVpcEndpointsInput{MaxResults: aws.Int32(1)}); p.HasMorePages(); {
		page := got(p.NextPage(ctx)).or(t).VpcEndpoints
		s.equal(1, len(page))
		paged = append(paged, *page[0].VpcEndpointId)
	}
	s.equal(both, sorted(paged...))
	s.ok("paging")

	tag := types.Tag{Key: aws.String("team"), Value: aws.String("orders")}
	got(consumer.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{endpoint}, Tags: []types.Tag{tag}})).or(t)
	s.equal([]string{endpoint}, s.endpoints("tag:team", "orders"))
	s.ok("tags-added")
	got(consumer.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: []string{endpoint}, Tags: []types.Tag{{Key: tag.Key}}})).or(t)
	s.equal([]string{}, s.endpoints("tag:team", "orders"))
	s.ok("tags-removed")

	modify := func(in *ec2.ModifyVpcEndpointInput) {
		t.Helper()
		s.equal(true, *got(consumer.ModifyVpcEndpoint(ctx, in)).or(t).Return)
	}
	modify(&ec2.ModifyVpcEndpointInput{VpcEndpointId: &gateway, PolicyDocument: statement("OneBucket", "s3:*", "arn:aws:s3:::one/*")})
	s.equal(true, policyHas("OneBucket"))
	modify(&ec2.ModifyVpcEndpointInput{VpcEndpointId: &gateway, ResetPolicy: aws.Bool(true)})
	s.equal(false, policyHas("OneBucket"))
	s.ok("policy")
	modify(&ec2.ModifyVpcEndpointInput{VpcEndpointId: &endpoint, RemoveSubnetIds: cSubnets[1:]})
	becomes(s, "available", state)
	s.equal(cSubnets[:1], interfaceSubnets())
	modify(&ec2.ModifyVpcEndpointInput{VpcEndpointId: &endpoint, AddSubnetIds: cSubnets[1:]})
	becomes(s, "available", state)
	s.equal(sorted(slices.Clone(cSubnets)...), interfaceSubnets())
	s.ok("subnets-modified")
	other := *got(consumer.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: filter("vpc-id", cVPC, "group-name", "default")})).or(t).SecurityGroups[0].GroupId
	groups := func() []string {
		return each(s.described(endpoint).Groups, func(g types.SecurityGroupIdentifier) string { return *g.GroupId })
	}
	modify(&ec2.ModifyVpcEndpointInput{VpcEndpointId: &endpoint, AddSecurityGroupIds: []string{other}})
	s.equal(sorted(group, other), groups())
	modify(&ec2.ModifyVpcEndpointInput{VpcEndpointId: &endpoint, RemoveSecurityGroupIds: []string{other}})
	s.equal([]string{group}, groups())
	s.ok("groups-modified")

	// --- what a user runs into

	nobody := "vpce-0123456789abcdef0"
	s.refused("InvalidVpcEndpointId.NotFound", second(consumer.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: &nobody, ResetPolicy: aws.Bool(true)})))
	s.ok("unknown-endpoint")
	s.refused("InvalidVpcEndpointId.Malformed", second(consumer.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{"vpce-xyz"}})))
	s.ok("malformed-endpoint")
	s.equal([]string{nobody + " InvalidVpcEndpoint.NotFound"}, failures(got(consumer.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{nobody}})).or(t).Unsuccessful))
	s.ok("delete-unknown")
	s.refused("DependencyViolation", second(consumer.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: &cVPC})))
	s.ok("vpc-in-use")
	s.refused("DependencyViolation", second(consumer.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: &cSubnets[0]})))
	s.ok("subnet-in-use")
	s.refused("DependencyViolation", second(consumer.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: &group})))
	s.ok("group-in-use")
	var inUse *elbtypes.ResourceInUseException
	if err := second(s.elb.DeleteLoadBalancer(ctx, &elb.DeleteLoadBalancerInput{LoadBalancerArn: lb})); !errors.As(err, &inUse) {
		t.Fatalf("want a ResourceInUseException, got %v", err)
	}
	s.ok("balancer-in-use")
	remove := &ec2.DeleteVpcEndpointServiceConfigurationsInput{ServiceIds: []string{*service.ServiceId}}
	s.equal([]string{*service.ServiceId + " ExistingVpcEndpointConnections"}, failures(got(provider.DeleteVpcEndpointServiceConfigurations(ctx, remove)).or(t).Unsuccessful))
	s.ok("service-in-use")
	got(provider.RejectVpcEndpointConnections(ctx, &ec2.RejectVpcEndpointConnectionsInput{ServiceId: service.ServiceId, VpcEndpointIds: []string{endpoint}})).or(t)
	becomes(s, "rejected", state)
	s.ok("rejected")

	// --- everything is deleted

	s.equal([]string{}, failures(got(consumer.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: both})).or(t).Unsuccessful))
	becomes(s, []string{}, func() []string { return s.endpoints() })
	becomes(s, []string{}, interfaceSubnets)
	s.ok("endpoints-deleted")
	s.equal([]string{}, failures(got(provider.DeleteVpcEndpointServiceConfigurations(ctx, remove)).or(t).Unsuccessful))
	s.refused("InvalidVpcEndpointServiceId.NotFound", second(provider.DescribeVpcEndpointServiceConfigurations(ctx, configuration)))
	s.ok("service-deleted")
	got(s.elb.DeleteLoadBalancer(ctx, &elb.DeleteLoadBalancerInput{LoadBalancerArn: lb})).or(t)
	got(elb.NewLoadBalancersDeletedWaiter(s.elb, func(o *elb.LoadBalancersDeletedWaiterOptions) { o.MinDelay, o.MaxDelay = soon, soon }).WaitForOutput(ctx, balancer, atMost)).or(t)
	got(s.elb.DeleteTargetGroup(ctx, &elb.DeleteTargetGroupInput{TargetGroupArn: targets})).or(t)
	var gone *elbtypes.TargetGroupNotFoundException
	if err := second(s.elb.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{TargetGroupArns: []string{*targets}})); !errors.As(err, &gone) {
		t.Fatalf("want a TargetGroupNotFoundException, got %v", err)
	}
	s.ok("balancer-deleted")
	got(consumer.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: &group})).or(t)
	for _, id := range cSubnets {
		got(consumer.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: &id})).or(t)
	}
	for _, id := range pSubnets {
		got(provider.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: &id})).or(t)
	}
	got(consumer.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: &cVPC})).or(t)
	got(provider.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: &pVPC})).or(t)
	s.refused("InvalidVpcID.NotFound", second(consumer.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{cVPC}})))
	s.refused("InvalidGroup.NotFound", second(consumer.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})))
	s.refused("InvalidSubnetID.NotFound", second(consumer.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: cSubnets[:1]})))
	s.ok("all-gone")
}
