// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// endpointRequester is the service's own account: the one that endpoint
// interfaces say they are managed by.
const endpointRequester = "000000000001"

// CreateEndpointInput are the parameters of CreateVpcEndpoint that have an
// effect. Nil pointers are parameters that were not sent.
type CreateEndpointInput struct {
	Type        vpc.EndpointType // "" is Gateway
	VPC         vpc.VPCID
	ServiceName string
	// ServiceRegion is checked only: "" or the installation's region.
	ServiceRegion string
	Policy        string // "" is the default policy
	PrivateDNS    *bool
	RouteTables   []vpc.RouteTableID
	Subnets       []vpc.SubnetID
	Addresses     []SubnetAddress
	Groups        []vpc.GroupID
	IPAddressType string // "" is ipv4
	DNS           EndpointDNS
	ClientToken   string
	Tags          vpc.Tags
}

// EndpointDNS are the DnsOptions that have an effect.
type EndpointDNS struct {
	RecordType  string // DnsRecordIpType, "" if it was not sent
	InboundOnly *bool  // PrivateDnsOnlyForInboundResolverEndpoint
}

// SubnetAddress chooses the addresses of the interface in one subnet. The zero
// Addr leaves the choice to us.
type SubnetAddress struct {
	Subnet vpc.SubnetID
	Addr   netip.Addr
	Addr6  netip.Addr
}

// CreateEndpoint makes an endpoint with its interfaces or routes and answers
// it as it was made: pending, or pendingAcceptance when the provider has to
// agree. A repeated client token answers the endpoint as it is now.
func (c *Control) CreateEndpoint(ctx context.Context, caller Caller, in CreateEndpointInput) (*vpc.Endpoint, error) {
	const action = "CreateVpcEndpoint"
	if in.Type == "" {
		in.Type = vpc.GatewayEndpoint
	}
	if err := checkEndpointType(in.Type); err != nil {
		return nil, err
	}
	if in.ServiceName == "" {
		return nil, vpc.Errorf(vpc.Missing, "ServiceName", "", "The request must contain the parameter ServiceName")
	}
	token := in.ClientToken
	in.ClientToken = ""
	if err := checkToken(token); err != nil {
		return nil, err
	}
	var made *vpc.Endpoint
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		if id, err := remembered(tx, caller, action, token, in); err != nil {
			return err
		} else if id != "" {
			made, err = OwnedEndpoint(tx, caller, vpc.EndpointID(id))
			return err
		}
		e, err := c.newEndpoint(tx, caller, in)
		if err != nil {
			return err
		}
		if err := c.announceNew(tx, e); err != nil {
			return err
		}
		tx.Put(e)
		c.remember(tx, caller, action, token, in, string(e.ID))
		made = e
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// newEndpoint checks everything, in the order in which AWS does, and writes
// what belongs to the endpoint but not the endpoint itself.
func (c *Control) newEndpoint(tx *store.Tx, caller Caller, in CreateEndpointInput) (*vpc.Endpoint, error) {
	region := RegionOf(tx)
	v, err := Owned[vpc.VPC](tx, caller, in.VPC)
	if err != nil {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindVPC), string(in.VPC), "The vpc ID '%s' does not exist", in.VPC)
	}
	if in.ServiceRegion != "" && in.ServiceRegion != region.Name {
		return nil, vpc.Errorf(vpc.Unsupported, "ServiceRegion", in.ServiceRegion,
			"Endpoints to services in another region (ServiceRegion %.64s) are not supported; this region is %s", in.ServiceRegion, region.Name)
	}
	offer, err := OfferNamed(tx, caller, in.ServiceName)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(offer.Types(), in.Type) {
		return nil, badEndpoint("Endpoint type (%s) does not match available service types (%s)", in.Type, typeList(offer.Types()))
	}
	if err := checkEndpointParameters(in); err != nil {
		return nil, err
	}
	id, err := c.newID(vpc.PrefixEndpoint)
	if err != nil {
		return nil, err
	}
	label, err := c.randomText("abcdefghijklmnopqrstuvwxyz0123456789", 8)
	if err != nil {
		return nil, err
	}
	e := &vpc.Endpoint{
		ID: vpc.EndpointID(id), Owner: caller.Account, VPC: v.ID, Type: in.Type, ServiceName: offer.Name(),
		State: vpc.EndpointPending, DNSLabel: id + "-" + label, Created: c.Now(), Tags: in.Tags,
	}
	if s := offer.Catalogue; s != nil {
		e.Catalogue = s.Name
	}
	if s := offer.Service; s != nil {
		e.Service = s.ID
		if s.AcceptanceRequired {
			e.State = vpc.EndpointPendingAcceptance
		}
		if e.Connection, err = c.newID(vpc.PrefixConnection); err != nil {
			return nil, err
		}
	}
	if in.IPAddressType == "" {
		in.IPAddressType = vpc.IPv4Only
	}
	if err := setAddressType(e, offer, in.IPAddressType); err != nil {
		return nil, err
	}
	if err := setRecordType(v, e, offer, in.DNS.RecordType); err != nil {
		return nil, err
	}
	if in.Type == vpc.GatewayEndpoint {
		err = c.newGateway(tx, caller, e, offer, in)
	} else {
		err = c.newInterfaces(tx, caller, v, e, offer, in)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (c *Control) newGateway(tx *store.Tx, caller Caller, e *vpc.Endpoint, offer Offer, in CreateEndpointInput) error {
	if err := c.addRoutes(tx, caller, e, offer.Catalogue, in.RouteTables); err != nil {
		return err
	}
	if in.Policy != "" {
		if err := setPolicy(e, offer, in.Policy); err != nil {
			return err
		}
	}
	// The quota counts a set: writing the account makes racing calls conflict.
	if a, ok := vpc.Get[vpc.Account](tx, caller.Account); ok {
		tx.Touch(a)
	}
	if n := tx.Count(vpc.KindEndpoint, vpc.IndexGatewaysOf, string(caller.Account), all); n >= c.Quotas.GatewayEndpoints {
		return vpc.Errorf(vpc.Limit, string(vpc.KindEndpoint), "", "The maximum number of gateway endpoints per region, %d, has been reached", c.Quotas.GatewayEndpoints)
	}
	return nil
}

func isInterface(o vpc.Object) bool { return o.(*vpc.Endpoint).Type == vpc.InterfaceEndpoint }
func all(vpc.Object) bool           { return true }

func (c *Control) newInterfaces(tx *store.Tx, caller Caller, v *vpc.VPC, e *vpc.Endpoint, offer Offer, in CreateEndpointInput) error {
	subnets, err := c.endpointSubnets(tx, caller, e, offer, in.Subnets)
	if err != nil {
		return err
	}
	e.PrivateDNS = offer.Catalogue != nil && len(offer.PrivateNames()) > 0
	if in.PrivateDNS != nil {
		e.PrivateDNS = *in.PrivateDNS
	}
	if e.PrivateDNS {
		if err := checkPrivateDNS(tx, v, e, offer); err != nil {
			return err
		}
	}
	if err := setInboundOnly(tx, e, offer, in.DNS.InboundOnly); err != nil {
		return err
	}
	if e.Groups, err = c.groupsFor(tx, caller, v.ID, in.Groups); err != nil {
		return err
	}
	if in.Policy != "" {
		if err := setPolicy(e, offer, in.Policy); err != nil {
			return err
		}
	}
	// The quota and the private names are rules about a set of endpoints:
	// writing the VPC makes racing calls conflict.
	tx.Touch(v)
	if n := tx.Count(vpc.KindEndpoint, vpc.IndexVPC, string(v.ID), isInterface); n >= c.Quotas.InterfaceEndpointsPerVPC {
		return vpc.Errorf(vpc.Limit, string(vpc.KindEndpoint), "", "The maximum number of interface endpoints in the VPC %s, %d, has been reached", v.ID, c.Quotas.InterfaceEndpointsPerVPC)
	}
	chosen, err := chosenAddresses(e, in.Addresses, in.Subnets)
	if err != nil {
		return err
	}
	for _, s := range subnets {
		if err := c.addNode(tx, e, s, chosen[s.ID]); err != nil {
			return err
		}
	}
	e.Link, err = c.newVNI(tx)
	return err
}

// addNode makes the endpoint's interface in a subnet.
func (c *Control) addNode(tx *store.Tx, e *vpc.Endpoint, s *vpc.Subnet, chosen SubnetAddress) error {
	n, err := c.newInterface(tx, interfaceSpec{
		Owner: e.Owner, Subnet: s, Addr: chosen.Addr, Type: vpc.TypeEndpoint, Groups: e.Groups,
		Description: "VPC Endpoint Interface " + string(e.ID), RequesterID: endpointRequester, Endpoint: e.ID,
	})
	if err != nil {
		return err
	}
	node := vpc.EndpointNode{Subnet: s.ID, Zone: s.Zone, Interface: n.ID, Addr: n.Addr}
	if e.HasIPv6() {
		if node.Addr6, err = c.addIPv6(tx, n.ID, s, chosen.Addr6); err != nil {
			return err
		}
	}
	e.Nodes = append(e.Nodes, node)
	if e.Named {
		for _, a := range []netip.Addr{node.Addr, node.Addr6} {
			if a.IsValid() {
				e.Coming = append(e.Coming, a)
			}
		}
	}
	return nil
}

// fitsSubnet refuses a subnet that does not have the blocks the endpoint's IP
// address type asks for. Every subnet has an IPv4 block, which AWS refuses for
// the type ipv6.
func fitsSubnet(e *vpc.Endpoint, s *vpc.Subnet) error {
	switch {
	case !e.HasIPv4():
		return badEndpoint("The IP address type %s (IpAddressType) requires subnets of IPv6 alone: the subnet %s has the IPv4 CIDR block %s", e.AddressType(), s.ID, s.CIDR)
	case e.HasIPv6() && !s.HasIPv6():
		return badEndpoint("The IP address type %s (IpAddressType) requires subnets with an IPv6 CIDR block: the subnet %s has none", e.AddressType(), s.ID)
	}
	return nil
}

// endpointSubnets checks the subnets that are to get an interface of e beside
// those it has, and leaves out the ones it already has.
func (c *Control) endpointSubnets(tx *store.Tx, caller Caller, e *vpc.Endpoint, offer Offer, ids []vpc.SubnetID) ([]*vpc.Subnet, error) {
	zones := map[string]bool{}
	have := map[vpc.SubnetID]bool{}
	for _, n := range e.Nodes {
		zones[n.Zone] = true
		have[n.Subnet] = true
	}
	var out []*vpc.Subnet
	for _, id := range ids {
		s, err := Owned[vpc.Subnet](tx, caller, id)
		if err != nil {
			return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindSubnet), string(id), "The subnet ID '%s' does not exist", id)
		}
		if s.VPC != e.VPC {
			return nil, badEndpoint("The subnet %s does not belong to the VPC %s", id, e.VPC)
		}
		if have[id] {
			continue
		}
		have[id] = true
		out = append(out, s)
	}
	for _, s := range out {
		if zones[s.Zone] {
			return nil, vpc.Errorf(vpc.DuplicateZone, string(vpc.KindSubnet), string(s.ID),
				"Found another VPC endpoint subnet in the availability zone of %s. VPC endpoint subnets should be in different availability zones supported by the VPC endpoint service.", s.ID)
		}
		zones[s.Zone] = true
	}
	for _, s := range out {
		if !slices.Contains(offer.Zones(RegionOf(tx)), s.Zone) {
			return nil, badEndpoint("The VPC endpoint service %s does not support the availability zone of the subnet: %s.", offer.Name(), s.ID)
		}
		if err := fitsSubnet(e, s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// chosenAddresses maps subnets to the addresses chosen for them. Each must be
// one of the endpoint's subnets.
func chosenAddresses(e *vpc.Endpoint, list []SubnetAddress, subnets []vpc.SubnetID) (map[vpc.SubnetID]SubnetAddress, error) {
	out := map[vpc.SubnetID]SubnetAddress{}
	for _, a := range list {
		if !slices.Contains(subnets, a.Subnet) {
			return nil, badEndpoint("The subnet %.64s of SubnetConfiguration is not one of the endpoint's subnets", a.Subnet)
		}
		if _, dup := out[a.Subnet]; dup {
			return nil, badEndpoint("SubnetConfiguration has the subnet %s twice", a.Subnet)
		}
		if a.Addr6.IsValid() && !e.HasIPv6() {
			return nil, badEndpoint("The address %s (SubnetConfiguration Ipv6) cannot be used with the IP address type %s", a.Addr6, e.AddressType())
		}
		out[a.Subnet] = a
	}
	return out, nil
}

// checkPrivateDNS refuses private names the endpoint cannot have: it is called
// before e is written. The caller touches the VPC.
func checkPrivateDNS(tx *store.Tx, v *vpc.VPC, e *vpc.Endpoint, offer Offer) error {
	if !v.EnableDNSSupport || !v.EnableDNSHostnames {
		return badEndpoint("Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for %s", v.ID)
	}
	names := offer.PrivateNames()
	if len(names) == 0 {
		return badEndpoint("Private DNS can't be enabled because the service %s does not provide a private DNS name.", offer.Name())
	}
	mine := map[string]bool{}
	for _, n := range names {
		mine[strings.TrimPrefix(n, "*.")] = true
	}
	conflict := func(zone string) error {
		return vpc.Errorf(vpc.Conflict, "private-dns", zone,
			"private-dns-enabled cannot be set because there is already a conflicting DNS domain for %s in the VPC %s", zone, v.ID)
	}
	for o := range vpc.By[vpc.Endpoint](tx, vpc.IndexVPC, v.ID) {
		if o.ID == e.ID || !o.PrivateDNS {
			continue
		}
		for _, n := range vpc.PrivateNames(vpc.ServiceOf(tx, o)) {
			if zone := strings.TrimPrefix(n, "*."); mine[zone] {
				return conflict(zone)
			}
		}
	}
	for zone := range mine {
		if name, err := vpc.ParseDomainName(zone); err == nil && tx.Claimed(vpc.ZoneNameClaim(v.ID, name)) {
			return conflict(zone)
		}
	}
	return nil
}

// setInboundOnly keeps a service's names public inside the VPC, or no longer.
// It is for services that have gateway endpoints too, like S3, one of which
// the VPC must have.
func setInboundOnly(tx *store.Tx, e *vpc.Endpoint, offer Offer, only *bool) error {
	if only == nil || *only == e.InboundOnly {
		return nil
	}
	e.InboundOnly = *only
	switch {
	case !*only:
		return nil
	case !slices.Contains(offer.Types(), vpc.GatewayEndpoint):
		return badEndpoint("PrivateDnsOnlyForInboundResolverEndpoint cannot be set to true: the service %s has no gateway endpoints.", offer.Name())
	case !e.PrivateDNS:
		return badEndpoint("PrivateDnsOnlyForInboundResolverEndpoint cannot be set to true without PrivateDnsEnabled.")
	}
	for o := range vpc.By[vpc.Endpoint](tx, vpc.IndexVPC, e.VPC) {
		if o.Type == vpc.GatewayEndpoint && o.ServiceName == e.ServiceName && o.State.Carries() {
			return nil
		}
	}
	return badEndpoint("To set PrivateDnsOnlyForInboundResolverEndpoint to true, the VPC %s must have a Gateway endpoint for the service.", e.VPC)
}

// addRoutes puts the gateway endpoint's route into tables it is not in yet.
func (c *Control) addRoutes(tx *store.Tx, caller Caller, e *vpc.Endpoint, s *vpc.CatalogueService, ids []vpc.RouteTableID) error {
	for _, id := range ids {
		t, err := Owned[vpc.RouteTable](tx, caller, id)
		if err != nil {
			return vpc.Errorf(vpc.NotFound, string(vpc.KindRouteTable), string(id), "The routeTable ID '%s' does not exist", id)
		}
		if t.VPC != e.VPC {
			return badEndpoint("The route table %s does not belong to the VPC %s", id, e.VPC)
		}
		if slices.Contains(e.RouteTables, id) {
			continue
		}
		if err := c.routeTo(tx, t, e, s); err != nil {
			return err
		}
		e.RouteTables = append(e.RouteTables, id)
	}
	return nil
}

// routeTo makes a table's routes to the gateway endpoint those that its IP
// address type asks for: one for each family.
func (c *Control) routeTo(tx *store.Tx, t *vpc.RouteTable, e *vpc.Endpoint, s *vpc.CatalogueService) error {
	lists := s.ListsOf(e)
	t = vpc.Edit(t)
	t.Routes = slices.DeleteFunc(t.Routes, func(r vpc.Route) bool { return leadsTo(r, e) && !slices.Contains(lists, r.PrefixList) })
	for _, list := range lists {
		at := slices.IndexFunc(t.Routes, func(r vpc.Route) bool { return r.PrefixList == list })
		switch {
		case at < 0:
			t.Routes = append(t.Routes, vpc.Route{PrefixList: list, TargetKind: vpc.TargetEndpoint, Target: string(e.ID), Origin: "CreateRoute"})
		case !leadsTo(t.Routes[at], e):
			return vpc.Errorf(vpc.Duplicate, "route", string(t.ID), "route table %s already has a route with destination-prefix-list-id %s", t.ID, list)
		}
	}
	if err := c.checkRouteCount(tx, t); err != nil {
		return err
	}
	tx.Put(t)
	return nil
}

// leadsTo reports whether a route is the gateway endpoint's.
func leadsTo(r vpc.Route, e *vpc.Endpoint) bool {
	return r.TargetKind == vpc.TargetEndpoint && r.Target == string(e.ID)
}

// removeRoutes takes the gateway endpoint's routes out of tables. A table that
// it is not in, or that is gone, is left alone.
func removeRoutes(tx *store.Tx, e *vpc.Endpoint, ids []vpc.RouteTableID) {
	for _, id := range slices.Clone(ids) {
		e.RouteTables = slices.DeleteFunc(e.RouteTables, func(t vpc.RouteTableID) bool { return t == id })
		t, ok := vpc.Get[vpc.RouteTable](tx, id)
		if !ok {
			continue
		}
		ours := func(r vpc.Route) bool { return leadsTo(r, e) }
		if slices.ContainsFunc(t.Routes, ours) {
			t = vpc.Edit(t)
			t.Routes = slices.DeleteFunc(t.Routes, ours)
			tx.Put(t)
		}
	}
}

// setPolicy checks a document and keeps its text.
func setPolicy(e *vpc.Endpoint, offer Offer, doc string) error {
	if err := checkPolicy(offer, doc); err != nil {
		return err
	}
	e.Policy = doc
	return nil
}

// checkPolicy refuses what cannot be the policy of an endpoint to a service.
func checkPolicy(offer Offer, doc string) error {
	if !offer.PolicySupported() {
		return badEndpoint("The service %s does not support endpoint policies (PolicyDocument)", offer.Name())
	}
	p, err := policy.Parse([]byte(doc))
	if err == nil {
		err = p.CheckEndpoint()
	}
	if err != nil {
		return vpc.Errorf(vpc.BadPolicy, "PolicyDocument", "", "The PolicyDocument is not valid: %v", err)
	}
	return nil
}

func checkEndpointType(t vpc.EndpointType) error {
	switch t {
	case vpc.InterfaceEndpoint, vpc.GatewayEndpoint:
		return nil
	case "GatewayLoadBalancer", "Resource", "ServiceNetwork":
		return vpc.Errorf(vpc.Unsupported, "VpcEndpointType", string(t), "Endpoints of type %s (VpcEndpointType) are not supported", t)
	}
	return vpc.Errorf(vpc.Invalid, "vpc-endpoint-type", string(t), "'%.64s' is not a type of VPC endpoint (VpcEndpointType), use Interface or Gateway", t)
}

// checkEndpointParameters refuses parameters that do not go with the type.
func checkEndpointParameters(in CreateEndpointInput) error {
	if in.Type == vpc.InterfaceEndpoint {
		if len(in.RouteTables) > 0 {
			return wrongType(in.Type, "RouteTableId", in.RouteTables[0])
		}
		return nil
	}
	switch {
	case len(in.Subnets) > 0:
		return wrongType(in.Type, "SubnetId", in.Subnets[0])
	case len(in.Addresses) > 0:
		return wrongType(in.Type, "SubnetConfiguration", in.Addresses[0].Subnet)
	case len(in.Groups) > 0:
		return wrongType(in.Type, "SecurityGroupId", in.Groups[0])
	case in.PrivateDNS != nil && *in.PrivateDNS:
		return wrongType(in.Type, "PrivateDnsEnabled", "true")
	case in.DNS.InboundOnly != nil && *in.DNS.InboundOnly:
		return wrongType(in.Type, "PrivateDnsOnlyForInboundResolverEndpoint", "true")
	}
	return nil
}

// wrongType refuses a parameter that does not go with a type of endpoint.
func wrongType[T ~string](t vpc.EndpointType, parameter string, value T) error {
	return badEndpoint("The parameter %s (%.64s) cannot be used with an endpoint of type %s", parameter, value, t)
}

// setAddressType chooses an endpoint's IP address type, of which the service
// must have every family.
func setAddressType(e *vpc.Endpoint, offer Offer, t string) error {
	if t != vpc.IPv4Only && t != vpc.IPv6Only && t != vpc.DualStack {
		return badEndpoint("'%.64s' is not an IP address type (IpAddressType), use ipv4, dualstack or ipv6", t)
	}
	e.IPAddressType = t
	if t == vpc.IPv4Only {
		e.IPAddressType = ""
	}
	has := offer.AddressTypes()
	if e.HasIPv4() && !slices.Contains(has, vpc.IPv4Only) || e.HasIPv6() && !slices.Contains(has, vpc.IPv6Only) {
		return badEndpoint("The IP address type %s (IpAddressType) is not supported by the service %s, which supports %s", t, offer.Name(), strings.Join(has, " and "))
	}
	return nil
}

// setRecordType chooses an endpoint's DnsRecordIpType. "" leaves it, if it goes
// with what the IP address type is now.
func setRecordType(v *vpc.VPC, e *vpc.Endpoint, offer Offer, record string) error {
	asked := record != ""
	if !asked {
		record = e.RecordType
	}
	switch record {
	case "":
		return nil
	case vpc.IPv4Only, vpc.IPv6Only, vpc.DualStack, vpc.RecordServiceDefined:
	default:
		return badEndpoint("'%.64s' is not a DNS record type (DnsRecordIpType), use ipv4, dualstack, ipv6 or service-defined", record)
	}
	if !slices.Contains(recordTypes(e, offer), record) {
		return badEndpoint("The DNS record type %s (DnsRecordIpType) is not compatible with an endpoint of type %s and the IP address type %s for the service %s", record, e.Type, e.AddressType(), offer.Name())
	}
	if e.Type == vpc.GatewayEndpoint && record != vpc.RecordServiceDefined && asked && (!v.EnableDNSSupport || !v.EnableDNSHostnames) {
		return badEndpoint("The DNS record type %s (DnsRecordIpType) requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for %s", record, v.ID)
	}
	if e.RecordType = ""; e.DNSRecordType() != record {
		e.RecordType = record
	}
	return nil
}

// recordTypes are the DnsRecordIpTypes that go with an endpoint.
func recordTypes(e *vpc.Endpoint, offer Offer) []string {
	gateway := e.Type == vpc.GatewayEndpoint
	switch {
	case gateway && offer.Catalogue.Name == "dynamodb":
		return []string{vpc.RecordServiceDefined}
	case e.AddressType() == vpc.DualStack:
		return []string{vpc.DualStack, vpc.IPv4Only, vpc.IPv6Only, vpc.RecordServiceDefined}
	case gateway:
		return []string{e.AddressType(), vpc.RecordServiceDefined}
	}
	return []string{e.AddressType()}
}

// badEndpoint is the family's answer to a value that does not fit (AWS: InvalidParameter).
func badEndpoint(format string, args ...any) error {
	return vpc.Errorf(vpc.Invalid, "endpoint-parameter", "", format, args...)
}

// OwnedEndpoint is Owned with AWS's text for an endpoint.
func OwnedEndpoint(v vpc.View, caller Caller, id vpc.EndpointID) (*vpc.Endpoint, error) {
	e, err := Owned[vpc.Endpoint](v, caller, id)
	if err != nil {
		return nil, endpointNotFound(vpc.KindEndpoint, id)
	}
	return e, nil
}

// endpointNotFound says that an id is unknown. As an item of a bulk deletion
// it has a spelling of its own; see ItemError.
func endpointNotFound(kind vpc.Kind, id vpc.EndpointID) error {
	return vpc.Errorf(vpc.NotFound, string(kind), string(id), "The Vpc Endpoint Id '%s' does not exist", id)
}

// maxToken is the length AWS allows a client token of this family.
const maxToken = 64

func checkToken(token string) error { return checkTokenOf(maxToken, token) }

// checkTokenOf refuses a token longer than what AWS allows the action.
func checkTokenOf(length int, token string) error {
	if len(token) > length || strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }) {
		return vpc.Errorf(vpc.Invalid, "ClientToken", "", "Value (%.80q) for parameter clientToken is invalid. It must have at most %d ASCII characters.", token, length)
	}
	return nil
}

// typeList writes types as AWS does: [Gateway, Interface].
func typeList(types []vpc.EndpointType) string {
	var s []string
	for _, t := range types {
		s = append(s, string(t))
	}
	return "[" + strings.Join(s, ", ") + "]"
}

// randomText picks n characters, each with the same chance.
func (c *Control) randomText(alphabet string, n int) (string, error) {
	// Bytes from limit up would favour the first characters.
	limit := 256 - 256%len(alphabet)
	out := make([]byte, 0, n)
	var b [1]byte
	for len(out) < n {
		if _, err := io.ReadFull(c.Random, b[:]); err != nil {
			return "", fmt.Errorf("read random bytes for a name: %w", err)
		}
		if int(b[0]) < limit {
			out = append(out, alphabet[int(b[0])%len(alphabet)])
		}
	}
	return string(out), nil
}
