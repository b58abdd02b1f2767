// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"slices"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("DescribeAvailabilityZones", false, describeAvailabilityZones)
	register("DescribeRegions", false, describeRegions)
	register("DescribeAccountAttributes", false, describeAccountAttributes)
	register("DescribeDhcpOptions", false, describeDhcpOptions)
}

// plain is a value that is no stored object, given a key so that describe's
// filters and pages work on it. Only DHCP options are looked up by id, so the
// kind, which malformed ids are reported with, is theirs.
type plain[T any] struct {
	key string
	T   T
}

func (*plain[T]) Kind() vpc.Kind              { return "dhcp-options" }
func (p *plain[T]) Key() string               { return p.key }
func (*plain[T]) Index(func(string, string))  {}
func (*plain[T]) Refs(func(vpc.Kind, string)) {}
func (*plain[T]) Claims(func(string))         {}

// field makes a filter of a plain value.
func field[T any](f func(T) string) func(vpc.View, *plain[T]) []string {
	return func(_ vpc.View, p *plain[T]) []string { return []string{f(p.T)} }
}

// DescribeAvailabilityZonesInput is the input of DescribeAvailabilityZones.
type DescribeAvailabilityZonesInput struct {
	DryRun
	ZoneNames []string `query:"ZoneName"`
	ZoneIDs   []string `query:"ZoneId"`
	Filters   []Filter `query:"Filter"`
	// Every zone there is can be used, so that asking for all is the same.
	_ awsquery.Refused `query:"AllAvailabilityZones,refuse,unless=true,unless=false"`
}

// DescribeAvailabilityZonesOutput is the output of DescribeAvailabilityZones.
type DescribeAvailabilityZonesOutput struct {
	Zones []AvailabilityZone `xml:"availabilityZoneInfo>item"`
}

// AvailabilityZone is <AvailabilityZone>.
type AvailabilityZone struct {
	ZoneName           string     `xml:"zoneName"`
	ZoneID             string     `xml:"zoneId"`
	ZoneState          string     `xml:"zoneState"`
	RegionName         string     `xml:"regionName"`
	OptInStatus        string     `xml:"optInStatus"`
	GroupName          string     `xml:"groupName"`
	GroupLongName      string     `xml:"groupLongName"`
	NetworkBorderGroup string     `xml:"networkBorderGroup"`
	ZoneType           string     `xml:"zoneType"`
	Messages           []struct{} `xml:"messageSet>item"`
}

var zoneResource = resource[*plain[AvailabilityZone]]{filters: filterSet[*plain[AvailabilityZone]]{
	"group-long-name":  field(func(z AvailabilityZone) string { return z.GroupLongName }),
	"group-name":       field(func(z AvailabilityZone) string { return z.GroupName }),
	"message":          never[*plain[AvailabilityZone]],
	"opt-in-status":    field(func(z AvailabilityZone) string { return z.OptInStatus }),
	"parent-zone-id":   never[*plain[AvailabilityZone]],
	"parent-zone-name": never[*plain[AvailabilityZone]],
	"region-name":      field(func(z AvailabilityZone) string { return z.RegionName }),
	"state":            field(func(z AvailabilityZone) string { return z.ZoneState }),
	"zone-id":          field(func(z AvailabilityZone) string { return z.ZoneID }),
	"zone-name":        field(func(z AvailabilityZone) string { return z.ZoneName }),
	"zone-type":        field(func(z AvailabilityZone) string { return z.ZoneType }),
}}

func describeAvailabilityZones(call *Call, in *DescribeAvailabilityZonesInput) (*DescribeAvailabilityZonesOutput, error) {
	if err := zoneResource.checkFilters(in.Filters); err != nil {
		return nil, err
	}
	v := call.view()
	r := control.RegionOf(v)
	for _, name := range in.ZoneNames {
		if r.ZoneID(name) == "" {
			return nil, vpc.Errorf(vpc.NotFound, "availability-zone", name, "Invalid availability zone: [%.64s]", name)
		}
	}
	for _, id := range in.ZoneIDs {
		if !slices.ContainsFunc(r.Zones, func(z vpc.Zone) bool { return z.ID == id }) {
			return nil, vpc.Errorf(vpc.NotFound, "availability-zone", id, "Invalid availability zone-id: [%.64s]", id)
		}
	}
	out := &DescribeAvailabilityZonesOutput{}
	for _, z := range r.Zones {
		if len(in.ZoneNames) > 0 && !slices.Contains(in.ZoneNames, z.Name) || len(in.ZoneIDs) > 0 && !slices.Contains(in.ZoneIDs, z.ID) {
			continue
		}
		x := AvailabilityZone{
			ZoneName: z.Name, ZoneID: z.ID, ZoneState: "available", RegionName: r.Name, OptInStatus: "opt-in-not-required",
			GroupName: r.Name + "-zg-1", GroupLongName: r.Name + " 1", NetworkBorderGroup: r.Name, ZoneType: "availability-zone",
		}
		if zoneResource.match(v, &plain[AvailabilityZone]{z.Name, x}, in.Filters) {
			out.Zones = append(out.Zones, x)
		}
	}
	return out, nil
}

// DescribeRegionsInput is the input of DescribeRegions.
type DescribeRegionsInput struct {
	DryRun
	RegionNames []string `query:"RegionName"`
	Filters     []Filter `query:"Filter"`
	// There is one region and it is enabled.
	_ awsquery.Refused `query:"AllRegions,refuse,unless=true,unless=false"`
}

// DescribeRegionsOutput is the output of DescribeRegions.
type DescribeRegionsOutput struct {
	Regions []Region `xml:"regionInfo>item"`
}

// Region is <Region>.
type Region struct {
	RegionName  string `xml:"regionName"`
	Endpoint    string `xml:"regionEndpoint"`
	OptInStatus string `xml:"optInStatus"`
}

var regionResource = resource[*plain[Region]]{filters: filterSet[*plain[Region]]{
	"endpoint":      field(func(r Region) string { return r.Endpoint }),
	"opt-in-status": field(func(r Region) string { return r.OptInStatus }),
	"region-name":   field(func(r Region) string { return r.RegionName }),
}}

func describeRegions(call *Call, in *DescribeRegionsInput) (*DescribeRegionsOutput, error) {
	if err := regionResource.checkFilters(in.Filters); err != nil {
		return nil, err
	}
	v := call.view()
	name := control.RegionOf(v).Name
	for _, n := range in.RegionNames {
		if n != name {
			return nil, vpc.Errorf(vpc.NotFound, "region", n, "Invalid region names: [%.64s]", n)
		}
	}
	out := &DescribeRegionsOutput{}
	r := Region{name, "ec2." + name + ".amazonaws.com", "opt-in-not-required"}
	if regionResource.match(v, &plain[Region]{name, r}, in.Filters) {
		out.Regions = append(out.Regions, r)
	}
	return out, nil
}

// DescribeAccountAttributesInput is the input of DescribeAccountAttributes.
type DescribeAccountAttributesInput struct {
	DryRun
	Names []string `query:"AttributeName"`
}

// DescribeAccountAttributesOutput is the output of DescribeAccountAttributes.
type DescribeAccountAttributesOutput struct {
	Attributes []AccountAttribute `xml:"accountAttributeSet>item"`
}

// AccountAttribute is one attribute with its values.
type AccountAttribute struct {
	Name   string                  `xml:"attributeName"`
	Values []AccountAttributeValue `xml:"attributeValueSet>item"`
}

// AccountAttributeValue is one value of an attribute.
type AccountAttributeValue struct {
	Value string `xml:"attributeValue"`
}

// accountAttributes are the same for every account. There are no public
// addresses, so that none can be had.
var accountAttributes = [][2]string{
	{"supported-platforms", "VPC"},
	{"default-vpc", "none"},
	{"max-instances", "20"},
	{"vpc-max-security-groups-per-interface", "5"},
	{"max-elastic-ips", "0"},
	{"vpc-max-elastic-ips", "0"},
}

func describeAccountAttributes(_ *Call, in *DescribeAccountAttributesInput) (*DescribeAccountAttributesOutput, error) {
	known := map[string]bool{}
	out := &DescribeAccountAttributesOutput{}
	for _, a := range accountAttributes {
		known[a[0]] = true
		if len(in.Names) == 0 || slices.Contains(in.Names, a[0]) {
			out.Attributes = append(out.Attributes, AccountAttribute{a[0], []AccountAttributeValue{{a[1]}}})
		}
	}
	for _, n := range in.Names {
		if !known[n] {
			return nil, vpc.Errorf(vpc.Invalid, "attributeName", n, "Value (%.64s) for parameter attributeName is invalid. Unknown attribute.", n)
		}
	}
	return out, nil
}

// DescribeDhcpOptionsInput is the input of DescribeDhcpOptions.
type DescribeDhcpOptionsInput struct {
	DryRun
	Page
	IDs     []string `query:"DhcpOptionsId"`
	Filters []Filter `query:"Filter"`
}

// DescribeDhcpOptionsOutput is the output of DescribeDhcpOptions.
type DescribeDhcpOptionsOutput struct {
	Options   []DhcpOptions `xml:"dhcpOptionsSet>item"`
	NextToken string        `xml:"nextToken,omitempty"`
}

// DhcpOptions is <DhcpOptions>.
type DhcpOptions struct {
	ID             string              `xml:"dhcpOptionsId"`
	OwnerID        string              `xml:"ownerId"`
	Configurations []DhcpConfiguration `xml:"dhcpConfigurationSet>item"`
	Tags           []Tag               `xml:"tagSet>item"`
}

// DhcpConfiguration is one option.
type DhcpConfiguration struct {
	Key    string      `xml:"key"`
	Values []DhcpValue `xml:"valueSet>item"`
}

// DhcpValue is one value of an option.
type DhcpValue struct {
	Value string `xml:"value"`
}

func dhcpFilter(f func(DhcpConfiguration) []string) func(vpc.View, *plain[DhcpOptions]) []string {
	return func(_ vpc.View, o *plain[DhcpOptions]) []string {
		var out []string
		for _, c := range o.T.Configurations {
			out = append(out, f(c)...)
		}
		return out
	}
}

var dhcpResource = resource[*plain[DhcpOptions]]{
	prefix: vpc.PrefixDHCPOptions,
	tags:   func(*plain[DhcpOptions]) vpc.Tags { return nil },
	filters: filterSet[*plain[DhcpOptions]]{
		"dhcp-options-id": field(func(o DhcpOptions) string { return o.ID }),
		"owner-id":        field(func(o DhcpOptions) string { return o.OwnerID }),
		"key":             dhcpFilter(func(c DhcpConfiguration) []string { return []string{c.Key} }),
		"value":           dhcpFilter(func(c DhcpConfiguration) []string { return []string{c.Values[0].Value} }),
	},
}

// describeDhcpOptions answers the region's one set, which every VPC uses.
func describeDhcpOptions(call *Call, in *DescribeDhcpOptionsInput) (*DescribeDhcpOptionsOutput, error) {
	v := call.view()
	r := control.RegionOf(v)
	domain := r.Name + ".compute.internal"
	if r.Name == "us-east-1" {
		domain = "ec2.internal"
	}
	set := &plain[DhcpOptions]{r.DHCPOptions, DhcpOptions{
		ID: r.DHCPOptions, OwnerID: string(call.Caller.Account),
		Configurations: []DhcpConfiguration{
			{"domain-name", []DhcpValue{{domain}}},
			{"domain-name-servers", []DhcpValue{{"AmazonProvidedDNS"}}},
		},
	}}
	get := func(id string) (*plain[DhcpOptions], error) {
		if id != r.DHCPOptions {
			return nil, control.NotFound("dhcp-options", id)
		}
		return set, nil
	}
	list, next, err := describe(call, v, dhcpResource, in.IDs, in.Filters, in.Page, get, slices.Values([]*plain[DhcpOptions]{set}))
	if err != nil {
		return nil, err
	}
	out := &DescribeDhcpOptionsOutput{NextToken: next}
	for _, o := range list {
		out.Options = append(out.Options, o.T)
	}
	return out, nil
}
