// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.OpenEmbedded(context.Background(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newVPC(id string, n vpc.VNI) *vpc.VPC {
	return &vpc.VPC{ID: vpc.VPCID(id), Owner: "111122223333", VNI: n,
		CIDRs: []vpc.CIDRAssociation{{ID: "a", CIDR: netip.MustParsePrefix("10.0.0.0/16")}}}
}

func newSubnet(id, v string) *vpc.Subnet {
	return &vpc.Subnet{ID: vpc.SubnetID(id), Owner: "111122223333", VPC: vpc.VPCID(v), CIDR: netip.MustParsePrefix("10.0.1.0/24")}
}

func newENI(id, subnet, v, addr string) *vpc.NetworkInterface {
	return &vpc.NetworkInterface{ID: vpc.InterfaceID(id), VPC: vpc.VPCID(v), Subnet: vpc.SubnetID(subnet),
		Addr: netip.MustParseAddr(addr), MAC: id}
}

func put(t *testing.T, s *store.Store, os ...vpc.Object) error {
	t.Helper()
	_, err := s.Update(context.Background(), func(tx *store.Tx) error {
		for _, o := range os {
			tx.Put(o)
		}
		return nil
	})
	return err
}

func kind(err error) vpc.ErrorKind {
	var e *vpc.Error
	errors.As(err, &e)
	if e == nil {
		return ""
	}
	return e.Kind
}

func TestStoreKeepsTheRulesOfReferenceAndClaim(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := put(t, s, newSubnet("subnet-1", "vpc-1")); kind(err) != vpc.NotFound {
		t.Fatalf("a subnet without its VPC: got %v, want NotFound", err)
	}
	if err := put(t, s, newVPC("vpc-1", 0x1000), newSubnet("subnet-1", "vpc-1")); err != nil {
		t.Fatal(err)
	}
	if err := put(t, s, newVPC("vpc-2", 0x1000)); kind(err) != vpc.Duplicate {
		t.Fatalf("a VNI twice: got %v, want Duplicate", err)
	}
	if err := put(t, s, newENI("eni-1", "subnet-1", "vpc-1", "10.0.1.4")); err != nil {
		t.Fatal(err)
	}
	if err := put(t, s, newENI("eni-2", "subnet-1", "vpc-1", "10.0.1.4")); kind(err) != vpc.Duplicate {
		t.Fatalf("an address twice: got %v, want Duplicate", err)
	}
	del := func(o vpc.Object) error {
		_, err := s.Update(context.Background(), func(tx *store.Tx) error { tx.Delete(o); return nil })
		return err
	}
	if err := del(newSubnet("subnet-1", "vpc-1")); kind(err) != vpc.InUse {
		t.Fatalf("delete a used subnet: got %v, want InUse", err)
	}
	// The index follows the object, in the snapshot and after a restart.
	check := func(s *store.Store) {
		t.Helper()
		n := 0
		for e := range vpc.By[vpc.NetworkInterface](s.Snapshot(), vpc.IndexSubnet, "subnet-1") {
			n++
			if e.ID != "eni-1" {
				t.Errorf("found %s", e.ID)
			}
		}
		if n != 1 {
			t.Errorf("found %d interfaces by subnet, want 1", n)
		}
	}
	check(s)
	s.Close()
	s = open(t, dir)
	defer s.Close()
	check(s)
	if err := del(newENI("eni-1", "subnet-1", "vpc-1", "10.0.1.4")); err != nil {
		t.Fatal(err)
	}
	if err := del(newSubnet("subnet-1", "vpc-1")); err != nil {
		t.Fatal(err)
	}
	// The address is free again.
	if err := put(t, s, newSubnet("subnet-1", "vpc-1"), newENI("eni-2", "subnet-1", "vpc-1", "10.0.1.4")); err != nil {
		t.Fatal(err)
	}
}

func TestConcurrentUpdatesLoseNothing(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	if err := put(t, s, newVPC("vpc-1", 0x1000)); err != nil {
		t.Fatal(err)
	}
	const writers, each = 8, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				_, err := s.Update(context.Background(), func(tx *store.Tx) error {
					v, _ := vpc.Get[vpc.VPC](tx, "vpc-1")
					v = vpc.Edit(v)
					if v.Tags == nil {
						v.Tags = vpc.Tags{}
					}
					v.Tags[fmt.Sprintf("%d-%d", w, i)] = "x"
					tx.Put(v)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	v, _ := vpc.Get[vpc.VPC](s.Snapshot(), "vpc-1")
	if len(v.Tags) != writers*each {
		t.Errorf("%d tags after %d writes: an update was lost", len(v.Tags), writers*each)
	}
}

// A parent deleted and a child written at the same moment must not both win.
func TestDeleteAndReferRace(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	for i := range 20 {
		v := newVPC(fmt.Sprintf("vpc-%d", i), vpc.VNI(0x2000+i))
		if err := put(t, s, v); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var delErr, putErr error
		wg.Go(func() {
			_, delErr = s.Update(context.Background(), func(tx *store.Tx) error { tx.Delete(v); return nil })
		})
		wg.Go(func() { putErr = put(t, s, newSubnet(fmt.Sprintf("subnet-%d", i), string(v.ID))) })
		wg.Wait()
		if (delErr == nil) == (putErr == nil) {
			t.Fatalf("delete: %v, refer: %v; exactly one must win", delErr, putErr)
		}
	}
}

// Two servers on one etcd, the second through the client of a cluster.
func TestTwoServersShareOneStore(t *testing.T) {
	dir := t.TempDir()
	one := open(t, dir)
	defer one.Close()
	two, err := store.OpenCluster(context.Background(), []string{"unix://" + dir + "/client.sock"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	rev, err := two.Update(context.Background(), func(tx *store.Tx) error {
		tx.Put(newVPC("vpc-1", 0x1000))
		tx.Put(newSubnet("subnet-1", "vpc-1"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	snap, err := one.WaitFor(context.Background(), rev)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := vpc.Get[vpc.Subnet](snap, "subnet-1"); !ok {
		t.Error("the first server does not see what the second wrote")
	}
	// Both want the same address at the same moment, many times over.
	for i := range 20 {
		addr := fmt.Sprintf("10.0.1.%d", 10+i)
		var wg sync.WaitGroup
		var errs [2]error
		for n, s := range []*store.Store{one, two} {
			wg.Go(func() { errs[n] = put(t, s, newENI(fmt.Sprintf("eni-%d-%d", i, n), "subnet-1", "vpc-1", addr)) })
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("%s: %v and %v; exactly one must win", addr, errs[0], errs[1])
		}
	}
}
