// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// maxUserData bounds an instance's user data, in bytes, as AWS does.
const maxUserData = 16384

// InstanceAttributes are attributes of an instance; nil and "" leave them.
type InstanceAttributes struct {
	KeepRunning      *bool  `json:",omitempty"` // disableApiTermination
	DisableAPIStop   *bool  `json:",omitempty"` // kept only
	ShutdownBehavior string `json:",omitempty"` // kept only: stop or terminate
	UserData         []byte `json:",omitempty"` // kept only, at launch
}

// HostnameChange is a change of HostnameOptions; nil leaves what there is.
type HostnameChange struct {
	Type    *string `json:",omitempty"` // vpc.IPName or vpc.ResourceName
	A, AAAA *bool   `json:",omitempty"` // records of the resource name
}

func (ch HostnameChange) apply(o *vpc.HostnameOptions) {
	set(&o.HostnameType, ch.Type)
	if o.HostnameType == vpc.IPName {
		o.HostnameType = ""
	}
	set(&o.ResourceNameA, ch.A)
	set(&o.ResourceNameAAAA, ch.AAAA)
}

func (a InstanceAttributes) check() error {
	switch {
	case len(a.UserData) > maxUserData:
		return vpc.Errorf(vpc.Invalid, "userData", "", "User data is limited to %d bytes, not %d", maxUserData, len(a.UserData))
	case a.ShutdownBehavior != "" && a.ShutdownBehavior != "stop" && a.ShutdownBehavior != "terminate":
		return vpc.Errorf(vpc.Invalid, "instanceInitiatedShutdownBehavior", a.ShutdownBehavior,
			"Value (%.64s) for parameter instanceInitiatedShutdownBehavior is invalid. It must be stop or terminate.", a.ShutdownBehavior)
	}
	return nil
}

func (a InstanceAttributes) apply(i *vpc.Instance) {
	set(&i.KeepRunning, a.KeepRunning)
	set(&i.DisableAPIStop, a.DisableAPIStop)
	if a.ShutdownBehavior != "" {
		i.ShutdownBehavior = a.ShutdownBehavior
	}
	if a.UserData != nil {
		i.UserData = a.UserData
	}
}

// InstanceChange is a change of attributes of an instance or of its primary
// interface.
type InstanceChange struct {
	InstanceAttributes
	Hostname        HostnameChange
	SourceDestCheck *bool
	Groups          []vpc.GroupID
}

// ModifyInstance changes attributes of an instance that is not ending.
func (c *Control) ModifyInstance(ctx context.Context, caller Caller, id vpc.InstanceID, ch InstanceChange) error {
	if err := ch.check(); err != nil {
		return err
	}
	return c.update(ctx, caller, func(tx *store.Tx) error {
		i, err := Owned[vpc.Instance](tx, caller, id)
		if err != nil {
			return err
		}
		if i.State != vpc.InstancePending && i.State != vpc.InstanceRunning {
			return vpc.Errorf(vpc.WrongState, string(vpc.KindInstance), string(id), "The instance '%s' is %s and cannot be modified.", id, i.State)
		}
		i = vpc.Edit(i)
		ch.apply(i)
		ch.Hostname.apply(&i.HostnameOptions)
		tx.Put(i)
		if ch.SourceDestCheck == nil && len(ch.Groups) == 0 {
			return nil
		}
		var all []*vpc.NetworkInterface
		for n := range vpc.By[vpc.NetworkInterface](tx, vpc.IndexInstance, id) {
			all = append(all, n)
		}
		if len(all) != 1 {
			return vpc.Errorf(vpc.Invalid, "instanceId", string(id),
				"There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead.", id)
		}
		n := vpc.Edit(all[0])
		if ch.SourceDestCheck != nil {
			n.SourceDestCheck = *ch.SourceDestCheck
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
