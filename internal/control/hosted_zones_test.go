// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

func newVPC(t *testing.T, c *control.Control, caller control.Caller) vpc.VPCID {
	t.Helper()
	id, err := c.CreateVPC(t.Context(), caller, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newZone(t *testing.T, c *control.Control, name string, id vpc.VPCID) *vpc.HostedZone {
	t.Helper()
	z, _, err := c.CreateZone(t.Context(), controltest.Consumer, control.CreateZoneInput{Name: name, CallerReference: name, VPC: id})
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func record(action, name string, t vpc.RecordType, values ...string) control.RecordChange {
	ttl := int64(60)
	return control.RecordChange{Action: action, Name: name, Type: t, TTL: &ttl, Values: values}
}

// Hosts read a zone again when it was written: no record comes or goes without.
func TestWhateverChangesRecordsWritesTheirZone(t *testing.T) {
	t.Parallel()
	c, _ := controltest.New(t)
	z := newZone(t, c, "example.com", newVPC(t, c, controltest.Consumer))
	for i, change := range []control.RecordChange{
		record(control.CreateRecords, "a.example.com", "A", "10.0.0.1"),
		record(control.UpsertRecords, "a.example.com", "A", "10.0.0.2"),
		record(control.DeleteRecords, "a.example.com", "A", "10.0.0.2"),
	} {
		before := c.View().Changed(vpc.KindHostedZone, string(z.ID))
		if _, err := c.ChangeRecordSets(t.Context(), controltest.Consumer, z.ID, "", []control.RecordChange{change}); err != nil {
			t.Fatal(err)
		}
		now := c.View().Changed(vpc.KindHostedZone, string(z.ID))
		if now <= before || now < c.View().Changed(vpc.KindRecordSet, vpc.RecordSetKey(z.ID, "a.example.com", "A")) {
			t.Errorf("change %d: the zone was written at %d and %d", i, before, now)
		}
	}
}

// A change is in sync when the resolver of every live host answers by it, and
// not before: what the datapath has applied says nothing of names.
func TestAChangeIsDoneWhenEveryLiveResolverAnswersByIt(t *testing.T) {
	t.Parallel()
	c, clock := controltest.New(t)
	z := newZone(t, c, "example.com", newVPC(t, c, controltest.Consumer))
	for _, h := range []vpc.HostID{"quick", "slow"} {
		c.Hosts.Report(control.HostStatus{Host: h, Seen: clock.Now(), Applied: c.View().Revision(), Named: c.View().Revision()})
	}
	change, err := c.ChangeRecordSets(t.Context(), controltest.Consumer, z.ID, "why", []control.RecordChange{record(control.CreateRecords, "a.example.com", "A", "10.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	done := func() bool {
		t.Helper()
		got, done, err := c.DNSChange(c.View(), controltest.Consumer, change.ID)
		if err != nil || got.Comment != "why" || !got.Submitted.Equal(clock.Now()) {
			t.Fatalf("%+v, %v", got, err)
		}
		return done
	}
	if done() {
		t.Error("done before a host has it")
	}
	rev := c.View().Changed(vpc.KindDNSChange, change.ID)
	if rev < c.View().Changed(vpc.KindRecordSet, vpc.RecordSetKey(z.ID, "a.example.com", "A")) {
		t.Error("the change is written before its records")
	}
	c.Hosts.Report(control.HostStatus{Host: "quick", Seen: clock.Now(), Applied: rev, Named: rev})
	c.Hosts.Report(control.HostStatus{Host: "slow", Seen: clock.Now(), Applied: rev, Named: rev - 1})
	if done() {
		t.Error("done before the resolver of the slow host answers by it")
	}
	c.Hosts.Report(control.HostStatus{Host: "slow", Seen: clock.Now(), Applied: rev, Named: rev})
	if !done() {
		t.Error("not done although both answer by it")
	}
}

func TestChangesAreForgottenAfterADay(t *testing.T) {
	t.Parallel()
	c, clock := controltest.New(t)
	_, change, err := c.CreateZone(t.Context(), controltest.Consumer, control.CreateZoneInput{Name: "example.com", CallerReference: "x", VPC: newVPC(t, c, controltest.Consumer)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		after time.Duration
		kept  bool
	}{{24*time.Hour - time.Second, true}, {time.Second, false}} {
		clock.Advance(tc.after)
		if more, err := c.ForgetDNSChanges(t.Context()); more || err != nil {
			t.Fatal(more, err)
		}
		if _, _, err := c.DNSChange(c.View(), controltest.Consumer, change.ID); (err == nil) != tc.kept {
			t.Errorf("after %v more: %v", tc.after, err)
		}
	}
}

// Two servers, and many calls at once: one zone of a name per VPC, one record
// set of a name and type, and a count that is right.
func TestRacingChangesOfZonesBreakNoInvariant(t *testing.T) {
	t.Parallel()
	one, two, _ := controltest.NewCluster(t)
	id := newVPC(t, one, controltest.Consumer)
	if _, err := two.Store.WaitFor(t.Context(), one.View().Revision()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for i, c := range []*control.Control{one, two, one, two} {
		wg.Go(func() {
			_, _, err := c.CreateZone(context.Background(), controltest.Consumer, control.CreateZoneInput{Name: "example.com", CallerReference: fmt.Sprint(i), VPC: id})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else if control.KindOf(err) != vpc.Conflict {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Fatalf("%d zones of one name for a VPC", made)
	}
	if _, err := two.Store.WaitFor(t.Context(), one.View().Revision()); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Store.WaitFor(t.Context(), two.View().Revision()); err != nil {
		t.Fatal(err)
	}
	z, ok := vpc.First[vpc.HostedZone](one.View(), vpc.IndexVPC, id)
	if !ok {
		t.Fatal("no zone")
	}
	made = 0
	for i, c := range []*control.Control{one, two, one, two, one, two, one, two} {
		wg.Go(func() {
			name, kind, value := "a.example.com", vpc.RecordType("A"), "10.0.0.1"
			if i%4 > 1 { // a CNAME beside it would be one too many
				kind, value = "CNAME", "b.example.com"
			}
			_, err := c.ChangeRecordSets(context.Background(), controltest.Consumer, z.ID, "", []control.RecordChange{
				record(control.CreateRecords, name, kind, value), record(control.CreateRecords, fmt.Sprintf("n%d.example.com", i), "A", "10.0.0.2"),
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else if control.KindOf(err) != vpc.Invalid {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("%d batches were made, all of which have a.example.com", made)
	}
	// One deletes the zone while the other fills it: either wins.
	for r := range vpc.By[vpc.RecordSet](one.View(), vpc.IndexZone, z.ID) {
		if r.Name != z.Name {
			if _, err := one.ChangeRecordSets(t.Context(), controltest.Consumer, z.ID, "", []control.RecordChange{record(control.DeleteRecords, r.Name, r.Type, r.Values...)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := two.Store.WaitFor(t.Context(), one.View().Revision()); err != nil {
		t.Fatal(err)
	}
	var errs [2]error
	wg.Go(func() { _, errs[0] = one.DeleteZone(context.Background(), controltest.Consumer, z.ID) })
	wg.Go(func() {
		_, errs[1] = two.ChangeRecordSets(context.Background(), controltest.Consumer, z.ID, "", []control.RecordChange{record(control.CreateRecords, "late.example.com", "A", "10.0.0.1")})
	})
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Errorf("deleting: %v, filling: %v", errs[0], errs[1])
	}
}

func TestQuotasOfHostedZones(t *testing.T) {
	t.Parallel()
	c, _ := controltest.New(t)
	c.Quotas.HostedZones, c.Quotas.RecordSetsPerZone = 2, 3
	id := newVPC(t, c, controltest.Consumer)
	z := newZone(t, c, "one.example", id)
	newZone(t, c, "two.example", id)
	_, _, err := c.CreateZone(t.Context(), controltest.Consumer, control.CreateZoneInput{Name: "three.example", CallerReference: "3", VPC: id})
	fails(t, err, vpc.Limit, string(vpc.KindHostedZone))
	change := func(changes ...control.RecordChange) error {
		_, err := c.ChangeRecordSets(t.Context(), controltest.Consumer, z.ID, "", changes)
		return err
	}
	if err := change(record(control.CreateRecords, "a.one.example", "A", "10.0.0.1")); err != nil {
		t.Fatal(err)
	}
	err = change(record(control.CreateRecords, "b.one.example", "A", "10.0.0.1"))
	if fails(t, err, vpc.Invalid, "change-batch"); !strings.Contains(err.Error(), "limit of 3") {
		t.Error(err)
	}
	if err := change(record(control.DeleteRecords, "a.one.example", "A", "10.0.0.1"), record(control.CreateRecords, "b.one.example", "A", "10.0.0.1")); err != nil {
		t.Error(err)
	}
	many := make([]vpc.VPCID, 300)
	for i := range many {
		many[i] = vpc.VPCID(fmt.Sprintf("vpc-%017x", i))
	}
	_, err = c.Store.Update(t.Context(), func(tx *store.Tx) error {
		z, _ := vpc.Get[vpc.HostedZone](tx, z.ID)
		z = vpc.Edit(z)
		z.VPCs = many
		tx.Put(z)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.AssociateZone(t.Context(), controltest.Consumer, z.ID, newVPC(t, c, controltest.Consumer), "")
	fails(t, err, vpc.Limit, "vpc-association")
}

// Endpoints with private names and hosted zones share the names of a VPC.
func TestPrivateNamesOfEndpointsConflictWithHostedZones(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	const name = "s3.us-east-1.amazonaws.com"
	in := control.CreateEndpointInput{VPC: f.vpc, Type: vpc.InterfaceEndpoint, ServiceName: s3Name, Subnets: []vpc.SubnetID{subnetA}, PrivateDNS: yes()}
	zone := func(reference string) (*vpc.HostedZone, error) {
		z, _, err := f.CreateZone(f.ctx, controltest.Consumer, control.CreateZoneInput{Name: name, CallerReference: reference, VPC: f.vpc})
		return z, err
	}
	z, err := zone("before")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.CreateEndpoint(f.ctx, controltest.Consumer, in)
	fails(t, err, vpc.Conflict, "private-dns")
	if _, err := f.DeleteZone(f.ctx, controltest.Consumer, z.ID); err != nil {
		t.Fatal(err)
	}
	f.create(in)
	_, err = zone("after")
	if fails(t, err, vpc.Conflict, string(vpc.KindHostedZone)); !strings.Contains(err.Error(), "vpce-") {
		t.Error(err)
	}
	if z := newZone(t, f.Control, "example.com", f.vpc); z.Name != "example.com" {
		t.Errorf("made %+v", z)
	}
}

func TestAliasesLeadToNamesOfTheInstallation(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	r := f.Region()
	e := f.create(control.CreateEndpointInput{VPC: f.vpc, Type: vpc.InterfaceEndpoint, ServiceName: s3Name, Subnets: []vpc.SubnetID{subnetA}})
	f.put(func(tx *store.Tx) {
		controltest.PutBalancer(tx, &vpc.LoadBalancer{ARN: "arn:aws:elasticloadbalancing:us-east-1:111111111111:loadbalancer/net/Web/0123456789abcdef", Owner: controltest.Consumer.Account,
			Name: "Web", Suffix: "0123456789abcdef", VPC: f.vpc, Nodes: []vpc.BalancerNode{{Zone: "us-east-1a", Subnet: subnetA, Addr: netip.MustParseAddr("10.0.1.77")}}})
	})
	z := newZone(t, f.Control, "example.com", f.vpc)
	suffix := ".s3.us-east-1.vpce.amazonaws.com"
	for i, tc := range []struct {
		zone  vpc.HostedZoneID
		name  string
		found bool
	}{
		{vpc.EndpointZoneID(r), e.DNSLabel + suffix, true},
		{vpc.EndpointZoneID(r), strings.ToUpper(e.DNSLabel) + suffix + ".", true},
		{vpc.EndpointZoneID(r), "*." + e.DNSLabel + suffix, true},
		{vpc.EndpointZoneID(r), "bucket." + e.DNSLabel + suffix, true},
		{vpc.EndpointZoneID(r), e.DNSLabel + "-us-east-1a" + suffix, true},
		{vpc.EndpointZoneID(r), e.DNSLabel + "-us-east-1b" + suffix, false},
		{vpc.EndpointZoneID(r), e.DNSLabel + ".example.org", false},
		{vpc.EndpointZoneID(r), "s3.us-east-1.amazonaws.com", false},
		{vpc.EndpointZoneID(r), string(e.ID) + suffix, false},
		{vpc.BalancerZoneID(r), "Web-0123456789abcdef.elb.us-east-1.amazonaws.com", true},
		{vpc.BalancerZoneID(r), "dualstack.web-0123456789abcdef.elb.us-east-1.amazonaws.com", true},
		{vpc.BalancerZoneID(r), "us-east-1a.web-0123456789abcdef.elb.us-east-1.amazonaws.com", true},
		{vpc.BalancerZoneID(r), "us-east-1b.web-0123456789abcdef.elb.us-east-1.amazonaws.com", false},
		{vpc.BalancerZoneID(r), "web-0123456789abcdef.example.org", false},
		{vpc.BalancerZoneID(r), e.DNSLabel + suffix, false},
		{vpc.EndpointZoneID(r), "web-0123456789abcdef.elb.us-east-1.amazonaws.com", false},
	} {
		_, err := f.ChangeRecordSets(f.ctx, controltest.Consumer, z.ID, "", []control.RecordChange{{Action: control.CreateRecords, Name: fmt.Sprintf("n%d.example.com", i), Type: "A", Alias: &vpc.Alias{Zone: tc.zone, Name: tc.name}}})
		if (err == nil) != tc.found || err != nil && !strings.Contains(err.Error(), "target was not found") {
			t.Errorf("%s in %s: %v", tc.name, tc.zone, err)
		}
	}
}

// What an alias led to may be gone, or go with it: that is no reason to keep it.
func TestAnAliasToNothingCanBeReplaced(t *testing.T) {
	t.Parallel()
	c, _ := controltest.New(t)
	z := newZone(t, c, "example.com", newVPC(t, c, controltest.Consumer))
	alias := func(action, target string) control.RecordChange {
		return control.RecordChange{Action: action, Name: "a.example.com", Type: "A", Alias: &vpc.Alias{Zone: z.ID, Name: target}}
	}
	one, two := record(control.CreateRecords, "one.example.com", "A", "10.0.0.1"), record(control.CreateRecords, "two.example.com", "A", "10.0.0.2")
	gone := record(control.DeleteRecords, "one.example.com", "A", "10.0.0.1")
	for i, batch := range [][]control.RecordChange{
		{one, two, alias(control.CreateRecords, "one.example.com")},
		{gone, alias(control.DeleteRecords, "one.example.com"), alias(control.CreateRecords, "two.example.com")},
		{one, alias(control.UpsertRecords, "one.example.com")},
		{gone},
		{alias(control.DeleteRecords, "one.example.com"), alias(control.CreateRecords, "two.example.com")},
	} {
		if _, err := c.ChangeRecordSets(t.Context(), controltest.Consumer, z.ID, "", batch); err != nil {
			t.Errorf("batch %d: %v", i, err)
		}
	}
}

// What is said of a batch is bounded, however much is wrong with it.
func TestWhatIsSaidOfABatchIsBounded(t *testing.T) {
	t.Parallel()
	c, _ := controltest.New(t)
	z := newZone(t, c, "example.com", newVPC(t, c, controltest.Consumer))
	var changes []control.RecordChange
	for range 1000 {
		changes = append(changes, record(control.CreateRecords, strings.Repeat("x", 1000), "A", "?"))
	}
	_, err := c.ChangeRecordSets(t.Context(), controltest.Consumer, z.ID, "", changes)
	var e *vpc.Error
	if !errors.As(err, &e) || len(e.Message) > 20_000 || !strings.Contains(e.Message, "and 980 more") {
		t.Errorf("%d bytes: %.300v", len(err.Error()), err)
	}
}
