// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"iter"
	"regexp"
	"slices"
	"strings"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateVpcEndpointServiceConfiguration", true, createVpcEndpointService)
	register("ModifyVpcEndpointServiceConfiguration", true, modifyVpcEndpointService)
	register("DeleteVpcEndpointServiceConfigurations", true, deleteVpcEndpointServices)
	register("DescribeVpcEndpointServiceConfigurations", false, describeVpcEndpointServiceConfigurations)
	register("DescribeVpcEndpointServices", false, describeVpcEndpointServices)
	register("StartVpcEndpointServicePrivateDnsVerification", true, startPrivateDNSVerification)
	register("ModifyVpcEndpointServicePayerResponsibility", true, modifyPayerResponsibility)
}

// CreateVpcEndpointServiceConfigurationInput is the input of CreateVpcEndpointServiceConfiguration.
type CreateVpcEndpointServiceConfigurationInput struct {
	DryRun
	AcceptanceRequired      *bool              `query:"AcceptanceRequired"`
	PrivateDNSName          string             `query:"PrivateDnsName"`
	NetworkLoadBalancerARNs []string           `query:"NetworkLoadBalancerArn"`
	SupportedIPAddressTypes []string           `query:"SupportedIpAddressType"`
	SupportedRegions        []string           `query:"SupportedRegion"`
	ClientToken             string             `query:"ClientToken"`
	TagSpecifications       []TagSpecification `query:"TagSpecification"`
	_                       awsquery.Refused   `query:"GatewayLoadBalancerArn,refuse"`
}

// CreateVpcEndpointServiceConfigurationOutput is the output of CreateVpcEndpointServiceConfiguration.
type CreateVpcEndpointServiceConfigurationOutput struct {
	ServiceConfiguration ServiceConfiguration `xml:"serviceConfiguration"`
	ClientToken          string               `xml:"clientToken,omitempty"`
}

// ServiceConfiguration is <ServiceConfiguration>: a service as its owner sees it.
type ServiceConfiguration struct {
	ServiceTypes            []ServiceType                `xml:"serviceType"`
	ServiceID               string                       `xml:"serviceId"`
	ServiceName             string                       `xml:"serviceName"`
	ServiceState            string                       `xml:"serviceState"`
	AvailabilityZoneIDs     []string                     `xml:"availabilityZoneIdSet"`
	AvailabilityZones       []string                     `xml:"availabilityZoneSet"`
	AcceptanceRequired      bool                         `xml:"acceptanceRequired"`
	ManagesVpcEndpoints     bool                         `xml:"managesVpcEndpoints"`
	NetworkLoadBalancerARNs []string                     `xml:"networkLoadBalancerArnSet"`
	GatewayLoadBalancerARNs []string                     `xml:"gatewayLoadBalancerArnSet"`
	SupportedIPAddressTypes []string                     `xml:"supportedIpAddressTypeSet"`
	BaseEndpointDNSNames    []string                     `xml:"baseEndpointDnsNameSet"`
	PrivateDNSName          string                       `xml:"privateDnsName,omitempty"`
	PrivateDNSNameConfig    *PrivateDNSNameConfiguration `xml:"privateDnsNameConfiguration"`
	PayerResponsibility     string                       `xml:"payerResponsibility,omitempty"`
	Tags                    []Tag                        `xml:"tagSet"`
	SupportedRegions        []SupportedRegion            `xml:"supportedRegionSet"`
	RemoteAccessEnabled     bool                         `xml:"remoteAccessEnabled"`
}

// ServiceType is one type of endpoint a service can be reached by.
type ServiceType struct {
	ServiceType string `xml:"serviceType"`
}

// PrivateDNSNameConfiguration is <PrivateDnsNameConfiguration>.
type PrivateDNSNameConfiguration struct {
	State string `xml:"state"`
	Type  string `xml:"type"`
	Value string `xml:"value"`
	Name  string `xml:"name"`
}

// SupportedRegion is a region endpoints to a service can be in.
type SupportedRegion struct {
	Region       string `xml:"region"`
	ServiceState string `xml:"serviceState"`
}

// serviceAvailable is the state of every service: it is ready when it is made.
const serviceAvailable = "Available"

func createVpcEndpointService(call *Call, in *CreateVpcEndpointServiceConfigurationInput) (*CreateVpcEndpointServiceConfigurationOutput, error) {
	tags, err := tagsFor(in.TagSpecifications, "vpc-endpoint-service")
	if err != nil {
		return nil, err
	}
	if err := onlyHere(call, in.SupportedRegions); err != nil {
		return nil, err
	}
	arns, err := balancerARNs(in.NetworkLoadBalancerARNs)
	if err != nil {
		return nil, err
	}
	s, err := call.Control.CreateService(call.Context, call.Caller, control.CreateServiceInput{
		Balancers: arns, AcceptanceRequired: in.AcceptanceRequired == nil || *in.AcceptanceRequired,
		AddressTypes: in.SupportedIPAddressTypes, PrivateDNSName: in.PrivateDNSName, ClientToken: in.ClientToken, Tags: tags["vpc-endpoint-service"],
	})
	if err != nil {
		return nil, err
	}
	return &CreateVpcEndpointServiceConfigurationOutput{renderService(call.View(), s), in.ClientToken}, nil
}

// ModifyVpcEndpointServiceConfigurationInput is the input of ModifyVpcEndpointServiceConfiguration.
type ModifyVpcEndpointServiceConfigurationInput struct {
	DryRun
	ServiceID                     string           `query:"ServiceId,required"`
	PrivateDNSName                *string          `query:"PrivateDnsName"`
	RemovePrivateDNSName          bool             `query:"RemovePrivateDnsName"`
	AcceptanceRequired            *bool            `query:"AcceptanceRequired"`
	AddNetworkLoadBalancerARNs    []string         `query:"AddNetworkLoadBalancerArn"`
	RemoveNetworkLoadBalancerARNs []string         `query:"RemoveNetworkLoadBalancerArn"`
	AddSupportedIPAddressTypes    []string         `query:"AddSupportedIpAddressType"`
	RemoveSupportedIPAddressTypes []string         `query:"RemoveSupportedIpAddressType"`
	AddSupportedRegions           []string         `query:"AddSupportedRegion"`
	RemoveSupportedRegions        []string         `query:"RemoveSupportedRegion"`
	_                             awsquery.Refused `query:"AddGatewayLoadBalancerArn,refuse"`
	_                             awsquery.Refused `query:"RemoveGatewayLoadBalancerArn,refuse"`
}

func modifyVpcEndpointService(call *Call, in *ModifyVpcEndpointServiceConfigurationInput) (*void, error) {
	if err := checkFamilyID(vpc.KindService, vpc.PrefixService, in.ServiceID); err != nil {
		return nil, err
	}
	if err := onlyHere(call, in.AddSupportedRegions); err != nil {
		return nil, err
	}
	if here := call.Control.Region().Name; slices.Contains(in.RemoveSupportedRegions, here) {
		return nil, vpc.Errorf(vpc.Invalid, "endpoint-parameter", here, "The region %s (RemoveSupportedRegion) hosts the service and cannot be removed", here)
	}
	add, err := balancerARNs(in.AddNetworkLoadBalancerARNs)
	if err != nil {
		return nil, err
	}
	remove, err := balancerARNs(in.RemoveNetworkLoadBalancerARNs)
	if err != nil {
		return nil, err
	}
	err = call.Control.ModifyService(call.Context, call.Caller, control.ModifyServiceInput{
		ID: vpc.ServiceID(in.ServiceID), PrivateDNSName: in.PrivateDNSName, RemovePrivateDNSName: in.RemovePrivateDNSName,
		AcceptanceRequired: in.AcceptanceRequired, AddBalancers: add, RemoveBalancers: remove,
		AddAddressTypes: in.AddSupportedIPAddressTypes, RemoveAddressTypes: in.RemoveSupportedIPAddressTypes,
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// onlyHere refuses regions that a service cannot have.
func onlyHere(call *Call, regions []string) error {
	here := call.Control.Region().Name
	for _, r := range regions {
		if r != here {
			return vpc.Errorf(vpc.Unsupported, "SupportedRegion", r, "Access from the region %.64s (SupportedRegion) is not supported, only from %s", r, here)
		}
	}
	return nil
}

var nlbARN = regexp.MustCompile(`^arn:aws:elasticloadbalancing:[a-z0-9-]{1,32}:[0-9]{12}:loadbalancer/(app|net|gwy)/[A-Za-z0-9-]{1,32}/[0-9a-f]{16}$`)

// balancerARNs checks that the texts are ARNs of network load balancers.
func balancerARNs(list []string) ([]vpc.ARN, error) {
	var out []vpc.ARN
	for _, a := range list {
		m := nlbARN.FindStringSubmatch(a)
		if m == nil {
			return nil, vpc.Errorf(vpc.Malformed, string(vpc.KindBalancer), a, "The network load balancer ARN '%.256s' is malformed", a)
		}
		if m[1] != "net" {
			return nil, vpc.Errorf(vpc.Invalid, "endpoint-parameter", a, "The load balancer '%s' is not a network load balancer", a)
		}
		out = append(out, vpc.ARN(a))
	}
	return out, nil
}

// DeleteVpcEndpointServiceConfigurationsInput is the input of DeleteVpcEndpointServiceConfigurations.
type DeleteVpcEndpointServiceConfigurationsInput struct {
	DryRun
	ServiceIDs []string `query:"ServiceId,required"`
}

func deleteVpcEndpointServices(call *Call, in *DeleteVpcEndpointServiceConfigurationsInput) (*UnsuccessfulOutput, error) {
	ids, err := checkIDs[vpc.ServiceID](vpc.KindService, vpc.PrefixService, in.ServiceIDs)
	if err != nil {
		return nil, err
	}
	failed, err := call.Control.DeleteServices(call.Context, call.Caller, ids)
	if err != nil {
		return nil, err
	}
	return unsuccessful("DeleteVpcEndpointServiceConfigurations", failed), nil
}

// StartVpcEndpointServicePrivateDnsVerificationInput is the input of StartVpcEndpointServicePrivateDnsVerification.
type StartVpcEndpointServicePrivateDnsVerificationInput struct {
	DryRun
	ServiceID string `query:"ServiceId,required"`
}

func startPrivateDNSVerification(call *Call, in *StartVpcEndpointServicePrivateDnsVerificationInput) (*void, error) {
	if err := checkFamilyID(vpc.KindService, vpc.PrefixService, in.ServiceID); err != nil {
		return nil, err
	}
	if err := call.Control.VerifyServiceName(call.Context, call.Caller, vpc.ServiceID(in.ServiceID)); err != nil {
		return nil, err
	}
	return done, nil
}

// ModifyVpcEndpointServicePayerResponsibilityInput is the input of ModifyVpcEndpointServicePayerResponsibility.
type ModifyVpcEndpointServicePayerResponsibilityInput struct {
	DryRun
	ServiceID string `query:"ServiceId,required"`
	// Nobody is charged here: kept and shown.
	PayerResponsibility string `query:"PayerResponsibility,required,stored"`
}

func modifyPayerResponsibility(call *Call, in *ModifyVpcEndpointServicePayerResponsibilityInput) (*void, error) {
	if err := checkFamilyID(vpc.KindService, vpc.PrefixService, in.ServiceID); err != nil {
		return nil, err
	}
	if err := call.Control.SetPayer(call.Context, call.Caller, vpc.ServiceID(in.ServiceID), in.PayerResponsibility); err != nil {
		return nil, err
	}
	return done, nil
}

// DescribeVpcEndpointServiceConfigurationsInput is the input of DescribeVpcEndpointServiceConfigurations.
type DescribeVpcEndpointServiceConfigurationsInput struct {
	DryRun
	Page
	ServiceIDs []string `query:"ServiceId"`
	Filters    []Filter `query:"Filter"`
}

// DescribeVpcEndpointServiceConfigurationsOutput is the output of DescribeVpcEndpointServiceConfigurations.
type DescribeVpcEndpointServiceConfigurationsOutput struct {
	ServiceConfigurations []ServiceConfiguration `xml:"serviceConfigurationSet"`
	NextToken             string                 `xml:"nextToken,omitempty"`
}

// minServicePage is the least MaxResults of the describe actions of a
// service's owner; more than 1,000 are cut to that.
const minServicePage = 5

var serviceResource = resource[*vpc.EndpointService]{
	prefix: vpc.PrefixService,
	tags:   func(s *vpc.EndpointService) vpc.Tags { return s.Tags },
	filters: filterSet[*vpc.EndpointService]{
		"service-name":               func(_ vpc.View, s *vpc.EndpointService) []string { return []string{s.Name} },
		"service-id":                 func(_ vpc.View, s *vpc.EndpointService) []string { return []string{string(s.ID)} },
		"service-state":              func(vpc.View, *vpc.EndpointService) []string { return []string{serviceAvailable} },
		"supported-ip-address-types": func(_ vpc.View, s *vpc.EndpointService) []string { return s.AddressTypes() },
	},
}

func describeVpcEndpointServiceConfigurations(call *Call, in *DescribeVpcEndpointServiceConfigurationsInput) (*DescribeVpcEndpointServiceConfigurationsOutput, error) {
	if err := in.Page.atLeast(minServicePage); err != nil {
		return nil, err
	}
	v := call.View()
	get := func(id string) (*vpc.EndpointService, error) {
		return control.OwnedService(v, call.Caller, vpc.ServiceID(id))
	}
	list, next, err := describeOwned(call, v, serviceResource, in.ServiceIDs, in.Filters, in.Page, get)
	if err != nil {
		return nil, err
	}
	out := &DescribeVpcEndpointServiceConfigurationsOutput{NextToken: next}
	for _, s := range list {
		out.ServiceConfigurations = append(out.ServiceConfigurations, renderService(v, s))
	}
	return out, nil
}

func renderService(v vpc.View, s *vpc.EndpointService) ServiceConfiguration {
	region := control.RegionOf(v)
	r := ServiceConfiguration{
		ServiceTypes: []ServiceType{{string(vpc.InterfaceEndpoint)}}, ServiceID: string(s.ID), ServiceName: s.Name,
		ServiceState: serviceAvailable, AvailabilityZoneIDs: zoneIDs(region, s.Zones), AvailabilityZones: s.Zones,
		AcceptanceRequired: s.AcceptanceRequired, NetworkLoadBalancerARNs: texts(s.Balancers),
		SupportedIPAddressTypes: s.AddressTypes(), BaseEndpointDNSNames: []string{vpc.ServiceBaseName(region, string(s.ID))},
		PrivateDNSName: s.PrivateDNSName, PayerResponsibility: s.Payer, Tags: tagList(s.Tags),
		SupportedRegions: []SupportedRegion{{region.Name, serviceAvailable}},
	}
	if d := s.Verification; d != nil {
		r.PrivateDNSNameConfig = &PrivateDNSNameConfiguration{State: d.State, Type: "TXT", Value: d.Value, Name: d.Name}
	}
	return r
}

func zoneIDs(r *vpc.Region, zones []string) []string {
	out := make([]string, 0, len(zones))
	for _, z := range zones {
		out = append(out, r.ZoneID(z))
	}
	return out
}

// DescribeVpcEndpointServicesInput is the input of DescribeVpcEndpointServices.
type DescribeVpcEndpointServicesInput struct {
	DryRun
	Page
	ServiceNames   []string `query:"ServiceName"`
	Filters        []Filter `query:"Filter"`
	ServiceRegions []string `query:"ServiceRegion"`
}

// DescribeVpcEndpointServicesOutput is the output of DescribeVpcEndpointServices.
type DescribeVpcEndpointServicesOutput struct {
	ServiceNames   []string        `xml:"serviceNameSet"`
	ServiceDetails []ServiceDetail `xml:"serviceDetailSet"`
	NextToken      string          `xml:"nextToken,omitempty"`
}

// ServiceDetail is <ServiceDetail>: a service as a consumer sees it.
type ServiceDetail struct {
	ServiceName             string           `xml:"serviceName"`
	ServiceID               string           `xml:"serviceId"`
	ServiceTypes            []ServiceType    `xml:"serviceType"`
	ServiceRegion           string           `xml:"serviceRegion"`
	AvailabilityZoneIDs     []string         `xml:"availabilityZoneIdSet"`
	AvailabilityZones       []string         `xml:"availabilityZoneSet"`
	Owner                   string           `xml:"owner"`
	BaseEndpointDNSNames    []string         `xml:"baseEndpointDnsNameSet"`
	PrivateDNSName          string           `xml:"privateDnsName,omitempty"`
	PrivateDNSNames         []PrivateDNSName `xml:"privateDnsNameSet"`
	PolicySupported         bool             `xml:"vpcEndpointPolicySupported"`
	AcceptanceRequired      bool             `xml:"acceptanceRequired"`
	ManagesVpcEndpoints     bool             `xml:"managesVpcEndpoints"`
	PayerResponsibility     string           `xml:"payerResponsibility,omitempty"`
	Tags                    []Tag            `xml:"tagSet"`
	NameVerificationState   string           `xml:"privateDnsNameVerificationState,omitempty"`
	SupportedIPAddressTypes []string         `xml:"supportedIpAddressTypeSet"`
}

// PrivateDNSName is one private DNS name of a service.
type PrivateDNSName struct {
	PrivateDNSName string `xml:"privateDnsName"`
}

// offered is one type of a service as describe handles it: a service with two
// types is listed twice. Its key is the service name and the type.
type offered struct {
	vpc.Object
	offer control.Offer
	typ   vpc.EndpointType
}

func (o offered) Key() string { return o.offer.Name() + "/" + string(o.typ) }

func (o offered) owner() string {
	if s := o.offer.Service; s != nil {
		return string(s.Owner)
	}
	return "amazon"
}

// offeredTo is the filters for a caller: the tags of a service are its owner's.
func offeredTo(caller control.Caller) resource[offered] {
	return resource[offered]{
		tags: func(o offered) vpc.Tags {
			if s := o.offer.Service; s != nil && s.Owner == caller.Account {
				return s.Tags
			}
			return nil
		},
		filters: filterSet[offered]{
			"owner":                      func(_ vpc.View, o offered) []string { return []string{o.owner()} },
			"service-name":               func(_ vpc.View, o offered) []string { return []string{o.offer.Name()} },
			"service-region":             func(v vpc.View, _ offered) []string { return []string{control.RegionOf(v).Name} },
			"service-type":               func(_ vpc.View, o offered) []string { return []string{string(o.typ)} },
			"supported-ip-address-types": func(_ vpc.View, o offered) []string { return o.offer.AddressTypes() },
		},
	}
}

func describeVpcEndpointServices(call *Call, in *DescribeVpcEndpointServicesInput) (*DescribeVpcEndpointServicesOutput, error) {
	v := call.View()
	offers := control.Offers(v, call.Caller)
	if len(in.ServiceNames) > 0 {
		offers = nil
		seen := map[string]bool{}
		for _, name := range in.ServiceNames {
			o, err := control.OfferNamed(v, call.Caller, name)
			if err != nil {
				return nil, err
			}
			if !seen[name] {
				seen[name] = true
				offers = append(offers, o)
			}
		}
	}
	here := len(in.ServiceRegions) == 0
	for _, r := range in.ServiceRegions {
		here = here || r == control.RegionOf(v).Name
	}
	if !here {
		offers = nil // no service of another region can be reached from here
	}
	r := offeredTo(call.Caller)
	list, next, err := describe(call, v, r, nil, in.Filters, in.Page, nil, eachType(offers))
	if err != nil {
		return nil, err
	}
	out := &DescribeVpcEndpointServicesOutput{NextToken: next}
	for i, o := range list {
		if name := o.offer.Name(); i == 0 || list[i-1].offer.Name() != name {
			out.ServiceNames = append(out.ServiceNames, name)
		}
		out.ServiceDetails = append(out.ServiceDetails, renderOffered(v, o, r.tags(o)))
	}
	return out, nil
}

func eachType(offers []control.Offer) iter.Seq[offered] {
	return func(yield func(offered) bool) {
		for _, o := range offers {
			for _, t := range o.Types() {
				if !yield(offered{offer: o, typ: t}) {
					return
				}
			}
		}
	}
}

func renderOffered(v vpc.View, o offered, tags vpc.Tags) ServiceDetail {
	region := control.RegionOf(v)
	zones := o.offer.Zones(region)
	d := ServiceDetail{
		ServiceName: o.offer.Name(), ServiceTypes: []ServiceType{{string(o.typ)}}, ServiceRegion: region.Name,
		AvailabilityZoneIDs: zoneIDs(region, zones), AvailabilityZones: zones, Owner: o.owner(),
		PolicySupported: o.offer.PolicySupported(), Tags: tagList(tags), SupportedIPAddressTypes: o.offer.AddressTypes(),
	}
	names := []string{}
	if s := o.offer.Service; s != nil {
		d.ServiceID = string(s.ID)
		d.BaseEndpointDNSNames = []string{vpc.ServiceBaseName(region, string(s.ID))}
		d.AcceptanceRequired, d.PayerResponsibility = s.AcceptanceRequired, s.Payer
		if s.Verification != nil {
			// Shown also while it is not verified: the state says so.
			names = append(names, s.PrivateDNSName)
			d.NameVerificationState = s.Verification.State
		}
	} else {
		c := o.offer.Catalogue
		d.ServiceID = string(c.ID)
		if o.typ == vpc.InterfaceEndpoint {
			d.BaseEndpointDNSNames = []string{vpc.ServiceBaseName(region, vpc.CatalogueLabel(c.Name))}
			if names = o.offer.PrivateNames(); len(names) > 0 {
				d.NameVerificationState = vpc.DNSVerified
			}
		} else {
			for _, n := range c.PublicNames {
				if !strings.HasPrefix(n, "*.") {
					d.BaseEndpointDNSNames = append(d.BaseEndpointDNSNames, n)
				}
			}
		}
	}
	for i, n := range names {
		if i == 0 {
			d.PrivateDNSName = n
		}
		d.PrivateDNSNames = append(d.PrivateDNSNames, PrivateDNSName{n})
	}
	return d
}
