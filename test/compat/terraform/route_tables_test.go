// SPDX-License-Identifier: Apache-2.0

package terraform

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/aws-sdk-go-base/v2/tfawserr"

	"postern.dev/postern/test/compat"
)

func (p *provider) findTable(id string) (ec2types.RouteTable, error) {
	out, err := p.ec2.DescribeRouteTables(p.ctx(), &ec2.DescribeRouteTablesInput{RouteTableIds: []string{id}})
	if err != nil {
		return ec2types.RouteTable{}, gone(err, "InvalidRouteTableID.NotFound", "InvalidRouteTableId.NotFound")
	}
	return one(p, out.RouteTables, nil)
}

// findRoute is the route of a table to a destination.
func (p *provider) findRoute(table, cidr string) (ec2types.Route, error) {
	t, err := p.findTable(table)
	if err != nil {
		return ec2types.Route{}, err
	}
	for _, r := range t.Routes {
		if aws.ToString(r.DestinationCidrBlock) == cidr {
			return r, nil
		}
	}
	return ec2types.Route{}, errGone
}

func (p *provider) routeReady(table, cidr string) {
	p.t.Helper()
	p.wait("the route", nil, []string{"active"}, 2, func() (string, error) {
		r, err := p.findRoute(table, cidr)
		return string(r.State), err
	})
}

func (p *provider) deleteRoute(table, cidr string) {
	p.t.Helper()
	_, err := p.ec2.DeleteRoute(p.ctx(), &ec2.DeleteRouteInput{RouteTableId: &table, DestinationCidrBlock: &cidr})
	if !tfawserr.ErrCodeEquals(err, "InvalidRoute.NotFound", "InvalidRouteTableID.NotFound") {
		p.ok(err)
	}
	p.wait("the route's end", []string{"active"}, nil, 2, func() (string, error) {
		r, err := p.findRoute(table, cidr)
		return string(r.State), err
	})
}

// inline routes are "cidr=eni".
func (p *provider) createRoute(table, route string) {
	p.t.Helper()
	cidr, eni, _ := strings.Cut(route, "=")
	out := must[*ec2.CreateRouteOutput](p)(p.ec2.CreateRoute(p.ctx(), &ec2.CreateRouteInput{RouteTableId: &table, DestinationCidrBlock: &cidr, NetworkInterfaceId: &eni}))
	if !aws.ToBool(out.Return) {
		p.t.Error("CreateRoute answered no return=true")
	}
	p.routeReady(table, cidr)
}

func (p *provider) tableResource() resource {
	return resource{
		create: func(c attrs) string {
			id := *must[*ec2.CreateRouteTableOutput](p)(p.ec2.CreateRouteTable(p.ctx(), &ec2.CreateRouteTableInput{
				VpcId: aws.String(c.str("vpc_id")), ClientToken: p.token(), TagSpecifications: tagSpec(ec2types.ResourceTypeRouteTable, c),
			})).RouteTable.RouteTableId
			p.wait("the table", nil, []string{"ready"}, 2, func() (string, error) { _, err := p.findTable(id); return "ready", err })
			for _, r := range c.list("route") {
				p.createRoute(id, r)
			}
			return id
		},
		read: func(p *provider, id string) (attrs, error) {
			t, err := p.findTable(id)
			if err != nil {
				return nil, err
			}
			routes := set()
			for _, r := range t.Routes {
				// The local route, and those of gateway endpoints, are not configured here.
				if aws.ToString(r.GatewayId) == "local" || r.DestinationPrefixListId != nil && strings.HasPrefix(aws.ToString(r.GatewayId), "vpce-") {
					continue
				}
				routes = append(routes, aws.ToString(r.DestinationCidrBlock)+"="+aws.ToString(r.NetworkInterfaceId)+aws.ToString(r.GatewayId))
			}
			return attrs{"arn": p.arn("ec2", "route-table/"+id), "owner_id": *t.OwnerId, "vpc_id": *t.VpcId, "route": set(routes...), "tags": tagMap(t.Tags), "propagating_vgws": len(t.PropagatingVgws)}, nil
		},
		update: func(id string, from, to attrs) string {
			for _, r := range difference(from.list("route"), to.list("route")) {
				cidr, _, _ := strings.Cut(r, "=")
				p.deleteRoute(id, cidr)
			}
			for _, r := range difference(to.list("route"), from.list("route")) {
				p.createRoute(id, r)
			}
			p.updateTags(id, from, to)
			return id
		},
		remove: func(id string, _ attrs) {
			t, err := p.findTable(id)
			if err == errGone {
				return
			}
			p.ok(err)
			for _, a := range t.Associations {
				p.disassociate(*a.RouteTableAssociationId)
			}
			_, err = p.ec2.DeleteRouteTable(p.ctx(), &ec2.DeleteRouteTableInput{RouteTableId: &id})
			if !tfawserr.ErrCodeEquals(err, "InvalidRouteTableID.NotFound") {
				p.ok(err)
			}
			p.wait("the table's end", []string{"ready"}, nil, 2, func() (string, error) {
				if _, err := p.findTable(id); err != nil {
					return "", err
				}
				return "ready", nil
			})
		},
	}
}

func (p *provider) table(vpc string) string {
	p.t.Helper()
	return *must[*ec2.CreateRouteTableOutput](p)(p.ec2.CreateRouteTable(p.ctx(), &ec2.CreateRouteTableInput{VpcId: &vpc})).RouteTable.RouteTableId
}

// findAssociation finds a table by the id of one of its associations. The
// provider does not know the table then (trap 1).
func (p *provider) findAssociation(id string) (ec2types.RouteTableAssociation, ec2types.RouteTable, error) {
	out, err := p.ec2.DescribeRouteTables(p.ctx(), &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{filter("association.route-table-association-id", id)}})
	if err != nil {
		return ec2types.RouteTableAssociation{}, ec2types.RouteTable{}, err
	}
	t, err := one(p, out.RouteTables, nil)
	if err != nil {
		return ec2types.RouteTableAssociation{}, t, err
	}
	for _, a := range t.Associations {
		if *a.RouteTableAssociationId == id {
			return a, t, nil
		}
	}
	return ec2types.RouteTableAssociation{}, t, errGone
}

func (p *provider) associationState(id string) func() (string, error) {
	return func() (string, error) {
		a, _, err := p.findAssociation(id)
		if err != nil {
			return "", err
		}
		// Trap 2: the state has to be there.
		if a.AssociationState == nil {
			p.t.Fatal("an association without its state")
		}
		return string(a.AssociationState.State), nil
	}
}

func (p *provider) disassociate(id string) {
	p.t.Helper()
	_, err := p.ec2.DisassociateRouteTable(p.ctx(), &ec2.DisassociateRouteTableInput{AssociationId: &id})
	if !tfawserr.ErrCodeEquals(err, "InvalidAssociationID.NotFound") {
		p.ok(err)
	}
	p.wait("the association's end", []string{"disassociating", "associated"}, nil, 1, p.associationState(id))
}

func (p *provider) associationResource() resource {
	return resource{
		create: func(c attrs) string {
			id := *must[*ec2.AssociateRouteTableOutput](p)(p.ec2.AssociateRouteTable(p.ctx(), &ec2.AssociateRouteTableInput{
				RouteTableId: aws.String(c.str("route_table_id")), SubnetId: aws.String(c.str("subnet_id")),
			})).AssociationId
			p.wait("the association", []string{"associating"}, []string{"associated"}, 1, p.associationState(id))
			return id
		},
		read: func(p *provider, id string) (attrs, error) {
			a, _, err := p.findAssociation(id)
			if err != nil {
				return nil, err
			}
			return attrs{"route_table_id": *a.RouteTableId, "subnet_id": aws.ToString(a.SubnetId)}, nil
		},
		update: func(id string, from, to attrs) string {
			now := *must[*ec2.ReplaceRouteTableAssociationOutput](p)(p.ec2.ReplaceRouteTableAssociation(p.ctx(), &ec2.ReplaceRouteTableAssociationInput{
				AssociationId: &id, RouteTableId: aws.String(to.str("route_table_id")),
			})).NewAssociationId
			p.wait("the association", []string{"associating"}, []string{"associated"}, 1, p.associationState(now))
			return now
		},
		remove: func(id string, _ attrs) { p.disassociate(id) },
	}
}

// instance starts one and answers its id and interface. A route to an interface
// of nobody would be a blackhole.
func (p *provider) instance(subnet string) (id, eni string) {
	p.t.Helper()
	out := must[*ec2.RunInstancesOutput](p)(p.ec2.RunInstances(p.ctx(), &ec2.RunInstancesInput{
		ImageId: aws.String("ami-00000000000000001"), InstanceType: ec2types.InstanceTypeT3Micro, SubnetId: &subnet, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	}))
	id = *out.Instances[0].InstanceId
	p.wait("the instance", []string{"pending"}, []string{"running"}, 1, func() (string, error) {
		d, err := p.ec2.DescribeInstances(p.ctx(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
		if err != nil {
			return "", err
		}
		eni = *d.Reservations[0].Instances[0].NetworkInterfaces[0].NetworkInterfaceId
		return string(d.Reservations[0].Instances[0].State.Name), nil
	})
	return id, eni
}

func TestRouteTable(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	subnet := p.subnet(vpc, "10.0.0.0/24", "us-east-1a")
	_, one := p.instance(subnet)
	_, two := p.instance(subnet)
	p.lifecycle(p.tableResource(), attrs{"vpc_id": vpc, "route": set("192.0.2.0/24=" + one), "tags": tagsOne}, []change{
		{set: attrs{"route": set("192.0.2.0/24="+two, "198.51.100.0/24="+one)}},
		{set: attrs{"route": set("198.51.100.0/24=" + one), "tags": tagsTwo}},
	}, func(id string, state attrs) {
		// A gateway endpoint's route does not make a difference in this resource.
		_, err := p.ec2.CreateVpcEndpoint(p.ctx(), &ec2.CreateVpcEndpointInput{VpcId: &vpc, ServiceName: aws.String(compat.S3), RouteTableIds: []string{id}})
		p.ok(err)
		if with := p.settled(p.tableResource(), id); state.changed(with, "route") {
			t.Errorf("with a gateway endpoint the routes are %v, were %v", with["route"], state["route"])
		}
		// An associated table: the provider takes the association away first.
		p.associationResource().create(attrs{"route_table_id": id, "subnet_id": subnet})
		_, err = p.ec2.DeleteRouteTable(p.ctx(), &ec2.DeleteRouteTableInput{RouteTableId: &id})
		p.refused(err, "DependencyViolation")
	})
}

func TestRoute(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	subnet := p.subnet(vpc, "10.0.0.0/24", "us-east-1a")
	_, one := p.instance(subnet)
	_, two := p.instance(subnet)
	table := p.table(vpc)
	p.lifecycle(resource{
		create: func(c attrs) string {
			p.createRoute(table, c.str("cidr")+"="+c.str("network_interface_id"))
			return table + "_" + c.str("cidr")
		},
		read: func(p *provider, id string) (attrs, error) {
			table, cidr, _ := strings.Cut(id, "_")
			r, err := p.findRoute(table, cidr)
			if err != nil {
				return nil, err
			}
			return attrs{"cidr": *r.DestinationCidrBlock, "network_interface_id": aws.ToString(r.NetworkInterfaceId), "gateway_id": aws.ToString(r.GatewayId), "origin": string(r.Origin), "state": string(r.State)}, nil
		},
		update: func(id string, from, to attrs) string {
			_, err := p.ec2.ReplaceRoute(p.ctx(), &ec2.ReplaceRouteInput{RouteTableId: &table, DestinationCidrBlock: aws.String(to.str("cidr")), NetworkInterfaceId: aws.String(to.str("network_interface_id"))})
			p.ok(err)
			p.routeReady(table, to.str("cidr"))
			return id
		},
		remove: func(id string, _ attrs) {
			table, cidr, _ := strings.Cut(id, "_")
			p.deleteRoute(table, cidr)
		},
	}, attrs{"cidr": "0.0.0.0/0", "network_interface_id": one, "origin": "CreateRoute"}, []change{{set: attrs{"network_interface_id": two}}}, func(string, attrs) {
		// The provider looks for a route before it makes one, and says so on this code.
		_, err := p.ec2.CreateRoute(p.ctx(), &ec2.CreateRouteInput{RouteTableId: &table, DestinationCidrBlock: aws.String("0.0.0.0/0"), NetworkInterfaceId: &one})
		p.refused(err, "RouteAlreadyExists")
	})
}

func TestRouteTableAssociation(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	a, b := p.subnet(vpc, "10.0.0.0/24", "us-east-1a"), p.subnet(vpc, "10.0.1.0/24", "us-east-1b")
	one, two := p.table(vpc), p.table(vpc)
	other := p.associationResource().create(attrs{"route_table_id": one, "subnet_id": b})
	p.lifecycle(p.associationResource(), attrs{"route_table_id": one, "subnet_id": a}, []change{{set: attrs{"route_table_id": two}}, {set: attrs{"route_table_id": one}}}, func(id string, _ attrs) {
		// Trap 1: the filter finds the whole table, with its other associations.
		_, table, err := p.findAssociation(id)
		p.ok(err)
		if len(table.Associations) != 2 {
			t.Errorf("the table has %d associations in the answer, want both", len(table.Associations))
		}
		_, err = p.ec2.AssociateRouteTable(p.ctx(), &ec2.AssociateRouteTableInput{RouteTableId: &two, SubnetId: &a})
		p.refused(err, "Resource.AlreadyAssociated")
	})
	if _, _, err := p.findAssociation(other); err != nil {
		t.Errorf("the other subnet's association: %v", err)
	}
}

// aws_main_route_table_association: the main association moves and gets a new id.
func TestMainRouteTableAssociation(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	table := p.table(vpc)
	main := func() (ec2types.RouteTable, ec2types.RouteTableAssociation) {
		out := must[*ec2.DescribeRouteTablesOutput](p)(p.ec2.DescribeRouteTables(p.ctx(), &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{filter("association.main", "true"), filter("vpc-id", vpc)}}))
		tb, err := one(p, out.RouteTables, nil)
		p.ok(err)
		for _, a := range tb.Associations {
			if *a.Main {
				return tb, a
			}
		}
		t.Fatal("no main association")
		return tb, ec2types.RouteTableAssociation{}
	}
	first, was := main()
	now := *must[*ec2.ReplaceRouteTableAssociationOutput](p)(p.ec2.ReplaceRouteTableAssociation(p.ctx(), &ec2.ReplaceRouteTableAssociationInput{AssociationId: was.RouteTableAssociationId, RouteTableId: &table})).NewAssociationId
	p.wait("the association", []string{"associating"}, []string{"associated"}, 1, p.associationState(now))
	tb, a := main()
	if *tb.RouteTableId != table || *a.RouteTableAssociationId != now || now == *was.RouteTableAssociationId {
		t.Errorf("main is %s by %s, want %s by %s", *tb.RouteTableId, *a.RouteTableAssociationId, table, now)
	}
	// Destroying it gives the first table its place back.
	_, err := p.ec2.ReplaceRouteTableAssociation(p.ctx(), &ec2.ReplaceRouteTableAssociationInput{AssociationId: &now, RouteTableId: first.RouteTableId})
	p.ok(err)
	if tb, _ := main(); *tb.RouteTableId != *first.RouteTableId {
		t.Errorf("main is %s", *tb.RouteTableId)
	}
}
