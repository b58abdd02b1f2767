// SPDX-License-Identifier: Apache-2.0

package terraform

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/hashicorp/aws-sdk-go-base/v2/tfawserr"
)

// notRecognized is how the provider reads an attribute's refusal: it drops the
// key and tries again (trap 14).
var notRecognized = regexp.MustCompile(`attribute key '([^']+)' is not (recognized|supported)`)

// sendAttributes sends attributes, without those that are refused by name.
func (p *provider) sendAttributes(attributes map[string]string, send func(keys []string) error) {
	p.t.Helper()
	keys := slices.Sorted(maps.Keys(attributes))
	for len(keys) > 0 {
		err := send(keys)
		if err == nil {
			return
		}
		m := notRecognized.FindStringSubmatch(err.Error())
		if m == nil || !slices.Contains(keys, m[1]) {
			p.t.Fatalf("attributes %q: %v", keys, err)
		}
		keys = slices.DeleteFunc(keys, func(k string) bool { return k == m[1] })
	}
}

func elbTags(a attrs) []elbtypes.Tag {
	var out []elbtypes.Tag
	for _, k := range slices.Sorted(maps.Keys(a.tags())) {
		out = append(out, elbtypes.Tag{Key: aws.String(k), Value: aws.String(a.tags()[k])})
	}
	return out
}

// tagsOf reads the tags of one ARN, with a call of its own.
func (p *provider) tagsOf(arn string) map[string]string {
	p.t.Helper()
	out := must[*elb.DescribeTagsOutput](p)(p.elb.DescribeTags(p.ctx(), &elb.DescribeTagsInput{ResourceArns: []string{arn}}))
	d, err := one(p, out.TagDescriptions, nil)
	p.ok(err)
	if *d.ResourceArn != arn {
		p.t.Errorf("tags of %s when asked for %s", *d.ResourceArn, arn)
	}
	m := map[string]string{}
	for _, t := range d.Tags {
		m[*t.Key] = aws.ToString(t.Value)
	}
	return m
}

func (p *provider) updateELBTags(arn string, from, to attrs) {
	p.t.Helper()
	var drop []string
	for _, k := range slices.Sorted(maps.Keys(from.tags())) {
		if _, ok := to.tags()[k]; !ok {
			drop = append(drop, k)
		}
	}
	if len(drop) > 0 {
		must[*elb.RemoveTagsOutput](p)(p.elb.RemoveTags(p.ctx(), &elb.RemoveTagsInput{ResourceArns: []string{arn}, TagKeys: drop}))
	}
	if from.changed(to, "tags") && len(to.tags()) > 0 {
		must[*elb.AddTagsOutput](p)(p.elb.AddTags(p.ctx(), &elb.AddTagsInput{ResourceArns: []string{arn}, Tags: elbTags(to)}))
	}
}

func (p *provider) findBalancer(arn string) (elbtypes.LoadBalancer, error) {
	out, err := p.elb.DescribeLoadBalancers(p.ctx(), &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{arn}})
	if err != nil {
		return elbtypes.LoadBalancer{}, gone(err, "LoadBalancerNotFound")
	}
	return one(p, out.LoadBalancers, nil)
}

// balancerAttributes are those that the resource manages for this type, by their
// schema's names, with the provider's defaults.
var balancerAttributes = map[string]string{
	"enable_deletion_protection": "deletion_protection.enabled", "enable_cross_zone_load_balancing": "load_balancing.cross_zone.enabled",
	"dns_record_client_routing_policy": "dns_record.client_routing_policy", "enable_zonal_shift": "zonal_shift.config.enabled", "access_logs": "access_logs.s3.enabled",
}

func (p *provider) balancerReady(arn string) {
	p.t.Helper()
	p.wait("the load balancer", []string{"provisioning", "failed"}, []string{"active"}, 1, func() (string, error) {
		lb, err := p.findBalancer(arn)
		if err != nil {
			return "", err
		}
		return string(lb.State.Code), nil
	})
}

func (p *provider) balancerResource() resource {
	attributes := func(arn string, values map[string]string) {
		p.t.Helper()
		p.sendAttributes(values, func(keys []string) error {
			in := &elb.ModifyLoadBalancerAttributesInput{LoadBalancerArn: &arn}
			for _, k := range keys {
				in.Attributes = append(in.Attributes, elbtypes.LoadBalancerAttribute{Key: aws.String(k), Value: aws.String(values[k])})
			}
			_, err := p.elb.ModifyLoadBalancerAttributes(p.ctx(), in)
			return err
		})
	}
	return resource{
		create: func(c attrs) string {
			// The provider refuses a name that is taken, since a create with it could succeed.
			_, err := p.elb.DescribeLoadBalancers(p.ctx(), &elb.DescribeLoadBalancersInput{Names: []string{c.str("name")}})
			p.refused(err, "LoadBalancerNotFound")
			in := &elb.CreateLoadBalancerInput{
				Name: aws.String(c.str("name")), Type: elbtypes.LoadBalancerTypeEnumNetwork, Tags: elbTags(c), Scheme: elbtypes.LoadBalancerSchemeEnum(c.str("scheme")),
				Subnets: c.list("subnets"), SecurityGroups: c.list("security_groups"),
			}
			if v := c.str("ip_address_type"); v != "" {
				in.IpAddressType = elbtypes.IpAddressType(v)
			}
			out := must[*elb.CreateLoadBalancerOutput](p)(p.elb.CreateLoadBalancer(p.ctx(), in))
			arn := *out.LoadBalancers[0].LoadBalancerArn
			p.balancerReady(arn)
			values := map[string]string{}
			for k, key := range balancerAttributes {
				if v, ok := c[k]; ok {
					values[key] = fmt.Sprint(v)
				}
			}
			attributes(arn, values)
			return arn
		},
		read: func(p *provider, arn string) (attrs, error) {
			lb, err := p.findBalancer(arn)
			if err != nil {
				return nil, err
			}
			subnets, mappings := set(), set()
			for _, z := range lb.AvailabilityZones {
				subnets = append(subnets, *z.SubnetId)
				for _, a := range z.LoadBalancerAddresses {
					mappings = append(mappings, *z.SubnetId+"="+aws.ToString(a.PrivateIPv4Address))
				}
			}
			a := attrs{
				"name": *lb.LoadBalancerName, "scheme": string(lb.Scheme), "load_balancer_type": string(lb.Type), "vpc_id": *lb.VpcId, "dns_name": *lb.DNSName, "zone_id": *lb.CanonicalHostedZoneId,
				"ip_address_type": string(lb.IpAddressType), "security_groups": set(lb.SecurityGroups...), "subnets": set(subnets...), "subnet_mapping": set(mappings...),
				"enforce_security_group_inbound_rules_on_private_link_traffic": aws.ToString(lb.EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic),
				"arn_suffix": arn[strings.Index(arn, "net/"):], "tags": p.tagsOf(arn),
			}
			out := must[*elb.DescribeLoadBalancerAttributesOutput](p)(p.elb.DescribeLoadBalancerAttributes(p.ctx(), &elb.DescribeLoadBalancerAttributesInput{LoadBalancerArn: &arn}))
			have := map[string]string{}
			for _, v := range out.Attributes {
				have[*v.Key] = aws.ToString(v.Value)
			}
			for k, key := range balancerAttributes {
				v, ok := have[key]
				if !ok {
					p.t.Errorf("the attribute %s is absent (trap 14)", key)
				}
				a[k] = v
			}
			// Must answer, or fail with a code that says there is none.
			if _, err := p.elb.DescribeCapacityReservation(p.ctx(), &elb.DescribeCapacityReservationInput{LoadBalancerArn: &arn}); !tfawserr.ErrCodeEquals(err, "AccessDenied", "InvalidAction") {
				p.ok(err)
			}
			return a, nil
		},
		update: func(arn string, from, to attrs) string {
			values := map[string]string{}
			for k, key := range balancerAttributes {
				if from.changed(to, k) {
					values[key] = fmt.Sprint(to[k])
				}
			}
			if len(values) > 0 {
				attributes(arn, values)
			}
			const enforce = "enforce_security_group_inbound_rules_on_private_link_traffic"
			if from.changed(to, "security_groups") || from.changed(to, enforce) {
				in := &elb.SetSecurityGroupsInput{LoadBalancerArn: &arn, SecurityGroups: to.list("security_groups")}
				if from.changed(to, enforce) {
					in.EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic = elbtypes.EnforceSecurityGroupInboundRulesOnPrivateLinkTrafficEnum(to.str(enforce))
				}
				must[*elb.SetSecurityGroupsOutput](p)(p.elb.SetSecurityGroups(p.ctx(), in))
			}
			if from.changed(to, "subnets") {
				must[*elb.SetSubnetsOutput](p)(p.elb.SetSubnets(p.ctx(), &elb.SetSubnetsInput{LoadBalancerArn: &arn, Subnets: to.list("subnets")}))
			}
			p.updateELBTags(arn, from, to)
			p.balancerReady(arn)
			return arn
		},
		remove: func(arn string, _ attrs) {
			must[*elb.DeleteLoadBalancerOutput](p)(p.elb.DeleteLoadBalancer(p.ctx(), &elb.DeleteLoadBalancerInput{LoadBalancerArn: &arn})) // trap 12: of a missing one too
			// Trap 13: wait for the nodes' interfaces to go.
			p.wait("the nodes' end", []string{"attached"}, nil, 1, func() (string, error) {
				if len(p.nodes(arn)) == 0 {
					return "", nil
				}
				return "attached", nil
			})
		},
	}
}

// nodes are a balancer's network interfaces, found as the provider finds them.
func (p *provider) nodes(arn string) []ec2types.NetworkInterface {
	p.t.Helper()
	return must[*ec2.DescribeNetworkInterfacesOutput](p)(p.ec2.DescribeNetworkInterfaces(p.ctx(), &ec2.DescribeNetworkInterfacesInput{Filters: []ec2types.Filter{
		filter("attachment.instance-owner-id", "amazon-aws"), filter("description", "ELB "+arn[strings.Index(arn, "net/"):]),
	}})).NetworkInterfaces
}

func deleteBalancer(arn string) *elb.DeleteLoadBalancerInput {
	return &elb.DeleteLoadBalancerInput{LoadBalancerArn: &arn}
}

// balancer is an internal network load balancer.
func (p *provider) balancer(name string, subnets ...string) string {
	p.t.Helper()
	return p.balancerResource().create(attrs{"name": name, "scheme": "internal", "subnets": subnets})
}

func TestLoadBalancer(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	a, b := p.subnet(vpc, "10.0.0.0/24", "us-east-1a"), p.subnet(vpc, "10.0.1.0/24", "us-east-1b")
	one, two := p.group(vpc, "one"), p.group(vpc, "two")
	const enforce = "enforce_security_group_inbound_rules_on_private_link_traffic"
	p.lifecycle(p.balancerResource(), attrs{
		"name": "front", "scheme": "internal", "subnets": set(a), "security_groups": set(one), "load_balancer_type": "network", "ip_address_type": "ipv4", "tags": tagsOne,
		"enable_deletion_protection": "false", "enable_cross_zone_load_balancing": "false", "dns_record_client_routing_policy": "any_availability_zone", "enable_zonal_shift": "false", "access_logs": "false",
	}, []change{
		{set: attrs{"enable_cross_zone_load_balancing": "true", "tags": tagsTwo}},
		{set: attrs{"enable_deletion_protection": "true"}},
		{set: attrs{"security_groups": set(one, two)}},
		{set: attrs{enforce: "off"}},
		{set: attrs{"subnets": set(a, b)}, computed: []string{"subnet_mapping"}},
		{set: attrs{"subnets": set(b)}, computed: []string{"subnet_mapping"}},
	}, func(arn string, state attrs) {
		_, err := p.elb.DeleteLoadBalancer(p.ctx(), &elb.DeleteLoadBalancerInput{LoadBalancerArn: &arn})
		p.refused(err, "OperationNotPermitted")
		if n := len(p.nodes(arn)); n != len(state.list("subnets")) {
			t.Errorf("%d interfaces of nodes in %d subnets", n, len(state.list("subnets")))
		}
		p.balancerResource().update(arn, state, state.with(attrs{"enable_deletion_protection": "false"}))
		_, err = p.elb.ModifyLoadBalancerAttributes(p.ctx(), &elb.ModifyLoadBalancerAttributesInput{LoadBalancerArn: &arn, Attributes: []elbtypes.LoadBalancerAttribute{{Key: aws.String("no.such"), Value: aws.String("1")}}})
		if err == nil || !notRecognized.MatchString(err.Error()) {
			t.Errorf("an unknown attribute: %v", err)
		}
	})
}

func (p *provider) findTargetGroup(arn string) (elbtypes.TargetGroup, error) {
	out, err := p.elb.DescribeTargetGroups(p.ctx(), &elb.DescribeTargetGroupsInput{TargetGroupArns: []string{arn}})
	if err != nil {
		return elbtypes.TargetGroup{}, gone(err, "TargetGroupNotFound")
	}
	return one(p, out.TargetGroups, nil)
}

var groupAttributes = map[string]string{
	"deregistration_delay": "deregistration_delay.timeout_seconds", "connection_termination": "deregistration_delay.connection_termination.enabled",
	"preserve_client_ip": "preserve_client_ip.enabled", "proxy_protocol_v2": "proxy_protocol_v2.enabled", "load_balancing_cross_zone_enabled": "load_balancing.cross_zone.enabled",
	"stickiness": "stickiness.enabled", "stickiness_type": "stickiness.type",
	"dns_failover_count": "target_group_health.dns_failover.minimum_healthy_targets.count", "dns_failover_percentage": "target_group_health.dns_failover.minimum_healthy_targets.percentage",
	"routing_count": "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "routing_percentage": "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
	"unhealthy_termination": "target_health_state.unhealthy.connection_termination.enabled", "unhealthy_draining": "target_health_state.unhealthy.draining_interval_seconds",
}

func (p *provider) targetGroupResource() resource {
	n := func(a attrs, k string) *int32 {
		if v, ok := a[k].(int); ok {
			return aws.Int32(int32(v))
		}
		return nil
	}
	attributes := func(arn string, values map[string]string) {
		p.t.Helper()
		p.sendAttributes(values, func(keys []string) error {
			in := &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: &arn}
			for _, k := range keys {
				in.Attributes = append(in.Attributes, elbtypes.TargetGroupAttribute{Key: aws.String(k), Value: aws.String(values[k])})
			}
			_, err := p.elb.ModifyTargetGroupAttributes(p.ctx(), in)
			return err
		})
	}
	return resource{
		create: func(c attrs) string {
			_, err := p.elb.DescribeTargetGroups(p.ctx(), &elb.DescribeTargetGroupsInput{Names: []string{c.str("name")}})
			p.refused(err, "TargetGroupNotFound")
			in := &elb.CreateTargetGroupInput{
				Name: aws.String(c.str("name")), Port: n(c, "port"), Protocol: elbtypes.ProtocolEnum(c.str("protocol")), TargetType: elbtypes.TargetTypeEnum(c.str("target_type")),
				VpcId: aws.String(c.str("vpc_id")), Tags: elbTags(c), HealthCheckEnabled: aws.Bool(true), HealthCheckIntervalSeconds: n(c, "interval"), HealthyThresholdCount: n(c, "healthy"),
				UnhealthyThresholdCount: n(c, "unhealthy"), HealthCheckPort: aws.String("traffic-port"), HealthCheckProtocol: elbtypes.ProtocolEnum(c.str("check_protocol")),
			}
			if v := c.str("path"); v != "" {
				in.HealthCheckPath, in.Matcher = &v, &elbtypes.Matcher{HttpCode: aws.String(c.str("matcher"))}
			}
			arn := *must[*elb.CreateTargetGroupOutput](p)(p.elb.CreateTargetGroup(p.ctx(), in)).TargetGroups[0].TargetGroupArn
			p.wait("the group", nil, []string{"ready"}, 1, func() (string, error) { _, err := p.findTargetGroup(arn); return "ready", err })
			values := map[string]string{}
			for k, key := range groupAttributes {
				if v, ok := c[k]; ok {
					values[key] = fmt.Sprint(v)
				}
			}
			attributes(arn, values)
			return arn
		},
		read: func(p *provider, arn string) (attrs, error) {
			g, err := p.findTargetGroup(arn)
			if err != nil {
				return nil, err
			}
			a := attrs{
				"name": *g.TargetGroupName, "port": int(*g.Port), "protocol": string(g.Protocol), "target_type": string(g.TargetType), "vpc_id": *g.VpcId, "ip_address_type": string(g.IpAddressType),
				"check_enabled": *g.HealthCheckEnabled, "interval": int(*g.HealthCheckIntervalSeconds), "timeout": int(*g.HealthCheckTimeoutSeconds), "healthy": int(*g.HealthyThresholdCount), "unhealthy": int(*g.UnhealthyThresholdCount),
				"check_port": *g.HealthCheckPort, "check_protocol": string(g.HealthCheckProtocol), "path": aws.ToString(g.HealthCheckPath), "load_balancer_arns": set(g.LoadBalancerArns...), "tags": p.tagsOf(arn),
			}
			if g.Matcher != nil {
				a["matcher"] = aws.ToString(g.Matcher.HttpCode)
			}
			out := must[*elb.DescribeTargetGroupAttributesOutput](p)(p.elb.DescribeTargetGroupAttributes(p.ctx(), &elb.DescribeTargetGroupAttributesInput{TargetGroupArn: &arn}))
			have := map[string]string{}
			for _, v := range out.Attributes {
				have[*v.Key] = aws.ToString(v.Value)
			}
			for k, key := range groupAttributes {
				v, ok := have[key]
				if !ok {
					p.t.Errorf("the attribute %s is absent (trap 14)", key)
				}
				a[k] = v
			}
			return a, nil
		},
		update: func(arn string, from, to attrs) string {
			for _, k := range []string{"interval", "healthy", "unhealthy", "path", "matcher"} {
				if !from.changed(to, k) {
					continue
				}
				in := &elb.ModifyTargetGroupInput{
					TargetGroupArn: &arn, HealthCheckEnabled: aws.Bool(true), HealthCheckIntervalSeconds: n(to, "interval"), HealthyThresholdCount: n(to, "healthy"), UnhealthyThresholdCount: n(to, "unhealthy"),
					HealthCheckPort: aws.String(to.str("check_port")), HealthCheckProtocol: elbtypes.ProtocolEnum(to.str("check_protocol")), HealthCheckTimeoutSeconds: n(to, "timeout"),
				}
				if v := to.str("path"); v != "" {
					in.HealthCheckPath, in.Matcher = &v, &elbtypes.Matcher{HttpCode: aws.String(to.str("matcher"))}
				}
				must[*elb.ModifyTargetGroupOutput](p)(p.elb.ModifyTargetGroup(p.ctx(), in))
				break
			}
			values := map[string]string{}
			for k, key := range groupAttributes {
				if from.changed(to, k) {
					values[key] = fmt.Sprint(to[k])
				}
			}
			if len(values) > 0 {
				attributes(arn, values)
			}
			p.updateELBTags(arn, from, to)
			return arn
		},
		remove: func(arn string, _ attrs) {
			_, err := p.elb.DeleteTargetGroup(p.ctx(), &elb.DeleteTargetGroupInput{TargetGroupArn: &arn})
			if !tfawserr.ErrCodeEquals(err, "TargetGroupNotFound") {
				p.ok(err)
			}
		},
	}
}

func TestTargetGroup(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	proxied := map[string]string{"TCP": "true", "UDP": "false"} // a PROXY header begins a TCP stream
	for protocol, c := range map[string]attrs{
		"TCP": {"target_type": "ip", "check_protocol": "TCP", "preserve_client_ip": "false", "connection_termination": "false"},
		"UDP": {"target_type": "instance", "check_protocol": "HTTP", "path": "/ok", "matcher": "200-399", "preserve_client_ip": "true"},
	} {
		p.lifecycle(p.targetGroupResource(), attrs{
			"name": "back-" + protocol, "port": 80, "protocol": protocol, "vpc_id": vpc, "interval": 30, "healthy": 3, "unhealthy": 3, "deregistration_delay": "300", "tags": tagsOne,
			"proxy_protocol_v2": "false", "stickiness": "false", "stickiness_type": "source_ip", "load_balancing_cross_zone_enabled": "use_load_balancer_configuration",
			"dns_failover_count": "1", "dns_failover_percentage": "off", "routing_count": "1", "routing_percentage": "off",
		}.with(c), []change{
			{set: attrs{"interval": 10, "healthy": 2, "unhealthy": 2}},
			{set: attrs{"deregistration_delay": "0", "proxy_protocol_v2": proxied[protocol], "tags": tagsTwo}},
			{set: attrs{"load_balancing_cross_zone_enabled": "true"}},
		})
	}
}

func (p *provider) listenerResource() resource {
	find := func(p *provider, arn string) (elbtypes.Listener, error) {
		out, err := p.elb.DescribeListeners(p.ctx(), &elb.DescribeListenersInput{ListenerArns: []string{arn}})
		if err != nil {
			return elbtypes.Listener{}, gone(err, "ListenerNotFound")
		}
		return one(p, out.Listeners, nil)
	}
	actions := func(a attrs) []elbtypes.Action {
		return []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: aws.String(a.str("target_group_arn"))}}
	}
	timeout := func(arn, seconds string) {
		p.t.Helper()
		must[*elb.ModifyListenerAttributesOutput](p)(p.elb.ModifyListenerAttributes(p.ctx(), &elb.ModifyListenerAttributesInput{
			ListenerArn: &arn, Attributes: []elbtypes.ListenerAttribute{{Key: aws.String("tcp.idle_timeout.seconds"), Value: &seconds}},
		}))
	}
	return resource{
		create: func(c attrs) string {
			port := int32(c["port"].(int))
			arn := *must[*elb.CreateListenerOutput](p)(p.elb.CreateListener(p.ctx(), &elb.CreateListenerInput{
				LoadBalancerArn: aws.String(c.str("load_balancer_arn")), Port: &port, Protocol: elbtypes.ProtocolEnum(c.str("protocol")), DefaultActions: actions(c), Tags: elbTags(c),
			})).Listeners[0].ListenerArn
			p.wait("the listener", nil, []string{"ready"}, 1, func() (string, error) { _, err := find(p, arn); return "ready", err })
			if v := c.str("tcp_idle_timeout_seconds"); v != "" {
				timeout(arn, v)
			}
			return arn
		},
		read: func(p *provider, arn string) (attrs, error) {
			l, err := find(p, arn)
			if err != nil {
				return nil, err
			}
			a := attrs{"load_balancer_arn": *l.LoadBalancerArn, "port": int(*l.Port), "protocol": string(l.Protocol), "tags": p.tagsOf(arn)}
			action, err := one(p, l.DefaultActions, nil)
			p.ok(err)
			// One group is said twice: as the action's, and in its forward block.
			if action.Type != elbtypes.ActionTypeEnumForward || action.ForwardConfig == nil || len(action.ForwardConfig.TargetGroups) != 1 ||
				aws.ToString(action.ForwardConfig.TargetGroups[0].TargetGroupArn) != aws.ToString(action.TargetGroupArn) {
				p.t.Errorf("the default action is %+v", action)
			}
			a["target_group_arn"] = aws.ToString(action.TargetGroupArn)
			out := must[*elb.DescribeListenerAttributesOutput](p)(p.elb.DescribeListenerAttributes(p.ctx(), &elb.DescribeListenerAttributesInput{ListenerArn: &arn}))
			for _, v := range out.Attributes {
				if *v.Key == "tcp.idle_timeout.seconds" {
					a["tcp_idle_timeout_seconds"] = *v.Value
				}
			}
			return a, nil
		},
		update: func(arn string, from, to attrs) string {
			if from.changed(to, "port") || from.changed(to, "target_group_arn") || from.changed(to, "protocol") {
				port := int32(to["port"].(int))
				must[*elb.ModifyListenerOutput](p)(p.elb.ModifyListener(p.ctx(), &elb.ModifyListenerInput{ListenerArn: &arn, Port: &port, Protocol: elbtypes.ProtocolEnum(to.str("protocol")), DefaultActions: actions(to)}))
			}
			if from.changed(to, "tcp_idle_timeout_seconds") {
				timeout(arn, to.str("tcp_idle_timeout_seconds"))
			}
			p.updateELBTags(arn, from, to)
			return arn
		},
		remove: func(arn string, _ attrs) {
			_, err := p.elb.DeleteListener(p.ctx(), &elb.DeleteListenerInput{ListenerArn: &arn})
			if !tfawserr.ErrCodeEquals(err, "ListenerNotFound") {
				p.ok(err)
			}
		},
	}
}

func (p *provider) targetGroup(vpc, name, kind string) string {
	p.t.Helper()
	return p.targetGroupResource().create(attrs{"name": name, "port": 80, "protocol": "TCP", "vpc_id": vpc, "interval": 30, "healthy": 3, "unhealthy": 3, "target_type": kind, "check_protocol": "TCP"})
}

func TestListener(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	lb := p.balancer("front", p.subnet(vpc, "10.0.0.0/24", "us-east-1a"))
	one, two := p.targetGroup(vpc, "one", "ip"), p.targetGroup(vpc, "two", "ip")
	p.lifecycle(p.listenerResource(), attrs{"load_balancer_arn": lb, "port": 80, "protocol": "TCP", "target_group_arn": one, "tcp_idle_timeout_seconds": "350", "tags": tagsOne}, []change{
		{set: attrs{"target_group_arn": two}},
		{set: attrs{"port": 81, "tags": tagsTwo}},
		{set: attrs{"tcp_idle_timeout_seconds": "60"}},
	}, func(arn string, _ attrs) {
		// The group's resource is destroyed at the same time: its delete is tried
		// again for 2 minutes on this text.
		_, err := p.elb.DeleteTargetGroup(p.ctx(), &elb.DeleteTargetGroupInput{TargetGroupArn: &two})
		if text := p.refused(err, "ResourceInUse"); !strings.Contains(text, "is currently in use by a listener or a rule") {
			t.Errorf("text %q", text)
		}
		if g := p.settled(p.targetGroupResource(), two); !slices.Equal(g.list("load_balancer_arns"), []string{lb}) {
			t.Errorf("the group's balancers: %q", g["load_balancer_arns"])
		}
	})
	p.targetGroupResource().remove(two, nil)
	// A balancer takes its listeners with it.
	l := p.listenerResource().create(attrs{"load_balancer_arn": lb, "port": 82, "protocol": "TCP", "target_group_arn": one})
	p.balancerResource().remove(lb, nil)
	if _, err := p.listenerResource().read(p, l); err != errGone {
		t.Errorf("the listener of a deleted balancer: %v", err)
	}
}

func TestTargetGroupAttachment(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	subnet := p.subnet(vpc, "10.0.0.0/24", "us-east-1a")
	instance, _ := p.instance(subnet)
	for kind, target := range map[string]string{"ip": "10.0.0.40", "instance": instance} {
		group := p.targetGroup(vpc, "back-"+kind, kind)
		p.balancerUsing(group, "front-"+kind, subnet)
		this := []elbtypes.TargetDescription{{Id: &target, Port: aws.Int32(8080)}}
		p.lifecycle(resource{
			create: func(attrs) string {
				must[*elb.RegisterTargetsOutput](p)(p.elb.RegisterTargets(p.ctx(), &elb.RegisterTargetsInput{TargetGroupArn: &group, Targets: this}))
				return group + "-" + target
			},
			read: func(p *provider, id string) (attrs, error) {
				out, err := p.elb.DescribeTargetHealth(p.ctx(), &elb.DescribeTargetHealthInput{TargetGroupArn: &group, Targets: this})
				if err != nil {
					return nil, gone(err, "InvalidTarget", "InvalidInstance", "TargetGroupNotFound")
				}
				d, err := one(p, out.TargetHealthDescriptions, nil)
				if err != nil {
					return nil, err
				}
				switch d.TargetHealth.Reason {
				case elbtypes.TargetHealthReasonEnumNotRegistered, elbtypes.TargetHealthReasonEnumDeregistrationInProgress:
					return nil, errGone
				}
				return attrs{"target_id": *d.Target.Id, "port": int(*d.Target.Port)}, nil
			},
			remove: func(string, attrs) {
				_, err := p.elb.DeregisterTargets(p.ctx(), &elb.DeregisterTargetsInput{TargetGroupArn: &group, Targets: this})
				if !tfawserr.ErrCodeEquals(err, "InvalidTarget", "TargetGroupNotFound") {
					p.ok(err)
				}
			},
		}, attrs{"target_id": target, "port": 8080}, nil)
	}
	group := p.targetGroup(vpc, "none", "instance")
	_, err := p.elb.RegisterTargets(p.ctx(), &elb.RegisterTargetsInput{TargetGroupArn: &group, Targets: []elbtypes.TargetDescription{{Id: aws.String("i-00000000000000bad")}}})
	p.refused(err, "InvalidTarget") // tried again for a while
}

// balancerUsing is a balancer with a listener to a group.
func (p *provider) balancerUsing(group, name, subnet string) string {
	p.t.Helper()
	lb := p.balancer(name, subnet)
	p.listenerResource().create(attrs{"load_balancer_arn": lb, "port": 80, "protocol": "TCP", "target_group_arn": group})
	return lb
}

// Trap 12: a describe by the ARN of something that is not there is an error.
func TestMissingBalancingObjectsAreErrors(t *testing.T) {
	p := start(t)
	arn := func(s string) []string { return []string{p.arn("elasticloadbalancing", s)} }
	_, err := p.elb.DescribeLoadBalancers(p.ctx(), &elb.DescribeLoadBalancersInput{LoadBalancerArns: arn("loadbalancer/net/none/0123456789abcdef")})
	p.refused(err, "LoadBalancerNotFound")
	_, err = p.elb.DescribeTargetGroups(p.ctx(), &elb.DescribeTargetGroupsInput{TargetGroupArns: arn("targetgroup/none/0123456789abcdef")})
	p.refused(err, "TargetGroupNotFound")
	_, err = p.elb.DescribeListeners(p.ctx(), &elb.DescribeListenersInput{ListenerArns: arn("listener/net/none/0123456789abcdef/0123456789abcdef")})
	p.refused(err, "ListenerNotFound")
}
