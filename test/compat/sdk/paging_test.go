// SPDX-License-Identifier: Apache-2.0

package sdk

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"postern.dev/postern/internal/api"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/test/compat"
)

// paginator is one of the SDK's, of operations with output O and options P.
type paginator[O, P any] interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*P)) (*O, error)
}

// pages collects the ids of every page; between runs after each.
func pages[O, P any](t *testing.T, p paginator[O, P], ids func(*O) []string, between ...func(page int)) [][]string {
	t.Helper()
	var out [][]string
	for n := 0; p.HasMorePages(); n++ {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatalf("page %d: %v", n, err)
		}
		out = append(out, ids(page))
		for _, f := range between {
			f(n)
		}
	}
	return out
}

// exactlyOnce requires that pages hold each of want once, that none is longer
// than size, and that only the last is shorter.
func exactlyOnce(t *testing.T, what string, size int, got [][]string, want []string) {
	t.Helper()
	seen := map[string]int{}
	for i, page := range got {
		if len(page) > size || len(page) < size && i < len(got)-1 {
			t.Errorf("%s: page %d of %d has %d, want %d", what, i, len(got), len(page), size)
		}
		for _, id := range page {
			seen[id]++
		}
	}
	for _, id := range want {
		if seen[id] != 1 {
			t.Errorf("%s, pages of %d: %s is there %d times", what, size, id, seen[id])
		}
		delete(seen, id)
	}
	for id := range seen {
		t.Errorf("%s, pages of %d: %s is nothing we made", what, size, id)
	}
	if len(want) == 0 {
		t.Errorf("%s: nothing to page", what)
	}
}

func endpointIDs(o *ec2.DescribeVpcEndpointsOutput) []string {
	var ids []string
	for _, e := range o.VpcEndpoints {
		ids = append(ids, *e.VpcEndpointId)
	}
	return ids
}

func (c *clients) endpoint(vpc string) string {
	out, err := c.ec2.CreateVpcEndpoint(c.ctx(), &ec2.CreateVpcEndpointInput{VpcId: &vpc, ServiceName: aws.String(compat.S3)})
	if err != nil {
		c.t.Errorf("create an endpoint: %v", err)
		return ""
	}
	return *out.VpcEndpoint.VpcEndpointId
}

func TestPagesOverFifteenHundredEndpoints(t *testing.T) {
	c := start(t, compat.Options{Quotas: control.Quotas{GatewayEndpoints: 5000}})
	other := connect(t, c.srv, c.srv.Account("other"))
	v, w := c.vpc("10.0.0.0/16"), other.vpc("10.0.0.0/16")
	const n = 1500
	ids := make([]string, n)
	many(n, func(i int) {
		ids[i] = c.endpoint(v)
		if i%100 == 0 {
			other.endpoint(w) // nobody else's are on the pages
		}
	})
	for _, size := range []int32{5, 100, 1000} {
		got := pages(t, ec2.NewDescribeVpcEndpointsPaginator(c.ec2, &ec2.DescribeVpcEndpointsInput{MaxResults: &size}), endpointIDs)
		exactlyOnce(t, "endpoints", int(size), got, ids)
		filtered := pages(t, ec2.NewDescribeVpcEndpointsPaginator(c.ec2, &ec2.DescribeVpcEndpointsInput{MaxResults: &size, Filters: []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{v}}}}), endpointIDs)
		exactlyOnce(t, "endpoints of a VPC", int(size), filtered, ids)
	}
	// Without a size, and with one above the limit, a page is a thousand.
	for _, size := range []*int32{nil, aws.Int32(5000)} {
		exactlyOnce(t, "endpoints", 1000, pages(t, ec2.NewDescribeVpcEndpointsPaginator(c.ec2, &ec2.DescribeVpcEndpointsInput{MaxResults: size}), endpointIDs), ids)
	}

	// Others come and go between the pages: what was there throughout is there once.
	var mu sync.Mutex
	churn := []string{}
	for range 30 {
		churn = append(churn, c.endpoint(v))
	}
	changed := 0
	got := pages(t, ec2.NewDescribeVpcEndpointsPaginator(c.ec2, &ec2.DescribeVpcEndpointsInput{MaxResults: aws.Int32(100)}), endpointIDs, func(int) {
		mu.Lock()
		defer mu.Unlock()
		gone := churn[0]
		churn = append(churn[1:], c.endpoint(v), c.endpoint(v))
		must(c.ec2.DeleteVpcEndpoints(c.ctx(), &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{gone}}))(t)
		changed++
	})
	if changed < 10 {
		t.Errorf("only %d changes between pages", changed)
	}
	seen := map[string]int{}
	for _, id := range slices.Concat(got...) {
		if seen[id]++; seen[id] > 1 {
			t.Errorf("%s is on two pages", id)
		}
	}
	for _, id := range ids {
		if seen[id] != 1 {
			t.Errorf("%s, which was there throughout, is there %d times", id, seen[id])
		}
	}
	// Also when the very object that a token stands on goes.
	first := must(c.ec2.DescribeVpcEndpoints(c.ctx(), &ec2.DescribeVpcEndpointsInput{MaxResults: aws.Int32(5)}))(t)
	last := endpointIDs(first)[4]
	must(c.ec2.DeleteVpcEndpoints(c.ctx(), &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{last}}))(t)
	rest := pages(t, ec2.NewDescribeVpcEndpointsPaginator(c.ec2, &ec2.DescribeVpcEndpointsInput{MaxResults: aws.Int32(1000), NextToken: first.NextToken}), endpointIDs)
	if slices.Contains(slices.Concat(rest...), endpointIDs(first)[3]) || len(slices.Concat(rest...))+5 < n {
		t.Errorf("after the token's object went, %d are left", len(slices.Concat(rest...)))
	}
}

// collect gives one id per element.
func collect[T any](list []T, id func(T) *string) []string {
	var out []string
	for _, e := range list {
		out = append(out, *id(e))
	}
	return out
}

// paged holds the pages of a size against one answer with everything.
func paged[O, P any](t *testing.T, what string, ids func(*O) []string, with func(size *int32) paginator[O, P]) {
	t.Helper()
	want := slices.Concat(pages(t, with(nil), ids)...)
	for _, size := range []int32{5, 7} {
		exactlyOnce(t, what, int(size), pages(t, with(&size), ids), want)
	}
	if len(want) <= 7 {
		t.Errorf("%s: only %d, which is one page", what, len(want))
	}
}

func TestPagesOfEveryKind(t *testing.T) {
	c := start(t, compat.Options{Quotas: control.Quotas{VPCs: 30}})
	ctx, v := t.Context(), c.vpc("10.0.0.0/16")
	const n = 12
	tags := func(kind ec2types.ResourceType) []ec2types.TagSpecification {
		return []ec2types.TagSpecification{{ResourceType: kind, Tags: []ec2types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}}
	}
	group := *must(c.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &v, GroupName: aws.String("rules"), Description: aws.String("x")}))(t).GroupId
	lb := *must(c.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String("front"), Type: "network", Scheme: "internal", Subnets: []string{c.subnet(v, "10.0.250.0/24", "us-east-1a")}}))(t).LoadBalancers[0].LoadBalancerArn
	var service string
	for i := range n {
		s := c.subnet(v, fmt.Sprintf("10.0.%d.0/24", i), "us-east-1a")
		c.vpc(fmt.Sprintf("10.%d.0.0/16", i+1))
		c.run(s)
		must(c.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &v, TagSpecifications: tags("route-table")}))(t)
		must(c.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &v, GroupName: aws.String(fmt.Sprint("g", i)), Description: aws.String("x")}))(t)
		must(c.ec2.CreateNetworkAcl(ctx, &ec2.CreateNetworkAclInput{VpcId: &v}))(t)
		must(c.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpProtocol: aws.String("tcp"), FromPort: aws.Int32(int32(i)), ToPort: aws.Int32(int32(i)), CidrIp: aws.String("10.0.0.0/8")}))(t)
		name := fmt.Sprint("lb", i)
		arn := *must(c.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: &name, Type: "network", Scheme: "internal", Subnets: []string{s}}))(t).LoadBalancers[0].LoadBalancerArn
		g := *must(c.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: &name, Protocol: "TCP", Port: aws.Int32(80), TargetType: "ip", VpcId: &v}))(t).TargetGroups[0].TargetGroupArn
		must(c.elb.CreateListener(ctx, &elb.CreateListenerInput{LoadBalancerArn: &lb, Protocol: "TCP", Port: aws.Int32(int32(80 + i)), DefaultActions: []elbtypes.Action{{Type: "forward", TargetGroupArn: &g}}}))(t)
		conf := must(c.ec2.CreateVpcEndpointServiceConfiguration(ctx, &ec2.CreateVpcEndpointServiceConfigurationInput{NetworkLoadBalancerArns: []string{arn}, AcceptanceRequired: aws.Bool(true)}))(t).ServiceConfiguration
		service = *conf.ServiceId
		must(c.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &v, ServiceName: conf.ServiceName, VpcEndpointType: "Interface"}))(t)
	}
	for i := range n {
		must(c.ec2.ModifyVpcEndpointServicePermissions(ctx, &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: &service, AddAllowedPrincipals: []string{fmt.Sprintf("arn:aws:iam::%012d:root", 100+i)}}))(t)
	}
	// A page keeps a reservation whole; each has one instance here.
	type opts = ec2.Options
	paged(t, "VPCs", func(o *ec2.DescribeVpcsOutput) []string {
		return collect(o.Vpcs, func(e ec2types.Vpc) *string { return e.VpcId })
	},
		func(n *int32) paginator[ec2.DescribeVpcsOutput, opts] {
			return ec2.NewDescribeVpcsPaginator(c.ec2, &ec2.DescribeVpcsInput{MaxResults: n})
		})
	paged(t, "subnets", func(o *ec2.DescribeSubnetsOutput) []string {
		return collect(o.Subnets, func(e ec2types.Subnet) *string { return e.SubnetId })
	},
		func(n *int32) paginator[ec2.DescribeSubnetsOutput, opts] {
			return ec2.NewDescribeSubnetsPaginator(c.ec2, &ec2.DescribeSubnetsInput{MaxResults: n})
		})
	paged(t, "route tables", func(o *ec2.DescribeRouteTablesOutput) []string {
		return collect(o.RouteTables, func(e ec2types.RouteTable) *string { return e.RouteTableId })
	},
		func(n *int32) paginator[ec2.DescribeRouteTablesOutput, opts] {
			return ec2.NewDescribeRouteTablesPaginator(c.ec2, &ec2.DescribeRouteTablesInput{MaxResults: n})
		})
	paged(t, "groups", func(o *ec2.DescribeSecurityGroupsOutput) []string {
		return collect(o.SecurityGroups, func(e ec2types.SecurityGroup) *string { return e.GroupId })
	},
		func(n *int32) paginator[ec2.DescribeSecurityGroupsOutput, opts] {
			return ec2.NewDescribeSecurityGroupsPaginator(c.ec2, &ec2.DescribeSecurityGroupsInput{MaxResults: n})
		})
	paged(t, "rules", func(o *ec2.DescribeSecurityGroupRulesOutput) []string {
		return collect(o.SecurityGroupRules, func(e ec2types.SecurityGroupRule) *string { return e.SecurityGroupRuleId })
	},
		func(n *int32) paginator[ec2.DescribeSecurityGroupRulesOutput, opts] {
			return ec2.NewDescribeSecurityGroupRulesPaginator(c.ec2, &ec2.DescribeSecurityGroupRulesInput{MaxResults: n})
		})
	paged(t, "ACLs", func(o *ec2.DescribeNetworkAclsOutput) []string {
		return collect(o.NetworkAcls, func(e ec2types.NetworkAcl) *string { return e.NetworkAclId })
	},
		func(n *int32) paginator[ec2.DescribeNetworkAclsOutput, opts] {
			return ec2.NewDescribeNetworkAclsPaginator(c.ec2, &ec2.DescribeNetworkAclsInput{MaxResults: n})
		})
	paged(t, "interfaces", func(o *ec2.DescribeNetworkInterfacesOutput) []string {
		return collect(o.NetworkInterfaces, func(e ec2types.NetworkInterface) *string { return e.NetworkInterfaceId })
	},
		func(n *int32) paginator[ec2.DescribeNetworkInterfacesOutput, opts] {
			return ec2.NewDescribeNetworkInterfacesPaginator(c.ec2, &ec2.DescribeNetworkInterfacesInput{MaxResults: n})
		})
	paged(t, "instances", func(o *ec2.DescribeInstancesOutput) []string {
		return collect(o.Reservations, func(e ec2types.Reservation) *string { return e.Instances[0].InstanceId })
	},
		func(n *int32) paginator[ec2.DescribeInstancesOutput, opts] {
			return ec2.NewDescribeInstancesPaginator(c.ec2, &ec2.DescribeInstancesInput{MaxResults: n})
		})
	paged(t, "instance states", func(o *ec2.DescribeInstanceStatusOutput) []string {
		return collect(o.InstanceStatuses, func(e ec2types.InstanceStatus) *string { return e.InstanceId })
	},
		func(n *int32) paginator[ec2.DescribeInstanceStatusOutput, opts] {
			return ec2.NewDescribeInstanceStatusPaginator(c.ec2, &ec2.DescribeInstanceStatusInput{MaxResults: n, IncludeAllInstances: aws.Bool(true)})
		})
	paged(t, "tags", func(o *ec2.DescribeTagsOutput) []string {
		return collect(o.Tags, func(e ec2types.TagDescription) *string { return e.ResourceId })
	},
		func(n *int32) paginator[ec2.DescribeTagsOutput, opts] {
			return ec2.NewDescribeTagsPaginator(c.ec2, &ec2.DescribeTagsInput{MaxResults: n})
		})
	paged(t, "endpoints", endpointIDs,
		func(n *int32) paginator[ec2.DescribeVpcEndpointsOutput, opts] {
			return ec2.NewDescribeVpcEndpointsPaginator(c.ec2, &ec2.DescribeVpcEndpointsInput{MaxResults: n})
		})
	paged(t, "connections", func(o *ec2.DescribeVpcEndpointConnectionsOutput) []string {
		return collect(o.VpcEndpointConnections, func(e ec2types.VpcEndpointConnection) *string { return e.VpcEndpointId })
	},
		func(n *int32) paginator[ec2.DescribeVpcEndpointConnectionsOutput, opts] {
			return ec2.NewDescribeVpcEndpointConnectionsPaginator(c.ec2, &ec2.DescribeVpcEndpointConnectionsInput{MaxResults: n})
		})
	paged(t, "configurations", func(o *ec2.DescribeVpcEndpointServiceConfigurationsOutput) []string {
		return collect(o.ServiceConfigurations, func(e ec2types.ServiceConfiguration) *string { return e.ServiceId })
	},
		func(n *int32) paginator[ec2.DescribeVpcEndpointServiceConfigurationsOutput, opts] {
			return ec2.NewDescribeVpcEndpointServiceConfigurationsPaginator(c.ec2, &ec2.DescribeVpcEndpointServiceConfigurationsInput{MaxResults: n})
		})
	paged(t, "permissions", func(o *ec2.DescribeVpcEndpointServicePermissionsOutput) []string {
		return collect(o.AllowedPrincipals, func(e ec2types.AllowedPrincipal) *string { return e.Principal })
	},
		func(n *int32) paginator[ec2.DescribeVpcEndpointServicePermissionsOutput, opts] {
			return ec2.NewDescribeVpcEndpointServicePermissionsPaginator(c.ec2, &ec2.DescribeVpcEndpointServicePermissionsInput{ServiceId: &service, MaxResults: n})
		})
	paged(t, "services", func(o *ec2.DescribeVpcEndpointServicesOutput) []string {
		// S3 is there with each of its types.
		return collect(o.ServiceDetails, func(e ec2types.ServiceDetail) *string {
			return aws.String(*e.ServiceId + string(e.ServiceType[0].ServiceType))
		})
	}, func(n *int32) paginator[ec2.DescribeVpcEndpointServicesOutput, opts] {
		return &services{c: c, size: n, more: true}
	})

	type elbOpts = elb.Options
	paged(t, "balancers", func(o *elb.DescribeLoadBalancersOutput) []string {
		return collect(o.LoadBalancers, func(e elbtypes.LoadBalancer) *string { return e.LoadBalancerArn })
	},
		func(n *int32) paginator[elb.DescribeLoadBalancersOutput, elbOpts] {
			return elb.NewDescribeLoadBalancersPaginator(c.elb, &elb.DescribeLoadBalancersInput{PageSize: n})
		})
	paged(t, "target groups", func(o *elb.DescribeTargetGroupsOutput) []string {
		return collect(o.TargetGroups, func(e elbtypes.TargetGroup) *string { return e.TargetGroupArn })
	},
		func(n *int32) paginator[elb.DescribeTargetGroupsOutput, elbOpts] {
			return elb.NewDescribeTargetGroupsPaginator(c.elb, &elb.DescribeTargetGroupsInput{PageSize: n})
		})
	paged(t, "listeners", func(o *elb.DescribeListenersOutput) []string {
		return collect(o.Listeners, func(e elbtypes.Listener) *string { return e.ListenerArn })
	},
		func(n *int32) paginator[elb.DescribeListenersOutput, elbOpts] {
			return elb.NewDescribeListenersPaginator(c.elb, &elb.DescribeListenersInput{LoadBalancerArn: &lb, PageSize: n})
		})
}

// services pages DescribeVpcEndpointServices, for which the SDK has no paginator.
type services struct {
	c    *clients
	size *int32
	next *string
	more bool
}

func (s *services) HasMorePages() bool { return s.more }

func (s *services) NextPage(ctx context.Context, _ ...func(*ec2.Options)) (*ec2.DescribeVpcEndpointServicesOutput, error) {
	out, err := s.c.ec2.DescribeVpcEndpointServices(ctx, &ec2.DescribeVpcEndpointServicesInput{MaxResults: s.size, NextToken: s.next})
	if err == nil {
		s.next = out.NextToken
		s.more = aws.ToString(s.next) != ""
	}
	return out, err
}

// A token that was not ours is refused by every action that takes one, by name.
func TestBadTokensAreRefusedByEveryAction(t *testing.T) {
	c := start(t, compat.Options{})
	v := c.vpc("10.0.0.0/16")
	lb := *must(c.elb.CreateLoadBalancer(t.Context(), &elb.CreateLoadBalancerInput{Name: aws.String("front"), Type: "network", Scheme: "internal", Subnets: []string{c.subnet(v, "10.0.0.0/24", "us-east-1a")}}))(t).LoadBalancers[0].LoadBalancerArn
	service := *must(c.ec2.CreateVpcEndpointServiceConfiguration(t.Context(), &ec2.CreateVpcEndpointServiceConfigurationInput{NetworkLoadBalancerArns: []string{lb}}))(t).ServiceConfiguration.ServiceId
	list := *must(c.ec2.DescribePrefixLists(t.Context(), &ec2.DescribePrefixListsInput{}))(t).PrefixLists[0].PrefixListId
	group := must(c.ec2.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{}))(t).SecurityGroups[0].GroupId
	subnet := vpc.SubnetID(c.subnet(v, "10.0.1.0/24", "us-east-1a"))
	endpoint := must(c.srv.Control.CreateResolverEndpoint(t.Context(), control.Caller{Account: vpc.AccountID(c.key.ID)}, control.CreateResolverEndpointInput{
		Request: "one", Groups: []vpc.GroupID{vpc.GroupID(*group)}, Addresses: []control.ResolverAddressInput{{Subnet: subnet}, {Subnet: subnet}}}))(t)
	// What else an action needs, to come as far as its token.
	needs := map[string]string{
		"ServiceId": service, "PrefixListId": list, "VpcId": v, "LoadBalancerArn": lb, "ResolverEndpointId": string(endpoint.ID),
		"ResourceArn": control.ResolverARN(c.srv.Control.Region(), endpoint.Owner, vpc.KindResolverEndpoint, string(endpoint.ID)),
	}
	for _, s := range api.Services() {
		token, codes := "NextToken", []string{"InvalidNextToken", "InvalidPaginationToken"}
		if s.Dialect == awsquery.Query {
			token, codes = "Marker", []string{"ValidationError", "InvalidMarker"}
		}
		if s.Dialect == awsquery.JSON {
			codes = []string{"InvalidNextTokenException"}
		}
		tried := 0
		for _, action := range s.Actions {
			params, err := awsquery.Describe(s.Dialect, s.Input(action))
			if err != nil {
				t.Fatal(err)
			}
			form, takes := url.Values{"Action": {action}, "Version": {s.Version}}, false
			for _, p := range params {
				takes = takes || p.Name == token && p.Mode == awsquery.Works
				if p.Required && !strings.Contains(p.Name, ".") || p.Name == "LoadBalancerArn" && action == "DescribeListeners" {
					form.Set(p.Name, needs[p.Name])
				}
			}
			if !takes {
				continue
			}
			tried++
			for _, bad := range []string{"garbage", "AAAA", strings.Repeat("x", 500), "eyJ0IjoxfQ==", "\x00", "vpc-0123456789abcdef0"} {
				form.Set(token, bad)
				status, code, body := c.srv.Raw(c.key, s.Name, form)
				if status != 400 || !slices.Contains(codes, code) {
					t.Errorf("%s with the token %.20q: %d %s %s", action, bad, status, code, body)
				}
			}
		}
		t.Logf("%s: %d actions take a token", s.Title, tried)
		if want := map[string]int{"ec2": 18, "elasticloadbalancing": 4, "route53resolver": 5}[s.Name]; tried < want {
			t.Errorf("%s: tried only %d actions, want %d", s.Title, tried, want)
		}
	}
}
