// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"iter"
	"strconv"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("RunInstances", true, runInstances)
	register("DescribeInstances", false, describeInstances)
	register("TerminateInstances", true, terminateInstances)
	register("DescribeInstanceStatus", false, describeInstanceStatus)
	register("DescribeInstanceAttribute", false, describeInstanceAttribute) // instance_attributes.go
}

// Reservation is <Reservation>: the instances of one launch.
type Reservation struct {
	ReservationID string          `xml:"reservationId"`
	OwnerID       string          `xml:"ownerId"`
	Groups        []InstanceGroup `xml:"groupSet"` // groups of EC2-Classic, so always empty
	Instances     []Instance      `xml:"instancesSet"`
}

// InstanceGroup is a security group of an instance or interface.
type InstanceGroup struct {
	GroupID   string `xml:"groupId"`
	GroupName string `xml:"groupName"`
}

// InstanceStateItem is a state with its number.
type InstanceStateItem struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

func stateItem(s vpc.InstanceState) InstanceStateItem { return InstanceStateItem{s.Code(), string(s)} }

// Instance is <Instance>. A terminated one has no network any more.
type Instance struct {
	InstanceID       string              `xml:"instanceId"`
	ImageID          string              `xml:"imageId"`
	State            InstanceStateItem   `xml:"instanceState"`
	PrivateDNSName   string              `xml:"privateDnsName"`
	DNSName          string              `xml:"dnsName"`
	Reason           string              `xml:"reason"`
	KeyName          string              `xml:"keyName,omitempty"`
	InstanceType     string              `xml:"instanceType,omitempty"`
	LaunchTime       time.Time           `xml:"launchTime"`
	Placement        InstancePlacement   `xml:"placement"`
	Monitoring       StateOnly           `xml:"monitoring"`
	SubnetID         string              `xml:"subnetId,omitempty"`
	VpcID            string              `xml:"vpcId,omitempty"`
	PrivateIPAddress string              `xml:"privateIpAddress,omitempty"`
	PublicIPAddress  string              `xml:"ipAddress,omitempty"`
	IPv6Address      string              `xml:"ipv6Address,omitempty"`
	SourceDestCheck  *bool               `xml:"sourceDestCheck"`
	Groups           []InstanceGroup     `xml:"groupSet"`
	StateReason      *StateReason        `xml:"stateReason"`
	RootDeviceType   string              `xml:"rootDeviceType"`
	Tags             []Tag               `xml:"tagSet"`
	EbsOptimized     bool                `xml:"ebsOptimized"`
	Interfaces       []InstanceInterface `xml:"networkInterfaceSet"`
	DNSOptions       *HostnameOptions    `xml:"privateDnsNameOptions"`
}

// InstancePlacement is where an instance runs.
type InstancePlacement struct {
	AvailabilityZone string `xml:"availabilityZone"`
	GroupName        string `xml:"groupName"`
	Tenancy          string `xml:"tenancy"`
}

// StateOnly is a structure with a state.
type StateOnly struct {
	State string `xml:"state"`
}

// StateReason says why an instance is in its state.
type StateReason struct {
	Code    string `xml:"code"`
	Message string `xml:"message"`
}

// InstanceInterface is an interface as an instance shows it.
type InstanceInterface struct {
	NetworkInterfaceID string             `xml:"networkInterfaceId"`
	SubnetID           string             `xml:"subnetId"`
	VpcID              string             `xml:"vpcId"`
	Description        string             `xml:"description"`
	OwnerID            string             `xml:"ownerId"`
	Status             string             `xml:"status"`
	MacAddress         string             `xml:"macAddress"`
	PrivateIPAddress   string             `xml:"privateIpAddress"`
	PrivateDNSName     string             `xml:"privateDnsName"`
	SourceDestCheck    bool               `xml:"sourceDestCheck"`
	InterfaceType      string             `xml:"interfaceType"`
	Groups             []InstanceGroup    `xml:"groupSet"`
	Attachment         InstanceAttachment `xml:"attachment"`
	Addresses          []InstanceAddress  `xml:"privateIpAddressesSet"`
	IPv6Addresses      []InterfaceIPv6    `xml:"ipv6AddressesSet"`
	Tracking           *Tracking          `xml:"connectionTrackingConfiguration"`
	Association        *InstancePublic    `xml:"association"`
}

// InstancePublic is the public address of an instance's interface.
type InstancePublic struct {
	IPOwnerID     string `xml:"ipOwnerId"`
	PublicDNSName string `xml:"publicDnsName"`
	PublicIP      string `xml:"publicIp"`
}

// InstanceAttachment ties an interface to its instance.
type InstanceAttachment struct {
	AttachmentID        string    `xml:"attachmentId"`
	DeviceIndex         int       `xml:"deviceIndex"`
	Status              string    `xml:"status"`
	AttachTime          time.Time `xml:"attachTime"`
	DeleteOnTermination bool      `xml:"deleteOnTermination"`
	NetworkCardIndex    int       `xml:"networkCardIndex"`
}

// InstanceAddress is one private address of an interface.
type InstanceAddress struct {
	PrivateIPAddress string          `xml:"privateIpAddress"`
	PrivateDNSName   string          `xml:"privateDnsName"`
	Primary          bool            `xml:"primary"`
	Association      *InstancePublic `xml:"association"`
}

func groupItems(v vpc.View, ids []vpc.GroupID) []InstanceGroup {
	var out []InstanceGroup
	for _, id := range ids {
		g := InstanceGroup{GroupID: string(id)}
		if o, ok := vpc.Get[vpc.SecurityGroup](v, id); ok {
			g.GroupName = o.Name
		}
		out = append(out, g)
	}
	return out
}

// instanceENIs are an instance's interfaces now, the primary one first.
func instanceENIs(v vpc.View, i *vpc.Instance) []*vpc.NetworkInterface {
	var out []*vpc.NetworkInterface
	for n := range vpc.By[vpc.NetworkInterface](v, vpc.IndexInstance, i.ID) {
		if n.ID == i.Primary {
			out = append([]*vpc.NetworkInterface{n}, out...)
		} else {
			out = append(out, n)
		}
	}
	return out
}

func renderInstance(v vpc.View, i *vpc.Instance) Instance {
	r := control.RegionOf(v)
	out := Instance{
		InstanceID: string(i.ID), ImageID: i.ImageID, State: stateItem(i.State), KeyName: i.KeyName, InstanceType: i.InstanceType,
		LaunchTime: i.Launched, Placement: InstancePlacement{AvailabilityZone: i.Zone, Tenancy: tenancyName(i.Tenancy)},
		Monitoring: StateOnly{"disabled"}, RootDeviceType: "instance-store", Tags: tagList(i.Tags),
	}
	if i.State == vpc.InstanceShuttingDown || i.State == vpc.InstanceTerminated {
		out.Reason = "User initiated"
		out.StateReason = &StateReason{"Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"}
	}
	if i.State == vpc.InstanceTerminated {
		return out
	}
	out.SubnetID, out.VpcID, out.PrivateIPAddress = string(i.Subnet), string(i.VPC), i.Addr.String()
	out.PrivateDNSName = r.PrivateName(i)
	out.DNSOptions = new(renderHostname(i.HostnameOptions))
	for k, n := range instanceENIs(v, i) {
		groups := groupItems(v, n.Groups)
		if k == 0 {
			out.SourceDestCheck, out.Groups, out.IPv6Address = &n.SourceDestCheck, groups, firstIPv6(n)
		}
		name := r.IPName(n.Addr)
		public := instancePublic(v, n)
		if k == 0 && public != nil {
			out.PublicIPAddress, out.DNSName = public.PublicIP, public.PublicDNSName
		}
		out.Interfaces = append(out.Interfaces, InstanceInterface{
			NetworkInterfaceID: string(n.ID), SubnetID: string(n.Subnet), VpcID: string(n.VPC), Description: n.Description,
			OwnerID: string(n.Owner), Status: "in-use", MacAddress: n.MAC, PrivateIPAddress: n.Addr.String(), PrivateDNSName: name,
			SourceDestCheck: n.SourceDestCheck, InterfaceType: n.Type.Shown(), Groups: groups,
			Attachment: InstanceAttachment{
				AttachmentID: n.Attachment.ID, DeviceIndex: n.Attachment.DeviceIndex, Status: "attached",
				AttachTime: n.Attachment.Time, DeleteOnTermination: n.Attachment.DeleteOnTermination,
			},
			Addresses: instanceAddresses(r, n, public), IPv6Addresses: renderIPv6(n), Tracking: renderTracking(n), Association: public,
		})
	}
	return out
}

func instancePublic(v vpc.View, n *vpc.NetworkInterface) *InstancePublic {
	a := publicAssociation(v, n)
	if a == nil {
		return nil
	}
	return &InstancePublic{a.IPOwnerID, a.PublicDNSName, a.PublicIP}
}

// instanceAddresses are an interface's addresses; a public one is the primary's.
func instanceAddresses(r *vpc.Region, n *vpc.NetworkInterface, public *InstancePublic) []InstanceAddress {
	var out []InstanceAddress
	for i, a := range n.Addrs() {
		x := InstanceAddress{PrivateIPAddress: a.String(), PrivateDNSName: r.IPName(a), Primary: i == 0}
		if i == 0 {
			x.Association = public
		}
		out = append(out, x)
	}
	return out
}

// renderReservations groups instances that are in order, by their reservations.
func renderReservations(v vpc.View, list []*vpc.Instance) []Reservation {
	var out []Reservation
	at := map[string]int{}
	for _, i := range list {
		k, ok := at[i.Reservation]
		if !ok {
			k = len(out)
			at[i.Reservation] = k
			out = append(out, Reservation{ReservationID: i.Reservation, OwnerID: string(i.Owner)})
		}
		out[k].Instances = append(out[k].Instances, renderInstance(v, i))
	}
	return out
}

func runInstances(call *Call, in *RunInstancesInput) (*Reservation, error) {
	req, err := in.request()
	if err != nil {
		return nil, err
	}
	reservation, ids, err := call.Control.RunInstances(call.Context, call.Caller, req)
	if err != nil {
		return nil, err
	}
	v := call.View()
	var list []*vpc.Instance
	for _, id := range ids {
		if i, ok := vpc.Get[vpc.Instance](v, id); ok {
			list = append(list, i)
		}
	}
	if out := renderReservations(v, list); len(out) == 1 {
		return &out[0], nil
	}
	// The token of instances that are long gone.
	return &Reservation{ReservationID: reservation, OwnerID: string(call.Caller.Account)}, nil
}

// DescribeInstancesInput is the input of DescribeInstances.
type DescribeInstancesInput struct {
	DryRun
	Page
	InstanceIDs []string `query:"InstanceId"`
	Filters     []Filter `query:"Filter"`
	_           refused  `query:"IncludeManagedResources,refuse,unless=true,unless=false"`
}

// DescribeInstancesOutput is the output of DescribeInstances.
type DescribeInstancesOutput struct {
	Reservations []Reservation `xml:"reservationSet"`
	NextToken    string        `xml:"nextToken,omitempty"`
}

// eniValues is a filter on an instance's interfaces.
func eniValues(f func(v vpc.View, n *vpc.NetworkInterface) []string) func(vpc.View, *vpc.Instance) []string {
	return func(v vpc.View, i *vpc.Instance) []string {
		var out []string
		for _, n := range instanceENIs(v, i) {
			out = append(out, f(v, n)...)
		}
		return out
	}
}

func instanceValue(s string) []string { return []string{s} }

// withNetwork is a filter on what a terminated instance no longer has.
func withNetwork(f func(v vpc.View, i *vpc.Instance) string) func(vpc.View, *vpc.Instance) []string {
	return func(v vpc.View, i *vpc.Instance) []string {
		if i.State == vpc.InstanceTerminated {
			return nil
		}
		return instanceValue(f(v, i))
	}
}

func interfaceGroups(_ vpc.View, n *vpc.NetworkInterface) (out []string) {
	for _, g := range n.Groups {
		out = append(out, string(g))
	}
	return out
}

func interfaceGroupNames(v vpc.View, n *vpc.NetworkInterface) (out []string) {
	for _, g := range groupItems(v, n.Groups) {
		out = append(out, g.GroupName)
	}
	return out
}

var instanceResource = resource[*vpc.Instance]{
	prefix: vpc.PrefixInstance,
	tags:   func(i *vpc.Instance) vpc.Tags { return i.Tags },
	filters: filterSet[*vpc.Instance]{
		"availability-zone":    func(_ vpc.View, i *vpc.Instance) []string { return instanceValue(i.Zone) },
		"availability-zone-id": func(v vpc.View, i *vpc.Instance) []string { return instanceValue(control.RegionOf(v).ZoneID(i.Zone)) },
		"image-id":             func(_ vpc.View, i *vpc.Instance) []string { return instanceValue(i.ImageID) },
		"instance-id":          func(_ vpc.View, i *vpc.Instance) []string { return instanceValue(string(i.ID)) },
		"instance-state-code":  func(_ vpc.View, i *vpc.Instance) []string { return instanceValue(strconv.Itoa(i.State.Code())) },
		"instance-state-name":  func(_ vpc.View, i *vpc.Instance) []string { return instanceValue(string(i.State)) },
		"instance-type":        func(_ vpc.View, i *vpc.Instance) []string { return instanceValue(i.InstanceType) },
		"key-name":             func(_ vpc.View, i *vpc.Instance) []string { return instanceValue(i.KeyName) },
		"launch-time": func(_ vpc.View, i *vpc.Instance) []string {
			return instanceValue(i.Launched.UTC().Format("2006-01-02T15:04:05.000Z"))
		},
		"owner-id":           func(_ vpc.View, i *vpc.Instance) []string { return instanceValue(string(i.Owner)) },
		"reservation-id":     func(_ vpc.View, i *vpc.Instance) []string { return instanceValue(i.Reservation) },
		"tenancy":            func(_ vpc.View, i *vpc.Instance) []string { return instanceValue(tenancyName(i.Tenancy)) },
		"subnet-id":          withNetwork(func(_ vpc.View, i *vpc.Instance) string { return string(i.Subnet) }),
		"vpc-id":             withNetwork(func(_ vpc.View, i *vpc.Instance) string { return string(i.VPC) }),
		"private-ip-address": withNetwork(func(_ vpc.View, i *vpc.Instance) string { return i.Addr.String() }),
		"private-dns-name":   withNetwork(func(v vpc.View, i *vpc.Instance) string { return control.RegionOf(v).PrivateName(i) }),
		"ip-address":         eniValues(associationFilter(func(a *PublicAssociation) string { return a.PublicIP })),
		"dns-name":           eniValues(associationFilter(func(a *PublicAssociation) string { return a.PublicDNSName })),
		"network-interface.association.allocation-id":       eniValues(associationFilter(func(a *PublicAssociation) string { return a.AllocationID })),
		"network-interface.association.association-id":      eniValues(associationFilter(func(a *PublicAssociation) string { return a.AssociationID })),
		"network-interface.association.ip-owner-id":         eniValues(associationFilter(func(a *PublicAssociation) string { return a.IPOwnerID })),
		"network-interface.association.public-ip":           eniValues(associationFilter(func(a *PublicAssociation) string { return a.PublicIP })),
		"network-interface.addresses.association.public-ip": eniValues(associationFilter(func(a *PublicAssociation) string { return a.PublicIP })),
		"instance.group-id":                                 eniValues(interfaceGroups),
		"instance.group-name":                               eniValues(interfaceGroupNames),
		"network-interface.network-interface-id":            eniValues(func(_ vpc.View, n *vpc.NetworkInterface) []string { return instanceValue(string(n.ID)) }),
		"network-interface.subnet-id":                       eniValues(func(_ vpc.View, n *vpc.NetworkInterface) []string { return instanceValue(string(n.Subnet)) }),
		"network-interface.vpc-id":                          eniValues(func(_ vpc.View, n *vpc.NetworkInterface) []string { return instanceValue(string(n.VPC)) }),
		"network-interface.group-id":                        eniValues(interfaceGroups),
		"network-interface.group-name":                      eniValues(interfaceGroupNames),
		"network-interface.mac-address":                     eniValues(func(_ vpc.View, n *vpc.NetworkInterface) []string { return instanceValue(n.MAC) }),
		"network-interface.addresses.private-ip-address":    eniValues(interfaceAddresses),
		"network-interface.attachment.attachment-id":        eniValues(func(_ vpc.View, n *vpc.NetworkInterface) []string { return instanceValue(n.Attachment.ID) }),
	},
}

func describeInstances(call *Call, in *DescribeInstancesInput) (*DescribeInstancesOutput, error) {
	v := call.View()
	list, next, err := describeOwned(call, v, instanceResource, in.InstanceIDs, in.Filters, in.Page, nil)
	if err != nil {
		return nil, err
	}
	return &DescribeInstancesOutput{Reservations: renderReservations(v, list), NextToken: next}, nil
}

// TerminateInstancesInput is the input of TerminateInstances. There is no
// operating system to shut down, so it is never waited for.
type TerminateInstancesInput struct {
	DryRun
	InstanceIDs []string `query:"InstanceId,required"`
	_           refused  `query:"Force,refuse,unless=false"`
	_           refused  `query:"SkipOsShutdown,refuse,unless=true,unless=false"`
}

// TerminateInstancesOutput is the output of TerminateInstances.
type TerminateInstancesOutput struct {
	Instances []InstanceStateChange `xml:"instancesSet"`
}

// InstanceStateChange is an instance's state before and after a call.
type InstanceStateChange struct {
	InstanceID    string            `xml:"instanceId"`
	CurrentState  InstanceStateItem `xml:"currentState"`
	PreviousState InstanceStateItem `xml:"previousState"`
}

func terminateInstances(call *Call, in *TerminateInstancesInput) (*TerminateInstancesOutput, error) {
	var ids []vpc.InstanceID
	for _, id := range in.InstanceIDs {
		if err := checkID(vpc.KindInstance, vpc.PrefixInstance, id); err != nil {
			return nil, err
		}
		ids = append(ids, vpc.InstanceID(id))
	}
	changes, err := call.Control.TerminateInstances(call.Context, call.Caller, ids)
	if err != nil {
		return nil, err
	}
	out := &TerminateInstancesOutput{}
	for _, c := range changes {
		out.Instances = append(out.Instances, InstanceStateChange{string(c.ID), stateItem(c.Current), stateItem(c.Previous)})
	}
	return out, nil
}

// DescribeInstanceStatusInput is the input of DescribeInstanceStatus.
type DescribeInstanceStatusInput struct {
	DryRun
	Page
	InstanceIDs         []string `query:"InstanceId"`
	Filters             []Filter `query:"Filter"`
	IncludeAllInstances bool     `query:"IncludeAllInstances"`
	_                   refused  `query:"IncludeManagedResources,refuse,unless=true,unless=false"`
}

// DescribeInstanceStatusOutput is the output of DescribeInstanceStatus.
type DescribeInstanceStatusOutput struct {
	Statuses  []InstanceStatus `xml:"instanceStatusSet"`
	NextToken string           `xml:"nextToken,omitempty"`
}

// InstanceStatus is an instance's status: whether its host is connected and
// has its interfaces as they should be.
type InstanceStatus struct {
	InstanceID       string            `xml:"instanceId"`
	AvailabilityZone string            `xml:"availabilityZone"`
	State            InstanceStateItem `xml:"instanceState"`
	SystemStatus     StatusSummary     `xml:"systemStatus"`
	InstanceStatus   StatusSummary     `xml:"instanceStatus"`
}

// StatusSummary is a status with the one check it has.
type StatusSummary struct {
	Status  string         `xml:"status"`
	Details []StatusDetail `xml:"details,omitempty"`
}

// StatusDetail is one check.
type StatusDetail struct {
	Name   string `xml:"name"`
	Status string `xml:"status"`
}

// statusOf is ok, impaired, initializing or, for what does not run, not-applicable.
func statusOf(call *Call, v vpc.View, i *vpc.Instance) StatusSummary {
	switch i.State {
	case vpc.InstancePending:
		return StatusSummary{"initializing", []StatusDetail{{"reachability", "initializing"}}}
	case vpc.InstanceRunning:
		if call.Control.InstanceReachable(v, i) {
			return StatusSummary{"ok", []StatusDetail{{"reachability", "passed"}}}
		}
		return StatusSummary{"impaired", []StatusDetail{{"reachability", "failed"}}}
	}
	return StatusSummary{Status: "not-applicable"}
}

func describeInstanceStatus(call *Call, in *DescribeInstanceStatusInput) (*DescribeInstanceStatusOutput, error) {
	v := call.View()
	status := func(v vpc.View, i *vpc.Instance) []string { return instanceValue(statusOf(call, v, i).Status) }
	r := resource[*vpc.Instance]{prefix: vpc.PrefixInstance, filters: filterSet[*vpc.Instance]{
		"availability-zone":      instanceResource.filters["availability-zone"],
		"availability-zone-id":   instanceResource.filters["availability-zone-id"],
		"instance-state-code":    instanceResource.filters["instance-state-code"],
		"instance-state-name":    instanceResource.filters["instance-state-name"],
		"instance-status.status": status,
		"system-status.status":   status,
	}}
	all := func(seq iter.Seq[*vpc.Instance]) iter.Seq[*vpc.Instance] {
		return func(yield func(*vpc.Instance) bool) {
			for i := range seq {
				if (in.IncludeAllInstances || i.State == vpc.InstanceRunning) && !yield(i) {
					return
				}
			}
		}
	}
	list, next, err := describe(call, v, r, in.InstanceIDs, in.Filters, in.Page,
		owned[vpc.Instance](call, v), all(vpc.By[vpc.Instance](v, vpc.IndexOwner, call.Caller.Account)))
	if err != nil {
		return nil, err
	}
	out := &DescribeInstanceStatusOutput{NextToken: next}
	for _, i := range list {
		if !in.IncludeAllInstances && i.State != vpc.InstanceRunning {
			continue // named by id, and not running
		}
		s := statusOf(call, v, i)
		out.Statuses = append(out.Statuses, InstanceStatus{string(i.ID), i.Zone, stateItem(i.State), s, s})
	}
	return out, nil
}
