// SPDX-License-Identifier: Apache-2.0

package control

import (
	"cmp"
	"context"
	"net/netip"
	"path"
	"strings"
	"unicode/utf8"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// CreateInterfaceInput are the parameters of CreateNetworkInterface.
type CreateInterfaceInput struct {
	Subnet    vpc.SubnetID
	Addr      netip.Addr   // the zero Addr takes the next free one
	Secondary []netip.Addr `json:",omitempty"`
	// SecondaryCount is how many free addresses to add.
	SecondaryCount int                    `json:",omitempty"`
	IPv6           IPv6Request            `json:",omitzero"`
	Tracking       vpc.ConnectionTracking `json:",omitzero"`
	Groups         []vpc.GroupID
	Description    string
	Tags           vpc.Tags
	Token          string `json:"-"`
}

// CreateInterface makes an unattached network interface.
func (c *Control) CreateInterface(ctx context.Context, caller Caller, in CreateInterfaceInput) (vpc.InterfaceID, error) {
	if err := checkDescription(in.Description); err != nil {
		return "", err
	}
	if err := checkSecondary(in.Secondary, in.SecondaryCount); err != nil {
		return "", err
	}
	if err := in.IPv6.check(); err != nil {
		return "", err
	}
	if err := checkTracking(in.Tracking); err != nil {
		return "", err
	}
	if err := checkToken(in.Token); err != nil {
		return "", err
	}
	var id vpc.InterfaceID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		old, err := remembered(tx, caller, "CreateNetworkInterface", in.Token, in)
		if err != nil {
			return err
		}
		if old != "" {
			id = vpc.InterfaceID(old)
			_, err := Owned[vpc.NetworkInterface](tx, caller, id)
			return err
		}
		s, err := Owned[vpc.Subnet](tx, caller, in.Subnet)
		if err != nil {
			return err
		}
		groups, err := c.groupsFor(tx, caller, s.VPC, in.Groups)
		if err != nil {
			return err
		}
		n, err := c.newInterface(tx, interfaceSpec{
			Owner: caller.Account, Subnet: s, Addr: in.Addr, Type: vpc.TypeInterface,
			Secondary: in.Secondary, SecondaryCount: in.SecondaryCount, IPv6: in.IPv6.orAssigned(s), Tracking: in.Tracking,
			Groups: groups, Description: in.Description, Tags: in.Tags,
		})
		if err != nil {
			return err
		}
		id = n.ID
		c.remember(tx, caller, "CreateNetworkInterface", in.Token, in, string(id))
		return nil
	})
	return id, err
}

func checkDescription(s string) error {
	if utf8.RuneCountInString(s) > 255 {
		return vpc.Errorf(vpc.Invalid, "description", "", "Value for parameter description is invalid. It has more than 255 characters.")
	}
	return nil
}

// ownInterface finds an interface of the caller that the caller may change:
// one that no endpoint, load balancer or NAT gateway owns.
func ownInterface(v vpc.View, caller Caller, id vpc.InterfaceID) (*vpc.NetworkInterface, error) {
	n, err := Owned[vpc.NetworkInterface](v, caller, id)
	if err != nil {
		return nil, err
	}
	if n.RequesterManaged {
		return nil, managedInterface(n)
	}
	return n, nil
}

func managedInterface(n *vpc.NetworkInterface) error {
	return vpc.Errorf(vpc.NotPermitted, string(vpc.KindInterface), string(n.ID),
		"You are not allowed to manage 'ela-attach' attachments. Network interface '%s' is managed by AWS.", n.ID)
}

// DeleteInterface removes an interface that is attached to nothing.
func (c *Control) DeleteInterface(ctx context.Context, caller Caller, id vpc.InterfaceID) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		n, err := ownInterface(tx, caller, id)
		if err != nil {
			return err
		}
		if n.Attachment != nil {
			return vpc.Errorf(vpc.InUse, string(vpc.KindInterface), string(id), "Network interface '%s' is currently in use.", id)
		}
		deleteInterface(tx, n)
		return nil
	})
}

// InterfaceChange is a change of one attribute; the others are nil.
type InterfaceChange struct {
	Description     *string
	SourceDestCheck *bool
	Groups          []vpc.GroupID
	Attachment      *AttachmentChange
	// Tracking are new idle times; those that are 0 stay as they are.
	Tracking *vpc.ConnectionTracking
}

// ModifyInterface changes an attribute of an interface.
func (c *Control) ModifyInterface(ctx context.Context, caller Caller, id vpc.InterfaceID, ch InterfaceChange) error {
	if ch.Description != nil {
		if err := checkDescription(*ch.Description); err != nil {
			return err
		}
	}
	if ch.Tracking != nil {
		if err := checkTracking(*ch.Tracking); err != nil {
			return err
		}
	}
	return c.update(ctx, caller, func(tx *store.Tx) error {
		n, err := ownInterface(tx, caller, id)
		if err != nil {
			return err
		}
		n = vpc.Edit(n)
		if t := ch.Tracking; t != nil {
			n.Tracking.TCPEstablished = cmp.Or(t.TCPEstablished, n.Tracking.TCPEstablished)
			n.Tracking.UDP = cmp.Or(t.UDP, n.Tracking.UDP)
			n.Tracking.UDPStream = cmp.Or(t.UDPStream, n.Tracking.UDPStream)
		}
		if ch.Description != nil {
			n.Description = *ch.Description
		}
		if ch.SourceDestCheck != nil {
			n.SourceDestCheck = *ch.SourceDestCheck
		}
		if ch.Attachment != nil {
			if err := ch.Attachment.apply(tx, caller, n); err != nil {
				return err
			}
		}
		if len(ch.Groups) > 0 {
			if n.Groups, err = c.groupsFor(tx, caller, n.VPC, ch.Groups); err != nil {
				return err
			}
		}
		tx.Put(n)
		return nil
	})
}

// operatorsInterface finds any account's interface for the operator, who alone
// may tie one to something on a host.
func operatorsInterface(tx *store.Tx, caller Caller, id vpc.InterfaceID) (*vpc.NetworkInterface, error) {
	if !caller.Operator {
		return nil, vpc.Errorf(vpc.Denied, "", "", "Only the operator may attach what exists on a host to a network interface.")
	}
	n, ok := vpc.Get[vpc.NetworkInterface](tx, id)
	if !ok {
		return nil, NotFound(vpc.KindInterface, string(id))
	}
	if n.RequesterManaged {
		return nil, managedInterface(n)
	}
	return n, nil
}

// checkWorkload wants exactly one of the three, and one that can exist.
func checkWorkload(w vpc.ExternalWorkload) error {
	n := 0
	for _, set := range []bool{w.Netns != "", w.PID != 0, w.Ifname != ""} {
		if set {
			n++
		}
	}
	switch {
	case n != 1:
		return vpc.Errorf(vpc.Combination, "workload", "", "name exactly one of a network namespace, a process and a device")
	case w.PID < 0:
		return vpc.Errorf(vpc.Invalid, "pid", "", "%d is no process id", w.PID)
	case w.Netns != "" && (!path.IsAbs(w.Netns) || strings.ContainsRune(w.Netns, 0)):
		return vpc.Errorf(vpc.Invalid, "netns", w.Netns, "%q is not the absolute path of a network namespace", w.Netns)
	case len(w.Ifname) > 15 || strings.ContainsFunc(w.Ifname, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r > '~' }):
		return vpc.Errorf(vpc.Invalid, "ifname", w.Ifname, "%q is no device name", w.Ifname)
	}
	return nil
}

// AttachExternal puts something that exists on a host behind an interface, of
// any account. The caller must be the operator.
func (c *Control) AttachExternal(ctx context.Context, caller Caller, eni vpc.InterfaceID, w vpc.ExternalWorkload, host vpc.HostID) error {
	if err := checkWorkload(w); err != nil {
		return err
	}
	return c.update(ctx, caller, func(tx *store.Tx) error {
		n, err := operatorsInterface(tx, caller, eni)
		if err != nil {
			return err
		}
		if n.Attachment != nil {
			return vpc.Errorf(vpc.InUse, string(vpc.KindInterface), string(eni), "Network interface '%s' is currently in use.", eni)
		}
		// Two attachments of one device conflict by this.
		if err := c.onHost(tx, host, n.Zone); err != nil {
			return err
		}
		// A device leads to one interface; a namespace may hold several.
		for other := range vpc.By[vpc.NetworkInterface](tx, vpc.IndexHost, host) {
			if x := other.Attachment.External; w.Ifname != "" && x != nil && x.Ifname == w.Ifname {
				return vpc.Errorf(vpc.Conflict, "ifname", w.Ifname, "device %s of host %s already belongs to network interface %s", w.Ifname, host, other.ID)
			}
		}
		id, err := c.newID(vpc.PrefixAttachment)
		if err != nil {
			return err
		}
		n = vpc.Edit(n)
		n.Attachment = &vpc.Attachment{ID: id, Time: c.Now(), Host: host, External: &w}
		tx.Put(n)
		return nil
	})
}

// DetachExternal takes what AttachExternal put behind an interface away. The
// caller must be the operator.
func (c *Control) DetachExternal(ctx context.Context, caller Caller, eni vpc.InterfaceID) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		n, err := operatorsInterface(tx, caller, eni)
		if err != nil {
			return err
		}
		if n.Attachment == nil || n.Attachment.External == nil {
			return vpc.Errorf(vpc.NotFound, "attachment", string(eni), "Network interface '%s' is attached to nothing that exists outside Postern", eni)
		}
		n = vpc.Edit(n)
		n.Attachment = nil
		tx.Put(n)
		return nil
	})
}
