// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"maps"
	"strconv"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// Filters of DescribeInstances about what an instance shows, and about what no
// instance has: those find nothing.
func init() {
	shown := func(f func(Instance) string) func(vpc.View, *vpc.Instance) []string {
		return func(v vpc.View, i *vpc.Instance) []string { return instanceValue(f(renderInstance(v, i))) }
	}
	reason := func(f func(StateReason) string) func(vpc.View, *vpc.Instance) []string {
		return func(v vpc.View, i *vpc.Instance) []string {
			if r := renderInstance(v, i).StateReason; r != nil {
				return instanceValue(f(*r))
			}
			return nil
		}
	}
	eni := func(f func(v vpc.View, n *vpc.NetworkInterface) string) func(vpc.View, *vpc.Instance) []string {
		return eniValues(func(v vpc.View, n *vpc.NetworkInterface) []string { return instanceValue(f(v, n)) })
	}
	at := func(f func(a *vpc.Attachment) string) func(vpc.View, *vpc.Instance) []string {
		return eni(func(_ vpc.View, n *vpc.NetworkInterface) string { return f(n.Attachment) })
	}
	maps.Copy(instanceResource.filters, filterSet[*vpc.Instance]{
		"dns-name":                       shown(func(i Instance) string { return i.DNSName }),
		"monitoring-state":               shown(func(i Instance) string { return i.Monitoring.State }),
		"placement-group-name":           shown(func(i Instance) string { return i.Placement.GroupName }),
		"reason":                         shown(func(i Instance) string { return i.Reason }),
		"root-device-type":               shown(func(i Instance) string { return i.RootDeviceType }),
		"state-reason-code":              reason(func(r StateReason) string { return r.Code }),
		"state-reason-message":           reason(func(r StateReason) string { return r.Message }),
		"instance.group-id":              eniValues(interfaceGroups),
		"hibernation-options.configured": always[*vpc.Instance]("false"),
		"enclave-options.enabled":        always[*vpc.Instance]("false"),
		"source-dest-check": func(v vpc.View, i *vpc.Instance) []string {
			if c := renderInstance(v, i).SourceDestCheck; c != nil {
				return instanceValue(strconv.FormatBool(*c))
			}
			return nil
		},
		"private-dns-name-options.hostname-type":                        one(func(i *vpc.Instance) string { return i.Hostname() }),
		"private-dns-name-options.enable-resource-name-dns-a-record":    truth(func(i *vpc.Instance) bool { return i.ResourceNameA }),
		"private-dns-name-options.enable-resource-name-dns-aaaa-record": truth(func(i *vpc.Instance) bool { return i.ResourceNameAAAA }),
		"ipv6-address": eniValues(interfaceIPv6),
		"network-interface.ipv6-addresses.ipv6-address":      eniValues(interfaceIPv6),
		"network-interface.addresses.primary":                eniValues(interfaceResource.filters["addresses.primary"]),
		"network-interface.availability-zone":                eni(func(_ vpc.View, n *vpc.NetworkInterface) string { return n.Zone }),
		"network-interface.description":                      eni(func(_ vpc.View, n *vpc.NetworkInterface) string { return n.Description }),
		"network-interface.owner-id":                         eni(func(_ vpc.View, n *vpc.NetworkInterface) string { return string(n.Owner) }),
		"network-interface.private-dns-name":                 eni(func(v vpc.View, n *vpc.NetworkInterface) string { return control.RegionOf(v).IPName(n.Addr) }),
		"network-interface.requester-id":                     eni(func(_ vpc.View, n *vpc.NetworkInterface) string { return requesterID(n) }),
		"network-interface.requester-managed":                eni(func(_ vpc.View, n *vpc.NetworkInterface) string { return strconv.FormatBool(n.RequesterManaged) }),
		"network-interface.source-dest-check":                eni(func(_ vpc.View, n *vpc.NetworkInterface) string { return strconv.FormatBool(n.SourceDestCheck) }),
		"network-interface.status":                           eni(func(vpc.View, *vpc.NetworkInterface) string { return "in-use" }),
		"network-interface.attachment.attach-time":           at(func(a *vpc.Attachment) string { return a.Time.UTC().Format("2006-01-02T15:04:05.000Z") }),
		"network-interface.attachment.device-index":          at(func(a *vpc.Attachment) string { return strconv.Itoa(a.DeviceIndex) }),
		"network-interface.attachment.instance-id":           at(func(a *vpc.Attachment) string { return string(a.Instance) }),
		"network-interface.attachment.status":                at(func(*vpc.Attachment) string { return "attached" }),
		"network-interface.attachment.delete-on-termination": at(func(a *vpc.Attachment) string { return strconv.FormatBool(a.DeleteOnTermination) }),
		"network-interface.attachment.instance-owner-id":     eni(func(_ vpc.View, n *vpc.NetworkInterface) string { return string(n.Owner) }),
	})
	for _, name := range []string{
		"block-device-mapping.attach-time", "block-device-mapping.delete-on-termination", "block-device-mapping.device-name", "block-device-mapping.status",
		"block-device-mapping.volume-id", "capacity-reservation-id", "host-id", "iam-instance-profile.arn", "iam-instance-profile.id", "iam-instance-profile.name",
		"instance-lifecycle", "kernel-id", "outpost-arn", "platform", "product-code", "product-code.type",
		"ramdisk-id", "requester-id", "root-device-name", "spot-instance-request-id",
	} {
		instanceResource.filters[name] = never[*vpc.Instance]
	}
}
