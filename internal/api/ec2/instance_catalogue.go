// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"regexp"
	"slices"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// What clients read about instances besides the instances. There are no images
// and no disks, and a type is a name without hardware behind it.
func init() {
	register("DescribeInstanceTypes", false, describeInstanceTypes)
	register("DescribeInstanceCreditSpecifications", false, describeInstanceCreditSpecifications)
	register("DescribeVolumes", false, describeVolumes)
	register("DescribeImages", false, describeImages)
}

// DescribeInstanceTypesInput is the input of DescribeInstanceTypes. Every name
// of the form of a type's is one, so that they cannot be listed.
type DescribeInstanceTypesInput struct {
	DryRun
	Page
	InstanceTypes []string `query:"InstanceType"`
	_             refused  `query:"Filter,refuse"`
	_             refused  `query:"IncludeUnsupportedInRegion,refuse,unless=true,unless=false"`
}

// DescribeInstanceTypesOutput is the output of DescribeInstanceTypes.
type DescribeInstanceTypesOutput struct {
	Types     []InstanceTypeInfo `xml:"instanceTypeSet>item"`
	NextToken string             `xml:"nextToken,omitempty"`
}

// InstanceTypeInfo is what is true of every type.
type InstanceTypeInfo struct {
	InstanceType      string      `xml:"instanceType"`
	CurrentGeneration bool        `xml:"currentGeneration"`
	FreeTier          bool        `xml:"freeTierEligible"`
	BareMetal         bool        `xml:"bareMetal"`
	Burstable         bool        `xml:"burstablePerformanceSupported"`
	DedicatedHosts    bool        `xml:"dedicatedHostsSupported"`
	Hibernation       bool        `xml:"hibernationSupported"`
	InstanceStorage   bool        `xml:"instanceStorageSupported"`
	AutoRecovery      bool        `xml:"autoRecoverySupported"`
	UsageClasses      []string    `xml:"supportedUsageClasses>item"`
	RootDeviceTypes   []string    `xml:"supportedRootDeviceTypes>item"`
	Network           NetworkInfo `xml:"networkInfo"`
}

// NetworkInfo is what an instance of a type may have of the network.
type NetworkInfo struct {
	MaxInterfaces    int    `xml:"maximumNetworkInterfaces"`
	MaxCards         int    `xml:"maximumNetworkCards"`
	IPv4PerInterface int    `xml:"ipv4AddressesPerInterface"`
	IPv6PerInterface int    `xml:"ipv6AddressesPerInterface"`
	IPv6             bool   `xml:"ipv6Supported"`
	EnaSupport       string `xml:"enaSupport"`
	Efa              bool   `xml:"efaSupported"`
}

var instanceTypeName = regexp.MustCompile(`^[a-z0-9-]{1,32}\.[a-z0-9-]{1,31}$`)

func describeInstanceTypes(_ *Call, in *DescribeInstanceTypesInput) (*DescribeInstanceTypesOutput, error) {
	if err := in.Page.check(); err != nil {
		return nil, err
	}
	if len(in.InstanceTypes) == 0 {
		return nil, vpc.Errorf(vpc.Unsupported, "InstanceType", "", "DescribeInstanceTypes is supported for types that are named by the parameter InstanceType only")
	}
	names := slices.Clone(in.InstanceTypes)
	slices.Sort(names)
	names, next, err := paginate(slices.Compact(names), in.Page, func(s string) string { return s })
	if err != nil {
		return nil, err
	}
	out := &DescribeInstanceTypesOutput{NextToken: next}
	for _, name := range names {
		if !instanceTypeName.MatchString(name) {
			return nil, vpc.Errorf(vpc.NotFound, "instance-type", name, "The following supplied instance types do not exist: [%.64s]", name)
		}
		out.Types = append(out.Types, InstanceTypeInfo{
			InstanceType: name, CurrentGeneration: true, InstanceStorage: true,
			UsageClasses: []string{"on-demand"}, RootDeviceTypes: []string{"instance-store"},
			Network: NetworkInfo{MaxInterfaces: control.MaxInterfaces, MaxCards: 1, IPv4PerInterface: control.MaxAddresses, IPv6PerInterface: control.MaxAddresses, IPv6: true, EnaSupport: "unsupported"},
		})
	}
	return out, nil
}

// DescribeInstanceCreditSpecificationsInput is the input of
// DescribeInstanceCreditSpecifications.
type DescribeInstanceCreditSpecificationsInput struct {
	DryRun
	Page
	InstanceIDs []string `query:"InstanceId"`
	Filters     []Filter `query:"Filter"`
}

// DescribeInstanceCreditSpecificationsOutput is the output of
// DescribeInstanceCreditSpecifications: no instance is burstable.
type DescribeInstanceCreditSpecificationsOutput struct {
	Specifications []struct{} `xml:"instanceCreditSpecificationSet>item"`
}

func describeInstanceCreditSpecifications(call *Call, in *DescribeInstanceCreditSpecificationsInput) (*DescribeInstanceCreditSpecificationsOutput, error) {
	if err := in.Page.check(); err != nil {
		return nil, err
	}
	if _, err := namedInstances(call, in.InstanceIDs); err != nil {
		return nil, err
	}
	for _, f := range in.Filters {
		if f.Name != "instance-id" {
			return nil, badFilter(f.Name)
		}
	}
	return &DescribeInstanceCreditSpecificationsOutput{}, nil
}

func badFilter(name string) error {
	return vpc.Errorf(vpc.BadFilter, "Filter", name, "The filter '%.128s' is invalid", name)
}

// check refuses a page that cannot be, for answers that are always empty.
func (p Page) check() error {
	_, _, err := p.bounds()
	return err
}

// nothing is a kind of which there is none: ids are not found and filters,
// which must be AWS's, find nothing.
type nothing struct{}

func (*nothing) Kind() vpc.Kind              { return "" }
func (*nothing) Key() string                 { return "" }
func (*nothing) Index(func(string, string))  {}
func (*nothing) Refs(func(vpc.Kind, string)) {}
func (*nothing) Claims(func(string))         {}

func noneWith(filters ...string) resource[*nothing] {
	r := resource[*nothing]{filters: filterSet[*nothing]{}, tags: func(*nothing) vpc.Tags { return nil }}
	for _, f := range filters {
		r.filters[f] = never[*nothing]
	}
	return r
}

var (
	volumes = noneWith("attachment.attach-time", "attachment.delete-on-termination", "attachment.device", "attachment.instance-id", "attachment.status",
		"availability-zone", "availability-zone-id", "create-time", "encrypted", "fast-restored", "multi-attach-enabled", "operator.managed", "operator.principal",
		"size", "snapshot-id", "status", "volume-id", "volume-type")
	images = noneWith("architecture", "block-device-mapping.delete-on-termination", "block-device-mapping.device-name", "block-device-mapping.encrypted",
		"block-device-mapping.snapshot-id", "block-device-mapping.volume-size", "block-device-mapping.volume-type", "creation-date", "description", "ena-support",
		"free-tier-eligible", "hypervisor", "image-allowed", "image-id", "image-type", "is-public", "kernel-id", "manifest-location", "name", "owner-alias", "owner-id", "platform",
		"product-code", "product-code.type", "ramdisk-id", "root-device-name", "root-device-type", "source-image-id", "source-image-region", "source-instance-id",
		"state", "state-reason-code", "state-reason-message", "sriov-net-support", "virtualization-type")
)

// DescribeVolumesInput is the input of DescribeVolumes.
type DescribeVolumesInput struct {
	DryRun
	Page
	VolumeIDs []string `query:"VolumeId"`
	Filters   []Filter `query:"Filter"`
	_         refused  `query:"IncludeManagedResources,refuse,unless=true,unless=false"`
}

// DescribeVolumesOutput is the output of DescribeVolumes: there are no disks.
type DescribeVolumesOutput struct {
	Volumes []struct{} `xml:"volumeSet>item"`
}

func describeVolumes(_ *Call, in *DescribeVolumesInput) (*DescribeVolumesOutput, error) {
	if err := in.Page.check(); err != nil {
		return nil, err
	}
	if err := volumes.checkFilters(in.Filters); err != nil {
		return nil, err
	}
	if len(in.VolumeIDs) > 0 {
		id := in.VolumeIDs[0]
		if err := checkID("volume", "vol", id); err != nil {
			return nil, err
		}
		return nil, vpc.Errorf(vpc.NotFound, "volume", id, "The volume '%s' does not exist.", id)
	}
	return &DescribeVolumesOutput{}, nil
}

// DescribeImagesInput is the input of DescribeImages.
type DescribeImagesInput struct {
	DryRun
	Page
	ImageIDs []string `query:"ImageId"`
	Filters  []Filter `query:"Filter"`
	// Who owns or may use images, and which are listed, makes no difference to none.
	Owners            []string `query:"Owner"`
	ExecutableBy      []string `query:"ExecutableBy"`
	IncludeDeprecated bool     `query:"IncludeDeprecated"`
	IncludeDisabled   bool     `query:"IncludeDisabled"`
}

// DescribeImagesOutput is the output of DescribeImages: there are no images. An
// instance keeps the image's id that it was launched with as a name.
type DescribeImagesOutput struct {
	Images []struct{} `xml:"imagesSet>item"`
}

func describeImages(_ *Call, in *DescribeImagesInput) (*DescribeImagesOutput, error) {
	if err := in.Page.check(); err != nil {
		return nil, err
	}
	if err := images.checkFilters(in.Filters); err != nil {
		return nil, err
	}
	if len(in.ImageIDs) > 0 {
		return nil, vpc.Errorf(vpc.NotFound, "image", in.ImageIDs[0], "The image id '[%.64s]' does not exist", in.ImageIDs[0])
	}
	return &DescribeImagesOutput{}, nil
}
