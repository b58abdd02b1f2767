// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

const changers = 20

// together runs fn for 0 to changers-1 at once; each must succeed.
func together(t *testing.T, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range changers {
		wg.Go(func() {
			if err := fn(i); err != nil {
				t.Errorf("change %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestConcurrentChangesOfOneEndpointLoseNothing(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	cfg := f.Config
	cfg.Quotas.GroupsPerInterface = 16
	f.Control = control.New(cfg)
	f.live()
	subnet := func(i int) vpc.SubnetID { return vpc.SubnetID(fmt.Sprintf("subnet-%017x", 0x100+i)) }
	group := func(i int) vpc.GroupID { return vpc.GroupID(fmt.Sprintf("sg-%017x", 0x100+i)) }
	table := func(i int) vpc.RouteTableID { return vpc.RouteTableID(fmt.Sprintf("rtb-%017x", 0x100+i)) }
	me := controltest.Consumer
	f.put(func(tx *store.Tx) {
		r, _ := vpc.Get[vpc.Region](tx, vpc.RegionKey)
		r = vpc.Edit(r)
		r.Zones = nil
		for i := range changers {
			zone := fmt.Sprintf("us-east-1%c", 'a'+i)
			r.Zones = append(r.Zones, vpc.Zone{Name: zone, ID: fmt.Sprintf("use1-az%d", i+1)})
			controltest.PutSubnet(tx, &vpc.Subnet{ID: subnet(i), Owner: me.Account, VPC: f.vpc, CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(100 + i), 0}), 24), Zone: zone})
			tx.Put(&vpc.SecurityGroup{ID: group(i), Owner: me.Account, VPC: f.vpc, Name: fmt.Sprint("g", i)})
			tx.Put(&vpc.RouteTable{ID: table(i), Owner: me.Account, VPC: f.vpc, Routes: []vpc.Route{
				{CIDR: netip.MustParsePrefix("10.0.0.0/16"), TargetKind: vpc.TargetLocal, Origin: "CreateRouteTable"}}})
		}
		tx.Put(r)
	})
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s3Name})
	g := f.create(control.CreateEndpointInput{ServiceName: s3Name})
	together(t, func(i int) error {
		if err := f.CreateTags(f.ctx, me, []string{string(e.ID)}, vpc.Tags{fmt.Sprint("t", i): "x"}); err != nil {
			return err
		}
		in := control.ModifyEndpointInput{ID: e.ID, AddSubnets: []vpc.SubnetID{subnet(i)}}
		if i < 15 {
			in.AddGroups = []vpc.GroupID{group(i)}
		}
		if err := f.ModifyEndpoint(f.ctx, me, in); err != nil {
			return err
		}
		return f.ModifyEndpoint(f.ctx, me, control.ModifyEndpointInput{ID: g.ID, AddRouteTables: []vpc.RouteTableID{table(i)}})
	})
	got := f.endpoint(e.ID)
	if len(got.Tags) != changers || len(got.Nodes) != changers || len(got.Groups) != 16 {
		t.Errorf("%d tags, %d subnets and %d groups, want %d, %d and 16", len(got.Tags), len(got.Nodes), len(got.Groups), changers, changers)
	}
	for _, n := range got.Nodes {
		o, ok := vpc.Get[vpc.NetworkInterface](f.View(), n.Interface)
		if !ok || len(o.Groups) != 16 {
			t.Errorf("the interface in %s has the groups %v", n.Subnet, o.Groups)
		}
	}
	if n := len(f.endpoint(g.ID).RouteTables); n != changers {
		t.Errorf("%d route tables, want %d", n, changers)
	}
	for i := range changers {
		if r, _ := vpc.Get[vpc.RouteTable](f.View(), table(i)); len(r.Routes) != 2 {
			t.Errorf("table %d has the routes %+v", i, r.Routes)
		}
	}
	// And all of it away again.
	together(t, func(i int) error {
		in := control.ModifyEndpointInput{ID: e.ID, RemoveSubnets: []vpc.SubnetID{subnet(i)}}
		if i < 15 {
			in.RemoveGroups = []vpc.GroupID{group(i)}
		}
		if err := f.ModifyEndpoint(f.ctx, me, in); err != nil {
			return err
		}
		return f.ModifyEndpoint(f.ctx, me, control.ModifyEndpointInput{ID: g.ID, RemoveRouteTables: []vpc.RouteTableID{table(i)}})
	})
	if got = f.endpoint(e.ID); len(got.Nodes) != 0 || len(got.Groups) != 1 || len(f.endpoint(g.ID).RouteTables) != 0 {
		t.Errorf("after removal: %d subnets, groups %v, tables %v", len(got.Nodes), got.Groups, f.endpoint(g.ID).RouteTables)
	}
}

// Two servers get the same call with the same token at the same moment.
func TestOneTokenMakesOneEndpointOnTwoServers(t *testing.T) {
	t.Parallel()
	one, two, clock := controltest.NewCluster(t)
	f := endpointsOn(t, one, clock)
	if _, err := two.Store.WaitFor(f.ctx, f.View().Revision()); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		in := control.CreateEndpointInput{VPC: f.vpc, ServiceName: s3Name, ClientToken: fmt.Sprint("token", i), Tags: vpc.Tags{"round": fmt.Sprint(i)}}
		var wg sync.WaitGroup
		var made [4]*vpc.Endpoint
		for n := range made {
			wg.Go(func() {
				var err error
				if made[n], err = []*control.Control{one, two}[n%2].CreateEndpoint(f.ctx, controltest.Consumer, in); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, e := range made {
			if e == nil || e.ID != made[0].ID {
				t.Fatalf("round %d: the calls made %v", i, made)
			}
		}
	}
	n := 0
	for range vpc.By[vpc.Endpoint](two.View(), vpc.IndexOwner, controltest.Consumer.Account) {
		n++
	}
	if n != 10 {
		t.Errorf("%d endpoints of 10 tokens", n)
	}
}

// A server dies between the commit and the answer; the client asks the next one.
func TestTokenFindsWhatADeadServerMade(t *testing.T) {
	t.Parallel()
	one, two, clock := controltest.NewCluster(t)
	f := endpointsOn(t, one, clock)
	in := control.CreateEndpointInput{VPC: f.vpc, Type: vpc.InterfaceEndpoint, ServiceName: s3Name, Subnets: []vpc.SubnetID{subnetA}, ClientToken: "again"}
	// A live host that never answers keeps the call from returning after its commit.
	one.Hosts.Report(control.HostStatus{Host: "slow", Seen: clock.Now()})
	ctx, die := context.WithCancel(f.ctx)
	answered := make(chan struct{})
	go func() { defer close(answered); one.CreateEndpoint(ctx, controltest.Consumer, in) }()
	var made vpc.EndpointID
	f.await("the endpoint", func(v vpc.View) bool {
		for e := range vpc.By[vpc.Endpoint](v, vpc.IndexOwner, controltest.Consumer.Account) {
			made = e.ID
		}
		return made != ""
	})
	die()
	<-answered
	if _, err := two.Store.WaitFor(f.ctx, f.View().Revision()); err != nil {
		t.Fatal(err)
	}
	e, err := two.CreateEndpoint(f.ctx, controltest.Consumer, in)
	if err != nil || e.ID != made {
		t.Fatalf("%v %v, want %s", e, err, made)
	}
	in.Subnets = nil
	_, err = two.CreateEndpoint(f.ctx, controltest.Consumer, in)
	fails(t, err, vpc.TokenMismatch, "ClientToken")
}

func TestClientTokensAreForgottenAfterADay(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	tokens := func() int {
		n := 0
		for range vpc.All[vpc.ClientToken](f.View()) {
			n++
		}
		return n
	}
	forget := func() bool {
		t.Helper()
		more, err := f.ForgetTokens(f.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return more
	}
	in := control.CreateEndpointInput{VPC: f.vpc, ServiceName: s3Name, ClientToken: "t"}
	first := f.create(in)
	f.clock.Advance(24*time.Hour - time.Second)
	forget()
	if e := f.create(in); e.ID != first.ID {
		t.Error("a token was forgotten within a day")
	}
	f.put(func(tx *store.Tx) {
		for i := range 1200 {
			tx.Put(&vpc.ClientToken{Account: "1", Action: "a", Token: fmt.Sprint(i), Created: f.clock.Now().Add(-48 * time.Hour)})
		}
	})
	before := tokens()
	for _, more := range []bool{true, true, false} {
		if got := forget(); got != more {
			t.Errorf("more to forget: %v, want %v", got, more)
		}
		if before-tokens() > 500 {
			t.Errorf("%d tokens were forgotten at once", before-tokens())
		}
		before = tokens()
	}
	if before != 1 {
		t.Errorf("%d tokens left, want the one within a day", before)
	}
	f.clock.Advance(time.Second)
	forget()
	if n := tokens(); n != 0 {
		t.Errorf("%d tokens after a day", n)
	}
	if e := f.create(in); e.ID == first.ID {
		t.Error("a forgotten token was remembered")
	}
}
