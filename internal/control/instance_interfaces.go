// SPDX-License-Identifier: Apache-2.0

package control

import (
	"net/netip"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// MoreInterface is an interface besides the primary one that RunInstances
// gives an instance: an existing one, or a new one in Subnet.
type MoreInterface struct {
	Index          int
	Interface      vpc.InterfaceID
	Subnet         vpc.SubnetID
	Groups         []vpc.GroupID
	Addr           netip.Addr
	Secondary      []netip.Addr
	SecondaryCount int
	IPv6           IPv6Request            `json:",omitzero"`
	Tracking       vpc.ConnectionTracking `json:",omitzero"`
	Description    string
	Keep           bool // DeleteOnTermination=false
}

// checkMore refuses what can be refused without looking at the domain. With
// more interfaces, either all instances are launched or none: in.Min is raised.
func (in *RunInstancesInput) checkMore() error {
	if len(in.More) == 0 {
		return nil
	}
	in.Min = in.Max
	for _, m := range in.More {
		switch {
		case (m.Interface != "" || m.Addr.IsValid() || len(m.Secondary) > 0 || len(m.IPv6.Addrs) > 0) && in.Max > 1:
			return vpc.Errorf(vpc.Combination, "NetworkInterface", "", "A network interface or an address can be given only when one instance is launched.")
		case m.Interface != "" && (m.Subnet != "" || len(m.Groups) > 0 || m.Addr.IsValid() || len(m.Secondary) > 0 || m.SecondaryCount != 0 || !m.IPv6.empty() || m.Tracking != (vpc.ConnectionTracking{}) || m.Description != ""):
			return vpc.Errorf(vpc.Combination, "networkInterfaceId", "", "A network interface cannot be given together with a subnet, security groups, an address or a description for a new one.")
		case m.Interface == "" && m.Subnet == "":
			return vpc.Errorf(vpc.Missing, "SubnetId", "", "The request must contain the parameter subnetId for the interface with device index %d", m.Index)
		}
		if err := checkSecondary(m.Secondary, m.SecondaryCount); err != nil {
			return err
		}
		if err := m.IPv6.check(); err != nil {
			return err
		}
		if err := checkTracking(m.Tracking); err != nil {
			return err
		}
		if err := checkDescription(m.Description); err != nil {
			return err
		}
	}
	return nil
}

// addInterface gives an instance that is being made one more interface.
func (c *Control) addInterface(tx *store.Tx, caller Caller, i *vpc.Instance, m MoreInterface, tags vpc.Tags) error {
	id, err := c.newID(vpc.PrefixAttachment)
	if err != nil {
		return err
	}
	a := &vpc.Attachment{ID: id, Instance: i.ID, DeviceIndex: m.Index, DeleteOnTermination: !m.Keep, Time: c.Now(), Host: i.Host}
	if m.Interface != "" {
		n, err := ownInterface(tx, caller, m.Interface)
		if err != nil {
			return err
		}
		if err := checkAttach(tx, n, i, m.Index); err != nil {
			return err
		}
		n = vpc.Edit(n)
		n.Attachment = a
		tx.Put(n)
		return nil
	}
	s, err := Owned[vpc.Subnet](tx, caller, m.Subnet)
	if err != nil {
		return err
	}
	if err := checkAttach(tx, &vpc.NetworkInterface{VPC: s.VPC, Zone: s.Zone}, i, m.Index); err != nil {
		return err
	}
	groups, err := c.groupsFor(tx, caller, s.VPC, m.Groups)
	if err != nil {
		return err
	}
	_, err = c.newInterface(tx, interfaceSpec{
		Owner: caller.Account, Subnet: s, Addr: m.Addr, Secondary: m.Secondary, SecondaryCount: m.SecondaryCount, Type: vpc.TypeInterface,
		IPv6: m.IPv6.orAssigned(s), Tracking: m.Tracking, Groups: groups, Description: m.Description, Tags: tags, Attachment: a,
	})
	return err
}
