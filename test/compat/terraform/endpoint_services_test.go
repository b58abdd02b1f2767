// SPDX-License-Identifier: Apache-2.0

package terraform

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/aws-sdk-go-base/v2/tfawserr"

	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/test/compat"
)

func (p *provider) findService(id string) (ec2types.ServiceConfiguration, error) {
	out, err := p.ec2.DescribeVpcEndpointServiceConfigurations(p.ctx(), &ec2.DescribeVpcEndpointServiceConfigurationsInput{ServiceIds: []string{id}})
	if err != nil {
		return ec2types.ServiceConfiguration{}, gone(err, "InvalidVpcEndpointServiceId.NotFound")
	}
	s, err := one(p, out.ServiceConfigurations, nil)
	if err == nil && (s.ServiceState == ec2types.ServiceStateDeleted || s.ServiceState == ec2types.ServiceStateFailed) {
		err = errGone
	}
	return s, err
}

func (p *provider) serviceByName(name string) ec2types.ServiceConfiguration {
	p.t.Helper()
	out := must[*ec2.DescribeVpcEndpointServiceConfigurationsOutput](p)(p.ec2.DescribeVpcEndpointServiceConfigurations(p.ctx(), &ec2.DescribeVpcEndpointServiceConfigurationsInput{Filters: []ec2types.Filter{filter("service-name", name)}}))
	s, err := one(p, out.ServiceConfigurations, nil)
	p.ok(err)
	return s
}

func (p *provider) serviceState(id string) func() (string, error) {
	return func() (string, error) {
		s, err := p.findService(id)
		return string(s.ServiceState), err
	}
}

func (p *provider) principals(id string) ([]ec2types.AllowedPrincipal, error) {
	out, err := p.ec2.DescribeVpcEndpointServicePermissions(p.ctx(), &ec2.DescribeVpcEndpointServicePermissionsInput{ServiceId: &id})
	if err != nil {
		return nil, gone(err, "InvalidVpcEndpointServiceId.NotFound")
	}
	return out.AllowedPrincipals, nil
}

func (p *provider) serviceResource() resource {
	return resource{
		create: func(c attrs) string {
			in := &ec2.CreateVpcEndpointServiceConfigurationInput{
				AcceptanceRequired: aws.Bool(c["acceptance_required"].(bool)), ClientToken: p.token(), TagSpecifications: tagSpec(ec2types.ResourceTypeVpcEndpointService, c),
				NetworkLoadBalancerArns: c.list("network_load_balancer_arns"), SupportedIpAddressTypes: c.list("supported_ip_address_types"),
			}
			if v := c.str("private_dns_name"); v != "" {
				in.PrivateDnsName = &v
			}
			id := *must[*ec2.CreateVpcEndpointServiceConfigurationOutput](p)(p.ec2.CreateVpcEndpointServiceConfiguration(p.ctx(), in)).ServiceConfiguration.ServiceId
			// Service states are capitalised (endpoints, trap 2).
			p.wait("the service", []string{"Pending"}, []string{"Available"}, 1, p.serviceState(id))
			if l := c.list("allowed_principals"); len(l) > 0 {
				must[*ec2.ModifyVpcEndpointServicePermissionsOutput](p)(p.ec2.ModifyVpcEndpointServicePermissions(p.ctx(), &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: &id, AddAllowedPrincipals: l}))
			}
			return id
		},
		read: func(p *provider, id string) (attrs, error) {
			s, err := p.findService(id)
			if err != nil {
				return nil, err
			}
			a := attrs{
				"arn": p.arn("ec2", "vpc-endpoint-service/"+id), "acceptance_required": *s.AcceptanceRequired, "availability_zones": set(s.AvailabilityZones...),
				"base_endpoint_dns_names": set(s.BaseEndpointDnsNames...), "manages_vpc_endpoints": *s.ManagesVpcEndpoints, "network_load_balancer_arns": set(s.NetworkLoadBalancerArns...),
				"gateway_load_balancer_arns": set(s.GatewayLoadBalancerArns...), "private_dns_name": aws.ToString(s.PrivateDnsName), "service_name": *s.ServiceName,
				"state": string(s.ServiceState), "supported_ip_address_types": set(), "tags": tagMap(s.Tags),
			}
			for _, t := range s.SupportedIpAddressTypes {
				a["supported_ip_address_types"] = append(a.list("supported_ip_address_types"), string(t))
			}
			if len(s.ServiceType) > 0 {
				a["service_type"] = string(s.ServiceType[0].ServiceType)
			}
			regions := set()
			for _, r := range s.SupportedRegions {
				if aws.ToString(r.ServiceState) == "Available" {
					regions = append(regions, *r.Region)
				}
			}
			a["supported_regions"] = regions
			if c := s.PrivateDnsNameConfiguration; c != nil && c.Name != nil { // may come as an empty element
				a["private_dns_name_configuration"] = *c.Name + " " + string(c.State) + " " + *c.Type + " " + *c.Value
			}
			allowed, err := p.principals(id)
			p.ok(err)
			names := set()
			for _, v := range allowed {
				names = append(names, *v.Principal)
			}
			a["allowed_principals"] = set(names...)
			return a, nil
		},
		update: func(id string, from, to attrs) string {
			in := &ec2.ModifyVpcEndpointServiceConfigurationInput{ServiceId: &id}
			if from.changed(to, "acceptance_required") {
				in.AcceptanceRequired = aws.Bool(to["acceptance_required"].(bool))
			}
			in.AddNetworkLoadBalancerArns, in.RemoveNetworkLoadBalancerArns = difference(to.list("network_load_balancer_arns"), from.list("network_load_balancer_arns")), difference(from.list("network_load_balancer_arns"), to.list("network_load_balancer_arns"))
			if from.changed(to, "private_dns_name") {
				in.PrivateDnsName = aws.String(to.str("private_dns_name")) // "" takes it away
			}
			for _, k := range []string{"acceptance_required", "network_load_balancer_arns", "private_dns_name"} {
				if from.changed(to, k) {
					must[*ec2.ModifyVpcEndpointServiceConfigurationOutput](p)(p.ec2.ModifyVpcEndpointServiceConfiguration(p.ctx(), in))
					p.wait("the service", []string{"Pending"}, []string{"Available"}, 1, p.serviceState(id))
					break
				}
			}
			if from.changed(to, "allowed_principals") {
				must[*ec2.ModifyVpcEndpointServicePermissionsOutput](p)(p.ec2.ModifyVpcEndpointServicePermissions(p.ctx(), &ec2.ModifyVpcEndpointServicePermissionsInput{
					ServiceId: &id, AddAllowedPrincipals: difference(to.list("allowed_principals"), from.list("allowed_principals")), RemoveAllowedPrincipals: difference(from.list("allowed_principals"), to.list("allowed_principals")),
				}))
			}
			p.updateTags(id, from, to)
			return id
		},
		remove: func(id string, _ attrs) {
			out := must[*ec2.DeleteVpcEndpointServiceConfigurationsOutput](p)(p.ec2.DeleteVpcEndpointServiceConfigurations(p.ctx(), &ec2.DeleteVpcEndpointServiceConfigurationsInput{ServiceIds: []string{id}}))
			for _, u := range out.Unsuccessful {
				// Another spelling than describe's (endpoints, trap 9).
				if *u.Error.Code != "InvalidVpcEndpointService.NotFound" {
					p.t.Errorf("deleting the service: %s: %s", *u.Error.Code, *u.Error.Message)
				}
			}
			p.wait("the service's end", []string{"Available", "Deleting"}, nil, 1, p.serviceState(id))
		},
	}
}

// offer is a service behind a balancer of its own, and its name.
func (p *provider) offer(acceptance bool, principals ...string) (id, name string) {
	p.t.Helper()
	v := p.vpc("10.9.0.0/16")
	lb := p.balancer("offer", p.subnet(v, "10.9.0.0/24", "us-east-1a"))
	id = p.serviceResource().create(attrs{"acceptance_required": acceptance, "network_load_balancer_arns": set(lb), "allowed_principals": set(principals...)})
	s := must[ec2types.ServiceConfiguration](p)(p.findService(id))
	return id, *s.ServiceName
}

func TestEndpointService(t *testing.T) {
	p := start(t)
	v := p.vpc("10.0.0.0/16")
	a, b := p.subnet(v, "10.0.0.0/24", "us-east-1a"), p.subnet(v, "10.0.1.0/24", "us-east-1b")
	one, two := p.balancer("one", a), p.balancer("two", b)
	p.lifecycle(p.serviceResource(), attrs{
		"acceptance_required": true, "network_load_balancer_arns": set(one), "allowed_principals": set("*"), "supported_ip_address_types": set("ipv4"), "service_type": "Interface",
		"availability_zones": set("us-east-1a"), "private_dns_name": "", "manages_vpc_endpoints": false, "tags": tagsOne,
	}, []change{
		{set: attrs{"acceptance_required": false, "tags": tagsTwo}},
		{set: attrs{"network_load_balancer_arns": set(one, two), "availability_zones": set("us-east-1a", "us-east-1b")}},
		{set: attrs{"allowed_principals": set("arn:aws:iam::222222222222:root", "arn:aws:iam::333333333333:role/x")}},
		{set: attrs{"private_dns_name": "api.example.com"}, computed: []string{"private_dns_name_configuration"}},
		{set: attrs{"private_dns_name": "db.example.com"}, computed: []string{"private_dns_name_configuration"}},
		{set: attrs{"private_dns_name": "", "private_dns_name_configuration": nil}, computed: []string{"private_dns_name_configuration"}},
		{set: attrs{"network_load_balancer_arns": set(two), "allowed_principals": set(), "availability_zones": set("us-east-1b")}},
	}, func(id string, _ attrs) {
		// A balancer that a service needs stays.
		_, err := p.elb.DeleteLoadBalancer(p.ctx(), deleteBalancer(two))
		p.refused(err, "ResourceInUse", "OperationNotPermitted")
	})
}

// aws_vpc_endpoint_service_allowed_principal: its id is the permission's.
func TestEndpointServiceAllowedPrincipal(t *testing.T) {
	p := start(t)
	id, _ := p.offer(false, "arn:aws:iam::222222222222:root")
	p.lifecycle(resource{
		create: func(c attrs) string {
			out := must[*ec2.ModifyVpcEndpointServicePermissionsOutput](p)(p.ec2.ModifyVpcEndpointServicePermissions(p.ctx(), &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: &id, AddAllowedPrincipals: []string{c.str("principal_arn")}}))
			for _, a := range out.AddedPrincipals {
				if *a.Principal == c.str("principal_arn") {
					if aws.ToString(a.ServicePermissionId) == "" || aws.ToString(a.ServiceId) != id {
						t.Errorf("added: %v of %v", a.ServicePermissionId, a.ServiceId)
					}
					return *a.ServicePermissionId
				}
			}
			t.Fatalf("the answer does not have the principal: %+v", out.AddedPrincipals)
			return ""
		},
		read: func(p *provider, permission string) (attrs, error) {
			allowed, err := p.principals(id)
			if err != nil {
				return nil, err
			}
			for _, a := range allowed {
				if aws.ToString(a.ServicePermissionId) == permission {
					return attrs{"principal_arn": *a.Principal, "type": string(a.PrincipalType)}, nil
				}
			}
			return nil, errGone
		},
		remove: func(_ string, state attrs) {
			_, err := p.ec2.ModifyVpcEndpointServicePermissions(p.ctx(), &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: &id, RemoveAllowedPrincipals: []string{state.str("principal_arn")}})
			if !tfawserr.ErrCodeEquals(err, "InvalidVpcEndpointServiceId.NotFound") {
				p.ok(err)
			}
		},
	}, attrs{"principal_arn": "arn:aws:iam::333333333333:role/reader", "type": "Role"}, nil)
	if allowed, err := p.principals(id); err != nil || len(allowed) != 1 {
		t.Errorf("%d principals are left, %v", len(allowed), err)
	}
}

// aws_vpc_endpoint with auto_accept, for one's own service; and
// aws_vpc_endpoint_connection_accepter for somebody else's endpoint.
func TestEndpointOfAService(t *testing.T) {
	p := start(t)
	_, name := p.offer(true, "*")
	v := p.vpc("10.0.0.0/16")
	subnet, group := p.subnet(v, "10.0.0.0/24", "us-east-1a"), p.group(v, "one")
	p.lifecycle(p.endpointResource(), attrs{
		"vpc_id": v, "service_name": name, "vpc_endpoint_type": "Interface", "subnet_ids": set(subnet), "security_group_ids": set(group), "private_dns_enabled": false, "tags": tagsOne, "auto_accept": nil,
	}, []change{{set: attrs{"tags": tagsTwo}}}, func(id string, state attrs) {
		if state["state"] != "pendingAcceptance" {
			t.Errorf("without auto_accept the endpoint is %v", state["state"])
		}
		// auto_accept comes in with an update.
		p.endpointAccept(id, name)
		p.asConfigured("after accept", attrs{"state": "available"}, p.settled(p.endpointResource(), id))
	})
	id := p.endpointResource().create(attrs{"vpc_id": v, "service_name": name, "vpc_endpoint_type": "Interface", "subnet_ids": set(subnet), "auto_accept": true})
	p.asConfigured("with auto_accept", attrs{"state": "available", "prefix_list_id": nil, "cidr_blocks": nil}, p.settled(p.endpointResource(), id))
}

func TestEndpointConnectionAccepter(t *testing.T) {
	p := start(t)
	q := p.other("consumer2")
	service, name := p.offer(true, "arn:aws:iam::"+q.account+":root")
	v := q.vpc("10.0.0.0/16")
	endpoint := q.endpointResource().create(attrs{"vpc_id": v, "service_name": name, "vpc_endpoint_type": "Interface", "subnet_ids": set(q.subnet(v, "10.0.0.0/24", "us-east-1a"))})
	// Read by the service's id; the filter for an endpoint's id has not always worked.
	find := func(p *provider) (ec2types.VpcEndpointConnection, error) {
		out, err := p.ec2.DescribeVpcEndpointConnections(p.ctx(), &ec2.DescribeVpcEndpointConnectionsInput{Filters: []ec2types.Filter{filter("service-id", service)}})
		if err != nil {
			return ec2types.VpcEndpointConnection{}, err
		}
		i := slices.IndexFunc(out.VpcEndpointConnections, func(c ec2types.VpcEndpointConnection) bool { return *c.VpcEndpointId == endpoint })
		if i < 0 || out.VpcEndpointConnections[i].VpcEndpointState == "deleted" {
			return ec2types.VpcEndpointConnection{}, errGone
		}
		return out.VpcEndpointConnections[i], nil
	}
	p.lifecycle(resource{
		create: func(attrs) string {
			must[*ec2.AcceptVpcEndpointConnectionsOutput](p)(p.ec2.AcceptVpcEndpointConnections(p.ctx(), &ec2.AcceptVpcEndpointConnectionsInput{ServiceId: &service, VpcEndpointIds: []string{endpoint}}))
			p.wait("the connection", []string{"pendingAcceptance", "pending"}, []string{"available"}, 1, func() (string, error) {
				c, err := find(p)
				return string(c.VpcEndpointState), err
			})
			return service + "_" + endpoint
		},
		read: func(p *provider, id string) (attrs, error) {
			c, err := find(p)
			if err != nil {
				return nil, err
			}
			if c.VpcEndpointState == "rejected" {
				return nil, errGone // for this test: the provider keeps showing the state
			}
			return attrs{"vpc_endpoint_state": string(c.VpcEndpointState), "vpc_endpoint_service_id": *c.ServiceId, "vpc_endpoint_id": *c.VpcEndpointId, "owner": *c.VpcEndpointOwner}, nil
		},
		remove: func(string, attrs) {
			must[*ec2.RejectVpcEndpointConnectionsOutput](p)(p.ec2.RejectVpcEndpointConnections(p.ctx(), &ec2.RejectVpcEndpointConnectionsInput{ServiceId: &service, VpcEndpointIds: []string{endpoint}}))
		},
	}, attrs{"vpc_endpoint_state": "available", "vpc_endpoint_id": endpoint, "owner": q.account}, nil)
	q.asConfigured("after a reject", attrs{"state": "rejected"}, q.settled(q.endpointResource(), endpoint))
	// A service with an endpoint cannot go, a rejected one does not hold it.
	q.endpointResource().remove(endpoint, nil)
	p.serviceResource().remove(service, nil)
}

// aws_vpc_endpoint_service_private_dns_verification, with wait: verified twice in a row.
func TestPrivateDNSVerification(t *testing.T) {
	p := start(t)
	v := p.vpc("10.0.0.0/16")
	lb := p.balancer("one", p.subnet(v, "10.0.0.0/24", "us-east-1a"))
	id := p.serviceResource().create(attrs{"acceptance_required": false, "network_load_balancer_arns": set(lb), "private_dns_name": "api.example.com"})
	state := func() (string, error) {
		s, err := p.findService(id)
		if err != nil {
			return "", err
		}
		return string(s.PrivateDnsNameConfiguration.State), nil
	}
	if s, err := state(); s != "pendingVerification" || err != nil {
		t.Errorf("a new name is %q, %v", s, err)
	}
	p.ok(p.srv.Control.VerifyDomain(t.Context(), vpc.AccountID(p.account), "example.com"))
	out := must[*ec2.StartVpcEndpointServicePrivateDnsVerificationOutput](p)(p.ec2.StartVpcEndpointServicePrivateDnsVerification(p.ctx(), &ec2.StartVpcEndpointServicePrivateDnsVerificationInput{ServiceId: &id}))
	if !aws.ToBool(out.ReturnValue) {
		t.Error("no return=true")
	}
	p.wait("verification", []string{"pendingVerification"}, []string{"verified"}, 2, state)
	// Now a consumer may have the name.
	q := p.other("consumer2")
	must[*ec2.ModifyVpcEndpointServicePermissionsOutput](p)(p.ec2.ModifyVpcEndpointServicePermissions(p.ctx(), &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: &id, AddAllowedPrincipals: []string{"*"}}))
	s := must[ec2types.ServiceConfiguration](p)(p.findService(id))
	w := q.vpc("10.0.0.0/16")
	e := q.endpointResource().create(attrs{"vpc_id": w, "service_name": *s.ServiceName, "vpc_endpoint_type": "Interface", "subnet_ids": set(q.subnet(w, "10.0.0.0/24", "us-east-1a")), "private_dns_enabled": true})
	q.asConfigured("with the provider's name", attrs{"private_dns_enabled": true}, q.settled(q.endpointResource(), e))
}

// Bulk deletes of ids that are not there: each with its own spelling, in a
// successful answer (endpoints, traps 8 and 9).
func TestSpellingsOfNotFound(t *testing.T) {
	p := start(t)
	ep, svc := "vpce-0123456789abcdef0", "vpce-svc-0123456789abcdef0"
	del := must[*ec2.DeleteVpcEndpointsOutput](p)(p.ec2.DeleteVpcEndpoints(p.ctx(), &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{ep}}))
	if len(del.Unsuccessful) != 1 || *del.Unsuccessful[0].Error.Code != "InvalidVpcEndpoint.NotFound" || *del.Unsuccessful[0].ResourceId != ep {
		t.Errorf("%+v", del.Unsuccessful)
	}
	dels := must[*ec2.DeleteVpcEndpointServiceConfigurationsOutput](p)(p.ec2.DeleteVpcEndpointServiceConfigurations(p.ctx(), &ec2.DeleteVpcEndpointServiceConfigurationsInput{ServiceIds: []string{svc}}))
	if len(dels.Unsuccessful) != 1 || *dels.Unsuccessful[0].Error.Code != "InvalidVpcEndpointService.NotFound" {
		t.Errorf("%+v", dels.Unsuccessful)
	}
	_, err := p.ec2.DescribeVpcEndpoints(p.ctx(), &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{ep}})
	p.refused(err, "InvalidVpcEndpointId.NotFound")
	_, err = p.ec2.AcceptVpcEndpointConnections(p.ctx(), &ec2.AcceptVpcEndpointConnectionsInput{ServiceId: &svc, VpcEndpointIds: []string{ep}})
	p.refused(err, "InvalidVpcEndpointServiceId.NotFound")
	id, _ := p.offer(true)
	acc := must[*ec2.AcceptVpcEndpointConnectionsOutput](p)(p.ec2.AcceptVpcEndpointConnections(p.ctx(), &ec2.AcceptVpcEndpointConnectionsInput{ServiceId: &id, VpcEndpointIds: []string{ep}}))
	if len(acc.Unsuccessful) != 1 || *acc.Unsuccessful[0].Error.Code != "InvalidVpcEndpointId.NotFound" {
		t.Errorf("%+v", acc.Unsuccessful)
	}
	_, err = p.ec2.CreateVpcEndpoint(p.ctx(), &ec2.CreateVpcEndpointInput{VpcId: aws.String(p.vpc("10.0.0.0/16")), ServiceName: aws.String("com.amazonaws." + compat.Region + ".nothing")})
	p.refused(err, "InvalidServiceName")
}
