// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// newEndpointAPI6 is newEndpointAPI with IPv6 everywhere: 2001:db8:1::/64 in
// the consumer's subnet A, a dualstack load balancer, and an IPv6 list of S3.
func newEndpointAPI6(t *testing.T) *endpointAPI {
	t.Helper()
	a := newEndpointAPI(t)
	ctx := context.Background()
	_, err := a.c.Store.Update(ctx, func(tx *store.Tx) error {
		controltest.GiveIPv6(tx, vpc.VPCID(a.vpc), netip.MustParsePrefix("2001:db8:1::/56"))
		lb, _ := vpc.Get[vpc.LoadBalancer](tx, epNLB)
		controltest.GiveIPv6(tx, lb.VPC, netip.MustParsePrefix("2001:db8:2::/56"))
		s, _ := vpc.Get[vpc.CatalogueService](tx, "s3")
		s = vpc.Edit(s)
		s.PrefixList6, s.Prefixes6 = "pl-0000000000000000b", []netip.Prefix{netip.MustParsePrefix("2001:db8:53::/48")}
		tx.Put(s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.c.SetBalancerAddressType(ctx, controltest.Provider, epNLB, true); err != nil {
		t.Fatal(err)
	}
	return a
}

func filters(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: &name, Values: values}}
}

func TestADualStackEndpointThroughTheSDK(t *testing.T) {
	t.Parallel()
	a, ctx := newEndpointAPI6(t), t.Context()
	consumer, provider := a.client(controltest.Consumer), a.client(controltest.Provider)
	made, err := provider.CreateVpcEndpointServiceConfiguration(ctx, &sdk.CreateVpcEndpointServiceConfigurationInput{
		NetworkLoadBalancerArns: []string{epNLB}, AcceptanceRequired: aws.Bool(false), SupportedIpAddressTypes: []string{"ipv4", "ipv6"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := made.ServiceConfiguration
	both := []types.ServiceConnectivityType{types.ServiceConnectivityTypeIpv4, types.ServiceConnectivityTypeIpv6}
	if !slices.Equal(s.SupportedIpAddressTypes, both) {
		t.Errorf("the service supports %v", s.SupportedIpAddressTypes)
	}
	if _, err := provider.ModifyVpcEndpointServicePermissions(ctx, &sdk.ModifyVpcEndpointServicePermissionsInput{ServiceId: s.ServiceId, AddAllowedPrincipals: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	services, err := consumer.DescribeVpcEndpointServices(ctx, &sdk.DescribeVpcEndpointServicesInput{Filters: filters("supported-ip-address-types", "ipv6")})
	if err != nil || len(services.ServiceDetails) != 3 {
		t.Errorf("services with IPv6: %+v %v", services, err)
	}
	for _, d := range services.ServiceDetails {
		if !slices.Equal(d.SupportedIpAddressTypes, both) {
			t.Errorf("%s supports %v", *d.ServiceName, d.SupportedIpAddressTypes)
		}
	}
	e, err := consumer.CreateVpcEndpoint(ctx, &sdk.CreateVpcEndpointInput{
		VpcEndpointType: types.VpcEndpointTypeInterface, VpcId: &a.vpc, ServiceName: s.ServiceName, SubnetIds: []string{epSubnetA, epSubnetB},
		IpAddressType: types.IpAddressTypeDualstack, DnsOptions: &types.DnsOptionsSpecification{DnsRecordIpType: types.DnsRecordIpTypeServiceDefined},
		SubnetConfigurations: []types.SubnetConfiguration{{SubnetId: aws.String(epSubnetA), Ipv4: aws.String("10.0.1.50"), Ipv6: aws.String("2001:db8:1::50")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ep := e.VpcEndpoint
	if ep.IpAddressType != types.IpAddressTypeDualstack || ep.DnsOptions.DnsRecordIpType != types.DnsRecordIpTypeServiceDefined {
		t.Errorf("made: %s, records %s", ep.IpAddressType, ep.DnsOptions.DnsRecordIpType)
	}
	stored, _ := vpc.Get[vpc.Endpoint](a.c.View(), *ep.VpcEndpointId)
	if n := stored.Nodes[0]; n.Addr.String() != "10.0.1.50" || n.Addr6.String() != "2001:db8:1::50" {
		t.Errorf("node %+v", n)
	}
	enis, err := consumer.DescribeNetworkInterfaces(ctx, &sdk.DescribeNetworkInterfacesInput{NetworkInterfaceIds: ep.NetworkInterfaceIds})
	if err != nil || len(enis.NetworkInterfaces) != 2 || !aws.ToBool(enis.NetworkInterfaces[0].DenyAllIgwTraffic) {
		t.Errorf("interfaces %+v %v", enis, err)
	}
	for what, f := range map[string][]types.Filter{"dualstack": filters("ip-address-type", "dualstack"), "ipv4": filters("ip-address-type", "ipv4")} {
		want := map[string]int{"dualstack": 1}[what]
		got, err := consumer.DescribeVpcEndpoints(ctx, &sdk.DescribeVpcEndpointsInput{Filters: f})
		if err != nil || len(got.VpcEndpoints) != want {
			t.Errorf("endpoints of the type %s: %+v %v", what, got, err)
		}
		cons, err := provider.DescribeVpcEndpointConnections(ctx, &sdk.DescribeVpcEndpointConnectionsInput{Filters: f})
		if err != nil || len(cons.VpcEndpointConnections) != want || want == 1 && cons.VpcEndpointConnections[0].IpAddressType != types.IpAddressTypeDualstack {
			t.Errorf("connections of the type %s: %+v %v", what, cons, err)
		}
	}
	_, err = provider.ModifyVpcEndpointServiceConfiguration(ctx, &sdk.ModifyVpcEndpointServiceConfigurationInput{ServiceId: s.ServiceId, RemoveSupportedIpAddressTypes: []string{"ipv6"}})
	if code(err) != "ExistingVpcEndpointConnections" {
		t.Errorf("ipv6 taken from below an endpoint: %v", err)
	}
	_, err = consumer.ModifyVpcEndpoint(ctx, &sdk.ModifyVpcEndpointInput{VpcEndpointId: ep.VpcEndpointId, IpAddressType: types.IpAddressTypeIpv4})
	if code(err) != "InvalidParameter" {
		t.Errorf("ipv4 with the record type service-defined: %v", err)
	}
	_, err = consumer.ModifyVpcEndpoint(ctx, &sdk.ModifyVpcEndpointInput{VpcEndpointId: ep.VpcEndpointId, IpAddressType: types.IpAddressTypeIpv4,
		DnsOptions: &types.DnsOptionsSpecification{DnsRecordIpType: types.DnsRecordIpTypeIpv4}})
	if err != nil {
		t.Fatal(err)
	}
	stored, _ = vpc.Get[vpc.Endpoint](a.c.View(), *ep.VpcEndpointId)
	if stored.AddressType() != "ipv4" || stored.Nodes[0].Addr6.IsValid() {
		t.Errorf("made ipv4: %+v", stored)
	}
	if _, err := provider.ModifyVpcEndpointServiceConfiguration(ctx, &sdk.ModifyVpcEndpointServiceConfigurationInput{ServiceId: s.ServiceId, RemoveSupportedIpAddressTypes: []string{"ipv6"}}); err != nil {
		t.Error(err)
	}
	conf, err := provider.DescribeVpcEndpointServiceConfigurations(ctx, &sdk.DescribeVpcEndpointServiceConfigurationsInput{Filters: filters("supported-ip-address-types", "ipv6")})
	if err != nil || len(conf.ServiceConfigurations) != 0 {
		t.Errorf("services with IPv6: %+v %v", conf, err)
	}
}

func TestAnIPv6GatewayEndpointAndItsPrefixListThroughTheSDK(t *testing.T) {
	t.Parallel()
	a, ctx := newEndpointAPI6(t), t.Context()
	consumer := a.client(controltest.Consumer)
	e, err := consumer.CreateVpcEndpoint(ctx, &sdk.CreateVpcEndpointInput{
		VpcId: &a.vpc, ServiceName: aws.String(epS3), RouteTableIds: []string{a.table}, IpAddressType: types.IpAddressTypeDualstack,
	})
	if err != nil {
		t.Fatal(err)
	}
	if ep := e.VpcEndpoint; ep.IpAddressType != types.IpAddressTypeDualstack || ep.DnsOptions.DnsRecordIpType != types.DnsRecordIpTypeServiceDefined {
		t.Errorf("made: %s, records %s", ep.IpAddressType, ep.DnsOptions.DnsRecordIpType)
	}
	tables, err := consumer.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{RouteTableIds: []string{a.table}})
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, r := range tables.RouteTables[0].Routes {
		if r.DestinationPrefixListId != nil {
			routes = append(routes, *r.DestinationPrefixListId+" "+string(r.State))
		}
	}
	if want := []string{"pl-0000000000000000a active", "pl-0000000000000000b active"}; !slices.Equal(routes, want) {
		t.Errorf("routes %q, want %q", routes, want)
	}
	// By the service's name there is one list, as clients expect.
	byName, err := consumer.DescribePrefixLists(ctx, &sdk.DescribePrefixListsInput{Filters: filters("prefix-list-name", epS3)})
	if err != nil || len(byName.PrefixLists) != 1 || *byName.PrefixLists[0].PrefixListId != "pl-0000000000000000a" || !slices.Equal(byName.PrefixLists[0].Cidrs, []string{"192.0.2.0/24"}) {
		t.Errorf("by name: %+v %v", byName, err)
	}
	all, err := consumer.DescribePrefixLists(ctx, &sdk.DescribePrefixListsInput{})
	if err != nil || len(all.PrefixLists) != 2 {
		t.Fatalf("%+v %v", all, err)
	}
	if six := all.PrefixLists[1]; *six.PrefixListName != "com.amazonaws.us-east-1.ipv6.s3" || !slices.Equal(six.Cidrs, []string{"2001:db8:53::/48"}) {
		t.Errorf("the IPv6 list: %s %v", *six.PrefixListName, six.Cidrs)
	}
	managed, err := consumer.DescribeManagedPrefixLists(ctx, &sdk.DescribeManagedPrefixListsInput{PrefixListIds: []string{"pl-0000000000000000b"}})
	if err != nil || len(managed.PrefixLists) != 1 {
		t.Fatalf("%+v %v", managed, err)
	}
	if m := managed.PrefixLists[0]; *m.AddressFamily != "IPv6" || *m.OwnerId != "AWS" || *m.PrefixListName != "com.amazonaws.us-east-1.ipv6.s3" || !strings.HasSuffix(*m.PrefixListArn, ":aws:prefix-list/pl-0000000000000000b") {
		t.Errorf("the IPv6 list: %+v", m)
	}
	entries, err := consumer.GetManagedPrefixListEntries(ctx, &sdk.GetManagedPrefixListEntriesInput{PrefixListId: aws.String("pl-0000000000000000b")})
	if err != nil || len(entries.Entries) != 1 || *entries.Entries[0].Cidr != "2001:db8:53::/48" {
		t.Errorf("%+v %v", entries, err)
	}
	users, err := consumer.GetManagedPrefixListAssociations(ctx, &sdk.GetManagedPrefixListAssociationsInput{PrefixListId: aws.String("pl-0000000000000000b")})
	if err != nil || len(users.PrefixListAssociations) != 1 || *users.PrefixListAssociations[0].ResourceId != a.table {
		t.Errorf("%+v %v", users, err)
	}
	// The routes are the endpoint's.
	_, err = consumer.DeleteRoute(ctx, &sdk.DeleteRouteInput{RouteTableId: &a.table, DestinationPrefixListId: aws.String("pl-0000000000000000b")})
	if code(err) != "InvalidParameterValue" {
		t.Errorf("its route deleted: %v", err)
	}
	_, err = consumer.CreateVpcEndpoint(ctx, &sdk.CreateVpcEndpointInput{VpcId: &a.vpc, ServiceName: aws.String(epS3), RouteTableIds: []string{a.table}, IpAddressType: types.IpAddressTypeIpv6})
	if code(err) != "RouteAlreadyExists" || !strings.Contains(err.Error(), "pl-0000000000000000b") {
		t.Errorf("a second one in the table: %v", err)
	}
	if _, err := consumer.ModifyVpcEndpoint(ctx, &sdk.ModifyVpcEndpointInput{VpcEndpointId: e.VpcEndpoint.VpcEndpointId, IpAddressType: types.IpAddressTypeIpv4}); err != nil {
		t.Error(err)
	}
	if _, err := consumer.CreateVpcEndpoint(ctx, &sdk.CreateVpcEndpointInput{VpcId: &a.vpc, ServiceName: aws.String(epS3), RouteTableIds: []string{a.table}, IpAddressType: types.IpAddressTypeIpv6}); err != nil {
		t.Error(err)
	}
}
