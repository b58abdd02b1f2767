// SPDX-License-Identifier: Apache-2.0

// Package controltest gives tests a Control on a real embedded store, with a
// region, two accounts and a clock that only the test moves.
package controltest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// Accounts of every test.
var (
	Consumer = control.Caller{Account: "111111111111", Name: "consumer", ARN: "arn:aws:iam::111111111111:root"}
	Provider = control.Caller{Account: "222222222222", Name: "provider", ARN: "arn:aws:iam::222222222222:root"}
	Stranger = control.Caller{Account: "333333333333", Name: "stranger", ARN: "arn:aws:iam::333333333333:root"}
)

// Clock is a clock that stands still until Advance.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// New makes a Control in us-east-1 with zones a, b and c. When the test has
// passed, what it leaves must keep every invariant of the domain; a test that
// writes objects past the use cases, and not all that belongs to them, says so
// with HandMade.
func New(t testing.TB) (*control.Control, *Clock) {
	t.Helper()
	c, clock, _ := Open(t, t.TempDir())
	return c, clock
}

// Open is New on a store in dir, which may be there from before. stop closes
// the store; it is done at the end of the test in any case.
func Open(t testing.TB, dir string) (c *control.Control, clock *Clock, stop func()) {
	t.Helper()
	s, err := store.OpenEmbedded(context.Background(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(s.Close)
	t.Cleanup(stop)
	clock = &Clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	_, err = s.Update(context.Background(), func(tx *store.Tx) error {
		if _, ok := vpc.Get[vpc.Region](tx, vpc.RegionKey); ok {
			return nil
		}
		tx.Put(&vpc.Region{Name: "us-east-1", Domain: "vpce.amazonaws.com", DHCPOptions: "dopt-00000000000000001", Zones: []vpc.Zone{
			{Name: "us-east-1a", ID: "use1-az1"}, {Name: "us-east-1b", ID: "use1-az2"}, {Name: "us-east-1c", ID: "use1-az3"},
		}})
		for _, c := range []control.Caller{Consumer, Provider, Stranger} {
			tx.Put(&vpc.Account{ID: c.Account, Name: c.Name, Created: clock.Now()})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		if _, ok := handMade.Load(s); ok {
			return
		}
		CheckInvariants(t, s.Snapshot())
	})
	return control.New(control.Config{
		Store: s, Hosts: control.NewHosts(), Now: clock.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
	}), clock, stop
}

// NewCluster is New twice, with a store each on one etcd: two servers of one
// installation.
func NewCluster(t testing.TB) (one, two *control.Control, clock *Clock) {
	t.Helper()
	dir := t.TempDir()
	one, clock, _ = Open(t, dir)
	s, err := store.OpenCluster(context.Background(), []string{"unix://" + dir + "/client.sock"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	cfg := one.Config
	cfg.Store, cfg.Hosts = s, control.NewHosts()
	return one, control.New(cfg), clock
}

var handMade sync.Map // *store.Store of tests that are not checked

// HandMade says that a test writes objects that cannot be, or not whole ones:
// what it leaves is not held against the invariants.
func HandMade(c *control.Control) { handMade.Store(c.Store, true) }

// CheckInvariants fails the test for every invariant that a view breaks.
func CheckInvariants(t testing.TB, v vpc.View) {
	t.Helper()
	for i, err := range vpc.Invariants(v) {
		if i == 20 {
			t.Error("and more")
			return
		}
		t.Errorf("invariant broken: %v", err)
	}
}

// PutSubnet writes a subnet with an id of the test's choice and puts it into
// the default network ACL of its VPC, as CreateSubnet does.
func PutSubnet(tx *store.Tx, s *vpc.Subnet) {
	tx.Put(s)
	acl, ok := vpc.First[vpc.NetworkACL](tx, "default-of", s.VPC)
	if !ok {
		panic("controltest: " + string(s.VPC) + " has no default network ACL")
	}
	acl = vpc.Edit(acl)
	id := vpc.PrefixACLAssoc + strings.TrimPrefix(string(s.ID), vpc.PrefixSubnet)
	acl.Associations = append(acl.Associations, vpc.ACLAssociation{ID: id, Subnet: s.ID})
	tx.Put(acl)
}

// The subnets of Network.
const (
	SubnetA vpc.SubnetID = "subnet-000000000000000aa"
	SubnetB vpc.SubnetID = "subnet-000000000000000bb"
)

// Network makes a VPC of the consumer's, 10.0.0.0/16, with the subnets
// 10.0.1.0/24 in zone a and 10.0.2.0/24 in zone b, and answers it and its
// default security group.
func Network(t testing.TB, c *control.Control) (vpc.VPCID, vpc.GroupID) {
	t.Helper()
	id, err := c.CreateVPC(t.Context(), Consumer, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Store.Update(t.Context(), func(tx *store.Tx) error {
		PutSubnet(tx, &vpc.Subnet{ID: SubnetA, Owner: Consumer.Account, VPC: id, CIDR: netip.MustParsePrefix("10.0.1.0/24"), Zone: "us-east-1a"})
		PutSubnet(tx, &vpc.Subnet{ID: SubnetB, Owner: Consumer.Account, VPC: id, CIDR: netip.MustParsePrefix("10.0.2.0/24"), Zone: "us-east-1b"})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	group, _ := vpc.First[vpc.SecurityGroup](c.View(), vpc.IndexVPC, id)
	return id, group.ID
}

// PutBalancer writes a load balancer with an ARN of the test's choice, and an
// interface for each of its nodes, of which zone, subnet and address are given.
func PutBalancer(tx *store.Tx, l *vpc.LoadBalancer) {
	for i := range l.Nodes {
		n := &l.Nodes[i]
		num := vpc.Num(string(l.ARN) + n.Zone)
		n.Interface = vpc.InterfaceID(fmt.Sprintf("%s-0%016x", vpc.PrefixInterface, num))
		tx.Put(&vpc.NetworkInterface{
			ID: n.Interface, Owner: l.Owner, VPC: l.VPC, Subnet: n.Subnet, Zone: n.Zone, Type: vpc.TypeBalancer, Addr: n.Addr,
			MAC:    fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", byte(num>>32), byte(num>>24), byte(num>>16), byte(num>>8), byte(num)),
			Groups: l.Groups, RequesterManaged: true, RequesterID: control.BalancerRequester, Balancer: l.ARN,
		})
	}
	tx.Put(l)
}

// GiveIPv6 gives a VPC an IPv6 block, a /56, and each of its subnets one of its
// /64, in the order of their ids.
func GiveIPv6(tx *store.Tx, id vpc.VPCID, block netip.Prefix) {
	v, ok := vpc.Get[vpc.VPC](tx, id)
	if !ok {
		panic("controltest: no VPC " + string(id))
	}
	association := func(prefix, of string, p netip.Prefix) vpc.CIDRAssociation {
		return vpc.CIDRAssociation{ID: fmt.Sprintf("%s-0%016x", prefix, vpc.Num("ipv6 "+of)), CIDR: p}
	}
	v = vpc.Edit(v)
	v.IPv6 = append(v.IPv6, association(vpc.PrefixCIDRAssoc, string(id), block))
	tx.Put(v)
	for t := range vpc.By[vpc.RouteTable](tx, vpc.IndexVPC, id) {
		t = vpc.Edit(t)
		t.Routes = append(t.Routes, vpc.Route{CIDR: block, TargetKind: vpc.TargetLocal, Origin: "CreateRouteTable"})
		tx.Put(t)
	}
	b := block.Addr().As16()
	for s := range vpc.By[vpc.Subnet](tx, vpc.IndexVPC, id) {
		s = vpc.Edit(s)
		s.IPv6 = association(vpc.PrefixSubnetCIDRAssoc, string(s.ID), netip.PrefixFrom(netip.AddrFrom16(b), 64))
		tx.Put(s)
		b[7]++
	}
}
