// SPDX-License-Identifier: Apache-2.0

package terraform

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/aws-sdk-go-base/v2/tfawserr"

	"postern.dev/postern/test/compat"
)

// findEndpoint takes a deleted endpoint that is still listed as gone.
func (p *provider) findEndpoint(id string) (ec2types.VpcEndpoint, error) {
	out, err := p.ec2.DescribeVpcEndpoints(p.ctx(), &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{id}})
	if err != nil {
		return ec2types.VpcEndpoint{}, gone(err, "InvalidVpcEndpointId.NotFound")
	}
	e, err := one(p, out.VpcEndpoints, nil)
	if err == nil && e.State == "deleted" {
		err = errGone
	}
	return e, err
}

// endpointState is the state as sent: lower camel case, which the provider
// compares with exactly (endpoints, trap 1).
func (p *provider) endpointState(id string) func() (string, error) {
	return func() (string, error) {
		e, err := p.findEndpoint(id)
		if err != nil {
			return "", err
		}
		return string(e.State), nil
	}
}

func (p *provider) endpointAvailable(id string) {
	p.t.Helper()
	p.wait("the endpoint", []string{"pending"}, []string{"available", "pendingAcceptance"}, 1, p.endpointState(id))
}

// endpointAccept is auto_accept: the service is found by its name, and while
// waiting only pendingAcceptance is legal. The provider's first poll comes 5 s
// after the call, and a state of pending then ends the run, so available has to
// be reached within 5 s.
func (p *provider) endpointAccept(id, service string) {
	p.t.Helper()
	conf := p.serviceByName(service)
	out := must[*ec2.AcceptVpcEndpointConnectionsOutput](p)(p.ec2.AcceptVpcEndpointConnections(p.ctx(), &ec2.AcceptVpcEndpointConnectionsInput{ServiceId: conf.ServiceId, VpcEndpointIds: []string{id}}))
	if len(out.Unsuccessful) > 0 {
		p.t.Fatalf("accept: %s", *out.Unsuccessful[0].Error.Message)
	}
	accepted := time.Now()
	p.wait("the endpoint after accept", []string{"pendingAcceptance", "pending"}, []string{"available"}, 1, p.endpointState(id))
	if d := time.Since(accepted); d > 5*time.Second {
		p.t.Errorf("available %v after accept: Terraform's first poll would have failed", d)
	}
}

func (p *provider) endpointResource() resource {
	return resource{
		create: func(c attrs) string {
			private, _ := c["private_dns_enabled"].(bool)
			in := &ec2.CreateVpcEndpointInput{
				ClientToken: p.token(), PrivateDnsEnabled: &private, VpcEndpointType: ec2types.VpcEndpointType(c.str("vpc_endpoint_type")),
				VpcId: aws.String(c.str("vpc_id")), ServiceName: aws.String(c.str("service_name")), TagSpecifications: tagSpec(ec2types.ResourceTypeVpcEndpoint, c),
				RouteTableIds: c.list("route_table_ids"), SecurityGroupIds: c.list("security_group_ids"), SubnetIds: c.list("subnet_ids"),
			}
			if v := p.normalJSON(c.str("policy")); v != "" {
				in.PolicyDocument = &v
			}
			if v := c.str("ip_address_type"); v != "" {
				in.IpAddressType = ec2types.IpAddressType(v)
			}
			if v := c.str("dns_record_ip_type"); v != "" {
				in.DnsOptions = &ec2types.DnsOptionsSpecification{DnsRecordIpType: ec2types.DnsRecordIpType(v)}
			}
			for _, s := range c.list("subnet_configuration") {
				subnet, addr, _ := strings.Cut(s, "=")
				in.SubnetConfigurations = append(in.SubnetConfigurations, ec2types.SubnetConfiguration{SubnetId: &subnet, Ipv4: &addr})
			}
			e := must[*ec2.CreateVpcEndpointOutput](p)(p.ec2.CreateVpcEndpoint(p.ctx(), in)).VpcEndpoint
			id := *e.VpcEndpointId
			if c["auto_accept"] == true && strings.EqualFold(string(e.State), "pendingAcceptance") {
				p.endpointAccept(id, *e.ServiceName)
			}
			p.endpointAvailable(id)
			return id
		},
		read: func(p *provider, id string) (attrs, error) {
			e, err := p.findEndpoint(id)
			if err != nil {
				return nil, err
			}
			a := attrs{
				"arn": p.arn("ec2", "vpc-endpoint/"+id), "owner_id": *e.OwnerId, "vpc_id": *e.VpcId, "service_name": *e.ServiceName, "state": string(e.State),
				"vpc_endpoint_type": string(e.VpcEndpointType), "ip_address_type": string(e.IpAddressType), "private_dns_enabled": *e.PrivateDnsEnabled,
				"requester_managed": *e.RequesterManaged, "route_table_ids": set(e.RouteTableIds...), "subnet_ids": set(e.SubnetIds...),
				"network_interface_ids": set(e.NetworkInterfaceIds...), "service_region": aws.ToString(e.ServiceRegion),
				"policy": p.normalJSON(aws.ToString(e.PolicyDocument)), "tags": tagMap(e.Tags),
			}
			var groups, entries []string
			for _, g := range e.Groups {
				groups = append(groups, *g.GroupId)
			}
			for _, d := range e.DnsEntries { // a list: the order counts
				entries = append(entries, *d.DnsName+" "+aws.ToString(d.HostedZoneId))
			}
			a["security_group_ids"], a["dns_entry"] = set(groups...), append([]string{}, entries...)
			if e.DnsOptions != nil {
				a["dns_record_ip_type"] = string(e.DnsOptions.DnsRecordIpType)
			}
			// On every read, and an empty list for a service without one is not an error.
			lists, err := p.ec2.DescribePrefixLists(p.ctx(), &ec2.DescribePrefixListsInput{Filters: []ec2types.Filter{filter("prefix-list-name", *e.ServiceName)}})
			p.ok(err)
			if l, err := one(p, lists.PrefixLists, nil); err == nil {
				a["prefix_list_id"], a["cidr_blocks"] = *l.PrefixListId, set(l.Cidrs...)
			}
			// Newer versions read address and subnet of every listed interface.
			configs := set()
			for _, eni := range e.NetworkInterfaceIds {
				out, err := p.ec2.DescribeNetworkInterfaces(p.ctx(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{eni}})
				p.ok(err)
				n, err := one(p, out.NetworkInterfaces, nil)
				p.ok(err)
				configs = append(configs, *n.SubnetId+"="+*n.PrivateIpAddress)
			}
			a["subnet_configuration"] = set(configs...)
			return a, nil
		},
		update: func(id string, from, to attrs) string {
			in := &ec2.ModifyVpcEndpointInput{VpcEndpointId: &id}
			in.AddRouteTableIds, in.RemoveRouteTableIds = difference(to.list("route_table_ids"), from.list("route_table_ids")), difference(from.list("route_table_ids"), to.list("route_table_ids"))
			in.AddSubnetIds, in.RemoveSubnetIds = difference(to.list("subnet_ids"), from.list("subnet_ids")), difference(from.list("subnet_ids"), to.list("subnet_ids"))
			in.AddSecurityGroupIds, in.RemoveSecurityGroupIds = difference(to.list("security_group_ids"), from.list("security_group_ids")), difference(from.list("security_group_ids"), to.list("security_group_ids"))
			if from.changed(to, "private_dns_enabled") {
				in.PrivateDnsEnabled = aws.Bool(to["private_dns_enabled"].(bool))
				if to["private_dns_enabled"] == true { // with it, always the options
					in.DnsOptions = &ec2types.DnsOptionsSpecification{DnsRecordIpType: ec2types.DnsRecordIpType(to.str("dns_record_ip_type"))}
				}
			}
			policy := !cmp.Equal(equivalent(to, from)["policy"], from["policy"])
			if policy {
				if v := p.normalJSON(to.str("policy")); v == "" {
					in.ResetPolicy = aws.Bool(true)
				} else {
					in.PolicyDocument = &v
				}
			}
			if from.changed(to, "subnet_configuration") {
				for _, s := range to.list("subnet_configuration") {
					subnet, addr, _ := strings.Cut(s, "=")
					in.SubnetConfigurations = append(in.SubnetConfigurations, ec2types.SubnetConfiguration{SubnetId: &subnet, Ipv4: &addr})
				}
			}
			for _, k := range []string{"route_table_ids", "subnet_ids", "security_group_ids", "private_dns_enabled", "subnet_configuration"} {
				if from.changed(to, k) || policy {
					must[*ec2.ModifyVpcEndpointOutput](p)(p.ec2.ModifyVpcEndpoint(p.ctx(), in))
					p.endpointAvailable(id)
					break
				}
			}
			p.updateTags(id, from, to)
			return id
		},
		remove: func(id string, _ attrs) {
			p.ok(p.deleteEndpoint(id))
			p.wait("the endpoint's end", []string{"deleting", "deleted"}, nil, 1, p.endpointState(id))
		},
	}
}

// deleteEndpoint answers an error for a failed item, but none for the code that
// the provider takes as gone (endpoints, trap 9).
func (p *provider) deleteEndpoint(id string) error {
	out, err := p.ec2.DeleteVpcEndpoints(p.ctx(), &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{id}})
	if err != nil {
		return err
	}
	for _, u := range out.Unsuccessful {
		if *u.Error.Code != "InvalidVpcEndpoint.NotFound" || *u.ResourceId != id {
			p.t.Errorf("deleting %s: %s of %s: %s", id, *u.Error.Code, *u.ResourceId, *u.Error.Message)
		}
	}
	return nil
}

const policyGet = `{
  "Version": "2012-10-17",
  "Statement": [{"Sid": "get", "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::a/*"}]
}`

// The same, as somebody else would write it.
const policyGetOtherwise = `{"Version":"2012-10-17","Statement":{"Resource":["arn:aws:s3:::a/*"],"Action":"s3:GetObject","Principal":{"AWS":"*"},"Effect":"Allow","Sid":"get"}}`

const policyAll = `{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`

func TestGatewayEndpoint(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	one, two := p.table(vpc), p.table(vpc)
	p.lifecycle(p.endpointResource(), attrs{
		"vpc_id": vpc, "service_name": compat.S3, "vpc_endpoint_type": "Gateway", "route_table_ids": set(one), "policy": policyGet, "tags": tagsOne,
		"private_dns_enabled": false, "state": "available", "requester_managed": false, "prefix_list_id": p.s3List(), "cidr_blocks": set("192.0.2.0/25", "192.0.2.128/25"),
	}, []change{
		{set: attrs{"route_table_ids": set(one, two)}},
		{set: attrs{"route_table_ids": set(two), "tags": tagsTwo}},
		{set: attrs{"policy": policyGetOtherwise}},
	}, func(id string, _ attrs) {
		// Terraform's route table resource does not touch these routes, others cannot.
		list := p.s3List()
		_, err := p.ec2.DeleteRoute(p.ctx(), &ec2.DeleteRouteInput{RouteTableId: &two, DestinationPrefixListId: &list})
		p.refused(err, "InvalidParameterValue")
		// The same service twice in one table.
		_, err = p.ec2.CreateVpcEndpoint(p.ctx(), &ec2.CreateVpcEndpointInput{VpcId: &vpc, ServiceName: aws.String(compat.S3), RouteTableIds: []string{two}})
		p.refused(err, "RouteAlreadyExists")
	})
}

func TestInterfaceEndpoint(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	a, b := p.subnet(vpc, "10.0.0.0/24", "us-east-1a"), p.subnet(vpc, "10.0.1.0/24", "us-east-1b")
	one, two := p.group(vpc, "one"), p.group(vpc, "two")
	p.lifecycle(p.endpointResource(), attrs{
		"vpc_id": vpc, "service_name": compat.S3, "vpc_endpoint_type": "Interface", "subnet_ids": set(a), "security_group_ids": set(one),
		"private_dns_enabled": false, "ip_address_type": "ipv4", "dns_record_ip_type": "ipv4", "tags": tagsOne, "state": "available",
	}, []change{
		{set: attrs{"subnet_ids": set(a, b)}, computed: []string{"network_interface_ids", "subnet_configuration", "dns_entry"}},
		{set: attrs{"security_group_ids": set(two)}},
		{set: attrs{"security_group_ids": set(one, two), "tags": tagsTwo}},
		{set: attrs{"private_dns_enabled": true}, computed: []string{"dns_entry"}},
		{set: attrs{"policy": policyGet}},
		{set: attrs{"subnet_ids": set(b)}, computed: []string{"network_interface_ids", "subnet_configuration", "dns_entry"}},
		{set: attrs{"private_dns_enabled": false}, computed: []string{"dns_entry"}},
	}, func(id string, state attrs) {
		_, err := p.ec2.DeleteSubnet(p.ctx(), &ec2.DeleteSubnetInput{SubnetId: &b})
		p.refused(err, "DependencyViolation")
		_, err = p.ec2.DeleteSecurityGroup(p.ctx(), &ec2.DeleteSecurityGroupInput{GroupId: &one})
		p.refused(err, "DependencyViolation", "InvalidGroup.InUse")
		// The resource of a subnet ignores leftovers that are requester-managed.
		for _, eni := range state.list("network_interface_ids") {
			out := must[*ec2.DescribeNetworkInterfacesOutput](p)(p.ec2.DescribeNetworkInterfaces(p.ctx(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{eni}}))
			if n := out.NetworkInterfaces[0]; !*n.RequesterManaged || n.InterfaceType != ec2types.NetworkInterfaceTypeVpcEndpoint || *n.Description != "VPC Endpoint Interface "+id {
				t.Errorf("interface %s: %v %s %q", eni, *n.RequesterManaged, n.InterfaceType, *n.Description)
			}
		}
		if entries := state.list("dns_entry"); len(entries) < 2 || !strings.Contains(entries[0], id) {
			t.Errorf("entries: %q", entries)
		}
	})
	// The policy can be set back, with nothing in the configuration for it.
	id := p.endpointResource().create(attrs{"vpc_id": vpc, "service_name": compat.S3, "vpc_endpoint_type": "Interface", "policy": policyGet, "subnet_ids": set(a), "subnet_configuration": set(a + "=10.0.0.77")})
	state := p.settled(p.endpointResource(), id)
	p.asConfigured("with an address", attrs{"subnet_configuration": set(a + "=10.0.0.77"), "policy": policyGet}, state)
	p.endpointResource().update(id, state, state.with(attrs{"policy": ""}))
	p.asConfigured("after a reset", attrs{"policy": policyAll}, p.settled(p.endpointResource(), id))
}

// An interface endpoint may have no subnets; Terraform attaches them with a
// resource of their own.
func TestEndpointAssociations(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	subnet, group, table := p.subnet(vpc, "10.0.0.0/24", "us-east-1a"), p.group(vpc, "one"), p.table(vpc)
	iface := p.endpointResource().create(attrs{"vpc_id": vpc, "service_name": compat.S3, "vpc_endpoint_type": "Interface"})
	gateway := p.endpointResource().create(attrs{"vpc_id": vpc, "service_name": compat.S3, "vpc_endpoint_type": "Gateway"})
	for _, c := range []struct {
		endpoint, kind, id string
		twice              int // how often in a row the provider wants to see it
		tolerates          []string
	}{
		{gateway, "route table", table, 2, []string{"InvalidVpcEndpointId.NotFound", "InvalidRouteTableId.NotFound", "InvalidParameter"}},
		// The provider sends this one after a fixed minute, because AWS's changes
		// of one endpoint disturb one another there. Not waited for here.
		{iface, "subnet", subnet, 1, []string{"InvalidVpcEndpointId.NotFound", "InvalidSubnetId.NotFound", "InvalidParameter"}},
		{iface, "security group", group, 1, []string{"InvalidVpcEndpointId.NotFound", "InvalidGroup.NotFound", "InvalidParameter"}},
	} {
		modify := func(add bool) (*ec2.ModifyVpcEndpointOutput, error) {
			in := &ec2.ModifyVpcEndpointInput{VpcEndpointId: &c.endpoint}
			list := []string{c.id}
			switch {
			case c.kind == "route table" && add:
				in.AddRouteTableIds = list
			case c.kind == "route table":
				in.RemoveRouteTableIds = list
			case c.kind == "subnet" && add:
				in.AddSubnetIds = list
			case c.kind == "subnet":
				in.RemoveSubnetIds = list
			case add:
				in.AddSecurityGroupIds = list
			default:
				in.RemoveSecurityGroupIds = list
			}
			return p.ec2.ModifyVpcEndpoint(p.ctx(), in)
		}
		has := func() (string, error) {
			e, err := p.findEndpoint(c.endpoint)
			if err != nil {
				return "", err
			}
			var groups []string
			for _, g := range e.Groups {
				groups = append(groups, *g.GroupId)
			}
			if slices.Contains(slices.Concat(e.RouteTableIds, e.SubnetIds, groups), c.id) {
				return "ready", nil
			}
			return "", nil
		}
		p.lifecycle(resource{
			create: func(attrs) string {
				out := must[*ec2.ModifyVpcEndpointOutput](p)(modify(true))
				if !aws.ToBool(out.Return) {
					p.t.Errorf("%s: ModifyVpcEndpoint answered no return=true", c.kind)
				}
				p.endpointAvailable(c.endpoint)
				p.wait(c.kind, nil, []string{"ready"}, c.twice, has)
				return c.endpoint + "/" + c.id
			},
			read: func(p *provider, id string) (attrs, error) {
				if s, err := has(); s == "" || err != nil {
					return nil, errGone
				}
				return attrs{"vpc_endpoint_id": c.endpoint, "id": c.id}, nil
			},
			remove: func(string, attrs) {
				if _, err := modify(false); !tfawserr.ErrCodeEquals(err, c.tolerates...) {
					p.ok(err)
				}
				p.endpointAvailable(c.endpoint)
				p.wait(c.kind+"'s end", []string{"ready"}, nil, c.twice, has)
			},
		}, attrs{"vpc_endpoint_id": c.endpoint, "id": c.id}, nil)
	}
}

// aws_vpc_endpoint_security_group_association with replace_default_association:
// the group comes and the VPC's default group goes, and the reverse.
func TestEndpointGroupReplacesTheDefaultGroup(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	subnet, group := p.subnet(vpc, "10.0.0.0/24", "us-east-1a"), p.group(vpc, "one")
	id := p.endpointResource().create(attrs{"vpc_id": vpc, "service_name": compat.S3, "vpc_endpoint_type": "Interface", "subnet_ids": set(subnet)})
	state := p.settled(p.endpointResource(), id)
	usual := state.list("security_group_ids")
	if v := p.settled(p.vpcResource(), vpc); !slices.Equal(usual, []string{v.str("default_security_group_id")}) {
		t.Fatalf("an endpoint without groups has %q, want the VPC's default group", usual)
	}
	for _, groups := range [][]string{{group}, usual} {
		// In the order of the provider: first the new one, then the old one.
		before := p.settled(p.endpointResource(), id)
		_, err := p.ec2.ModifyVpcEndpoint(p.ctx(), &ec2.ModifyVpcEndpointInput{VpcEndpointId: &id, AddSecurityGroupIds: groups})
		p.ok(err)
		_, err = p.ec2.ModifyVpcEndpoint(p.ctx(), &ec2.ModifyVpcEndpointInput{VpcEndpointId: &id, RemoveSecurityGroupIds: before.list("security_group_ids")})
		p.ok(err)
		p.endpointAvailable(id)
		p.asConfigured("after replacing", attrs{"security_group_ids": set(groups...)}, p.settled(p.endpointResource(), id))
	}
}

// aws_vpc_endpoint_policy and aws_vpc_endpoint_private_dns: parts of an
// endpoint that are resources of their own.
func TestEndpointPolicyAndPrivateDNSAsResources(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	subnet := p.subnet(vpc, "10.0.0.0/24", "us-east-1a")
	id := p.endpointResource().create(attrs{"vpc_id": vpc, "service_name": compat.S3, "vpc_endpoint_type": "Interface", "subnet_ids": set(subnet)})
	put := func(in *ec2.ModifyVpcEndpointInput) {
		in.VpcEndpointId = &id
		must[*ec2.ModifyVpcEndpointOutput](p)(p.ec2.ModifyVpcEndpoint(p.ctx(), in))
		p.endpointAvailable(id)
	}
	put(&ec2.ModifyVpcEndpointInput{PolicyDocument: aws.String(p.normalJSON(policyGet))})
	p.asConfigured("with a policy", attrs{"policy": policyGetOtherwise}, p.settled(p.endpointResource(), id))
	put(&ec2.ModifyVpcEndpointInput{PrivateDnsEnabled: aws.Bool(true)})
	p.asConfigured("with a private name", attrs{"private_dns_enabled": true, "policy": policyGet}, p.settled(p.endpointResource(), id))
	put(&ec2.ModifyVpcEndpointInput{PrivateDnsEnabled: aws.Bool(false)})
	put(&ec2.ModifyVpcEndpointInput{ResetPolicy: aws.Bool(true)})
	p.asConfigured("after both were destroyed", attrs{"policy": policyAll, "private_dns_enabled": false}, p.settled(p.endpointResource(), id))
	p.endpointResource().remove(id, nil)
	_, err := p.ec2.ModifyVpcEndpoint(p.ctx(), &ec2.ModifyVpcEndpointInput{VpcEndpointId: &id, ResetPolicy: aws.Bool(true)})
	p.refused(err, "InvalidVpcEndpointId.NotFound")
}
