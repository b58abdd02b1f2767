// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Hostname types, as they appear on the wire.
const (
	IPName       = "ip-name"
	ResourceName = "resource-name"
)

// HostnameOptions say how an instance is named, and which records its resource
// name (i-....ec2.internal) has. Its IP name (ip-10-0-0-5.ec2.internal) always
// has its address.
type HostnameOptions struct {
	HostnameType     string `json:"hostnameType,omitempty"` // "" is IPName
	ResourceNameA    bool   `json:"resourceNameA,omitempty"`
	ResourceNameAAAA bool   `json:"resourceNameAaaa,omitempty"`
}

// Hostname is the hostname type.
func (o HostnameOptions) Hostname() string {
	if o.HostnameType == "" {
		return IPName
	}
	return o.HostnameType
}

// InternalDomain is the domain of the private names of a region's instances.
func (r *Region) InternalDomain() string {
	if r.Name == "us-east-1" {
		return "ec2.internal"
	}
	return r.Name + ".compute.internal"
}

// IPName is the private name of an IPv4 address.
func (r *Region) IPName(a netip.Addr) string {
	return "ip-" + strings.ReplaceAll(a.String(), ".", "-") + "." + r.InternalDomain()
}

// ResourceName is the private name of an instance by its id.
func (r *Region) ResourceName(i InstanceID) string { return string(i) + "." + r.InternalDomain() }

// PrivateName is an instance's private name of its hostname type.
func (r *Region) PrivateName(i *Instance) string {
	if i.Hostname() == ResourceName {
		return r.ResourceName(i.ID)
	}
	return r.IPName(i.Addr)
}

// ReverseName is the name below in-addr.arpa or ip6.arpa that stands for an address.
func ReverseName(a netip.Addr) string {
	var labels []string
	if a.Is4() {
		for _, b := range a.As4() {
			labels = append(labels, strconv.Itoa(int(b)))
		}
		slices.Reverse(labels)
		return strings.Join(labels, ".") + ".in-addr.arpa"
	}
	for _, c := range a.StringExpanded() {
		if c != ':' {
			labels = append(labels, string(c))
		}
	}
	slices.Reverse(labels)
	return strings.Join(labels, ".") + ".ip6.arpa"
}
