// SPDX-License-Identifier: Apache-2.0

package route53resolver_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver/types"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/internal/api/awsjson"
	ours "postern.dev/postern/internal/api/route53resolver"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
)

const (
	subnetA = string(controltest.SubnetA)
	subnetB = string(controltest.SubnetB)
)

type server struct {
	*route53resolver.Client
	control    *control.Control
	vpc, group string
}

// newServer is the SDK's client of a server with a VPC and two subnets.
func newServer(t *testing.T) server {
	t.Helper()
	c, _ := controltest.New(t)
	id, group := controltest.Network(t, c)
	url := apitest.Serve(t, &ours.Actions, awsjson.Parse, c, controltest.Consumer)
	return server{control: c, vpc: string(id), group: string(group), Client: route53resolver.New(route53resolver.Options{
		Region: "us-east-1", BaseEndpoint: &url, HTTPClient: apitest.Client(), RetryMaxAttempts: 1, Credentials: apitest.Keys(),
	})}
}

func (s server) endpoint(t *testing.T, name string, d types.ResolverEndpointDirection) *types.ResolverEndpoint {
	t.Helper()
	out, err := s.CreateResolverEndpoint(t.Context(), &route53resolver.CreateResolverEndpointInput{
		CreatorRequestId: &name, Name: &name, Direction: d, SecurityGroupIds: []string{s.group}, Protocols: []types.Protocol{types.ProtocolDo53},
		IpAddresses: []types.IpAddressRequest{{SubnetId: aws.String(subnetA)}, {SubnetId: aws.String(subnetB)}},
		Tags:        []types.Tag{{Key: aws.String("team"), Value: aws.String("red")}, {Key: aws.String("empty"), Value: aws.String("")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.ResolverEndpoint
}

func TestSDKClientBuildsAndTearsDownAnEndpoint(t *testing.T) {
	s, ctx := newServer(t), t.Context()
	e := s.endpoint(t, "door", types.ResolverEndpointDirectionInbound)
	if *e.Arn != "arn:aws:route53resolver:us-east-1:111111111111:resolver-endpoint/"+*e.Id || *e.HostVPCId != s.vpc || *e.IpAddressCount != 2 ||
		e.Status != types.ResolverEndpointStatusOperational || e.ResolverEndpointType != types.ResolverEndpointTypeIpv4 || !slices.Equal(e.Protocols, []types.Protocol{"Do53"}) {
		t.Errorf("made %+v", e)
	}
	if same := s.endpoint(t, "door", types.ResolverEndpointDirectionInbound); *same.Id != *e.Id {
		t.Errorf("the same request made %s and %s", *e.Id, *same.Id)
	}
	got, err := s.UpdateResolverEndpoint(ctx, &route53resolver.UpdateResolverEndpointInput{ResolverEndpointId: e.Id, Name: aws.String("gate")})
	if err != nil || *got.ResolverEndpoint.Name != "gate" {
		t.Errorf("renamed %+v, %v", got, err)
	}
	more, err := s.AssociateResolverEndpointIpAddress(ctx, &route53resolver.AssociateResolverEndpointIpAddressInput{ResolverEndpointId: e.Id,
		IpAddress: &types.IpAddressUpdate{SubnetId: aws.String(subnetA), Ip: aws.String("10.0.1.77")}})
	if err != nil || *more.ResolverEndpoint.IpAddressCount != 3 {
		t.Fatalf("a third address: %+v, %v", more, err)
	}
	var ips, pages []string
	for p := route53resolver.NewListResolverEndpointIpAddressesPaginator(s, &route53resolver.ListResolverEndpointIpAddressesInput{ResolverEndpointId: e.Id, MaxResults: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, string(rune('0'+len(page.IpAddresses))))
		for _, a := range page.IpAddresses {
			if a.Status != types.IpAddressStatusAttached || !strings.HasPrefix(*a.IpId, "rni-") {
				t.Errorf("address %+v", a)
			}
			ips = append(ips, *a.Ip)
		}
	}
	slices.Sort(ips)
	if strings.Join(pages, " ") != "2 1" || !slices.Equal(ips, []string{"10.0.1.4", "10.0.1.77", "10.0.2.4"}) {
		t.Errorf("pages of %v with %v", pages, ips)
	}
	if _, err := s.DisassociateResolverEndpointIpAddress(ctx, &route53resolver.DisassociateResolverEndpointIpAddressInput{ResolverEndpointId: e.Id,
		IpAddress: &types.IpAddressUpdate{SubnetId: aws.String(subnetA), Ip: aws.String("10.0.1.77")}}); err != nil {
		t.Error(err)
	}
	tags, err := s.ListTagsForResource(ctx, &route53resolver.ListTagsForResourceInput{ResourceArn: e.Arn})
	if err != nil || len(tags.Tags) != 2 || *tags.Tags[0].Key != "empty" || *tags.Tags[0].Value != "" || *tags.Tags[1].Value != "red" {
		t.Errorf("tags %+v, %v", tags, err)
	}
	if _, err := s.TagResource(ctx, &route53resolver.TagResourceInput{ResourceArn: e.Arn, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}}}); err != nil {
		t.Error(err)
	}
	if _, err := s.UntagResource(ctx, &route53resolver.UntagResourceInput{ResourceArn: e.Arn, TagKeys: []string{"empty"}}); err != nil {
		t.Error(err)
	}
	if tags, err = s.ListTagsForResource(ctx, &route53resolver.ListTagsForResourceInput{ResourceArn: e.Arn}); err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Value != "blue" {
		t.Errorf("tags %+v, %v", tags, err)
	}
	gone, err := s.DeleteResolverEndpoint(ctx, &route53resolver.DeleteResolverEndpointInput{ResolverEndpointId: e.Id})
	if err != nil || gone.ResolverEndpoint.Status != types.ResolverEndpointStatusDeleting {
		t.Errorf("deleted %+v, %v", gone, err)
	}
	var missing *types.ResourceNotFoundException
	if _, err := s.GetResolverEndpoint(ctx, &route53resolver.GetResolverEndpointInput{ResolverEndpointId: e.Id}); !errors.As(err, &missing) {
		t.Errorf("got %v after deleting", err)
	}
}

func TestSDKClientForwardsADomain(t *testing.T) {
	s, ctx := newServer(t), t.Context()
	out := s.endpoint(t, "out", types.ResolverEndpointDirectionOutbound)
	r, err := s.CreateResolverRule(ctx, &route53resolver.CreateResolverRuleInput{CreatorRequestId: aws.String("r"), Name: aws.String("corp"), RuleType: types.RuleTypeOptionForward,
		DomainName: aws.String("Corp.example"), ResolverEndpointId: out.Id, TargetIps: []types.TargetAddress{{Ip: aws.String("192.0.2.53")}, {Ip: aws.String("192.0.2.54"), Port: aws.Int32(5353), Protocol: types.ProtocolDo53}}})
	if err != nil {
		t.Fatal(err)
	}
	rule := r.ResolverRule
	if *rule.DomainName != "corp.example." || *rule.TargetIps[0].Port != 53 || *rule.TargetIps[1].Port != 5353 || rule.RuleType != types.RuleTypeOptionForward || *rule.OwnerId != "111111111111" ||
		rule.ShareStatus != types.ShareStatusNotShared || rule.Status != types.ResolverRuleStatusComplete {
		t.Errorf("made %+v", rule)
	}
	a, err := s.AssociateResolverRule(ctx, &route53resolver.AssociateResolverRuleInput{ResolverRuleId: rule.Id, VPCId: &s.vpc, Name: aws.String("here")})
	if err != nil || a.ResolverRuleAssociation.Status != types.ResolverRuleAssociationStatusComplete {
		t.Fatalf("associated %+v, %v", a, err)
	}
	got, err := s.GetResolverRuleAssociation(ctx, &route53resolver.GetResolverRuleAssociationInput{ResolverRuleAssociationId: a.ResolverRuleAssociation.Id})
	if err != nil || *got.ResolverRuleAssociation.VPCId != s.vpc || *got.ResolverRuleAssociation.Name != "here" {
		t.Errorf("got %+v, %v", got, err)
	}
	up, err := s.UpdateResolverRule(ctx, &route53resolver.UpdateResolverRuleInput{ResolverRuleId: rule.Id, Config: &types.ResolverRuleConfig{TargetIps: []types.TargetAddress{{Ip: aws.String("198.51.100.1")}}}})
	if err != nil || *up.ResolverRule.Name != "corp" || len(up.ResolverRule.TargetIps) != 1 || *up.ResolverRule.ResolverEndpointId != *out.Id {
		t.Errorf("updated %+v, %v", up, err)
	}
	// Every VPC has AWS's own rule for all other names too.
	const internet = "rslvr-autodefined-rr-internet-resolver"
	auto, err := s.GetResolverRule(ctx, &route53resolver.GetResolverRuleInput{ResolverRuleId: aws.String(internet)})
	if err != nil || *auto.ResolverRule.DomainName != "." || auto.ResolverRule.RuleType != types.RuleTypeOptionRecursive ||
		*auto.ResolverRule.Arn != "arn:aws:route53resolver:us-east-1::autodefined-rule/"+internet {
		t.Errorf("got %+v, %v", auto, err)
	}
	var seen []string
	list, err := s.ListResolverRuleAssociations(ctx, &route53resolver.ListResolverRuleAssociationsInput{Filters: []types.Filter{{Name: aws.String("VPCId"), Values: []string{s.vpc}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list.ResolverRuleAssociations {
		one, err := s.GetResolverRuleAssociation(ctx, &route53resolver.GetResolverRuleAssociationInput{ResolverRuleAssociationId: x.Id})
		if err != nil || *one.ResolverRuleAssociation.ResolverRuleId != *x.ResolverRuleId {
			t.Errorf("got %+v, %v, listed %+v", one, err, x)
		}
		seen = append(seen, *x.ResolverRuleId)
	}
	if !slices.Equal(seen, []string{internet, *rule.Id}) {
		t.Errorf("rules of the VPC: %v", seen)
	}
	for _, c := range []struct {
		name, value string
		want        int
	}{
		{"Type", "FORWARD", 1}, {"TYPE", "RECURSIVE", 1}, {"Type", "SYSTEM", 0}, {"DomainName", "corp.example", 1}, {"DOMAIN_NAME", "corp.example.", 1},
		{"Name", "corp", 1}, {"ResolverEndpointId", *out.Id, 1}, {"Status", "COMPLETE", 2}, {"CreatorRequestId", "r", 1},
	} {
		rules, err := s.ListResolverRules(ctx, &route53resolver.ListResolverRulesInput{Filters: []types.Filter{{Name: &c.name, Values: []string{c.value}}}})
		if err != nil || len(rules.ResolverRules) != c.want {
			t.Errorf("%s=%s: %+v, %v, want %d", c.name, c.value, rules, err, c.want)
		}
	}
	for _, c := range []struct {
		name, value string
		want        int
	}{
		{"Direction", "OUTBOUND", 1}, {"DIRECTION", "INBOUND", 0}, {"HostVPCId", s.vpc, 1}, {"HOST_VPC_ID", "vpc-1", 0}, {"IpAddressCount", "2", 1},
		{"SecurityGroupIds", s.group, 1}, {"Name", "out", 1}, {"Status", "OPERATIONAL", 1}, {"CreatorRequestId", "x", 0},
	} {
		all, err := s.ListResolverEndpoints(ctx, &route53resolver.ListResolverEndpointsInput{Filters: []types.Filter{{Name: &c.name, Values: []string{c.value}}}})
		if err != nil || len(all.ResolverEndpoints) != c.want {
			t.Errorf("%s=%s: %+v, %v, want %d", c.name, c.value, all, err, c.want)
		}
	}
}

func TestErrorsHaveAWSCodes(t *testing.T) {
	s, ctx := newServer(t), t.Context()
	out := s.endpoint(t, "out", types.ResolverEndpointDirectionOutbound)
	rule := func(name string, change func(*route53resolver.CreateResolverRuleInput)) error {
		in := &route53resolver.CreateResolverRuleInput{CreatorRequestId: &name, RuleType: types.RuleTypeOptionForward, DomainName: aws.String("corp.example"),
			ResolverEndpointId: out.Id, TargetIps: []types.TargetAddress{{Ip: aws.String("192.0.2.53")}}}
		change(in)
		_, err := s.CreateResolverRule(ctx, in)
		return err
	}
	endpoint := func(name string, change func(*route53resolver.CreateResolverEndpointInput)) error {
		in := &route53resolver.CreateResolverEndpointInput{CreatorRequestId: &name, Direction: types.ResolverEndpointDirectionInbound, SecurityGroupIds: []string{s.group},
			IpAddresses: []types.IpAddressRequest{{SubnetId: aws.String(subnetA)}, {SubnetId: aws.String(subnetB)}}}
		change(in)
		_, err := s.CreateResolverEndpoint(ctx, in)
		return err
	}
	if err := rule("made", func(*route53resolver.CreateResolverRuleInput) {}); err != nil {
		t.Fatal(err)
	}
	rules, err := s.ListResolverRules(ctx, &route53resolver.ListResolverRulesInput{Filters: []types.Filter{{Name: aws.String("Type"), Values: []string{"FORWARD"}}}})
	if err != nil {
		t.Fatal(err)
	}
	id := rules.ResolverRules[0].Id
	if _, err := s.AssociateResolverRule(ctx, &route53resolver.AssociateResolverRuleInput{ResolverRuleId: id, VPCId: &s.vpc}); err != nil {
		t.Fatal(err)
	}
	_, inUse := s.DeleteResolverRule(ctx, &route53resolver.DeleteResolverRuleInput{ResolverRuleId: id})
	_, used := s.DeleteResolverEndpoint(ctx, &route53resolver.DeleteResolverEndpointInput{ResolverEndpointId: out.Id})
	_, twice := s.AssociateResolverRule(ctx, &route53resolver.AssociateResolverRuleInput{ResolverRuleId: id, VPCId: &s.vpc})
	_, noVPC := s.AssociateResolverRule(ctx, &route53resolver.AssociateResolverRuleInput{ResolverRuleId: id, VPCId: aws.String("vpc-00000000000000000")})
	_, noRule := s.GetResolverRule(ctx, &route53resolver.GetResolverRuleInput{ResolverRuleId: aws.String("rslvr-rr-00000000000000000")})
	_, noAssociation := s.GetResolverRuleAssociation(ctx, &route53resolver.GetResolverRuleAssociationInput{ResolverRuleAssociationId: aws.String("rslvr-autodefined-assoc-vpc-1-internet-resolver")})
	_, badToken := s.ListResolverRules(ctx, &route53resolver.ListResolverRulesInput{NextToken: aws.String("eA")})
	_, badPage := s.ListResolverRules(ctx, &route53resolver.ListResolverRulesInput{MaxResults: aws.Int32(101)})
	_, badFilter := s.ListResolverRules(ctx, &route53resolver.ListResolverRulesInput{Filters: []types.Filter{{Name: aws.String("Colour"), Values: []string{"red"}}}})
	_, badTag := s.TagResource(ctx, &route53resolver.TagResourceInput{ResourceArn: out.Arn, Tags: []types.Tag{{Key: aws.String("aws:x"), Value: aws.String("")}}})
	_, noARN := s.ListTagsForResource(ctx, &route53resolver.ListTagsForResourceInput{ResourceArn: aws.String("arn:aws:route53resolver:us-east-1:222222222222:resolver-rule/" + *id)})
	_, autoTag := s.TagResource(ctx, &route53resolver.TagResourceInput{ResourceArn: aws.String("arn:aws:route53resolver:us-east-1::autodefined-rule/rslvr-autodefined-rr-internet-resolver"), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("")}}})
	_, firewall := s.ListFirewallRuleGroups(ctx, &route53resolver.ListFirewallRuleGroupsInput{})
	for _, c := range []struct {
		what string
		err  error
		code string
	}{
		{"delete a rule in force", inUse, "ResourceInUseException"},
		{"delete an endpoint in use", used, "InvalidRequestException"},
		{"two rules for a domain", twice, "InvalidRequestException"},
		{"an unknown VPC", noVPC, "InvalidParameterException"},
		{"an unknown rule", noRule, "ResourceNotFoundException"},
		{"an unknown association", noAssociation, "ResourceNotFoundException"},
		{"a token of nobody's", badToken, "InvalidNextTokenException"},
		{"a page too long", badPage, "InvalidParameterException"},
		{"an unknown filter", badFilter, "InvalidParameterException"},
		{"a reserved tag", badTag, "InvalidTagException"},
		{"another account's ARN", noARN, "ResourceNotFoundException"},
		{"tag AWS's rule", autoTag, "InvalidRequestException"},
		{"an action that is not here", firewall, "UnknownOperationException"},
		{"the request of another rule", rule("made", func(in *route53resolver.CreateResolverRuleInput) { in.DomainName = aws.String("x.example") }), "ResourceExistsException"},
		{"RECURSIVE", rule("a", func(in *route53resolver.CreateResolverRuleInput) { in.RuleType = types.RuleTypeOptionRecursive }), "InvalidParameterException"},
		{"DoH", rule("a", func(in *route53resolver.CreateResolverRuleInput) { in.TargetIps[0].Protocol = types.ProtocolDoh }), "InvalidParameterException"},
		{"an address that is none", rule("a", func(in *route53resolver.CreateResolverRuleInput) { in.TargetIps[0].Ip = aws.String("::1") }), "InvalidParameterException"},
		{"a target in the VPC", rule("a", func(in *route53resolver.CreateResolverRuleInput) { in.TargetIps[0].Ip = aws.String("10.0.1.5") }), "InvalidRequestException"},
		{"an unknown endpoint", rule("a", func(in *route53resolver.CreateResolverRuleInput) { in.ResolverEndpointId = aws.String("rslvr-out-1") }), "ResourceNotFoundException"},
		{"too many targets", rule("a", func(in *route53resolver.CreateResolverRuleInput) { in.TargetIps = slices.Repeat(in.TargetIps, 7) }), "LimitExceededException"},
		{"one address", endpoint("a", func(in *route53resolver.CreateResolverEndpointInput) { in.IpAddresses = in.IpAddresses[:1] }), "InvalidRequestException"},
		{"an unknown subnet", endpoint("a", func(in *route53resolver.CreateResolverEndpointInput) {
			in.IpAddresses[0].SubnetId = aws.String("subnet-1")
		}), "InvalidParameterException"},
		{"an unknown group", endpoint("a", func(in *route53resolver.CreateResolverEndpointInput) { in.SecurityGroupIds = []string{"sg-1"} }), "InvalidParameterException"},
		{"an address outside the subnet", endpoint("a", func(in *route53resolver.CreateResolverEndpointInput) { in.IpAddresses[0].Ip = aws.String("10.0.2.9") }), "InvalidRequestException"},
		{"IPv6 alone", endpoint("a", func(in *route53resolver.CreateResolverEndpointInput) {
			in.ResolverEndpointType = types.ResolverEndpointTypeIpv6
		}), "InvalidParameterException"},
		{"a delegation", endpoint("a", func(in *route53resolver.CreateResolverEndpointInput) {
			in.Direction = types.ResolverEndpointDirectionInboundDelegation
		}), "InvalidParameterException"},
		{"DoH for the endpoint", endpoint("a", func(in *route53resolver.CreateResolverEndpointInput) {
			in.Protocols = []types.Protocol{types.ProtocolDoh}
		}), "InvalidParameterException"},
		{"an outpost", endpoint("a", func(in *route53resolver.CreateResolverEndpointInput) {
			in.OutpostArn = aws.String("arn:aws:outposts:x")
		}), "InvalidParameterException"},
	} {
		if apitest.Code(c.err) != c.code {
			t.Errorf("%s: %v, want %s", c.what, c.err, c.code)
		}
	}
	for i := range 3 {
		s.endpoint(t, strings.Repeat("x", i+1), types.ResolverEndpointDirectionInbound)
	}
	if err := endpoint("many", func(*route53resolver.CreateResolverEndpointInput) {}); apitest.Code(err) != "LimitExceededException" {
		t.Errorf("the fifth endpoint: %v", err)
	}
}
