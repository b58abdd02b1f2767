// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

// zone is public DNS as a test writes it.
type zone struct {
	mu      sync.Mutex
	records map[string][]string
	down    bool
	asked   []string
}

func (z *zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked = append(z.asked, name)
	if z.down {
		return nil, errors.New("no answer")
	}
	return z.records[name], nil
}

func (z *zone) set(down bool, records map[string][]string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.down, z.records, z.asked = down, records, nil
}

func (z *zone) questions() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Clone(z.asked)
}

// withZone is the fixture with public DNS and the verification running.
func withZone(t *testing.T) (*endpoints, *zone) {
	f, z := newEndpoints(t), &zone{}
	cfg := f.Config
	cfg.TXT = z
	f.Control = control.New(cfg)
	f.live()
	ctx, cancel := context.WithCancel(f.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { f.RunNameVerification(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return f, z
}

// after moves the clock and wakes who waits for the store.
func (f *endpoints) after(d time.Duration) {
	f.t.Helper()
	f.clock.Advance(d)
	if _, err := f.CreateGroup(f.ctx, controltest.Stranger, control.CreateGroupInput{}); err == nil {
		f.t.Fatal("a group without a VPC")
	}
	if _, err := f.CreateAccount(f.ctx, "a"+strings.ToLower(time.Duration(f.View().Revision()).String()), nil); err != nil {
		f.t.Fatal(err)
	}
}

func (f *endpoints) verification(id vpc.ServiceID) vpc.DNSVerification {
	s, _ := vpc.Get[vpc.EndpointService](f.View(), id)
	return *s.Verification
}

func (f *endpoints) awaitName(id vpc.ServiceID, state string) {
	f.t.Helper()
	f.await("the name to be "+state, func(v vpc.View) bool {
		s, ok := vpc.Get[vpc.EndpointService](v, id)
		return ok && s.Verification.State == state
	})
}

// awaitLook waits until what was due has been looked for.
func (f *endpoints) awaitLook(id vpc.ServiceID) {
	f.t.Helper()
	f.await("a look at the record", func(v vpc.View) bool {
		s, ok := vpc.Get[vpc.EndpointService](v, id)
		return ok && (s.Verification.Due.IsZero() || s.Verification.Due.After(f.clock.Now()))
	})
}

func TestPrivateNameIsVerifiedByItsRecord(t *testing.T) {
	t.Parallel()
	f, z := withZone(t)
	s := f.service(false, "*.a.example.com")
	d := f.verification(s.ID)
	use := func() error {
		_, err := f.CreateEndpoint(f.ctx, controltest.Consumer, control.CreateEndpointInput{VPC: f.vpc, Type: vpc.InterfaceEndpoint,
			ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetA}, PrivateDNS: yes()})
		return err
	}
	f.after(30 * time.Second)
	f.awaitLook(s.ID)
	if got := f.verification(s.ID).State; got != vpc.DNSPendingVerification {
		t.Errorf("state %s while there is time to publish the record", got)
	}
	fails(t, use(), vpc.Invalid, "endpoint-parameter")
	want := []string{d.Name + ".a.example.com", "a.example.com", d.Name + ".example.com", "example.com"}
	if got := z.questions(); !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
	// Not quite the value.
	z.set(false, map[string][]string{"example.com": {strings.ToUpper(d.Value), d.Value + " ", strings.TrimPrefix(d.Value, "vpce:"), "v=spf1"}})
	f.after(time.Minute)
	f.awaitLook(s.ID)
	if got := f.verification(s.ID).State; got != vpc.DNSPendingVerification {
		t.Errorf("state %s with other values", got)
	}
	z.set(false, map[string][]string{"example.com": {"v=spf1", d.Value}})
	f.after(time.Minute)
	f.awaitName(s.ID, vpc.DNSVerified)
	if err := use(); err != nil {
		t.Fatal(err)
	}

	// Nobody answers a day later: that is no proof of anything.
	z.set(true, nil)
	f.after(25 * time.Hour)
	f.awaitLook(s.ID)
	if got := f.verification(s.ID).State; got != vpc.DNSVerified {
		t.Errorf("state %s when no resolver answers", got)
	}
	// The record is gone: endpoints keep the name, new ones do not get it.
	z.set(false, nil)
	f.after(25 * time.Hour)
	f.awaitName(s.ID, vpc.DNSFailed)
	fails(t, use(), vpc.Invalid, "endpoint-parameter")
	named := 0
	for e := range vpc.By[vpc.Endpoint](f.View(), vpc.IndexService, s.ID) {
		for _, n := range vpc.EndpointNamesIn(f.View(), e) {
			if n.Zone != "" {
				named++
			}
		}
	}
	if named != 1 {
		t.Errorf("%d endpoints have the name, want the one that had it", named)
	}
	// Started again it is verified again.
	z.set(false, map[string][]string{d.Name + ".example.com": {d.Value}})
	if err := f.VerifyServiceName(f.ctx, controltest.Provider, s.ID); err != nil {
		t.Fatal(err)
	}
	f.awaitName(s.ID, vpc.DNSVerified)
}

func TestPrivateNameFailsWhenAskedForOrAfterThreeDays(t *testing.T) {
	t.Parallel()
	f, z := withZone(t)
	s := f.service(false, "api.example.com")
	start := func() {
		t.Helper()
		if err := f.VerifyServiceName(f.ctx, controltest.Provider, s.ID); err != nil {
			t.Fatal(err)
		}
	}
	start()
	f.awaitName(s.ID, vpc.DNSFailed)
	z.set(true, nil)
	start()
	f.awaitLook(s.ID)
	if got := f.verification(s.ID).State; got != vpc.DNSPendingVerification {
		t.Errorf("state %s when it was asked for and no resolver answers", got)
	}
	f.after(71 * time.Hour)
	f.awaitLook(s.ID)
	if got := f.verification(s.ID).State; got != vpc.DNSPendingVerification {
		t.Errorf("state %s after 71 hours", got)
	}
	f.after(2 * time.Hour)
	f.awaitName(s.ID, vpc.DNSFailed)
	z.set(false, nil)

	// A new name waits anew, and has values of its own.
	old := f.verification(s.ID)
	if err := f.ModifyService(f.ctx, controltest.Provider, control.ModifyServiceInput{ID: s.ID, PrivateDNSName: text("b.example.com")}); err != nil {
		t.Fatal(err)
	}
	if d := f.verification(s.ID); d.State != vpc.DNSPendingVerification || d.Value == old.Value || d.Name == old.Name {
		t.Errorf("a new name has %+v, the old one had %+v", d, old)
	}
	f.after(71 * time.Hour)
	f.awaitLook(s.ID)
	f.after(2 * time.Hour)
	f.awaitName(s.ID, vpc.DNSFailed)
	// The operator's word verifies at once, without a record.
	if err := f.VerifyDomain(f.ctx, controltest.Provider.Account, "example.com"); err != nil {
		t.Fatal(err)
	}
	if got := f.verification(s.ID).State; got != vpc.DNSVerified {
		t.Errorf("state %s when the operator has vouched", got)
	}
	if err := f.UnverifyDomain(f.ctx, controltest.Provider.Account, "example.com"); err != nil {
		t.Fatal(err)
	}
	f.awaitName(s.ID, vpc.DNSFailed)
}
