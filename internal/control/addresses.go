// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"io"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// interfaceSpec says what interface to make.
type interfaceSpec struct {
	Owner  vpc.AccountID
	Subnet *vpc.Subnet
	Addr   netip.Addr // the zero Addr takes the next free one
	// Secondary are chosen further addresses, SecondaryCount is how many free ones to add.
	Secondary      []netip.Addr
	SecondaryCount int
	IPv6           IPv6Request
	Type           vpc.InterfaceType
	Groups         []vpc.GroupID
	Description    string
	Tags           vpc.Tags
	// RequesterID marks the interface as managed by Endpoint, Balancer, Resolver or a NAT
	// gateway.
	RequesterID string
	Endpoint    vpc.EndpointID
	Balancer    vpc.ARN
	Resolver    vpc.ResolverEndpointID
	Attachment  *vpc.Attachment
	// NoSourceDestCheck is for what carries other addresses' packets.
	NoSourceDestCheck bool
	Tracking          vpc.ConnectionTracking
}

// newInterface makes an interface with an address of its own in the subnet.
// The address claim decides between transactions that race for one.
func (c *Control) newInterface(tx *store.Tx, spec interfaceSpec) (*vpc.NetworkInterface, error) {
	addr := spec.Addr
	if addr.IsValid() {
		if err := checkAddress(tx, spec.Subnet, addr); err != nil {
			return nil, err
		}
	} else {
		var err error
		if addr, err = freeAddress(tx, spec.Subnet, func(a netip.Addr) bool { return slices.Contains(spec.Secondary, a) }); err != nil {
			return nil, err
		}
	}
	secondary, err := secondaryAddresses(tx, spec.Subnet, []netip.Addr{addr}, spec.Secondary, spec.SecondaryCount)
	if err != nil {
		return nil, err
	}
	ipv6, err := c.ipv6Addresses(tx, spec.Subnet, nil, spec.IPv6)
	if err != nil {
		return nil, err
	}
	id, err := c.newID(vpc.PrefixInterface)
	if err != nil {
		return nil, err
	}
	mac, err := c.newMAC()
	if err != nil {
		return nil, err
	}
	n := &vpc.NetworkInterface{
		ID: vpc.InterfaceID(id), Owner: spec.Owner, VPC: spec.Subnet.VPC, Subnet: spec.Subnet.ID, Zone: spec.Subnet.Zone,
		Type: spec.Type, Addr: addr, Secondary: secondary, IPv6: ipv6, MAC: mac, Groups: spec.Groups, SourceDestCheck: !spec.NoSourceDestCheck,
		Description: spec.Description, RequesterManaged: spec.RequesterID != "", RequesterID: spec.RequesterID,
		Endpoint: spec.Endpoint, Balancer: spec.Balancer, Resolver: spec.Resolver, Attachment: spec.Attachment,
		Tracking: spec.Tracking, Created: c.Now(), Tags: spec.Tags,
	}
	tx.Put(n)
	return n, nil
}

// checkAddress refuses an address that cannot be given out in the subnet.
func checkAddress(tx *store.Tx, s *vpc.Subnet, a netip.Addr) error {
	if !a.Is4() || !s.CIDR.Contains(a) {
		return vpc.Errorf(vpc.AddressMismatch, "privateIpAddress", a.String(),
			"Value (%s) for parameter privateIpAddress is invalid. Address does not fall within the subnet's address range", a)
	}
	if vpc.ReservedAddr(s.CIDR, a) {
		return vpc.Errorf(vpc.AddressMismatch, "privateIpAddress", a.String(),
			"Value (%s) for parameter privateIpAddress is invalid. Address is in subnet's reserved address range", a)
	}
	if tx.Claimed(vpc.AddrClaim(s.ID, a)) {
		return vpc.Errorf(vpc.AddressInUse, "privateIpAddress", a.String(), "Address %s is in use.", a)
	}
	return nil
}

// freeAddress is the lowest free address of a subnet that is not about to be
// taken.
func freeAddress(tx *store.Tx, s *vpc.Subnet, taken func(netip.Addr) bool) (netip.Addr, error) {
	a := s.CIDR.Masked().Addr()
	for range 4 {
		a = a.Next()
	}
	for ; s.CIDR.Contains(a.Next()); a = a.Next() {
		if !tx.Claimed(vpc.AddrClaim(s.ID, a)) && !taken(a) {
			return a, nil
		}
	}
	return netip.Addr{}, vpc.Errorf(vpc.NoAddress, string(vpc.KindSubnet), string(s.ID),
		"insufficient free addresses in subnet '%s'", s.ID)
}

// FreeAddresses counts the addresses of a subnet that can still be given out:
// all but AWS's five and those in use.
func FreeAddresses(v vpc.View, s *vpc.Subnet) int {
	n := 1<<(32-s.CIDR.Bits()) - 5
	for i := range vpc.By[vpc.NetworkInterface](v, vpc.IndexSubnet, s.ID) {
		n -= 1 + len(i.Secondary)
	}
	return n
}

// newMAC makes a locally administered unicast address, as AWS's are.
func (c *Control) newMAC() (string, error) {
	var b [5]byte
	if _, err := io.ReadFull(c.Random, b[:]); err != nil {
		return "", fmt.Errorf("read random bytes for a MAC address: %w", err)
	}
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4]), nil
}

// groupsFor checks that the groups exist in the VPC and belong to the caller.
// No groups means the VPC's default group, as everywhere in AWS.
func (c *Control) groupsFor(tx *store.Tx, caller Caller, v vpc.VPCID, ids []vpc.GroupID) ([]vpc.GroupID, error) {
	if len(ids) == 0 {
		for g := range vpc.By[vpc.SecurityGroup](tx, vpc.IndexVPC, v) {
			if g.Name == vpc.DefaultGroupName {
				return []vpc.GroupID{g.ID}, nil
			}
		}
		return nil, NotFound(vpc.KindGroup, vpc.DefaultGroupName)
	}
	if len(ids) > c.Quotas.GroupsPerInterface {
		return nil, vpc.Errorf(vpc.Limit, string(vpc.KindGroup), "", "The maximum number of security groups per interface is %d, not %d (SecurityGroupId)", c.Quotas.GroupsPerInterface, len(ids))
	}
	var out []vpc.GroupID
	seen := map[vpc.GroupID]bool{}
	for _, id := range ids {
		g, err := Owned[vpc.SecurityGroup](tx, caller, id)
		if err != nil || g.VPC != v {
			return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindGroup), string(id), "The security group '%s' does not exist", id)
		}
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out, nil
}
