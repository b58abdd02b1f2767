// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateNetworkInterface", true, createNetworkInterface)
	register("DescribeNetworkInterfaces", false, describeNetworkInterfaces)
	register("DeleteNetworkInterface", true, deleteNetworkInterface)
	register("ModifyNetworkInterfaceAttribute", true, modifyNetworkInterfaceAttribute)
	register("DescribeNetworkInterfaceAttribute", false, describeNetworkInterfaceAttribute)
}

// CreateNetworkInterfaceInput is the input of CreateNetworkInterface.
type CreateNetworkInterfaceInput struct {
	DryRun
	SubnetID          string             `query:"SubnetId,required"`
	Description       string             `query:"Description"`
	PrivateIP         string             `query:"PrivateIpAddress"`
	PrivateIPs        []PrivateIPSpec    `query:"PrivateIpAddresses"`
	SecondaryCount    int                `query:"SecondaryPrivateIpAddressCount"`
	IPv6Addresses     []IPv6Spec         `query:"Ipv6Addresses"`
	IPv6Count         *int               `query:"Ipv6AddressCount"`
	Tracking          *TrackingRequest   `query:"ConnectionTrackingSpecification"`
	GroupIDs          []string           `query:"SecurityGroupId"`
	ClientToken       string             `query:"ClientToken"`
	TagSpecifications []TagSpecification `query:"TagSpecification"`
	_                 awsquery.Refused   `query:"InterfaceType,refuse,unless=interface"`
	_                 awsquery.Refused   `query:"Ipv4Prefix,refuse"`
	_                 awsquery.Refused   `query:"Ipv4PrefixCount,refuse,unless=0"`
	_                 awsquery.Refused   `query:"Ipv6Prefix,refuse"`
	_                 awsquery.Refused   `query:"Ipv6PrefixCount,refuse,unless=0"`
	_                 awsquery.Refused   `query:"EnablePrimaryIpv6,refuse,unless=false"`
	_                 awsquery.Refused   `query:"Operator,refuse"`
}

// PrivateIPSpec is one address asked for; at most one is the primary one.
type PrivateIPSpec struct {
	Primary   bool   `query:"Primary"`
	PrivateIP string `query:"PrivateIpAddress,required"`
}

// CreateNetworkInterfaceOutput is the output of CreateNetworkInterface.
type CreateNetworkInterfaceOutput struct {
	Interface   NetworkInterface `xml:"networkInterface"`
	ClientToken string           `xml:"clientToken,omitempty"`
}

// NetworkInterface is <NetworkInterface>.
type NetworkInterface struct {
	ID                 string               `xml:"networkInterfaceId"`
	SubnetID           string               `xml:"subnetId"`
	VpcID              string               `xml:"vpcId"`
	AvailabilityZone   string               `xml:"availabilityZone"`
	AvailabilityZoneID string               `xml:"availabilityZoneId"`
	Description        string               `xml:"description"`
	OwnerID            string               `xml:"ownerId"`
	RequesterID        string               `xml:"requesterId"`
	RequesterManaged   bool                 `xml:"requesterManaged"`
	Status             string               `xml:"status"`
	InterfaceType      string               `xml:"interfaceType"`
	MAC                string               `xml:"macAddress"`
	PrivateIP          string               `xml:"privateIpAddress"`
	PrivateDNSName     string               `xml:"privateDnsName,omitempty"`
	PublicDNSName      string               `xml:"publicDnsName,omitempty"`
	Association        *PublicAssociation   `xml:"association"`
	SourceDestCheck    bool                 `xml:"sourceDestCheck"`
	DenyAllIGWTraffic  bool                 `xml:"denyAllIgwTraffic"`
	IPv6Native         bool                 `xml:"ipv6Native"`
	Groups             []GroupRef           `xml:"groupSet>item"`
	Attachment         *InterfaceAttachment `xml:"attachment"`
	PrivateIPs         []InterfaceAddress   `xml:"privateIpAddressesSet>item"`
	IPv6Address        string               `xml:"ipv6Address,omitempty"`
	IPv6Addresses      []InterfaceIPv6      `xml:"ipv6AddressesSet>item"`
	Tracking           *Tracking            `xml:"connectionTrackingConfiguration"`
	Tags               []Tag                `xml:"tagSet>item"`
}

// InterfaceAttachment is <NetworkInterfaceAttachment>.
type InterfaceAttachment struct {
	ID                  string    `xml:"attachmentId"`
	InstanceID          string    `xml:"instanceId,omitempty"`
	InstanceOwnerID     string    `xml:"instanceOwnerId"`
	DeviceIndex         int       `xml:"deviceIndex"`
	NetworkCardIndex    int       `xml:"networkCardIndex"`
	Status              string    `xml:"status"`
	AttachTime          time.Time `xml:"attachTime"`
	DeleteOnTermination bool      `xml:"deleteOnTermination"`
}

// InterfaceAddress is <NetworkInterfacePrivateIpAddress>.
type InterfaceAddress struct {
	PrivateIP      string             `xml:"privateIpAddress"`
	PrivateDNSName string             `xml:"privateDnsName,omitempty"`
	Primary        bool               `xml:"primary"`
	Association    *PublicAssociation `xml:"association"`
}

// PublicAssociation is <NetworkInterfaceAssociation>: the public address that
// leads to an interface.
type PublicAssociation struct {
	AllocationID  string `xml:"allocationId"`
	AssociationID string `xml:"associationId"`
	IPOwnerID     string `xml:"ipOwnerId"`
	PublicDNSName string `xml:"publicDnsName"`
	PublicIP      string `xml:"publicIp"`
}

// publicAssociation is the Elastic IP of an interface, nil if it has none. It
// has a name where the VPC gives names to its hosts.
func publicAssociation(v vpc.View, n *vpc.NetworkInterface) *PublicAssociation {
	e, ok := vpc.First[vpc.ElasticIP](v, vpc.IndexInterface, n.ID)
	if !ok {
		return nil
	}
	out := &PublicAssociation{
		AllocationID: string(e.ID), AssociationID: e.Association, IPOwnerID: string(e.Owner), PublicIP: e.Addr.String(),
	}
	if o, ok := vpc.Get[vpc.VPC](v, n.VPC); ok && o.EnableDNSHostnames && o.EnableDNSSupport {
		out.PublicDNSName = control.RegionOf(v).PublicDNSName(e.Addr)
	}
	return out
}

// associationFilter makes a filter of an interface's public address.
func associationFilter(f func(*PublicAssociation) string) func(vpc.View, *vpc.NetworkInterface) []string {
	return func(v vpc.View, n *vpc.NetworkInterface) []string {
		if a := publicAssociation(v, n); a != nil {
			if s := f(a); s != "" {
				return []string{s}
			}
		}
		return nil
	}
}

func createNetworkInterface(call *Call, in *CreateNetworkInterfaceInput) (*CreateNetworkInterfaceOutput, error) {
	if err := checkID(vpc.KindSubnet, vpc.PrefixSubnet, in.SubnetID); err != nil {
		return nil, err
	}
	groups, err := groupIDs(in.GroupIDs)
	if err != nil {
		return nil, err
	}
	addr, secondary, err := chosenAddresses(in.PrivateIP, in.PrivateIPs)
	if err != nil {
		return nil, err
	}
	ipv6, err := ipv6Request(in.IPv6Addresses, in.IPv6Count)
	if err != nil {
		return nil, err
	}
	tags, err := tagsFor(in.TagSpecifications, "network-interface")
	if err != nil {
		return nil, err
	}
	id, err := call.Control.CreateInterface(call.Context, call.Caller, control.CreateInterfaceInput{
		Subnet: vpc.SubnetID(in.SubnetID), Addr: addr, Secondary: secondary, SecondaryCount: in.SecondaryCount, Groups: groups, Description: in.Description,
		IPv6: ipv6, Tracking: in.Tracking.read(), Tags: tags["network-interface"], Token: in.ClientToken,
	})
	if err != nil {
		return nil, err
	}
	v := call.View()
	n, err := control.Owned[vpc.NetworkInterface](v, call.Caller, id)
	if err != nil {
		return nil, err
	}
	return &CreateNetworkInterfaceOutput{Interface: renderInterface(v, n), ClientToken: in.ClientToken}, nil
}

// groupIDs reads a list of group ids.
func groupIDs(list []string) ([]vpc.GroupID, error) {
	var out []vpc.GroupID
	for _, id := range list {
		if err := checkID(vpc.KindGroup, vpc.PrefixGroup, id); err != nil {
			return nil, err
		}
		out = append(out, vpc.GroupID(id))
	}
	return out, nil
}

// internalName is AWS's private DNS name of an interface's address.
func internalName(v vpc.View, n *vpc.NetworkInterface, a netip.Addr) string {
	o, ok := vpc.Get[vpc.VPC](v, n.VPC)
	if !ok || !o.EnableDNSHostnames || !o.EnableDNSSupport {
		return ""
	}
	return control.RegionOf(v).IPName(a)
}

// renderAttachment is an interface's attachment, nil if it has none. Interfaces
// that belong to an endpoint, a balancer or a NAT gateway are attached to AWS's
// side of it.
func renderAttachment(n *vpc.NetworkInterface) *InterfaceAttachment {
	if n.RequesterManaged {
		// A network load balancer's nodes have this owner too, unlike an
		// application load balancer's: Terraform waits for the end of those that it
		// finds by it.
		return &InterfaceAttachment{
			ID: "ela-attach-" + strings.TrimPrefix(string(n.ID), vpc.PrefixInterface+"-"), InstanceOwnerID: "amazon-aws",
			DeviceIndex: 1, Status: "attached", AttachTime: n.Created,
		}
	}
	x := n.Attachment
	if x == nil {
		return nil
	}
	return &InterfaceAttachment{
		ID: x.ID, InstanceID: string(x.Instance), InstanceOwnerID: string(n.Owner), DeviceIndex: x.DeviceIndex,
		Status: "attached", AttachTime: x.Time, DeleteOnTermination: x.DeleteOnTermination,
	}
}

func renderInterface(v vpc.View, n *vpc.NetworkInterface) NetworkInterface {
	out := NetworkInterface{
		ID: string(n.ID), SubnetID: string(n.Subnet), VpcID: string(n.VPC),
		AvailabilityZone: n.Zone, AvailabilityZoneID: control.RegionOf(v).ZoneID(n.Zone),
		Description: n.Description, OwnerID: string(n.Owner), RequesterID: requesterID(n), RequesterManaged: n.RequesterManaged,
		Status: "available", InterfaceType: n.Type.Shown(), MAC: n.MAC, PrivateIP: n.Addr.String(), PrivateDNSName: internalName(v, n, n.Addr),
		SourceDestCheck: n.SourceDestCheck, Groups: groupRefs(v, n.Groups), Attachment: renderAttachment(n), Tags: tagList(n.Tags),
		IPv6Address: firstIPv6(n), IPv6Addresses: renderIPv6(n), Tracking: renderTracking(n),
	}
	if out.Attachment != nil {
		out.Status = "in-use"
	}
	if out.Association = publicAssociation(v, n); out.Association != nil {
		out.PublicDNSName = out.Association.PublicDNSName
	}
	for i, a := range n.Addrs() {
		x := InterfaceAddress{PrivateIP: a.String(), PrivateDNSName: internalName(v, n, a), Primary: i == 0}
		if i == 0 {
			x.Association = out.Association // a public address is the primary one's
		}
		out.PrivateIPs = append(out.PrivateIPs, x)
	}
	out.DenyAllIGWTraffic = n.Type == vpc.TypeEndpoint && len(n.IPv6) > 0
	return out
}

// requesterID is who made the interface: a service, else its owner.
func requesterID(n *vpc.NetworkInterface) string {
	if n.RequesterID != "" {
		return n.RequesterID
	}
	return string(n.Owner)
}

// DescribeNetworkInterfacesInput is the input of DescribeNetworkInterfaces.
type DescribeNetworkInterfacesInput struct {
	DryRun
	Page
	InterfaceIDs []string `query:"NetworkInterfaceId"`
	Filters      []Filter `query:"Filter"`
	// Interfaces hidden by a managed service do not exist, so that including
	// them or not is the same.
	_ awsquery.Refused `query:"IncludeManagedResources,refuse,unless=true,unless=false"`
}

// DescribeNetworkInterfacesOutput is the output of DescribeNetworkInterfaces.
type DescribeNetworkInterfacesOutput struct {
	Interfaces []NetworkInterface `xml:"networkInterfaceSet>item"`
	NextToken  string             `xml:"nextToken,omitempty"`
}

// eniFilter makes a filter of what is shown of an interface.
func eniFilter(f func(NetworkInterface) string) func(vpc.View, *vpc.NetworkInterface) []string {
	return func(v vpc.View, n *vpc.NetworkInterface) []string {
		if s := f(renderInterface(v, n)); s != "" {
			return []string{s}
		}
		return nil
	}
}

// attachmentFilter makes a filter of an interface's attachment.
func attachmentFilter(f func(*InterfaceAttachment) string) func(vpc.View, *vpc.NetworkInterface) []string {
	return func(_ vpc.View, n *vpc.NetworkInterface) []string {
		if a := renderAttachment(n); a != nil {
			if s := f(a); s != "" {
				return []string{s}
			}
		}
		return nil
	}
}

var interfaceResource = resource[*vpc.NetworkInterface]{
	prefix: vpc.PrefixInterface,
	tags:   func(n *vpc.NetworkInterface) vpc.Tags { return n.Tags },
	filters: filterSet[*vpc.NetworkInterface]{
		"association.allocation-id":       associationFilter(func(a *PublicAssociation) string { return a.AllocationID }),
		"association.association-id":      associationFilter(func(a *PublicAssociation) string { return a.AssociationID }),
		"association.ip-owner-id":         associationFilter(func(a *PublicAssociation) string { return a.IPOwnerID }),
		"association.public-ip":           associationFilter(func(a *PublicAssociation) string { return a.PublicIP }),
		"association.public-dns-name":     associationFilter(func(a *PublicAssociation) string { return a.PublicDNSName }),
		"addresses.association.owner-id":  associationFilter(func(a *PublicAssociation) string { return a.IPOwnerID }),
		"addresses.association.public-ip": associationFilter(func(a *PublicAssociation) string { return a.PublicIP }),
		"addresses.primary": func(_ vpc.View, n *vpc.NetworkInterface) []string {
			if len(n.Secondary) > 0 {
				return []string{"true", "false"}
			}
			return []string{"true"}
		},
		"addresses.private-ip-address": interfaceAddresses,
		"attachment.attach-time": attachmentFilter(func(a *InterfaceAttachment) string {
			return a.AttachTime.UTC().Format("2006-01-02T15:04:05.000Z")
		}),
		"attachment.attachment-id":         attachmentFilter(func(a *InterfaceAttachment) string { return a.ID }),
		"attachment.delete-on-termination": attachmentFilter(func(a *InterfaceAttachment) string { return strconv.FormatBool(a.DeleteOnTermination) }),
		"attachment.device-index":          attachmentFilter(func(a *InterfaceAttachment) string { return strconv.Itoa(a.DeviceIndex) }),
		"attachment.instance-id":           attachmentFilter(func(a *InterfaceAttachment) string { return a.InstanceID }),
		"attachment.instance-owner-id":     attachmentFilter(func(a *InterfaceAttachment) string { return a.InstanceOwnerID }),
		"attachment.status":                attachmentFilter(func(a *InterfaceAttachment) string { return a.Status }),
		"availability-zone":                one(func(n *vpc.NetworkInterface) string { return n.Zone }),
		"availability-zone-id":             eniFilter(func(n NetworkInterface) string { return n.AvailabilityZoneID }),
		"description":                      one(func(n *vpc.NetworkInterface) string { return n.Description }),
		"group-id":                         groupsFilter(func(_ vpc.View, g vpc.GroupID) string { return string(g) }),
		"group-name":                       groupsFilter(groupName),
		"ipv6-addresses.ipv6-address":      interfaceIPv6,
		"interface-type":                   one(func(n *vpc.NetworkInterface) vpc.InterfaceType { return n.Type }),
		"mac-address":                      one(func(n *vpc.NetworkInterface) string { return n.MAC }),
		"network-interface-id":             one(func(n *vpc.NetworkInterface) vpc.InterfaceID { return n.ID }),
		"operator.managed":                 always[*vpc.NetworkInterface]("false"),
		"operator.principal":               never[*vpc.NetworkInterface],
		"owner-id":                         one(func(n *vpc.NetworkInterface) vpc.AccountID { return n.Owner }),
		"private-dns-name":                 eniFilter(func(n NetworkInterface) string { return n.PrivateDNSName }),
		"private-ip-address":               one(func(n *vpc.NetworkInterface) string { return n.Addr.String() }),
		"requester-id":                     one(requesterID),
		"requester-managed":                truth(func(n *vpc.NetworkInterface) bool { return n.RequesterManaged }),
		"source-dest-check":                truth(func(n *vpc.NetworkInterface) bool { return n.SourceDestCheck }),
		"status":                           eniFilter(func(n NetworkInterface) string { return n.Status }),
		"subnet-id":                        one(func(n *vpc.NetworkInterface) vpc.SubnetID { return n.Subnet }),
		"vpc-id":                           one(func(n *vpc.NetworkInterface) vpc.VPCID { return n.VPC }),
	},
}

// interfaceAddresses are all private addresses of an interface.
func interfaceAddresses(_ vpc.View, n *vpc.NetworkInterface) []string {
	var out []string
	for _, a := range n.Addrs() {
		out = append(out, a.String())
	}
	return out
}

func groupsFilter(f func(vpc.View, vpc.GroupID) string) func(vpc.View, *vpc.NetworkInterface) []string {
	return func(v vpc.View, n *vpc.NetworkInterface) []string {
		var out []string
		for _, g := range n.Groups {
			out = append(out, f(v, g))
		}
		return out
	}
}

func describeNetworkInterfaces(call *Call, in *DescribeNetworkInterfacesInput) (*DescribeNetworkInterfacesOutput, error) {
	v := call.View()
	list, next, err := describeOwned(call, v, interfaceResource, in.InterfaceIDs, in.Filters, in.Page, nil)
	if err != nil {
		return nil, err
	}
	out := &DescribeNetworkInterfacesOutput{NextToken: next}
	for _, n := range list {
		out.Interfaces = append(out.Interfaces, renderInterface(v, n))
	}
	return out, nil
}

// DeleteNetworkInterfaceInput is the input of DeleteNetworkInterface.
type DeleteNetworkInterfaceInput struct {
	DryRun
	InterfaceID string `query:"NetworkInterfaceId,required"`
}

func deleteNetworkInterface(call *Call, in *DeleteNetworkInterfaceInput) (*void, error) {
	if err := checkID(vpc.KindInterface, vpc.PrefixInterface, in.InterfaceID); err != nil {
		return nil, err
	}
	return done, call.Control.DeleteInterface(call.Context, call.Caller, vpc.InterfaceID(in.InterfaceID))
}

// Text is an attribute's new value.
type Text struct {
	Value string `query:"Value" xml:"value"`
}

// ModifyNetworkInterfaceAttributeInput is the input of ModifyNetworkInterfaceAttribute.
type ModifyNetworkInterfaceAttributeInput struct {
	DryRun
	InterfaceID     string           `query:"NetworkInterfaceId,required"`
	Description     *Text            `query:"Description"`
	SourceDestCheck *Boolean         `query:"SourceDestCheck"`
	GroupIDs        []string         `query:"SecurityGroupId"`
	Attachment      *AttachmentEdit  `query:"Attachment"`
	Tracking        *TrackingRequest `query:"ConnectionTrackingSpecification"`
	_               awsquery.Refused `query:"AssociatePublicIpAddress,refuse,unless=false"`
	_               awsquery.Refused `query:"AssociatedSubnetId,refuse"`
	_               awsquery.Refused `query:"EnablePrimaryIpv6,refuse,unless=false"`
	_               awsquery.Refused `query:"EnaSrdSpecification,refuse"`
}

// AttachmentEdit is a change of an interface's attachment.
type AttachmentEdit struct {
	AttachmentID        string           `query:"AttachmentId,required"`
	DeleteOnTermination *bool            `query:"DeleteOnTermination"`
	_                   awsquery.Refused `query:"DefaultEnaQueueCount,refuse,unless=false"`
	_                   awsquery.Refused `query:"EnaQueueCount,refuse"`
}

// oneAttribute refuses a modify call that sets none or several attributes.
func oneAttribute(set map[string]bool, order ...string) error {
	var names []string
	for _, n := range order {
		if set[n] {
			names = append(names, n)
		}
	}
	switch len(names) {
	case 0:
		return vpc.Errorf(vpc.Combination, "attribute", "", "No attributes specified. Use one of %s.", strings.Join(order, ", "))
	case 1:
		return nil
	}
	return vpc.Errorf(vpc.Combination, "attribute", "", "Fields for multiple attribute types specified: %s", strings.Join(names, ", "))
}

func modifyNetworkInterfaceAttribute(call *Call, in *ModifyNetworkInterfaceAttributeInput) (*void, error) {
	if err := checkID(vpc.KindInterface, vpc.PrefixInterface, in.InterfaceID); err != nil {
		return nil, err
	}
	err := oneAttribute(map[string]bool{
		"description": in.Description != nil, "sourceDestCheck": in.SourceDestCheck != nil, "groupSet": len(in.GroupIDs) > 0, "attachment": in.Attachment != nil,
		"connectionTrackingSpecification": in.Tracking != nil,
	}, "attachment", "connectionTrackingSpecification", "description", "groupSet", "sourceDestCheck")
	if err != nil {
		return nil, err
	}
	var ch control.InterfaceChange
	if in.Description != nil {
		ch.Description = &in.Description.Value
	}
	if in.SourceDestCheck != nil {
		ch.SourceDestCheck = &in.SourceDestCheck.Value
	}
	if in.Tracking != nil {
		t := in.Tracking.read()
		ch.Tracking = &t
	}
	if ch.Groups, err = groupIDs(in.GroupIDs); err != nil {
		return nil, err
	}
	if a := in.Attachment; a != nil {
		if a.DeleteOnTermination == nil {
			return nil, vpc.Errorf(vpc.Missing, "Attachment.DeleteOnTermination", "", "The request must contain the parameter attachment.deleteOnTermination")
		}
		if err := checkAttachmentID(a.AttachmentID); err != nil {
			return nil, err
		}
		ch.Attachment = &control.AttachmentChange{ID: a.AttachmentID, DeleteOnTermination: *a.DeleteOnTermination}
	}
	return done, call.Control.ModifyInterface(call.Context, call.Caller, vpc.InterfaceID(in.InterfaceID), ch)
}

// DescribeNetworkInterfaceAttributeInput is the input of DescribeNetworkInterfaceAttribute.
type DescribeNetworkInterfaceAttributeInput struct {
	DryRun
	InterfaceID string `query:"NetworkInterfaceId,required"`
	Attribute   string `query:"Attribute,required,enum=description|groupSet|sourceDestCheck|attachment|associatePublicIpAddress"`
}

// BooleanValue is an attribute's value.
type BooleanValue struct {
	Value bool `xml:"value"`
}

// DescribeNetworkInterfaceAttributeOutput is the output of
// DescribeNetworkInterfaceAttribute; only what was asked for is set.
type DescribeNetworkInterfaceAttributeOutput struct {
	InterfaceID       string               `xml:"networkInterfaceId"`
	Description       *Text                `xml:"description"`
	Groups            []GroupRef           `xml:"groupSet>item,omitempty"`
	SourceDestCheck   *BooleanValue        `xml:"sourceDestCheck"`
	Attachment        *InterfaceAttachment `xml:"attachment"`
	AssociatePublicIP *bool                `xml:"associatePublicIpAddress"`
}

func describeNetworkInterfaceAttribute(call *Call, in *DescribeNetworkInterfaceAttributeInput) (*DescribeNetworkInterfaceAttributeOutput, error) {
	if err := checkID(vpc.KindInterface, vpc.PrefixInterface, in.InterfaceID); err != nil {
		return nil, err
	}
	v := call.View()
	n, err := control.Owned[vpc.NetworkInterface](v, call.Caller, vpc.InterfaceID(in.InterfaceID))
	if err != nil {
		return nil, err
	}
	out := &DescribeNetworkInterfaceAttributeOutput{InterfaceID: in.InterfaceID}
	switch in.Attribute {
	case "description":
		out.Description = &Text{n.Description}
	case "groupSet":
		out.Groups = groupRefs(v, n.Groups)
	case "sourceDestCheck":
		out.SourceDestCheck = &BooleanValue{n.SourceDestCheck}
	case "attachment":
		out.Attachment = renderAttachment(n)
	case "associatePublicIpAddress":
		out.AssociatePublicIP = new(bool) // none is assigned at launch
	}
	return out, nil
}
