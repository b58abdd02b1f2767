// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"net/netip"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("AssignPrivateIpAddresses", true, assignPrivateIPAddresses)
	register("UnassignPrivateIpAddresses", true, unassignPrivateIPAddresses)
}

// privateIP reads an address.
func privateIP(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, vpc.Errorf(vpc.Invalid, "privateIpAddress", s, "Value (%.64s) for parameter privateIpAddress is invalid. Invalid IPv4 address.", s)
	}
	return a, nil
}

func privateIPs(list []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range list {
		a, err := privateIP(s)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// chosenAddresses reads the addresses asked for a new interface: the primary
// one, in either place, and the secondary ones.
func chosenAddresses(primary string, list []PrivateIPSpec) (first netip.Addr, others []netip.Addr, err error) {
	if primary != "" {
		if first, err = privateIP(primary); err != nil {
			return first, nil, err
		}
	}
	for _, p := range list {
		a, err := privateIP(p.PrivateIP)
		switch {
		case err != nil:
			return first, nil, err
		case !p.Primary:
			others = append(others, a)
		case first.IsValid():
			return first, nil, vpc.Errorf(vpc.Combination, "PrivateIpAddresses", p.PrivateIP, "Only one primary private IP address can be specified, not %s and %s", first, a)
		default:
			first = a
		}
	}
	return first, others, nil
}

// AssignPrivateIPAddressesInput is the input of AssignPrivateIpAddresses.
type AssignPrivateIPAddressesInput struct {
	InterfaceID       string           `query:"NetworkInterfaceId,required"`
	PrivateIPs        []string         `query:"PrivateIpAddress"`
	Count             int              `query:"SecondaryPrivateIpAddressCount"`
	AllowReassignment bool             `query:"AllowReassignment"`
	_                 awsquery.Refused `query:"Ipv4Prefix,refuse"`
	_                 awsquery.Refused `query:"Ipv4PrefixCount,refuse,unless=0"`
}

// AssignPrivateIPAddressesOutput is the output of AssignPrivateIpAddresses.
type AssignPrivateIPAddressesOutput struct {
	InterfaceID string            `xml:"networkInterfaceId"`
	Assigned    []AssignedAddress `xml:"assignedPrivateIpAddressesSet>item"`
	Prefixes    []struct{}        `xml:"assignedIpv4PrefixSet>item"`
}

// AssignedAddress is one new address.
type AssignedAddress struct {
	PrivateIP string `xml:"privateIpAddress"`
}

func assignPrivateIPAddresses(call *Call, in *AssignPrivateIPAddressesInput) (*AssignPrivateIPAddressesOutput, error) {
	if err := checkID(vpc.KindInterface, vpc.PrefixInterface, in.InterfaceID); err != nil {
		return nil, err
	}
	addrs, err := privateIPs(in.PrivateIPs)
	if err != nil {
		return nil, err
	}
	made, err := call.Control.AssignAddresses(call.Context, call.Caller, control.AssignInput{
		Interface: vpc.InterfaceID(in.InterfaceID), Addrs: addrs, Count: in.Count, Move: in.AllowReassignment,
	})
	if err != nil {
		return nil, err
	}
	out := &AssignPrivateIPAddressesOutput{InterfaceID: in.InterfaceID}
	for _, a := range made {
		out.Assigned = append(out.Assigned, AssignedAddress{a.String()})
	}
	return out, nil
}

// UnassignPrivateIPAddressesInput is the input of UnassignPrivateIpAddresses.
type UnassignPrivateIPAddressesInput struct {
	InterfaceID string           `query:"NetworkInterfaceId,required"`
	PrivateIPs  []string         `query:"PrivateIpAddress,required"`
	_           awsquery.Refused `query:"Ipv4Prefix,refuse"`
}

func unassignPrivateIPAddresses(call *Call, in *UnassignPrivateIPAddressesInput) (*void, error) {
	if err := checkID(vpc.KindInterface, vpc.PrefixInterface, in.InterfaceID); err != nil {
		return nil, err
	}
	addrs, err := privateIPs(in.PrivateIPs)
	if err != nil {
		return nil, err
	}
	return done, call.Control.UnassignAddresses(call.Context, call.Caller, vpc.InterfaceID(in.InterfaceID), addrs)
}
