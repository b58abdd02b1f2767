// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"net/netip"
	"strings"
	"time"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateVpcEndpoint", true, createVpcEndpoint)
	register("ModifyVpcEndpoint", true, modifyVpcEndpoint)
	register("DeleteVpcEndpoints", true, deleteVpcEndpoints)
	register("DescribeVpcEndpoints", false, describeVpcEndpoints)
}

// CreateVpcEndpointInput is the input of CreateVpcEndpoint.
type CreateVpcEndpointInput struct {
	DryRun
	VpcEndpointType      string                `query:"VpcEndpointType"`
	VpcID                string                `query:"VpcId,required"`
	ServiceName          string                `query:"ServiceName"`
	PolicyDocument       string                `query:"PolicyDocument"`
	RouteTableIDs        []string              `query:"RouteTableId"`
	SubnetIDs            []string              `query:"SubnetId"`
	SecurityGroupIDs     []string              `query:"SecurityGroupId"`
	DNSOptions           EndpointDNSOptions    `query:"DnsOptions"`
	ClientToken          string                `query:"ClientToken"`
	PrivateDNSEnabled    *bool                 `query:"PrivateDnsEnabled"`
	TagSpecifications    []TagSpecification    `query:"TagSpecification"`
	SubnetConfigurations []SubnetConfiguration `query:"SubnetConfiguration"`
	ServiceRegion        string                `query:"ServiceRegion"`
	IPAddressType        string                `query:"IpAddressType"`
	_                    awsquery.Refused      `query:"ServiceNetworkArn,refuse"`
	_                    awsquery.Refused      `query:"ResourceConfigurationArn,refuse"`
}

// EndpointDNSOptions is DnsOptions of the create and modify actions.
type EndpointDNSOptions struct {
	DNSRecordIPType string           `query:"DnsRecordIpType"`
	InboundOnly     *bool            `query:"PrivateDnsOnlyForInboundResolverEndpoint"`
	_               awsquery.Refused `query:"PrivateDnsPreference,refuse"`
	_               awsquery.Refused `query:"PrivateDnsSpecifiedDomain,refuse"`
}

func (o EndpointDNSOptions) read() control.EndpointDNS {
	return control.EndpointDNS{RecordType: o.DNSRecordIPType, InboundOnly: o.InboundOnly}
}

// SubnetConfiguration is one SubnetConfiguration.N: the addresses of the
// endpoint's interface in a subnet.
type SubnetConfiguration struct {
	SubnetID string `query:"SubnetId,required"`
	Ipv4     string `query:"Ipv4"`
	Ipv6     string `query:"Ipv6"`
}

// VpcEndpoint is <VpcEndpoint>.
type VpcEndpoint struct {
	VpcEndpointID       string          `xml:"vpcEndpointId"`
	VpcEndpointType     string          `xml:"vpcEndpointType"`
	VpcID               string          `xml:"vpcId"`
	ServiceName         string          `xml:"serviceName"`
	State               string          `xml:"state"`
	PolicyDocument      string          `xml:"policyDocument"`
	RouteTableIDs       []string        `xml:"routeTableIdSet"`
	SubnetIDs           []string        `xml:"subnetIdSet"`
	Groups              []EndpointGroup `xml:"groupSet"`
	IPAddressType       string          `xml:"ipAddressType"`
	DNSOptions          DNSOptions      `xml:"dnsOptions"`
	PrivateDNSEnabled   bool            `xml:"privateDnsEnabled"`
	RequesterManaged    bool            `xml:"requesterManaged"`
	NetworkInterfaceIDs []string        `xml:"networkInterfaceIdSet"`
	DNSEntries          []DNSEntry      `xml:"dnsEntrySet"`
	CreationTimestamp   time.Time       `xml:"creationTimestamp"`
	Tags                []Tag           `xml:"tagSet"`
	OwnerID             string          `xml:"ownerId"`
	FailureReason       string          `xml:"failureReason,omitempty"`
	ServiceRegion       string          `xml:"serviceRegion"`
}

// EndpointGroup is a security group of an endpoint.
type EndpointGroup struct {
	GroupID   string `xml:"groupId"`
	GroupName string `xml:"groupName"`
}

// DNSOptions is <DnsOptions>.
type DNSOptions struct {
	DNSRecordIPType string `xml:"dnsRecordIpType"`
	// InboundOnly is shown for interface endpoints only.
	InboundOnly *bool `xml:"privateDnsOnlyForInboundResolverEndpoint"`
}

// DNSEntry is one name of an endpoint.
type DNSEntry struct {
	DNSName      string `xml:"dnsName"`
	HostedZoneID string `xml:"hostedZoneId"`
}

// CreateVpcEndpointOutput is the output of CreateVpcEndpoint.
type CreateVpcEndpointOutput struct {
	VpcEndpoint VpcEndpoint `xml:"vpcEndpoint"`
	ClientToken string      `xml:"clientToken,omitempty"`
}

func createVpcEndpoint(call *Call, in *CreateVpcEndpointInput) (*CreateVpcEndpointOutput, error) {
	tags, err := tagsFor(in.TagSpecifications, "vpc-endpoint")
	if err != nil {
		return nil, err
	}
	c := control.CreateEndpointInput{
		Type: vpc.EndpointType(in.VpcEndpointType), VPC: vpc.VPCID(in.VpcID), ServiceName: in.ServiceName, ServiceRegion: in.ServiceRegion,
		Policy: in.PolicyDocument, PrivateDNS: in.PrivateDNSEnabled, DNS: in.DNSOptions.read(),
		IPAddressType: in.IPAddressType, ClientToken: in.ClientToken, Tags: tags["vpc-endpoint"],
	}
	if err := checkFamilyID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID); err != nil {
		return nil, err
	}
	if c.Subnets, err = checkIDs[vpc.SubnetID](vpc.KindSubnet, vpc.PrefixSubnet, in.SubnetIDs); err != nil {
		return nil, err
	}
	if c.Addresses, err = subnetAddresses(in.SubnetConfigurations); err != nil {
		return nil, err
	}
	if c.Groups, err = checkIDs[vpc.GroupID](vpc.KindGroup, vpc.PrefixGroup, in.SecurityGroupIDs); err != nil {
		return nil, err
	}
	if c.RouteTables, err = checkIDs[vpc.RouteTableID](vpc.KindRouteTable, vpc.PrefixRouteTable, in.RouteTableIDs); err != nil {
		return nil, err
	}
	e, err := call.Control.CreateEndpoint(call.Context, call.Caller, c)
	if err != nil {
		return nil, err
	}
	return &CreateVpcEndpointOutput{VpcEndpoint: renderVpcEndpoint(call.View(), e), ClientToken: in.ClientToken}, nil
}

// ModifyVpcEndpointInput is the input of ModifyVpcEndpoint.
type ModifyVpcEndpointInput struct {
	DryRun
	VpcEndpointID          string                `query:"VpcEndpointId,required"`
	ResetPolicy            bool                  `query:"ResetPolicy"`
	PolicyDocument         *string               `query:"PolicyDocument"`
	AddRouteTableIDs       []string              `query:"AddRouteTableId"`
	RemoveRouteTableIDs    []string              `query:"RemoveRouteTableId"`
	AddSubnetIDs           []string              `query:"AddSubnetId"`
	RemoveSubnetIDs        []string              `query:"RemoveSubnetId"`
	AddSecurityGroupIDs    []string              `query:"AddSecurityGroupId"`
	RemoveSecurityGroupIDs []string              `query:"RemoveSecurityGroupId"`
	DNSOptions             EndpointDNSOptions    `query:"DnsOptions"`
	PrivateDNSEnabled      *bool                 `query:"PrivateDnsEnabled"`
	SubnetConfigurations   []SubnetConfiguration `query:"SubnetConfiguration"`
	IPAddressType          string                `query:"IpAddressType"`
}

func modifyVpcEndpoint(call *Call, in *ModifyVpcEndpointInput) (*void, error) {
	if err := checkFamilyID(vpc.KindEndpoint, vpc.PrefixEndpoint, in.VpcEndpointID); err != nil {
		return nil, err
	}
	c := control.ModifyEndpointInput{
		ID: vpc.EndpointID(in.VpcEndpointID), Policy: in.PolicyDocument, ResetPolicy: in.ResetPolicy,
		PrivateDNS: in.PrivateDNSEnabled, IPAddressType: in.IPAddressType, DNS: in.DNSOptions.read(),
	}
	var err error
	if c.AddRouteTables, err = checkIDs[vpc.RouteTableID](vpc.KindRouteTable, vpc.PrefixRouteTable, in.AddRouteTableIDs); err != nil {
		return nil, err
	}
	if c.RemoveRouteTables, err = checkIDs[vpc.RouteTableID](vpc.KindRouteTable, vpc.PrefixRouteTable, in.RemoveRouteTableIDs); err != nil {
		return nil, err
	}
	if c.AddSubnets, err = checkIDs[vpc.SubnetID](vpc.KindSubnet, vpc.PrefixSubnet, in.AddSubnetIDs); err != nil {
		return nil, err
	}
	if c.RemoveSubnets, err = checkIDs[vpc.SubnetID](vpc.KindSubnet, vpc.PrefixSubnet, in.RemoveSubnetIDs); err != nil {
		return nil, err
	}
	if c.AddGroups, err = checkIDs[vpc.GroupID](vpc.KindGroup, vpc.PrefixGroup, in.AddSecurityGroupIDs); err != nil {
		return nil, err
	}
	if c.RemoveGroups, err = checkIDs[vpc.GroupID](vpc.KindGroup, vpc.PrefixGroup, in.RemoveSecurityGroupIDs); err != nil {
		return nil, err
	}
	if c.Addresses, err = subnetAddresses(in.SubnetConfigurations); err != nil {
		return nil, err
	}
	if err := call.Control.ModifyEndpoint(call.Context, call.Caller, c); err != nil {
		return nil, err
	}
	return done, nil
}

func subnetAddresses(list []SubnetConfiguration) ([]control.SubnetAddress, error) {
	var out []control.SubnetAddress
	for _, s := range list {
		if err := checkFamilyID(vpc.KindSubnet, vpc.PrefixSubnet, s.SubnetID); err != nil {
			return nil, err
		}
		a := control.SubnetAddress{Subnet: vpc.SubnetID(s.SubnetID)}
		if s.Ipv4 != "" {
			addr, err := netip.ParseAddr(s.Ipv4)
			if err != nil || !addr.Is4() {
				return nil, vpc.Errorf(vpc.Invalid, "Ipv4", s.Ipv4, "Value (%.64s) for parameter Ipv4 is invalid. This is not an IPv4 address.", s.Ipv4)
			}
			a.Addr = addr
		}
		if s.Ipv6 != "" {
			addr, err := netip.ParseAddr(s.Ipv6)
			if err != nil || !addr.Is6() || addr.Is4In6() || addr.Zone() != "" {
				return nil, vpc.Errorf(vpc.Invalid, "Ipv6", s.Ipv6, "Value (%.64s) for parameter Ipv6 is invalid. This is not an IPv6 address.", s.Ipv6)
			}
			a.Addr6 = addr
		}
		out = append(out, a)
	}
	return out, nil
}

// DeleteVpcEndpointsInput is the input of DeleteVpcEndpoints.
type DeleteVpcEndpointsInput struct {
	DryRun
	VpcEndpointIDs []string `query:"VpcEndpointId,required"`
}

// UnsuccessfulOutput is the output of the bulk actions: the items that were not done.
type UnsuccessfulOutput struct {
	Unsuccessful []UnsuccessfulItem `xml:"unsuccessful"`
}

// UnsuccessfulItem is one item that was not done, and why.
type UnsuccessfulItem struct {
	Error      UnsuccessfulError `xml:"error"`
	ResourceID string            `xml:"resourceId"`
}

// UnsuccessfulError is an error of one item.
type UnsuccessfulError struct {
	Code    string `xml:"code"`
	Message string `xml:"message"`
}

func deleteVpcEndpoints(call *Call, in *DeleteVpcEndpointsInput) (*UnsuccessfulOutput, error) {
	ids, err := checkIDs[vpc.EndpointID](vpc.KindEndpoint, vpc.PrefixEndpoint, in.VpcEndpointIDs)
	if err != nil {
		return nil, err
	}
	failed, err := call.Control.DeleteEndpoints(call.Context, call.Caller, ids)
	if err != nil {
		return nil, err
	}
	return unsuccessful("DeleteVpcEndpoints", failed), nil
}

func unsuccessful(action string, items []control.ItemError) *UnsuccessfulOutput {
	out := &UnsuccessfulOutput{}
	for _, i := range items {
		code, _, message := errorCode(action, i.Err)
		out.Unsuccessful = append(out.Unsuccessful, UnsuccessfulItem{UnsuccessfulError{code, message}, i.ID})
	}
	return out
}

// DescribeVpcEndpointsInput is the input of DescribeVpcEndpoints.
type DescribeVpcEndpointsInput struct {
	DryRun
	Page
	VpcEndpointIDs []string `query:"VpcEndpointId"`
	Filters        []Filter `query:"Filter"`
}

// DescribeVpcEndpointsOutput is the output of DescribeVpcEndpoints.
type DescribeVpcEndpointsOutput struct {
	VpcEndpoints []VpcEndpoint `xml:"vpcEndpointSet"`
	NextToken    string        `xml:"nextToken,omitempty"`
}

var endpointResource = resource[*vpc.Endpoint]{
	prefix: vpc.PrefixEndpoint,
	tags:   func(e *vpc.Endpoint) vpc.Tags { return e.Tags },
	filters: filterSet[*vpc.Endpoint]{
		"ip-address-type":    one((*vpc.Endpoint).AddressType),
		"service-name":       func(_ vpc.View, e *vpc.Endpoint) []string { return []string{e.ServiceName} },
		"service-region":     func(v vpc.View, _ *vpc.Endpoint) []string { return []string{control.RegionOf(v).Name} },
		"vpc-id":             func(_ vpc.View, e *vpc.Endpoint) []string { return []string{string(e.VPC)} },
		"vpc-endpoint-id":    func(_ vpc.View, e *vpc.Endpoint) []string { return []string{string(e.ID)} },
		"vpc-endpoint-state": func(_ vpc.View, e *vpc.Endpoint) []string { return endpointStates(e.State) },
		"vpc-endpoint-type":  func(_ vpc.View, e *vpc.Endpoint) []string { return []string{string(e.Type)} },
	},
}

// endpointStates are the two spellings of a state in filters: as it is on the
// wire, and as AWS's SDKs name it (PendingAcceptance).
func endpointStates(s vpc.EndpointState) []string {
	return []string{string(s), strings.ToUpper(string(s[:1])) + string(s[1:])}
}

func describeVpcEndpoints(call *Call, in *DescribeVpcEndpointsInput) (*DescribeVpcEndpointsOutput, error) {
	v := call.View()
	get := func(id string) (*vpc.Endpoint, error) {
		return control.OwnedEndpoint(v, call.Caller, vpc.EndpointID(id))
	}
	list, next, err := describeOwned(call, v, endpointResource, in.VpcEndpointIDs, in.Filters, in.Page, get)
	if err != nil {
		return nil, err
	}
	out := &DescribeVpcEndpointsOutput{NextToken: next}
	for _, e := range list {
		out.VpcEndpoints = append(out.VpcEndpoints, renderVpcEndpoint(v, e))
	}
	return out, nil
}

func renderVpcEndpoint(v vpc.View, e *vpc.Endpoint) VpcEndpoint {
	r := VpcEndpoint{
		VpcEndpointID: string(e.ID), VpcEndpointType: string(e.Type), VpcID: string(e.VPC), ServiceName: e.ServiceName,
		State: string(e.State), PolicyDocument: e.Policy, RouteTableIDs: texts(e.RouteTables), IPAddressType: e.AddressType(),
		DNSOptions: DNSOptions{DNSRecordIPType: e.DNSRecordType()}, PrivateDNSEnabled: e.PrivateDNS,
		DNSEntries: dnsEntries(v, e, true), CreationTimestamp: e.Created, Tags: tagList(e.Tags), OwnerID: string(e.Owner),
		FailureReason: e.FailureReason, ServiceRegion: control.RegionOf(v).Name,
	}
	if e.Type == vpc.InterfaceEndpoint {
		r.DNSOptions.InboundOnly = &e.InboundOnly
	}
	if r.PolicyDocument == "" {
		r.PolicyDocument, _ = policy.Default()
	}
	for _, n := range e.Nodes {
		r.SubnetIDs = append(r.SubnetIDs, string(n.Subnet))
		r.NetworkInterfaceIDs = append(r.NetworkInterfaceIDs, string(n.Interface))
	}
	for _, id := range e.Groups {
		g := EndpointGroup{GroupID: string(id)}
		if o, ok := vpc.Get[vpc.SecurityGroup](v, id); ok {
			g.GroupName = o.Name
		}
		r.Groups = append(r.Groups, g)
	}
	return r
}

// dnsEntries are an endpoint's names; private ones only for its owner.
func dnsEntries(v vpc.View, e *vpc.Endpoint, private bool) []DNSEntry {
	var out []DNSEntry
	for _, n := range vpc.EndpointNamesIn(v, e) {
		if private || n.Zone == "" {
			out = append(out, DNSEntry{n.Name, n.HostedZoneID})
		}
	}
	return out
}

// endpointFamilyIDs are the words of this family's texts about malformed ids,
// by prefix; they differ from those of the rest of EC2.
var endpointFamilyIDs = map[string]string{
	vpc.PrefixVPC: "Vpc Id", vpc.PrefixSubnet: "Subnet Id", vpc.PrefixGroup: "Security Group Id", vpc.PrefixRouteTable: "Route Table Id",
	vpc.PrefixEndpoint: "Vpc Endpoint Id", vpc.PrefixService: "Vpc Endpoint Service Id",
}

// checkFamilyID is checkID with the family's text.
func checkFamilyID(kind vpc.Kind, prefix, id string) error {
	if vpc.ValidID(prefix, id) {
		return nil
	}
	return vpc.Errorf(vpc.Malformed, string(kind), id, "Invalid %s: '%.128s' (expecting '%s-...; the Id may only contain lowercase alphanumeric characters and a single dash')",
		endpointFamilyIDs[prefix], id, prefix)
}

// checkIDs refuses malformed ids and gives the others their type.
func checkIDs[T ~string](kind vpc.Kind, prefix string, ids []string) ([]T, error) {
	var out []T
	for _, id := range ids {
		if err := checkFamilyID(kind, prefix, id); err != nil {
			return nil, err
		}
		out = append(out, T(id))
	}
	return out, nil
}

// texts is the reverse: typed ids as they are on the wire.
func texts[T ~string](ids []T) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, string(id))
	}
	return out
}
