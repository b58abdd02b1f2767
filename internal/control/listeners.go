// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// CreateListenerInput are the parameters of CreateListener.
type CreateListenerInput struct {
	Balancer    vpc.ARN
	Protocol    string // TCP, UDP or TCP_UDP
	Port        int
	TargetGroup vpc.ARN
	Tags        vpc.Tags
}

// CreateListener forwards a port of a load balancer to a target group. One
// port has one listener, whatever the protocol; a group serves one balancer.
func (c *Control) CreateListener(ctx context.Context, caller Caller, in CreateListenerInput) (vpc.ARN, error) {
	var arn vpc.ARN
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		lb, err := Owned[vpc.LoadBalancer](tx, caller, in.Balancer)
		if err != nil {
			return err
		}
		if count[vpc.Listener](tx, vpc.IndexBalancer, lb.ARN) >= c.Quotas.ListenersPerLoadBalancer {
			return vpc.Errorf(vpc.Limit, string(vpc.KindListener), "", "The maximum number of listeners of a load balancer has been reached: %d", c.Quotas.ListenersPerLoadBalancer)
		}
		suffix, err := c.newSuffix()
		if err != nil {
			return err
		}
		l := &vpc.Listener{
			ARN:   vpc.ARN(RegionOf(tx).ARN(elbService, caller.Account, "listener/net/"+lb.Name+"/"+lb.Suffix+"/"+suffix)),
			Owner: caller.Account, Balancer: lb.ARN, Protocol: in.Protocol, Port: in.Port, TargetGroup: in.TargetGroup, Tags: in.Tags,
		}
		arn = l.ARN
		return c.putListener(tx, caller, lb, l)
	})
	return arn, err
}

// putListener writes a listener, or refuses one that does not fit its load
// balancer, the other listeners or its target group.
func (c *Control) putListener(tx *store.Tx, caller Caller, lb *vpc.LoadBalancer, l *vpc.Listener) error {
	if l.Port < 1 || l.Port > 65535 {
		return vpc.Errorf(vpc.Invalid, "Port", "", "Port '%d' must be from 1 to 65535", l.Port)
	}
	for o := range vpc.By[vpc.Listener](tx, vpc.IndexBalancer, lb.ARN) {
		if o.Port == l.Port && o.ARN != l.ARN {
			return vpc.Errorf(vpc.Duplicate, string(vpc.KindListener), string(o.ARN), "A listener already exists on this port for this load balancer '%s'", lb.ARN)
		}
	}
	g, err := Owned[vpc.TargetGroup](tx, caller, l.TargetGroup)
	if err != nil {
		return err
	}
	if g.VPC != lb.VPC {
		return vpc.Errorf(vpc.Combination, "TargetGroupArn", string(g.ARN), "The target group '%s' is in VPC '%s', the load balancer in VPC '%s'", g.ARN, g.VPC, lb.VPC)
	}
	if err := checkFamilies(lb, lb.DualStack, g); err != nil {
		return err
	}
	tx.Touch(lb) // so that its IP address type does not change at the same moment
	if g.Protocol != l.Protocol {
		return vpc.Errorf(vpc.Combination, "protocols", string(g.ARN), "The listener protocol '%s' and the protocol '%s' of target group '%s' are incompatible", l.Protocol, g.Protocol, g.ARN)
	}
	for o := range vpc.By[vpc.Listener](tx, vpc.IndexTargetGroup, g.ARN) {
		if o.Balancer != lb.ARN {
			return vpc.Errorf(vpc.Limit, "target-group-association", string(g.ARN), "The following target groups cannot be associated with more than one load balancer: %s", g.ARN)
		}
	}
	// Two calls that give the group to two balancers must not both win.
	tx.Touch(g)
	tx.Put(l)
	if balancerTargets(tx, lb.ARN) > c.Quotas.TargetsPerLoadBalancer {
		return c.tooManyTargets()
	}
	return nil
}

// checkFamilies refuses a load balancer of an IP address type that does not go
// with a target group of one of its listeners: IPv6 targets need a dualstack
// one, and to IPv4 targets a dualstack one forwards TCP alone.
func checkFamilies(lb *vpc.LoadBalancer, dualStack bool, g *vpc.TargetGroup) error {
	switch {
	case g.IPv6 && !dualStack:
		return vpc.Errorf(vpc.Combination, "IpAddressType", string(g.ARN),
			"The target group '%s' has the IP address type 'ipv6', which requires load balancer '%s' to have the IP address type 'dualstack'", g.ARN, lb.ARN)
	case !g.IPv6 && dualStack && g.Protocol != "TCP":
		return vpc.Errorf(vpc.Combination, "IpAddressType", string(g.ARN),
			"The target group '%s' has the IP address type 'ipv4' and the protocol '%s', which cannot be used with load balancer '%s' of the IP address type 'dualstack'", g.ARN, g.Protocol, lb.ARN)
	}
	return nil
}

// ModifyListenerInput are the parameters of ModifyListener; zero fields stay.
type ModifyListenerInput struct {
	Protocol    string
	Port        int
	TargetGroup vpc.ARN
}

// ModifyListener changes a listener.
func (c *Control) ModifyListener(ctx context.Context, caller Caller, arn vpc.ARN, in ModifyListenerInput) error {
	return c.editListener(ctx, caller, arn, func(tx *store.Tx, l *vpc.Listener) error {
		lb, err := Owned[vpc.LoadBalancer](tx, caller, l.Balancer)
		if err != nil {
			return err
		}
		before := l.TargetGroup
		if in.Protocol != "" {
			l.Protocol = in.Protocol
		}
		if in.Port != 0 {
			l.Port = in.Port
		}
		if in.TargetGroup != "" {
			l.TargetGroup = in.TargetGroup
		}
		if err := c.putListener(tx, caller, lb, l); err != nil {
			return err
		}
		if before != l.TargetGroup {
			leftAlone(tx, before)
		}
		return nil
	})
}

// SetListenerAttributes sets attributes; keys that are not given stay.
func (c *Control) SetListenerAttributes(ctx context.Context, caller Caller, arn vpc.ARN, changes map[string]string) error {
	return c.editListener(ctx, caller, arn, func(_ *store.Tx, l *vpc.Listener) error {
		var err error
		l.Attributes, err = ListenerAttributes.set(l, l.Attributes, changes)
		return err
	})
}

func (c *Control) editListener(ctx context.Context, caller Caller, arn vpc.ARN, fn func(*store.Tx, *vpc.Listener) error) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		l, err := Owned[vpc.Listener](tx, caller, arn)
		if err != nil {
			return err
		}
		l = vpc.Edit(l)
		if err := fn(tx, l); err != nil {
			return err
		}
		tx.Put(l)
		return nil
	})
}

// DeleteListener removes a listener.
func (c *Control) DeleteListener(ctx context.Context, caller Caller, arn vpc.ARN) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		l, err := Owned[vpc.Listener](tx, caller, arn)
		if err != nil {
			return err
		}
		deleteListener(tx, l)
		return nil
	})
}

func deleteListener(tx *store.Tx, l *vpc.Listener) {
	tx.Delete(l)
	leftAlone(tx, l.TargetGroup)
}

// leftAlone cleans up a group that may have lost its last listener: nobody
// checks its targets any more, so what was known of their health is dropped,
// and nothing is left to drain.
func leftAlone(tx *store.Tx, arn vpc.ARN) {
	g, ok := vpc.Get[vpc.TargetGroup](tx, arn)
	if !ok || inUse(tx, arn) {
		return
	}
	forgetHealth(tx, arn, func(*vpc.Health) bool { return true })
	g = vpc.Edit(g)
	g.Targets = slices.DeleteFunc(g.Targets, func(t vpc.Target) bool { return !t.Draining.IsZero() })
	g.Cut = nil
	tx.Put(g)
}

// ELBTags finds the tags of a load balancer, target group or listener of the
// caller's.
func ELBTags(v vpc.View, caller Caller, arn vpc.ARN) (vpc.Tags, error) {
	switch kind, _ := ELBKind(arn); kind {
	case vpc.KindTargetGroup:
		g, err := Owned[vpc.TargetGroup](v, caller, arn)
		if err != nil {
			return nil, err
		}
		return g.Tags, nil
	case vpc.KindListener:
		l, err := Owned[vpc.Listener](v, caller, arn)
		if err != nil {
			return nil, err
		}
		return l.Tags, nil
	}
	lb, err := Owned[vpc.LoadBalancer](v, caller, arn)
	if err != nil {
		return nil, err
	}
	return lb.Tags, nil
}

// SetELBTags adds and removes tags of load balancing objects, all or none.
func (c *Control) SetELBTags(ctx context.Context, caller Caller, arns []vpc.ARN, add vpc.Tags, remove []string) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		for _, arn := range unique(arns) {
			old, err := ELBTags(tx, caller, arn)
			if err != nil {
				return err
			}
			tags := vpc.Tags{}
			for k, v := range old {
				if !slices.Contains(remove, k) {
					tags[k] = v
				}
			}
			for k, v := range add {
				tags[k] = v
			}
			if err := CheckTags(tags); err != nil {
				return err
			}
			putELBTags(tx, arn, tags)
		}
		return nil
	})
}

func putELBTags(tx *store.Tx, arn vpc.ARN, tags vpc.Tags) {
	if g, ok := vpc.Get[vpc.TargetGroup](tx, arn); ok {
		g = vpc.Edit(g)
		g.Tags = tags
		tx.Put(g)
	} else if l, ok := vpc.Get[vpc.Listener](tx, arn); ok {
		l = vpc.Edit(l)
		l.Tags = tags
		tx.Put(l)
	} else if lb, ok := vpc.Get[vpc.LoadBalancer](tx, arn); ok {
		lb = vpc.Edit(lb)
		lb.Tags = tags
		tx.Put(lb)
	}
}
