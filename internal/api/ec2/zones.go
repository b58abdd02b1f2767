// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"slices"
	"strconv"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("DescribeAvailabilityZones", false, describeAvailabilityZones)
	register("DescribeRegions", false, describeRegions)
	register("DescribeAccountAttributes", false, describeAccountAttributes)
}

// plain is a value that is no stored object, given a key so that filters work on it.
type plain[T any] struct {
	key string
	T   T
}

func (*plain[T]) Kind() vpc.Kind              { return "plain" }
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
	v := call.View()
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
	v := call.View()
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

// accountAttributes are what an account has and may have.
func accountAttributes(call *Call) [][2]string {
	v, q := call.View(), call.Control.Quotas
	d := "none"
	if o, ok := vpc.DefaultVPC(v, call.Caller.Account); ok {
		d = string(o.ID)
	}
	return [][2]string{
		{"supported-platforms", "VPC"},
		{"default-vpc", d},
		{"max-instances", "20"},
		{"vpc-max-security-groups-per-interface", strconv.Itoa(q.GroupsPerInterface)},
		{"max-elastic-ips", strconv.Itoa(q.ElasticIPs)},
		{"vpc-max-elastic-ips", strconv.Itoa(q.ElasticIPs)},
	}
}

func describeAccountAttributes(call *Call, in *DescribeAccountAttributesInput) (*DescribeAccountAttributesOutput, error) {
	known := map[string]bool{}
	out := &DescribeAccountAttributesOutput{}
	for _, a := range accountAttributes(call) {
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
