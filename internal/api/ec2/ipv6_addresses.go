// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"net/netip"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("AssignIpv6Addresses", true, assignIPv6Addresses)
	register("UnassignIpv6Addresses", true, unassignIPv6Addresses)
}

// IPv6Spec is one IPv6 address asked for.
type IPv6Spec struct {
	Address string           `query:"Ipv6Address,required"`
	_       awsquery.Refused `query:"IsPrimaryIpv6,refuse,unless=false"`
}

// InterfaceIPv6 is <NetworkInterfaceIpv6Address>.
type InterfaceIPv6 struct {
	Address string `xml:"ipv6Address"`
	Primary bool   `xml:"isPrimaryIpv6"` // false: EnablePrimaryIpv6 is not taken
}

// TrackingRequest is <ConnectionTrackingSpecificationRequest>: idle times in seconds.
type TrackingRequest struct {
	TCPEstablished *int `query:"TcpEstablishedTimeout"`
	UDP            *int `query:"UdpTimeout"`
	UDPStream      *int `query:"UdpStreamTimeout"`
}

// read gives what was sent to control, which refuses what is out of range: a 0
// that was sent is, and one that was not sent stands for AWS's default.
func (t *TrackingRequest) read() vpc.ConnectionTracking {
	if t == nil {
		return vpc.ConnectionTracking{}
	}
	sent := func(n *int) int {
		switch {
		case n == nil:
			return 0
		case *n == 0:
			return -1
		}
		return *n
	}
	return vpc.ConnectionTracking{TCPEstablished: sent(t.TCPEstablished), UDP: sent(t.UDP), UDPStream: sent(t.UDPStream)}
}

// Tracking is <ConnectionTrackingConfiguration>: the idle times that were asked for.
type Tracking struct {
	TCPEstablished int `xml:"tcpEstablishedTimeout,omitempty"`
	UDPStream      int `xml:"udpStreamTimeout,omitempty"`
	UDP            int `xml:"udpTimeout,omitempty"`
}

func renderTracking(n *vpc.NetworkInterface) *Tracking {
	t := n.Tracking
	if t == (vpc.ConnectionTracking{}) {
		return nil
	}
	return &Tracking{TCPEstablished: t.TCPEstablished, UDPStream: t.UDPStream, UDP: t.UDP}
}

func renderIPv6(n *vpc.NetworkInterface) []InterfaceIPv6 {
	var out []InterfaceIPv6
	for _, a := range n.IPv6 {
		out = append(out, InterfaceIPv6{Address: a.String()})
	}
	return out
}

// firstIPv6 is an interface's first IPv6 address, "" if it has none.
func firstIPv6(n *vpc.NetworkInterface) string {
	if len(n.IPv6) == 0 {
		return ""
	}
	return n.IPv6[0].String()
}

// interfaceIPv6 are all IPv6 addresses of an interface.
func interfaceIPv6(_ vpc.View, n *vpc.NetworkInterface) []string {
	var out []string
	for _, a := range n.IPv6 {
		out = append(out, a.String())
	}
	return out
}

func ipv6Addresses(list []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range list {
		a, err := netip.ParseAddr(s)
		if err != nil || !a.Is6() {
			return nil, vpc.Errorf(vpc.Invalid, "ipv6Addresses", s, "Value (%.64s) for parameter ipv6Addresses is invalid. Invalid IPv6 address.", s)
		}
		out = append(out, a)
	}
	return out, nil
}

// ipv6Request reads what a new interface is to get.
func ipv6Request(list []IPv6Spec, count *int) (control.IPv6Request, error) {
	var texts []string
	for _, x := range list {
		texts = append(texts, x.Address)
	}
	addrs, err := ipv6Addresses(texts)
	return control.IPv6Request{Addrs: addrs, Count: count}, err
}

// AssignIPv6AddressesInput is the input of AssignIpv6Addresses.
type AssignIPv6AddressesInput struct {
	InterfaceID string           `query:"NetworkInterfaceId,required"`
	Addresses   []string         `query:"Ipv6Addresses"`
	Count       *int             `query:"Ipv6AddressCount"`
	_           awsquery.Refused `query:"Ipv6Prefix,refuse"`
	_           awsquery.Refused `query:"Ipv6PrefixCount,refuse,unless=0"`
}

// AssignIPv6AddressesOutput is the output of AssignIpv6Addresses.
type AssignIPv6AddressesOutput struct {
	InterfaceID string   `xml:"networkInterfaceId"`
	Assigned    []string `xml:"assignedIpv6Addresses>item"`
	Prefixes    []string `xml:"assignedIpv6PrefixSet>item"`
}

func assignIPv6Addresses(call *Call, in *AssignIPv6AddressesInput) (*AssignIPv6AddressesOutput, error) {
	if err := checkID(vpc.KindInterface, vpc.PrefixInterface, in.InterfaceID); err != nil {
		return nil, err
	}
	addrs, err := ipv6Addresses(in.Addresses)
	if err != nil {
		return nil, err
	}
	made, err := call.Control.AssignIPv6(call.Context, call.Caller, vpc.InterfaceID(in.InterfaceID), control.IPv6Request{Addrs: addrs, Count: in.Count})
	if err != nil {
		return nil, err
	}
	out := &AssignIPv6AddressesOutput{InterfaceID: in.InterfaceID}
	for _, a := range made {
		out.Assigned = append(out.Assigned, a.String())
	}
	return out, nil
}

// UnassignIPv6AddressesInput is the input of UnassignIpv6Addresses.
type UnassignIPv6AddressesInput struct {
	InterfaceID string           `query:"NetworkInterfaceId,required"`
	Addresses   []string         `query:"Ipv6Addresses,required"`
	_           awsquery.Refused `query:"Ipv6Prefix,refuse"`
}

// UnassignIPv6AddressesOutput is the output of UnassignIpv6Addresses.
type UnassignIPv6AddressesOutput struct {
	InterfaceID string   `xml:"networkInterfaceId"`
	Unassigned  []string `xml:"unassignedIpv6Addresses>item"`
	Prefixes    []string `xml:"unassignedIpv6PrefixSet>item"`
}

func unassignIPv6Addresses(call *Call, in *UnassignIPv6AddressesInput) (*UnassignIPv6AddressesOutput, error) {
	if err := checkID(vpc.KindInterface, vpc.PrefixInterface, in.InterfaceID); err != nil {
		return nil, err
	}
	addrs, err := ipv6Addresses(in.Addresses)
	if err != nil {
		return nil, err
	}
	if err := call.Control.UnassignIPv6(call.Context, call.Caller, vpc.InterfaceID(in.InterfaceID), addrs); err != nil {
		return nil, err
	}
	out := &UnassignIPv6AddressesOutput{InterfaceID: in.InterfaceID}
	for _, a := range addrs {
		out.Unassigned = append(out.Unassigned, a.String())
	}
	return out, nil
}
