// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// maxInstances bounds one RunInstances call: it is one transaction.
const maxInstances = 100

// RunInstancesInput are the parameters of RunInstances that have an effect or
// are kept. Without Subnet and Interface the default VPC's subnet is meant.
type RunInstancesInput struct {
	Min, Max     int
	ImageID      string // kept only
	InstanceType string // kept only
	KeyName      string // kept only
	Subnet       vpc.SubnetID
	Zone         string // must be the subnet's when set
	// Host is where the operator wants it; "" chooses.
	Host       vpc.HostID `json:",omitempty"`
	Groups     []vpc.GroupID
	GroupNames []string   `json:",omitempty"` // groups of the default VPC
	Addr       netip.Addr // of the one instance; the zero Addr takes a free one
	// Secondary are further addresses of the one instance, SecondaryCount is
	// how many free ones each gets.
	Secondary      []netip.Addr `json:",omitempty"`
	SecondaryCount int          `json:",omitempty"`
	// IPv6 are the IPv6 addresses of the one instance, or how many each gets.
	IPv6        IPv6Request            `json:",omitzero"`
	Tracking    vpc.ConnectionTracking `json:",omitzero"`
	Description string                 // of the interface
	// Interface is an existing interface to use in place of a new one.
	Interface vpc.InterfaceID
	// KeepInterface is DeleteOnTermination=false.
	KeepInterface bool
	// More are interfaces besides the primary one, for each instance.
	More          []MoreInterface `json:",omitempty"`
	Attributes    InstanceAttributes
	Hostname      HostnameChange `json:",omitzero"` // of what the subnet says
	Tags          vpc.Tags
	InterfaceTags vpc.Tags
	Token         string `json:"-"`
}

// RunInstances makes between Min and Max instances, as many as the subnet has
// addresses for, and answers their reservation and ids in id order. They are
// pending until their host runs them. The same call with the same token
// answers what the first one made.
func (c *Control) RunInstances(ctx context.Context, caller Caller, in RunInstancesInput) (reservation string, ids []vpc.InstanceID, err error) {
	if err := checkRunInstances(in); err != nil {
		return "", nil, err
	}
	if err := in.checkMore(); err != nil {
		return "", nil, err
	}
	err = c.update(ctx, caller, func(tx *store.Tx) error {
		reservation = ""
		before, err := remembered(tx, caller, "RunInstances", in.Token, in)
		if err != nil || before != "" {
			reservation = before
			return err
		}
		if reservation, err = c.newID(vpc.PrefixReservation); err != nil {
			return err
		}
		if err := c.newInstances(tx, caller, reservation, in); err != nil {
			return err
		}
		c.remember(tx, caller, "RunInstances", in.Token, in, reservation)
		return nil
	})
	if err != nil {
		return "", nil, err
	}
	for i := range vpc.By[vpc.Instance](c.View(), vpc.IndexOwner, caller.Account) {
		if i.Reservation == reservation {
			ids = append(ids, i.ID)
		}
	}
	return reservation, ids, nil
}

// checkRunInstances refuses what can be refused without looking at the domain.
func checkRunInstances(in RunInstancesInput) error {
	switch {
	case in.Min < 1:
		return vpc.Errorf(vpc.Invalid, "minCount", "", "Value (%d) for parameter minCount is invalid. It must be at least 1.", in.Min)
	case in.Max < in.Min:
		return vpc.Errorf(vpc.Invalid, "maxCount", "", "Value (%d) for parameter maxCount is invalid. It must not be less than minCount.", in.Max)
	case in.Max > maxInstances:
		return vpc.Errorf(vpc.Limit, string(vpc.KindInstance), "", "You have requested more instances (%d) than one call may start (%d)", in.Max, maxInstances)
	case !strings.HasPrefix(in.ImageID, "ami-") || len(in.ImageID) > 64:
		return vpc.Errorf(vpc.Malformed, "image", in.ImageID, "Invalid id: \"%.64s\" (expecting \"ami-...\")", in.ImageID)
	case len(in.InstanceType) > 64 || len(in.KeyName) > 255 || len(in.Description) > 255:
		return vpc.Errorf(vpc.Invalid, "instanceType", "", "An instance type has at most 64 characters, a key name and a description at most 255.")
	case (in.Addr.IsValid() || len(in.Secondary) > 0 || len(in.IPv6.Addrs) > 0) && in.Max > 1:
		return vpc.Errorf(vpc.Combination, "privateIpAddress", "", "A private address can be chosen only when one instance is launched.")
	case in.Interface != "" && in.Max > 1:
		return vpc.Errorf(vpc.Combination, "networkInterfaceId", "", "A network interface can be given only when one instance is launched.")
	case in.Interface != "" && (in.Subnet != "" || len(in.Groups) > 0 || in.Addr.IsValid() || len(in.Secondary) > 0 || in.SecondaryCount != 0 || !in.IPv6.empty() || in.Tracking != (vpc.ConnectionTracking{}) || in.Description != "" || len(in.InterfaceTags) > 0):
		return vpc.Errorf(vpc.Combination, "networkInterfaceId", "", "A network interface cannot be given together with a subnet, security groups, an address, a description or tags for a new one.")
	case in.Subnet+vpc.SubnetID(in.Interface) != "" && len(in.GroupNames) > 0:
		return vpc.Errorf(vpc.Combination, "groupName", in.GroupNames[0], "The parameter groupName cannot be used with the parameter subnet")
	}
	if err := in.Attributes.check(); err != nil {
		return err
	}
	if err := checkSecondary(in.Secondary, in.SecondaryCount); err != nil {
		return err
	}
	if err := in.IPv6.check(); err != nil {
		return err
	}
	if err := checkTracking(in.Tracking); err != nil {
		return err
	}
	return checkToken(in.Token)
}

func (c *Control) newInstances(tx *store.Tx, caller Caller, reservation string, in RunInstancesInput) error {
	var have *vpc.NetworkInterface
	if in.Interface != "" {
		n, err := Owned[vpc.NetworkInterface](tx, caller, in.Interface)
		if err != nil {
			return err
		}
		if n.Attachment != nil || n.Type != vpc.TypeInterface {
			return vpc.Errorf(vpc.InUse, "attached-interface", string(n.ID), "Network interface '%s' is currently in use.", n.ID)
		}
		have = vpc.Edit(n)
		in.Subnet = n.Subnet
	}
	if in.Interface == "" && in.Subnet == "" {
		s, err := defaultSubnetFor(tx, caller, in.Zone)
		if err != nil {
			return err
		}
		in.Subnet = s.ID
	}
	named, err := DefaultGroups(tx, caller, in.GroupNames...)
	if err != nil {
		return err
	}
	in.Groups = slices.Concat(in.Groups, named)
	s, err := Owned[vpc.Subnet](tx, caller, in.Subnet)
	if err != nil {
		return err
	}
	if in.Zone != "" && in.Zone != s.Zone {
		return vpc.Errorf(vpc.Combination, "availabilityZone", in.Zone,
			"The availability zone '%.64s' is not that of subnet '%s', which is %s.", in.Zone, s.ID, s.Zone)
	}
	count := in.Max
	if have == nil {
		groups, err := c.groupsFor(tx, caller, s.VPC, in.Groups)
		if err != nil {
			return err
		}
		in.Groups = groups
		each := 1 + len(in.Secondary) + in.SecondaryCount
		if each > MaxAddresses {
			return tooManyAddresses(each)
		}
		count = min(in.Max, FreeAddresses(tx, s)/each)
	}
	if count < in.Min {
		return vpc.Errorf(vpc.NoAddress, string(vpc.KindSubnet), string(s.ID),
			"There are not enough free addresses in subnet '%s' to satisfy the requested number of instances.", s.ID)
	}
	for range count {
		if err := c.newInstance(tx, caller, reservation, s, have, in); err != nil {
			return err
		}
	}
	return nil
}

// newInstance makes one instance, behind have or behind a new interface.
func (c *Control) newInstance(tx *store.Tx, caller Caller, reservation string, s *vpc.Subnet, have *vpc.NetworkInterface, in RunInstancesInput) error {
	host := in.Host
	if host == "" {
		var err error
		if host, err = c.hostFor(tx, s.Zone); err != nil {
			return err
		}
	}
	if host != "" {
		if err := c.onHost(tx, host, s.Zone); err != nil {
			return err
		}
	}
	id, err := c.newID(vpc.PrefixInstance)
	if err != nil {
		return err
	}
	attachment, err := c.newID(vpc.PrefixAttachment)
	if err != nil {
		return err
	}
	a := &vpc.Attachment{ID: attachment, Instance: vpc.InstanceID(id), DeleteOnTermination: !in.KeepInterface, Time: c.Now(), Host: host}
	n := have
	if n != nil {
		n.Attachment = a
		tx.Put(n)
	} else if n, err = c.newInterface(tx, interfaceSpec{
		Owner: caller.Account, Subnet: s, Addr: in.Addr, Type: vpc.TypeInterface, Groups: in.Groups,
		Secondary: in.Secondary, SecondaryCount: in.SecondaryCount, IPv6: in.IPv6.orAssigned(s), Tracking: in.Tracking,
		Description: in.Description, Tags: in.InterfaceTags, Attachment: a,
	}); err != nil {
		return err
	}
	tenancy := ""
	if v, ok := vpc.Get[vpc.VPC](tx, s.VPC); ok {
		tenancy = v.Tenancy
	}
	i := &vpc.Instance{
		ID: vpc.InstanceID(id), Owner: caller.Account, Reservation: reservation, VPC: s.VPC, Subnet: s.ID, Zone: s.Zone,
		Host: host, ImageID: in.ImageID, InstanceType: in.InstanceType, KeyName: in.KeyName,
		State: vpc.InstancePending, Launched: c.Now(), Primary: n.ID, Addr: n.Addr, Tenancy: tenancy, Tags: in.Tags,
		HostnameOptions: s.HostnameOptions,
	}
	in.Hostname.apply(&i.HostnameOptions)
	in.Attributes.apply(i)
	tx.Put(i)
	for _, m := range in.More {
		if err := c.addInterface(tx, caller, i, m, in.InterfaceTags); err != nil {
			return err
		}
	}
	return nil
}

// StateChange is what TerminateInstances did to one instance.
type StateChange struct {
	ID                vpc.InstanceID
	Previous, Current vpc.InstanceState
}

// TerminateInstances begins the end of instances: their workloads are ended by
// the hosts, then the life cycle removes their interfaces. They leave their
// target groups as by DeregisterTargets. An instance that is ending or ended
// stays as it is. One unknown id refuses the whole call.
func (c *Control) TerminateInstances(ctx context.Context, caller Caller, ids []vpc.InstanceID) ([]StateChange, error) {
	var out []StateChange
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		out = nil
		seen := map[vpc.InstanceID]bool{}
		for _, id := range ids {
			if seen[id] {
				continue
			}
			seen[id] = true
			i, err := Owned[vpc.Instance](tx, caller, id)
			if err != nil {
				return err
			}
			change := StateChange{ID: id, Previous: i.State, Current: i.State}
			if i.State == vpc.InstancePending || i.State == vpc.InstanceRunning {
				if i.KeepRunning {
					return vpc.Errorf(vpc.NotPermitted, string(vpc.KindInstance), string(id),
						"The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", id)
				}
				i = vpc.Edit(i)
				i.State = vpc.InstanceShuttingDown
				tx.Put(i)
				change.Current = i.State
				for g := range vpc.By[vpc.TargetGroup](tx, "target", string(id)) {
					c.deregister(tx, g.ARN, func(t vpc.Target) bool { return t.ID == string(id) })
				}
			}
			out = append(out, change)
		}
		return nil
	})
	return out, err
}

// Workload finds a running instance and its primary interface, for entering
// its network namespace. An operator may name any account's instance.
func Workload(v vpc.View, caller Caller, id vpc.InstanceID) (*vpc.Instance, *vpc.NetworkInterface, error) {
	i, ok := vpc.Get[vpc.Instance](v, id)
	if !ok || i.Owner != caller.Account && !caller.Operator {
		return nil, nil, NotFound(vpc.KindInstance, string(id))
	}
	n, ok := vpc.Get[vpc.NetworkInterface](v, i.Primary)
	if i.State != vpc.InstanceRunning || !ok {
		return nil, nil, vpc.Errorf(vpc.WrongState, string(vpc.KindInstance), string(id), "The instance '%s' is %s, not running.", id, i.State)
	}
	return i, n, nil
}

// InstanceReachable reports whether the instance's host is connected and
// holds its interfaces without errors; with no datapath it always does.
func (c *Control) InstanceReachable(v vpc.View, i *vpc.Instance) bool {
	ok, _ := c.holds(v, i.Host, 0, instanceInterfaces(v, i)...)
	return ok
}

// instanceInterfaces names an instance's interfaces as hosts report them.
func instanceInterfaces(v vpc.View, i *vpc.Instance) []string {
	var out []string
	for n := range vpc.By[vpc.NetworkInterface](v, vpc.IndexInstance, i.ID) {
		out = append(out, string(n.ID))
	}
	return out
}

// holds reports whether every live host, and host in particular ("" is none),
// has applied revision r with no error on the named objects, and why not.
func (c *Control) holds(v vpc.View, host vpc.HostID, r vpc.Revision, objects ...string) (bool, string) {
	if host != "" {
		if status, _ := c.Hosts.Status(); !status[host].Live {
			return false, "host " + string(host) + " is not connected"
		}
	}
	return c.Hosts.AppliedByAll(r, objects...)
}
