// SPDX-License-Identifier: Apache-2.0

package route53resolver

import (
	"net/netip"
	"strconv"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateResolverEndpoint", createResolverEndpoint)
	register("GetResolverEndpoint", getResolverEndpoint)
	register("ListResolverEndpoints", listResolverEndpoints)
	register("UpdateResolverEndpoint", updateResolverEndpoint)
	register("DeleteResolverEndpoint", deleteResolverEndpoint)
	register("AssociateResolverEndpointIpAddress", associateIPAddress)
	register("DisassociateResolverEndpointIpAddress", disassociateIPAddress)
	register("ListResolverEndpointIpAddresses", listIPAddresses)
}

// The values of Direction and ResolverEndpointType.
const (
	inbound   = "INBOUND"
	dualStack = "DUALSTACK"
)

// ResolverEndpoint is an endpoint in an answer.
type ResolverEndpoint struct {
	ID                   string `json:"Id"`
	CreatorRequestID     string `json:"CreatorRequestId"`
	Arn                  string
	Name                 string   `json:",omitempty"`
	SecurityGroupIDs     []string `json:"SecurityGroupIds"`
	Direction            string
	IPAddressCount       int32  `json:"IpAddressCount"`
	HostVPCID            string `json:"HostVPCId"`
	Status               string
	StatusMessage        string
	CreationTime         string
	ModificationTime     string
	ResolverEndpointType string
	Protocols            []string
}

// EndpointOutput is the output of the actions that answer one endpoint.
type EndpointOutput struct{ ResolverEndpoint ResolverEndpoint }

// render is an endpoint as it is now: what hosts have not applied yet is not
// called operational.
func render(call *Call, e *vpc.ResolverEndpoint) *ResolverEndpoint {
	v := call.View()
	out := &ResolverEndpoint{
		ID: string(e.ID), CreatorRequestID: e.Request.ID, Arn: control.ResolverARN(control.RegionOf(v), e.Owner, vpc.KindResolverEndpoint, string(e.ID)),
		Name: e.Name, Direction: e.Direction(), IPAddressCount: int32(len(e.Addresses)), HostVPCID: string(e.VPC),
		Status: "OPERATIONAL", StatusMessage: "This Resolver Endpoint is operational.",
		CreationTime: rfc3339(e.Created), ModificationTime: rfc3339(e.Modified), ResolverEndpointType: "IPV4", Protocols: []string{"Do53"},
	}
	if e.DualStack {
		out.ResolverEndpointType = dualStack
	}
	for _, g := range e.Groups {
		out.SecurityGroupIDs = append(out.SecurityGroupIDs, string(g))
	}
	if ready, why := call.Control.ResolverEndpointReady(v, e); !ready {
		out.Status, out.StatusMessage = "CREATING", "Waiting: "+why
		if e.Modified.After(e.Created) {
			out.Status = "UPDATING"
		}
	}
	return out
}

// answer is the output of an action that changed an endpoint.
func answer(call *Call, e *vpc.ResolverEndpoint, err error) (*EndpointOutput, error) {
	if err != nil {
		return nil, err
	}
	return &EndpointOutput{*render(call, e)}, nil
}

// CreateResolverEndpointInput is the input of CreateResolverEndpoint. Questions
// come and go over UDP and TCP (Do53) alone.
type CreateResolverEndpointInput struct {
	CreatorRequestID     string      `query:"CreatorRequestId,required"`
	Name                 string      `query:"Name"`
	SecurityGroupIDs     []string    `query:"SecurityGroupIds,required"`
	Direction            string      `query:"Direction,required,enum=INBOUND|OUTBOUND"`
	IPAddresses          []IPAddress `query:"IpAddresses,required"`
	Tags                 []Tag       `query:"Tags"`
	ResolverEndpointType string      `query:"ResolverEndpointType,enum=IPV4|DUALSTACK"`
	Protocols            []string    `query:"Protocols,enum=Do53"`

	_ awsquery.Refused `query:"OutpostArn,refuse"`
	_ awsquery.Refused `query:"PreferredInstanceType,refuse"`
	_ awsquery.Refused `query:"RniEnhancedMetricsEnabled,refuse,unless=false"`
	_ awsquery.Refused `query:"TargetNameServerMetricsEnabled,refuse,unless=false"`
	_ awsquery.Refused `query:"Dns64Enabled,refuse,unless=false"`
	_ awsquery.Refused `query:"Ipv6InternetAccessEnabled,refuse,unless=false"`
}

// IPAddress is an address to make.
type IPAddress struct {
	SubnetID string `query:"SubnetId,required"`
	IP       string `query:"Ip"`
	IPv6     string `query:"Ipv6"`
}

func (a IPAddress) input() (control.ResolverAddressInput, error) {
	out := control.ResolverAddressInput{Subnet: vpc.SubnetID(a.SubnetID)}
	var err error
	if out.Addr, err = address("Ip", a.IP, false); err == nil {
		out.Addr6, err = address("Ipv6", a.IPv6, true)
	}
	return out, err
}

// onlyDo53 refuses a protocol that is there twice; which there are is the input's to say.
func onlyDo53(protocols []string) error {
	if len(protocols) > 1 {
		return vpc.Errorf(vpc.Invalid, "Protocols", protocols[1], "The protocol '%s' is there twice (Protocols)", protocols[1])
	}
	return nil
}

func createResolverEndpoint(call *Call, in *CreateResolverEndpointInput) (*EndpointOutput, error) {
	tags, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	if err := onlyDo53(in.Protocols); err != nil {
		return nil, err
	}
	req := control.CreateResolverEndpointInput{
		Request: in.CreatorRequestID, Name: in.Name, Inbound: in.Direction == inbound, DualStack: in.ResolverEndpointType == dualStack,
		Groups: ids[vpc.GroupID](in.SecurityGroupIDs), Tags: tags,
	}
	for _, a := range in.IPAddresses {
		x, err := a.input()
		if err != nil {
			return nil, err
		}
		req.Addresses = append(req.Addresses, x)
	}
	e, err := call.Control.CreateResolverEndpoint(call.Context, call.Caller, req)
	return answer(call, e, err)
}

// EndpointInput is the input of the actions that only name an endpoint.
type EndpointInput struct {
	ResolverEndpointID string `query:"ResolverEndpointId,required"`
}

func getResolverEndpoint(call *Call, in *EndpointInput) (*EndpointOutput, error) {
	e, err := control.OwnedResolverEndpoint(call.View(), call.Caller, vpc.ResolverEndpointID(in.ResolverEndpointID))
	return answer(call, e, err)
}

func deleteResolverEndpoint(call *Call, in *EndpointInput) (*EndpointOutput, error) {
	e, err := call.Control.DeleteResolverEndpoint(call.Context, call.Caller, vpc.ResolverEndpointID(in.ResolverEndpointID))
	if err != nil {
		return nil, err
	}
	out := render(call, e)
	out.Status, out.StatusMessage = "DELETING", "Deleting the Resolver Endpoint."
	return &EndpointOutput{*out}, nil
}

// UpdateResolverEndpointInput is the input of UpdateResolverEndpoint.
type UpdateResolverEndpointInput struct {
	ResolverEndpointID   string            `query:"ResolverEndpointId,required"`
	Name                 *string           `query:"Name"`
	ResolverEndpointType string            `query:"ResolverEndpointType,enum=IPV4|DUALSTACK"`
	UpdateIPAddresses    []UpdateIPAddress `query:"UpdateIpAddresses"`
	Protocols            []string          `query:"Protocols,enum=Do53"`

	_ awsquery.Refused `query:"RniEnhancedMetricsEnabled,refuse,unless=false"`
	_ awsquery.Refused `query:"TargetNameServerMetricsEnabled,refuse,unless=false"`
	_ awsquery.Refused `query:"Dns64Enabled,refuse,unless=false"`
	_ awsquery.Refused `query:"Ipv6InternetAccessEnabled,refuse,unless=false"`
}

// UpdateIPAddress gives an address of an endpoint an IPv6 address.
type UpdateIPAddress struct {
	IPID string `query:"IpId,required"`
	IPv6 string `query:"Ipv6,required"`
}

func updateResolverEndpoint(call *Call, in *UpdateResolverEndpointInput) (*EndpointOutput, error) {
	if err := onlyDo53(in.Protocols); err != nil {
		return nil, err
	}
	ch := control.UpdateResolverEndpointInput{Name: in.Name}
	if in.ResolverEndpointType != "" {
		dual := in.ResolverEndpointType == dualStack
		ch.DualStack = &dual
	}
	for _, u := range in.UpdateIPAddresses {
		a, err := address("Ipv6", u.IPv6, true)
		if err != nil {
			return nil, err
		}
		if ch.Addr6 == nil {
			ch.Addr6 = map[string]netip.Addr{}
		}
		ch.Addr6[u.IPID] = a
	}
	e, err := call.Control.UpdateResolverEndpoint(call.Context, call.Caller, vpc.ResolverEndpointID(in.ResolverEndpointID), ch)
	return answer(call, e, err)
}

// AssociateIPAddressInput is the input of AssociateResolverEndpointIpAddress.
type AssociateIPAddressInput struct {
	ResolverEndpointID string       `query:"ResolverEndpointId,required"`
	IPAddress          NewIPAddress `query:"IpAddress,required"`
}

// NewIPAddress is an address to add.
type NewIPAddress struct {
	IPAddress
	_ awsquery.Refused `query:"IpId,refuse"`
}

func associateIPAddress(call *Call, in *AssociateIPAddressInput) (*EndpointOutput, error) {
	x, err := in.IPAddress.input()
	if err != nil {
		return nil, err
	}
	e, err := call.Control.AddResolverAddress(call.Context, call.Caller, vpc.ResolverEndpointID(in.ResolverEndpointID), x)
	return answer(call, e, err)
}

// DisassociateIPAddressInput is the input of DisassociateResolverEndpointIpAddress.
type DisassociateIPAddressInput struct {
	ResolverEndpointID string       `query:"ResolverEndpointId,required"`
	IPAddress          OldIPAddress `query:"IpAddress,required"`
}

// OldIPAddress names an address to remove.
type OldIPAddress struct {
	IPID     string `query:"IpId"`
	SubnetID string `query:"SubnetId"`
	IP       string `query:"Ip"`
	IPv6     string `query:"Ipv6"`
}

func disassociateIPAddress(call *Call, in *DisassociateIPAddressInput) (*EndpointOutput, error) {
	ref := control.ResolverAddressRef{ID: in.IPAddress.IPID, Subnet: vpc.SubnetID(in.IPAddress.SubnetID)}
	var err error
	if ref.Addr, err = address("Ip", in.IPAddress.IP, false); err != nil {
		return nil, err
	}
	if ref.Addr6, err = address("Ipv6", in.IPAddress.IPv6, true); err != nil {
		return nil, err
	}
	e, err := call.Control.RemoveResolverAddress(call.Context, call.Caller, vpc.ResolverEndpointID(in.ResolverEndpointID), ref)
	return answer(call, e, err)
}

// ListIPAddressesInput is the input of ListResolverEndpointIpAddresses.
type ListIPAddressesInput struct {
	ResolverEndpointID string `query:"ResolverEndpointId,required"`
	Page
}

// ListIPAddressesOutput is the output of ListResolverEndpointIpAddresses.
type ListIPAddressesOutput struct {
	NextToken   *string `json:",omitempty"`
	MaxResults  int32
	IPAddresses []IPAddressResponse `json:"IpAddresses"`
}

// IPAddressResponse is an address in an answer.
type IPAddressResponse struct {
	IPID             string `json:"IpId"`
	SubnetID         string `json:"SubnetId"`
	IP               string `json:"Ip"`
	IPv6             string `json:"Ipv6,omitempty"`
	Status           string
	StatusMessage    string
	CreationTime     string
	ModificationTime string
}

func listIPAddresses(call *Call, in *ListIPAddressesInput) (*ListIPAddressesOutput, error) {
	v := call.View()
	e, err := control.OwnedResolverEndpoint(v, call.Caller, vpc.ResolverEndpointID(in.ResolverEndpointID))
	if err != nil {
		return nil, err
	}
	status, message := "ATTACHED", "This IP address is operational."
	if ready, why := call.Control.ResolverEndpointReady(v, e); !ready {
		status, message = "ATTACHING", "Waiting: "+why
	}
	list := []IPAddressResponse{}
	for _, a := range e.Addresses {
		x := IPAddressResponse{
			IPID: a.ID, SubnetID: string(a.Subnet), IP: a.Addr.String(), Status: status, StatusMessage: message,
			CreationTime: rfc3339(a.Created), ModificationTime: rfc3339(a.Modified),
		}
		if a.Addr6.IsValid() {
			x.IPv6 = a.Addr6.String()
		}
		list = append(list, x)
	}
	page, next, err := paginate(list, in.Page, func(a IPAddressResponse) string { return a.IPID })
	if err != nil {
		return nil, err
	}
	size, err := in.size()
	return &ListIPAddressesOutput{next, int32(size), page}, err
}

// ListInput is the input of the lists that can be filtered.
type ListInput struct {
	Page
	Filters []Filter `query:"Filters"`
}

// ListResolverEndpointsOutput is the output of ListResolverEndpoints.
type ListResolverEndpointsOutput struct {
	NextToken         *string `json:",omitempty"`
	MaxResults        int32
	ResolverEndpoints []ResolverEndpoint
}

var endpointFilters = filters[ResolverEndpoint]{
	"CreatorRequestId": func(e ResolverEndpoint) []string { return []string{e.CreatorRequestID} },
	"Direction":        func(e ResolverEndpoint) []string { return []string{e.Direction} },
	"HostVPCId":        func(e ResolverEndpoint) []string { return []string{e.HostVPCID} },
	"IpAddressCount":   func(e ResolverEndpoint) []string { return []string{strconv.Itoa(int(e.IPAddressCount))} },
	"Name":             func(e ResolverEndpoint) []string { return []string{e.Name} },
	"SecurityGroupIds": func(e ResolverEndpoint) []string { return e.SecurityGroupIDs },
	"Status":           func(e ResolverEndpoint) []string { return []string{e.Status} },
}.withOld(map[string]string{
	"CREATOR_REQUEST_ID": "CreatorRequestId", "DIRECTION": "Direction", "HOST_VPC_ID": "HostVPCId", "IP_ADDRESS_COUNT": "IpAddressCount",
	"NAME": "Name", "SECURITY_GROUP_IDS": "SecurityGroupIds", "STATUS": "Status",
})

func listResolverEndpoints(call *Call, in *ListInput) (*ListResolverEndpointsOutput, error) {
	list := []ResolverEndpoint{}
	for e := range vpc.By[vpc.ResolverEndpoint](call.View(), vpc.IndexOwner, call.Caller.Account) {
		list = append(list, *render(call, e))
	}
	list, err := endpointFilters.keep(list, in.Filters)
	if err != nil {
		return nil, err
	}
	page, next, err := paginate(list, in.Page, func(e ResolverEndpoint) string { return e.ID })
	if err != nil {
		return nil, err
	}
	size, err := in.size()
	return &ListResolverEndpointsOutput{next, int32(size), page}, err
}
