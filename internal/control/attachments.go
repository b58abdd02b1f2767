// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"strings"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// MaxInterfaces bounds the interfaces of an instance, and their device
// indexes: the largest of AWS's instance types have 15.
const MaxInterfaces = 15

// AttachInterface puts an instance that is starting or running behind one more
// interface, and answers the attachment's id.
func (c *Control) AttachInterface(ctx context.Context, caller Caller, eni vpc.InterfaceID, instance vpc.InstanceID, index int) (string, error) {
	var id string
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		n, err := ownInterface(tx, caller, eni)
		if err != nil {
			return err
		}
		i, err := Owned[vpc.Instance](tx, caller, instance)
		if err != nil {
			return err
		}
		if err := checkAttach(tx, n, i, index); err != nil {
			return err
		}
		if id, err = c.newID(vpc.PrefixAttachment); err != nil {
			return err
		}
		n = vpc.Edit(n)
		n.Attachment = &vpc.Attachment{ID: id, Instance: i.ID, DeviceIndex: index, Time: c.Now(), Host: i.Host}
		tx.Put(n)
		tx.Touch(i) // against a second one with this index, and the instance's end
		return nil
	})
	return id, err
}

func checkAttach(v vpc.View, n *vpc.NetworkInterface, i *vpc.Instance, index int) error {
	switch {
	case n.Attachment != nil:
		return vpc.Errorf(vpc.InUse, "attached-interface", string(n.ID), "Interface: [%s] in use.", n.ID)
	case i.State != vpc.InstancePending && i.State != vpc.InstanceRunning:
		return vpc.Errorf(vpc.WrongState, string(vpc.KindInstance), string(i.ID), "The instance '%s' is %s; an interface can be attached only to one that is pending or running.", i.ID, i.State)
	case n.Zone != i.Zone:
		return vpc.Errorf(vpc.Combination, "networkInterfaceId", string(n.ID),
			"You may not attach a network interface to an instance if they are not in the same availability zone: %s is in %s, %s in %s", n.ID, n.Zone, i.ID, i.Zone)
	case n.VPC != i.VPC:
		return vpc.Errorf(vpc.Unsupported, "NetworkInterfaceId", string(n.ID), "Attaching an interface of another VPC is not supported: %s is in %s, %s in %s", n.ID, n.VPC, i.ID, i.VPC)
	case index < 0 || index >= MaxInterfaces:
		return vpc.Errorf(vpc.Limit, "attachment", string(i.ID), "Value (%d) for parameter deviceIndex is invalid: an instance has at most %d interfaces.", index, MaxInterfaces)
	}
	for o := range vpc.By[vpc.NetworkInterface](v, vpc.IndexInstance, i.ID) {
		if o.Attachment.DeviceIndex == index {
			return vpc.Errorf(vpc.Invalid, "deviceIndex", string(i.ID), "Instance '%s' already has an interface attached at device index '%d'.", i.ID, index)
		}
	}
	return nil
}

// managedAttachment is the prefix of the ids that attachments of endpoints and
// load balancers are shown with.
const managedAttachment = "ela-attach-"

// attachmentOf finds the caller's interface with an attachment that a user may
// change: one to an instance.
func attachmentOf(v vpc.View, caller Caller, id string) (*vpc.NetworkInterface, error) {
	if rest, ok := strings.CutPrefix(id, managedAttachment); ok {
		if n, err := Owned[vpc.NetworkInterface](v, caller, vpc.PrefixInterface+"-"+rest); err == nil && n.RequesterManaged {
			return nil, managedInterface(n)
		}
	}
	n, ok := vpc.First[vpc.NetworkInterface](v, "attachment", id)
	if ok {
		// By its key again: in a transaction only that makes the commit depend on it.
		if n, err := Owned[vpc.NetworkInterface](v, caller, n.ID); err == nil {
			if n.Attachment.Instance == "" {
				return nil, vpc.Errorf(vpc.NotPermitted, "attachment", id, "The attachment '%s' was made by the operator of this installation, who alone can change it.", id)
			}
			return n, nil
		}
	}
	return nil, vpc.Errorf(vpc.NotFound, "attachment", id, "The attachment ID '%s' does not exist", id)
}

// DetachInterface takes an interface other than the primary one from its
// instance. The call returns when the instance no longer has it.
func (c *Control) DetachInterface(ctx context.Context, caller Caller, attachment string) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		n, err := attachmentOf(tx, caller, attachment)
		if err != nil {
			return err
		}
		if n.Attachment.DeviceIndex == 0 {
			return vpc.Errorf(vpc.NotPermitted, "attachment", attachment, "The network interface at device index 0 and networkCard index 0 cannot be detached.")
		}
		n = vpc.Edit(n)
		n.Attachment = nil
		tx.Put(n)
		return nil
	})
}

// AttachmentChange says what becomes of an attached interface when its
// instance ends.
type AttachmentChange struct {
	ID                  string
	DeleteOnTermination bool
}

// apply changes an interface's attachment, which must be the one that is named.
func (ch AttachmentChange) apply(v vpc.View, caller Caller, n *vpc.NetworkInterface) error {
	o, err := attachmentOf(v, caller, ch.ID)
	if err != nil {
		return err
	}
	if o.ID != n.ID {
		return vpc.Errorf(vpc.NotFound, "attachment", ch.ID, "The attachment ID '%s' is not that of network interface '%s'", ch.ID, n.ID)
	}
	n.Attachment.DeleteOnTermination = ch.DeleteOnTermination
	return nil
}
