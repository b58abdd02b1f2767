// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"iter"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateDhcpOptions", true, createDhcpOptions)
	register("DescribeDhcpOptions", false, describeDhcpOptions)
	register("AssociateDhcpOptions", true, associateDhcpOptions)
	register("DeleteDhcpOptions", true, deleteDhcpOptions)
}

// CreateDhcpOptionsInput is the input of CreateDhcpOptions. Workloads get
// the domain name and its servers; the other options are kept and shown.
type CreateDhcpOptionsInput struct {
	DryRun
	Configurations    []NewDhcpConfiguration `query:"DhcpConfiguration,required"`
	TagSpecifications []TagSpecification     `query:"TagSpecification"`
}

// NewDhcpConfiguration is one option of a new set.
type NewDhcpConfiguration struct {
	Key    string   `query:"Key,required"`
	Values []string `query:"Value"`
}

// CreateDhcpOptionsOutput is the output of CreateDhcpOptions.
type CreateDhcpOptionsOutput struct {
	Options DhcpOptions `xml:"dhcpOptions"`
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

func renderDhcpOptions(d *vpc.DHCPOptions) DhcpOptions {
	out := DhcpOptions{ID: string(d.ID), OwnerID: string(d.Owner), Tags: tagList(d.Tags)}
	for _, o := range d.Options {
		c := DhcpConfiguration{Key: o.Key}
		for _, s := range o.Values {
			c.Values = append(c.Values, DhcpValue{s})
		}
		out.Configurations = append(out.Configurations, c)
	}
	return out
}

func createDhcpOptions(call *Call, in *CreateDhcpOptionsInput) (*CreateDhcpOptionsOutput, error) {
	tags, err := tagsFor(in.TagSpecifications, "dhcp-options")
	if err != nil {
		return nil, err
	}
	var options []vpc.DHCPOption
	for _, c := range in.Configurations {
		options = append(options, vpc.DHCPOption{Key: c.Key, Values: c.Values})
	}
	id, err := call.Control.CreateDHCPOptions(call.Context, call.Caller, options, tags["dhcp-options"])
	if err != nil {
		return nil, err
	}
	d, err := control.SeenDHCPOptions(call.View(), call.Caller, id)
	if err != nil {
		return nil, err
	}
	return &CreateDhcpOptionsOutput{renderDhcpOptions(d)}, nil
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

func dhcpFilter(f func(vpc.DHCPOption) []string) func(vpc.View, *vpc.DHCPOptions) []string {
	return func(_ vpc.View, d *vpc.DHCPOptions) []string {
		var out []string
		for _, o := range d.Options {
			out = append(out, f(o)...)
		}
		return out
	}
}

var dhcpResource = resource[*vpc.DHCPOptions]{
	prefix: vpc.PrefixDHCPOptions,
	tags:   func(d *vpc.DHCPOptions) vpc.Tags { return d.Tags },
	filters: filterSet[*vpc.DHCPOptions]{
		"dhcp-options-id": one(func(d *vpc.DHCPOptions) vpc.DHCPOptionsID { return d.ID }),
		"owner-id":        one(func(d *vpc.DHCPOptions) vpc.AccountID { return d.Owner }),
		"key":             dhcpFilter(func(o vpc.DHCPOption) []string { return []string{o.Key} }),
		"value":           dhcpFilter(func(o vpc.DHCPOption) []string { return o.Values }),
	},
}

// seenDhcpOptions are the account's sets and the region's.
func seenDhcpOptions(call *Call, v vpc.View) iter.Seq[*vpc.DHCPOptions] {
	return func(yield func(*vpc.DHCPOptions) bool) {
		if !yield(control.DefaultDHCPOptions(control.RegionOf(v), call.Caller.Account)) {
			return
		}
		for d := range vpc.By[vpc.DHCPOptions](v, vpc.IndexOwner, call.Caller.Account) {
			if !yield(d) {
				return
			}
		}
	}
}

func describeDhcpOptions(call *Call, in *DescribeDhcpOptionsInput) (*DescribeDhcpOptionsOutput, error) {
	v := call.View()
	get := func(id string) (*vpc.DHCPOptions, error) {
		return control.SeenDHCPOptions(v, call.Caller, vpc.DHCPOptionsID(id))
	}
	list, next, err := describe(call, v, dhcpResource, in.IDs, in.Filters, in.Page, get, seenDhcpOptions(call, v))
	if err != nil {
		return nil, err
	}
	out := &DescribeDhcpOptionsOutput{NextToken: next}
	for _, d := range list {
		out.Options = append(out.Options, renderDhcpOptions(d))
	}
	return out, nil
}

// AssociateDhcpOptionsInput is the input of AssociateDhcpOptions. The id
// "default" is that of no options at all.
type AssociateDhcpOptionsInput struct {
	DryRun
	ID    string `query:"DhcpOptionsId,required"`
	VpcID string `query:"VpcId,required"`
}

func associateDhcpOptions(call *Call, in *AssociateDhcpOptionsInput) (*void, error) {
	if in.ID != string(vpc.DHCPNone) {
		if err := checkID(vpc.KindDHCPOptions, vpc.PrefixDHCPOptions, in.ID); err != nil {
			return nil, err
		}
	}
	if err := checkID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID); err != nil {
		return nil, err
	}
	return done, call.Control.AssociateDHCPOptions(call.Context, call.Caller, vpc.DHCPOptionsID(in.ID), vpc.VPCID(in.VpcID))
}

// DeleteDhcpOptionsInput is the input of DeleteDhcpOptions.
type DeleteDhcpOptionsInput struct {
	DryRun
	ID string `query:"DhcpOptionsId,required"`
}

func deleteDhcpOptions(call *Call, in *DeleteDhcpOptionsInput) (*void, error) {
	if err := checkID(vpc.KindDHCPOptions, vpc.PrefixDHCPOptions, in.ID); err != nil {
		return nil, err
	}
	return done, call.Control.DeleteDHCPOptions(call.Context, call.Caller, vpc.DHCPOptionsID(in.ID))
}
