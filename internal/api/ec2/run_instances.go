// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"encoding/base64"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// refused is awsquery.Refused, shorter for the many that are needed.
type refused = awsquery.Refused

// RunInstancesInput is the input of RunInstances. An instance is a network
// namespace with an interface: it has no image, disks or kernel, and nothing
// runs its user data. The image, the type, the key's name, the user data and
// what is said about stopping are kept and shown.
type RunInstancesInput struct {
	DryRun
	ImageID           string                `query:"ImageId,required,stored"`
	InstanceType      string                `query:"InstanceType,stored"`
	KeyName           string                `query:"KeyName,stored"`
	MinCount          int                   `query:"MinCount,required"`
	MaxCount          int                   `query:"MaxCount,required"`
	SubnetID          string                `query:"SubnetId"`
	SecurityGroupIDs  []string              `query:"SecurityGroupId"`
	SecurityGroups    []string              `query:"SecurityGroup"` // names in the default VPC
	KeepRunning       *bool                 `query:"DisableApiTermination"`
	DisableAPIStop    *bool                 `query:"DisableApiStop,stored"`
	ShutdownBehavior  string                `query:"InstanceInitiatedShutdownBehavior,stored"`
	UserData          string                `query:"UserData,stored"`
	PrivateIPAddress  string                `query:"PrivateIpAddress"`
	IPv6Addresses     []IPv6Spec            `query:"Ipv6Address"`
	IPv6Count         *int                  `query:"Ipv6AddressCount"`
	ClientToken       string                `query:"ClientToken"`
	NetworkInterfaces []RunInterface        `query:"NetworkInterface"`
	Placement         RunPlacement          `query:"Placement"`
	TagSpecifications []TagSpecification    `query:"TagSpecification"`
	Metadata          RunMetadataOptions    `query:"MetadataOptions"`
	PrivateDNSName    RunPrivateDNSName     `query:"PrivateDnsNameOptions"`
	Monitoring        RunMonitoring         `query:"Monitoring"`
	Enclave           RunEnclaveOptions     `query:"EnclaveOptions"`
	Hibernation       RunHibernationOptions `query:"HibernationOptions"`
	_                 awsquery.Refused      `query:"AdditionalInfo,refuse"`
	_                 awsquery.Refused      `query:"BlockDeviceMapping,refuse"`
	_                 awsquery.Refused      `query:"CapacityReservationSpecification,refuse"`
	_                 awsquery.Refused      `query:"CpuOptions,refuse"`
	_                 awsquery.Refused      `query:"CreditSpecification,refuse"`
	_                 awsquery.Refused      `query:"EbsOptimized,refuse,unless=false"`
	_                 awsquery.Refused      `query:"ElasticGpuSpecification,refuse"`
	_                 awsquery.Refused      `query:"ElasticInferenceAccelerator,refuse"`
	_                 awsquery.Refused      `query:"EnablePrimaryIpv6,refuse,unless=false"`
	_                 awsquery.Refused      `query:"IamInstanceProfile,refuse"`
	_                 awsquery.Refused      `query:"InstanceMarketOptions,refuse"`
	_                 awsquery.Refused      `query:"KernelId,refuse"`
	_                 awsquery.Refused      `query:"LaunchTemplate,refuse"`
	_                 awsquery.Refused      `query:"LicenseSpecification,refuse"`
	_                 awsquery.Refused      `query:"MaintenanceOptions,refuse"`
	_                 awsquery.Refused      `query:"NetworkPerformanceOptions,refuse"`
	_                 awsquery.Refused      `query:"Operator,refuse"`
	_                 awsquery.Refused      `query:"RamdiskId,refuse"`
	_                 awsquery.Refused      `query:"SecondaryInterface,refuse"`
}

// RunInterface is one NetworkInterface.N of RunInstances: a new interface or an
// existing one.
type RunInterface struct {
	DeviceIndex         *int32           `query:"DeviceIndex"`
	NetworkInterfaceID  string           `query:"NetworkInterfaceId"`
	SubnetID            string           `query:"SubnetId"`
	SecurityGroupIDs    []string         `query:"SecurityGroupId"`
	PrivateIPAddress    string           `query:"PrivateIpAddress"`
	PrivateIPs          []PrivateIPSpec  `query:"PrivateIpAddresses"`
	SecondaryCount      int              `query:"SecondaryPrivateIpAddressCount"`
	IPv6Addresses       []IPv6Spec       `query:"Ipv6Addresses"`
	IPv6Count           *int             `query:"Ipv6AddressCount"`
	Tracking            *TrackingRequest `query:"ConnectionTrackingSpecification"`
	Description         string           `query:"Description"`
	DeleteOnTermination *bool            `query:"DeleteOnTermination"`
	_                   refused          `query:"AssociateCarrierIpAddress,refuse,unless=false"`
	_                   refused          `query:"AssociatePublicIpAddress,refuse,unless=false"`
	_                   refused          `query:"EnaQueueCount,refuse"`
	_                   refused          `query:"EnaSrdSpecification,refuse"`
	_                   refused          `query:"InterfaceType,refuse,unless=interface"`
	_                   refused          `query:"Ipv4Prefix,refuse"`
	_                   refused          `query:"Ipv4PrefixCount,refuse,unless=0"`
	_                   refused          `query:"Ipv6Prefix,refuse"`
	_                   refused          `query:"Ipv6PrefixCount,refuse,unless=0"`
	_                   refused          `query:"NetworkCardIndex,refuse,unless=0"`
	_                   refused          `query:"PrimaryIpv6,refuse,unless=false"`
}

// RunPlacement is Placement: the zone must be the subnet's.
type RunPlacement struct {
	AvailabilityZone string  `query:"AvailabilityZone"`
	_                refused `query:"Tenancy,refuse,unless=default"`
	_                refused `query:"Affinity,refuse"`
	_                refused `query:"AvailabilityZoneId,refuse"`
	_                refused `query:"GroupId,refuse"`
	_                refused `query:"GroupName,refuse,unless="`
	_                refused `query:"HostId,refuse"`
	_                refused `query:"HostResourceGroupArn,refuse"`
	_                refused `query:"PartitionNumber,refuse"`
	_                refused `query:"SpreadDomain,refuse"`
}

// RunMetadataOptions is MetadataOptions: there is no metadata service.
type RunMetadataOptions struct {
	_ refused `query:"HttpEndpoint,refuse,unless=disabled"`
	_ refused `query:"HttpProtocolIpv6,refuse,unless=disabled"`
	_ refused `query:"HttpPutResponseHopLimit,refuse"`
	_ refused `query:"HttpTokens,refuse"`
	_ refused `query:"InstanceMetadataTags,refuse,unless=disabled"`
}

// RunPrivateDNSName is PrivateDnsNameOptions; what is absent is as the subnet says.
type RunPrivateDNSName struct {
	HostnameType *string `query:"HostnameType,enum=ip-name|resource-name"`
	A            *bool   `query:"EnableResourceNameDnsARecord"`
	AAAA         *bool   `query:"EnableResourceNameDnsAAAARecord"`
}

// RunMonitoring is Monitoring.
type RunMonitoring struct {
	_ refused `query:"Enabled,refuse,unless=false"`
}

// RunEnclaveOptions is EnclaveOptions.
type RunEnclaveOptions struct {
	_ refused `query:"Enabled,refuse,unless=false"`
}

// RunHibernationOptions is HibernationOptions.
type RunHibernationOptions struct {
	_ refused `query:"Configured,refuse,unless=false"`
}

// request turns the wire's parameters into those of control.
func (in *RunInstancesInput) request() (control.RunInstancesInput, error) {
	tags, err := tagsFor(in.TagSpecifications, "instance", "network-interface")
	if err != nil {
		return control.RunInstancesInput{}, err
	}
	userData, err := base64.StdEncoding.DecodeString(in.UserData)
	if err != nil {
		return control.RunInstancesInput{}, vpc.Errorf(vpc.Malformed, "user-data", "", "Invalid BASE64 encoding of user data.")
	}
	out := control.RunInstancesInput{
		Min: in.MinCount, Max: in.MaxCount, ImageID: in.ImageID, InstanceType: in.InstanceType, KeyName: in.KeyName,
		GroupNames: in.SecurityGroups, Zone: in.Placement.AvailabilityZone, Tags: tags["instance"], InterfaceTags: tags["network-interface"], Token: in.ClientToken,
		Attributes: control.InstanceAttributes{
			KeepRunning: in.KeepRunning, DisableAPIStop: in.DisableAPIStop, ShutdownBehavior: in.ShutdownBehavior, UserData: userData,
		},
		Hostname: control.HostnameChange{Type: in.PrivateDNSName.HostnameType, A: in.PrivateDNSName.A, AAAA: in.PrivateDNSName.AAAA},
	}
	subnet, groups, addr := in.SubnetID, in.SecurityGroupIDs, in.PrivateIPAddress
	addrs6, count6 := in.IPv6Addresses, in.IPv6Count
	var addrs []PrivateIPSpec
	if len(in.NetworkInterfaces) > 0 {
		if subnet != "" || len(groups)+len(in.SecurityGroups) > 0 || addr != "" || len(addrs6) > 0 || count6 != nil {
			return out, vpc.Errorf(vpc.Combination, "NetworkInterface", "",
				"Network interfaces and an instance-level subnet ID, security groups or addresses may not be specified on the same request")
		}
		n, more, err := splitInterfaces(in.NetworkInterfaces)
		if err != nil {
			return out, err
		}
		out.More = more
		if err := n.checkExisting(); err != nil {
			return out, err
		}
		out.Interface = vpc.InterfaceID(n.NetworkInterfaceID)
		out.KeepInterface = n.keep()
		out.Description = n.Description
		subnet, groups, addr, addrs = n.SubnetID, n.SecurityGroupIDs, n.PrivateIPAddress, n.PrivateIPs
		addrs6, count6 = n.IPv6Addresses, n.IPv6Count
		out.SecondaryCount, out.Tracking = n.SecondaryCount, n.Tracking.read()
	}
	if subnet != "" {
		if err := checkID(vpc.KindSubnet, vpc.PrefixSubnet, subnet); err != nil {
			return out, err
		}
	}
	out.Subnet = vpc.SubnetID(subnet)
	if out.Groups, err = groupIDs(groups); err != nil {
		return out, err
	}
	if out.Addr, out.Secondary, err = chosenAddresses(addr, addrs); err != nil {
		return out, err
	}
	out.IPv6, err = ipv6Request(addrs6, count6)
	return out, err
}

// checkExisting refuses an existing interface that is to go with the instance.
// AWS keeps one unless told otherwise, which RunInstances cannot do.
func (n *RunInterface) checkExisting() error {
	if n.NetworkInterfaceID == "" {
		return nil
	}
	if n.DeleteOnTermination != nil && *n.DeleteOnTermination {
		return vpc.Errorf(vpc.Invalid, "deleteOnTermination", "", "A network interface that already exists cannot be deleted on termination")
	}
	return checkID(vpc.KindInterface, vpc.PrefixInterface, n.NetworkInterfaceID)
}

func (n *RunInterface) keep() bool {
	return n.NetworkInterfaceID != "" || n.DeleteOnTermination != nil && !*n.DeleteOnTermination
}

// splitInterfaces finds the primary interface, which has the device index 0,
// and reads the others.
func splitInterfaces(list []RunInterface) (*RunInterface, []control.MoreInterface, error) {
	var primary *RunInterface
	var more []control.MoreInterface
	for i := range list {
		n := &list[i]
		if n.DeviceIndex == nil {
			return nil, nil, vpc.Errorf(vpc.Missing, "NetworkInterface.DeviceIndex", "", "Each network interface requires a device index.")
		}
		if *n.DeviceIndex == 0 && primary == nil {
			primary = n
			continue
		}
		m, err := n.more()
		if err != nil {
			return nil, nil, err
		}
		more = append(more, m)
	}
	if primary == nil {
		return nil, nil, vpc.Errorf(vpc.Invalid, "deviceIndex", "", "One network interface of an instance must have the device index 0")
	}
	return primary, more, nil
}

func (n *RunInterface) more() (m control.MoreInterface, err error) {
	if err := n.checkExisting(); err != nil {
		return m, err
	}
	if n.SubnetID != "" {
		if err := checkID(vpc.KindSubnet, vpc.PrefixSubnet, n.SubnetID); err != nil {
			return m, err
		}
	}
	m = control.MoreInterface{
		Index: int(*n.DeviceIndex), Interface: vpc.InterfaceID(n.NetworkInterfaceID), Subnet: vpc.SubnetID(n.SubnetID),
		SecondaryCount: n.SecondaryCount, Tracking: n.Tracking.read(), Description: n.Description, Keep: n.keep(),
	}
	if m.IPv6, err = ipv6Request(n.IPv6Addresses, n.IPv6Count); err != nil {
		return m, err
	}
	if m.Groups, err = groupIDs(n.SecurityGroupIDs); err != nil {
		return m, err
	}
	m.Addr, m.Secondary, err = chosenAddresses(n.PrivateIPAddress, n.PrivateIPs)
	return m, err
}
