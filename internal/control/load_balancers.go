// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// BalancerRequester is the requester of load balancer nodes' interfaces.
const BalancerRequester = "amazon-elb"

// elbService is the service in the ARNs of load balancing.
const elbService = "elasticloadbalancing"

// ELBKind is the kind of object a load balancing ARN names, false if it is no
// such ARN.
func ELBKind(arn vpc.ARN) (vpc.Kind, bool) {
	p := strings.SplitN(string(arn), ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[2] != elbService || len(arn) > 256 {
		return "", false
	}
	for prefix, kind := range map[string]vpc.Kind{
		"loadbalancer/": vpc.KindBalancer, "targetgroup/": vpc.KindTargetGroup, "listener/": vpc.KindListener,
	} {
		if strings.HasPrefix(p[5], prefix) {
			return kind, true
		}
	}
	return "", false
}

// newSuffix makes the 16 hexadecimal digits at the end of an ARN.
func (c *Control) newSuffix() (string, error) {
	var b [8]byte
	if _, err := io.ReadFull(c.Random, b[:]); err != nil {
		return "", fmt.Errorf("read random bytes for an ARN: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// checkELBName refuses names that load balancers and target groups cannot have.
func checkELBName(what, name string) error {
	ok := name != "" && len(name) <= 32 && !strings.HasPrefix(name, "-") && !strings.HasSuffix(name, "-")
	for _, r := range name {
		ok = ok && (r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}
	if !ok {
		return vpc.Errorf(vpc.Invalid, "Name", name,
			"The %s name '%.40s' must have 1 to 32 characters, letters, digits and hyphens, and must not begin or end with a hyphen", what, name)
	}
	return nil
}

// BalancerSubnet is one subnet of a load balancer. The zero Addr takes a free one.
type BalancerSubnet struct {
	Subnet vpc.SubnetID
	Addr   netip.Addr
	Addr6  netip.Addr // of a dualstack load balancer
}

// fitsBalancer refuses a subnet that does not go with the load balancer's IP
// address type, or an address.
func fitsBalancer(lb *vpc.LoadBalancer, s *vpc.Subnet, in BalancerSubnet) error {
	switch {
	case in.Addr.IsValid() && lb.Scheme != "internal":
		return vpc.Errorf(vpc.Combination, "PrivateIPv4Address", "", "A private IPv4 address can be specified only for an internal load balancer")
	case in.Addr6.IsValid() && !lb.DualStack:
		return vpc.Errorf(vpc.Combination, "IPv6Address", "", "An IPv6 address can be specified only for a load balancer with the IP address type 'dualstack'")
	case lb.DualStack && !s.HasIPv6():
		return vpc.Errorf(vpc.Invalid, "ipv6-subnet", string(s.ID), "You must specify subnets with an associated IPv6 CIDR block: '%s' has none", s.ID)
	}
	return nil
}

// CreateBalancerInput are the parameters of CreateLoadBalancer.
type CreateBalancerInput struct {
	Name    string
	Scheme  string // kept only: "internet-facing" (also "") or "internal"
	Subnets []BalancerSubnet
	// DualStack is the IP address type dualstack; else it is ipv4.
	DualStack bool
	Groups    []vpc.GroupID
	Tags      vpc.Tags
}

// CreateBalancer makes a network load balancer with one node per subnet. A
// second call with the same name and settings answers the first one's.
func (c *Control) CreateBalancer(ctx context.Context, caller Caller, in CreateBalancerInput) (vpc.ARN, error) {
	if err := checkELBName("load balancer", in.Name); err != nil {
		return "", err
	}
	if strings.HasPrefix(in.Name, "internal-") {
		return "", vpc.Errorf(vpc.Invalid, "Name", in.Name, "The load balancer name '%s' must not begin with 'internal-'", in.Name)
	}
	if in.Scheme == "" {
		in.Scheme = "internet-facing"
	}
	if len(in.Subnets) == 0 {
		return "", vpc.Errorf(vpc.Missing, "Subnets", "", "At least one subnet must be specified")
	}
	var arn vpc.ARN
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		if same, ok := vpc.First[vpc.LoadBalancer](tx, vpc.IndexName, string(caller.Account)+"/"+in.Name); ok {
			if !sameBalancer(same, in) {
				return vpc.Errorf(vpc.Duplicate, string(vpc.KindBalancer), in.Name,
					"A load balancer with the same name '%s' exists, but with different settings", in.Name)
			}
			arn = same.ARN
			return nil
		}
		if count[vpc.LoadBalancer](tx, vpc.IndexOwner, caller.Account) >= c.Quotas.LoadBalancers {
			return vpc.Errorf(vpc.Limit, string(vpc.KindBalancer), "", "The maximum number of load balancers has been reached: %d", c.Quotas.LoadBalancers)
		}
		suffix, err := c.newSuffix()
		if err != nil {
			return err
		}
		lb := &vpc.LoadBalancer{
			ARN:   vpc.ARN(RegionOf(tx).ARN(elbService, caller.Account, "loadbalancer/net/"+in.Name+"/"+suffix)),
			Owner: caller.Account, Name: in.Name, Suffix: suffix, Scheme: in.Scheme, DualStack: in.DualStack, Created: c.Now(), Tags: in.Tags,
		}
		subnets, err := balancerSubnets(tx, caller, in.Subnets)
		if err != nil {
			return err
		}
		lb.VPC = subnets[0].VPC
		if len(in.Groups) > 0 {
			if lb.Groups, err = c.groupsFor(tx, caller, lb.VPC, in.Groups); err != nil {
				return err
			}
			lb.EnforceOnPrivateLink = "on"
		}
		if err := c.addBalancerNodes(tx, lb, subnets, in.Subnets); err != nil {
			return err
		}
		arn = lb.ARN
		tx.Put(lb)
		return nil
	})
	return arn, err
}

// count counts the objects under (index, value).
func count[T any, P object[T], K ~string](v vpc.View, index string, value K) int {
	n := 0
	for range v.Lookup(P(nil).Kind(), index, string(value)) {
		n++
	}
	return n
}

// sameBalancer reports whether a call to create asks for what exists.
func sameBalancer(lb *vpc.LoadBalancer, in CreateBalancerInput) bool {
	if lb.Scheme != in.Scheme || lb.DualStack != in.DualStack || len(lb.Nodes) != len(in.Subnets) || !maps.Equal(lb.Tags, in.Tags) {
		return false
	}
	for _, s := range in.Subnets {
		if !slices.ContainsFunc(lb.Nodes, func(n vpc.BalancerNode) bool {
			return n.Subnet == s.Subnet && (!s.Addr.IsValid() || s.Addr == n.Addr) && (!s.Addr6.IsValid() || s.Addr6 == n.Addr6)
		}) {
			return false
		}
	}
	want, have := unique(in.Groups), slices.Clone(lb.Groups)
	slices.Sort(want)
	slices.Sort(have)
	return slices.Equal(want, have)
}

// balancerSubnets finds the subnets: the caller's, of one VPC, one per zone.
func balancerSubnets(tx *store.Tx, caller Caller, in []BalancerSubnet) ([]*vpc.Subnet, error) {
	var out []*vpc.Subnet
	zones := map[string]bool{}
	for _, b := range in {
		s, err := Owned[vpc.Subnet](tx, caller, b.Subnet)
		if err != nil {
			return nil, err
		}
		if zones[s.Zone] {
			return nil, vpc.Errorf(vpc.Combination, "Subnets", string(s.ID), "A load balancer cannot be attached to multiple subnets in the same Availability Zone")
		}
		zones[s.Zone] = true
		if len(out) > 0 && out[0].VPC != s.VPC {
			return nil, vpc.Errorf(vpc.Combination, "Subnets", string(s.ID), "All subnets must belong to the same VPC: '%s'", out[0].VPC)
		}
		out = append(out, s)
	}
	return out, nil
}

// addBalancerNodes gives a load balancer a node in each of the subnets.
func (c *Control) addBalancerNodes(tx *store.Tx, lb *vpc.LoadBalancer, subnets []*vpc.Subnet, in []BalancerSubnet) error {
	for i, s := range subnets {
		if err := fitsBalancer(lb, s, in[i]); err != nil {
			return err
		}
		n, err := c.newInterface(tx, interfaceSpec{
			Owner: lb.Owner, Subnet: s, Addr: in[i].Addr, Type: vpc.TypeBalancer, Groups: lb.Groups,
			Description: "ELB net/" + lb.Name + "/" + lb.Suffix, RequesterID: BalancerRequester, Balancer: lb.ARN,
		})
		if err != nil {
			return err
		}
		node := vpc.BalancerNode{Zone: s.Zone, Subnet: s.ID, Interface: n.ID, Addr: n.Addr}
		if lb.DualStack {
			if node.Addr6, err = c.addIPv6(tx, n.ID, s, in[i].Addr6); err != nil {
				return err
			}
		}
		lb.Nodes = append(lb.Nodes, node)
	}
	slices.SortFunc(lb.Nodes, func(a, b vpc.BalancerNode) int { return strings.Compare(a.Zone, b.Zone) })
	return nil
}

func dropBalancerNode(tx *store.Tx, n vpc.BalancerNode) {
	if eni, ok := vpc.Get[vpc.NetworkInterface](tx, n.Interface); ok {
		tx.Delete(eni)
	}
}

// DeleteBalancer removes a load balancer with its listeners and nodes; target
// groups stay. Deleting one that does not exist succeeds, as in AWS.
func (c *Control) DeleteBalancer(ctx context.Context, caller Caller, arn vpc.ARN) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		lb, err := Owned[vpc.LoadBalancer](tx, caller, arn)
		if err != nil {
			return nil
		}
		if lb.Attribute(vpc.AttrDeletionProtection) == "true" {
			return vpc.Errorf(vpc.NotPermitted, string(vpc.KindBalancer), string(arn), "Load balancer '%s' cannot be deleted because deletion protection is enabled", arn)
		}
		if s, ok := vpc.First[vpc.EndpointService](tx, vpc.IndexBalancer, arn); ok {
			return vpc.Errorf(vpc.InUse, string(vpc.KindBalancer), string(arn),
				"Load balancer '%s' cannot be deleted because it is currently associated with another service: VPC endpoint service '%s'", arn, s.ID)
		}
		for l := range vpc.By[vpc.Listener](tx, vpc.IndexBalancer, arn) {
			deleteListener(tx, l)
		}
		for _, n := range lb.Nodes {
			dropBalancerNode(tx, n)
		}
		tx.Delete(lb)
		return nil
	})
}

// editBalancer runs fn on a private copy of the caller's load balancer and
// stores it.
func (c *Control) editBalancer(ctx context.Context, caller Caller, arn vpc.ARN, fn func(*store.Tx, *vpc.LoadBalancer) error) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		lb, err := Owned[vpc.LoadBalancer](tx, caller, arn)
		if err != nil {
			return err
		}
		lb = vpc.Edit(lb)
		if err := fn(tx, lb); err != nil {
			return err
		}
		tx.Put(lb)
		return nil
	})
}

// SetBalancerAttributes sets attributes; keys that are not given stay.
func (c *Control) SetBalancerAttributes(ctx context.Context, caller Caller, arn vpc.ARN, set map[string]string) error {
	return c.editBalancer(ctx, caller, arn, func(_ *store.Tx, lb *vpc.LoadBalancer) error {
		var err error
		lb.Attributes, err = BalancerAttributes.set(lb, lb.Attributes, set)
		return err
	})
}

// SetBalancerGroups replaces the security groups of a load balancer that was
// made with some. enforce, "on" or "off", says whether they judge what comes
// through endpoints; "" leaves it.
func (c *Control) SetBalancerGroups(ctx context.Context, caller Caller, arn vpc.ARN, groups []vpc.GroupID, enforce string) error {
	return c.editBalancer(ctx, caller, arn, func(tx *store.Tx, lb *vpc.LoadBalancer) error {
		if len(lb.Groups) == 0 {
			return vpc.Errorf(vpc.Combination, "SecurityGroups", string(arn), "Security groups cannot be set for load balancer '%s', which was created without any", arn)
		}
		if len(groups) == 0 {
			return vpc.Errorf(vpc.Combination, "SecurityGroups", string(arn), "At least one security group must be specified")
		}
		ids, err := c.groupsFor(tx, caller, lb.VPC, groups)
		if err != nil {
			return err
		}
		lb.Groups = ids
		if enforce != "" {
			lb.EnforceOnPrivateLink = enforce
		}
		for _, n := range lb.Nodes {
			if eni, ok := vpc.Get[vpc.NetworkInterface](tx, n.Interface); ok {
				eni = vpc.Edit(eni)
				eni.Groups = ids
				tx.Put(eni)
			}
		}
		return nil
	})
}

// SetBalancerAddressType makes a load balancer dualstack or ipv4. Its nodes get
// IPv6 addresses or lose them.
func (c *Control) SetBalancerAddressType(ctx context.Context, caller Caller, arn vpc.ARN, dualStack bool) error {
	return c.editBalancer(ctx, caller, arn, func(tx *store.Tx, lb *vpc.LoadBalancer) error {
		return c.setDualStack(tx, lb, dualStack, nil)
	})
}

// setDualStack changes the IP address type and the nodes there are. chosen are
// the subnets with the addresses that were asked for.
func (c *Control) setDualStack(tx *store.Tx, lb *vpc.LoadBalancer, dualStack bool, chosen []BalancerSubnet) error {
	if lb.DualStack == dualStack {
		return nil
	}
	if !dualStack {
		if s, ok := vpc.First[vpc.EndpointService](tx, vpc.IndexBalancer, lb.ARN); ok && s.IPv6 {
			return vpc.Errorf(vpc.Combination, "IpAddressType", string(lb.ARN),
				"The IP address type of load balancer '%s' cannot be 'ipv4' because VPC endpoint service '%s' supports ipv6", lb.ARN, s.ID)
		}
	}
	for l := range vpc.By[vpc.Listener](tx, vpc.IndexBalancer, lb.ARN) {
		if g, ok := vpc.Get[vpc.TargetGroup](tx, l.TargetGroup); ok {
			if err := checkFamilies(lb, dualStack, g); err != nil {
				return err
			}
		}
	}
	lb.DualStack = dualStack
	for i := range lb.Nodes {
		n := &lb.Nodes[i]
		if !dualStack {
			removeIPv6(tx, n.Interface, n.Addr6)
			n.Addr6 = netip.Addr{}
			continue
		}
		s, ok := vpc.Get[vpc.Subnet](tx, n.Subnet)
		if !ok {
			return NotFound(vpc.KindSubnet, string(n.Subnet))
		}
		in := BalancerSubnet{}
		if at := slices.IndexFunc(chosen, func(b BalancerSubnet) bool { return b.Subnet == n.Subnet }); at >= 0 {
			in.Addr6 = chosen[at].Addr6
		}
		if err := fitsBalancer(lb, s, in); err != nil {
			return err
		}
		var err error
		if n.Addr6, err = c.addIPv6(tx, n.Interface, s, in.Addr6); err != nil {
			return err
		}
	}
	return nil
}

// SetBalancerSubnets replaces the subnets, and the IP address type if dualStack
// is not nil. Nodes in subnets that stay are kept with their addresses. A zone
// cannot be left while an endpoint service uses the load balancer: its
// endpoints have interfaces there.
func (c *Control) SetBalancerSubnets(ctx context.Context, caller Caller, arn vpc.ARN, in []BalancerSubnet, dualStack *bool) error {
	if len(in) == 0 {
		return vpc.Errorf(vpc.Missing, "Subnets", "", "At least one subnet must be specified")
	}
	return c.editBalancer(ctx, caller, arn, func(tx *store.Tx, lb *vpc.LoadBalancer) error {
		subnets, err := balancerSubnets(tx, caller, in)
		if err != nil {
			return err
		}
		if subnets[0].VPC != lb.VPC {
			return vpc.Errorf(vpc.Combination, "Subnets", string(subnets[0].ID), "The subnets must belong to the load balancer's VPC: '%s'", lb.VPC)
		}
		to := *lb // as it is to be
		if dualStack != nil {
			to.DualStack = *dualStack
		}
		var kept []vpc.BalancerNode
		var added []*vpc.Subnet
		var addedIn []BalancerSubnet
		for i, s := range subnets {
			at := slices.IndexFunc(lb.Nodes, func(n vpc.BalancerNode) bool { return n.Subnet == s.ID })
			if at < 0 {
				added, addedIn = append(added, s), append(addedIn, in[i])
				continue
			}
			if err := fitsBalancer(&to, s, in[i]); err != nil {
				return err
			}
			if n := lb.Nodes[at]; in[i].Addr.IsValid() && in[i].Addr != n.Addr || in[i].Addr6.IsValid() && n.Addr6.IsValid() && in[i].Addr6 != n.Addr6 {
				return vpc.Errorf(vpc.Combination, "PrivateIPv4Address", "", "The address of the load balancer in subnet '%s' cannot be changed", s.ID)
			}
			kept = append(kept, lb.Nodes[at])
		}
		service, used := vpc.First[vpc.EndpointService](tx, vpc.IndexBalancer, arn)
		for _, n := range lb.Nodes {
			if slices.Contains(kept, n) {
				continue
			}
			if used && !slices.ContainsFunc(added, func(s *vpc.Subnet) bool { return s.Zone == n.Zone }) {
				return vpc.Errorf(vpc.InUse, string(vpc.KindBalancer), string(arn),
					"Availability Zone '%s' cannot be disabled for load balancer '%s' because VPC endpoint service '%s' uses it", n.Zone, arn, service.ID)
			}
			dropBalancerNode(tx, n)
			forgetNode(tx, arn, n.Zone)
		}
		lb.Nodes = kept
		if err := c.setDualStack(tx, lb, to.DualStack, in); err != nil {
			return err
		}
		return c.addBalancerNodes(tx, lb, added, addedIn)
	})
}

// activeTime bounds how long AwaitBalancer waits.
const activeTime = time.Second

// AwaitBalancer waits until a load balancer is active, if nothing but a moment
// is missing: every host carries its nodes already. Clients that wait
// themselves would look again after many seconds.
func (c *Control) AwaitBalancer(ctx context.Context, arn vpc.ARN) {
	ctx, cancel := context.WithTimeout(ctx, activeTime)
	defer cancel()
	for {
		snap, changed := c.Store.Changed()
		lb, ok := vpc.Get[vpc.LoadBalancer](snap, arn)
		if !ok || lb.Active {
			return
		}
		if carried, _ := c.balancerCarried(snap, lb); !carried {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// balancerCarried reports whether every live host carries a load balancer's
// nodes, and if not why.
func (c *Control) balancerCarried(snap *store.Snapshot, lb *vpc.LoadBalancer) (bool, string) {
	var nodes []string
	for _, n := range lb.Nodes {
		nodes = append(nodes, string(n.Interface))
	}
	return c.holds(snap, c.LocalHost, snap.Changed(vpc.KindBalancer, string(lb.ARN)), nodes...)
}

// RunBalancerLifecycle brings load balancing forward until ctx is done, and
// then returns its error:
//
//	load balancer, not active  every live host carries its nodes     active
//	target, draining           its deregistration delay has passed   removed, with its health
//	target, unhealthy.draining its draining interval has passed      unhealthy
//
// Like RunEndpointLifecycle it is driven by the store and the hosts' status.
func (c *Control) RunBalancerLifecycle(ctx context.Context) error {
	stuck := stuckLog{c: c, kind: "load balancer"}
	return c.levelTriggered(ctx, func(ctx context.Context, snap *store.Snapshot) time.Duration {
		return c.stepBalancers(ctx, snap, &stuck)
	})
}

func (c *Control) stepBalancers(ctx context.Context, snap *store.Snapshot, stuck *stuckLog) time.Duration {
	var next wait
	stuck.begin()
	for lb := range vpc.All[vpc.LoadBalancer](snap) {
		if lb.Active {
			continue
		}
		if ok, why := c.balancerCarried(snap, lb); !ok {
			stuck.waits(string(lb.ARN), why)
			continue
		}
		_, err := c.Store.Update(ctx, func(tx *store.Tx) error {
			// A balancer whose nodes changed meanwhile has another pass coming.
			if now, ok := vpc.Get[vpc.LoadBalancer](tx, lb.ARN); ok && !now.Active && slices.Equal(now.Nodes, lb.Nodes) {
				now = vpc.Edit(now)
				now.Active = true
				tx.Put(now)
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			c.Log.Warn("load balancer not advanced, trying again", "load balancer", lb.ARN, "error", err)
			next.sooner(retryTime)
		}
	}
	c.stepTargets(ctx, snap, &next)
	return time.Duration(next)
}
