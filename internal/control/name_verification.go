// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// When a service's TXT record is looked for.
const (
	firstLook   = 30 * time.Second // after the name was set: nobody can have published it before
	pendingLook = time.Minute      // while it is awaited
	pendingTime = 72 * time.Hour   // how long it is awaited
	recheckLook = 24 * time.Hour   // when it has been found
	troubleLook = 5 * time.Minute  // when no resolver answered
	lookTime    = 20 * time.Second // for all questions of one name
	looksAtOnce = 8                // at most one per account
)

// RunNameVerification looks for the TXT records of services' private DNS names
// until ctx is done, and then returns its error:
//
//	pendingVerification  found                  verified
//	pendingVerification  not there for 72 hours, or when the provider asked   failed
//	verified             no longer there        failed: endpoints that have the name keep it
//
// A resolver that does not answer changes nothing. It remembers nothing: like
// RunEndpointLifecycle it may run in more than one place.
func (c *Control) RunNameVerification(ctx context.Context) error {
	return c.levelTriggered(ctx, c.verifyNames)
}

// verifyNames looks for what is due and answers when something else will be.
func (c *Control) verifyNames(ctx context.Context, snap *store.Snapshot) time.Duration {
	if c.TXT == nil {
		return 0
	}
	now := c.Now()
	var due []*vpc.EndpointService
	var wait time.Duration
	for s := range vpc.By[vpc.EndpointService](snap, vpc.IndexNamed, "yes") {
		if s.Verification.Due.IsZero() {
			continue
		}
		if left := s.Verification.Due.Sub(now); left <= 0 {
			due = append(due, s)
		} else if wait == 0 || left < wait {
			wait = left
		}
	}
	slices.SortStableFunc(due, func(a, b *vpc.EndpointService) int { return a.Verification.Due.Compare(b.Verification.Due) })
	// One of each account: whose names resolve slowly delays nobody else much.
	var wg sync.WaitGroup
	var failed atomic.Bool
	taken := map[vpc.AccountID]bool{}
	for _, s := range due {
		if taken[s.Owner] || len(taken) == looksAtOnce {
			wait = time.Millisecond
			continue
		}
		taken[s.Owner] = true
		wg.Go(func() {
			if err := c.verifyName(ctx, s); err != nil && ctx.Err() == nil {
				failed.Store(true)
				c.Log.Warn("private DNS name not verified, trying again", "service", s.ID, "name", s.PrivateDNSName, "error", err)
			}
		})
	}
	wg.Wait()
	if failed.Load() && (wait == 0 || wait > retryTime) {
		wait = retryTime
	}
	return wait
}

// verifyName looks for one service's record and writes what follows, unless
// the service has changed meanwhile.
func (c *Control) verifyName(ctx context.Context, looked *vpc.EndpointService) error {
	found, trouble := false, error(nil)
	if !vouched(c.View(), looked.Owner, looked.PrivateDNSName) {
		found, trouble = c.findRecord(ctx, looked)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, err := c.Store.Update(ctx, func(tx *store.Tx) error {
		s, ok := vpc.Get[vpc.EndpointService](tx, looked.ID)
		if !ok || s.Verification == nil || s.Verification.Value != looked.Verification.Value ||
			!s.Verification.Due.Equal(looked.Verification.Due) || s.Verification.Asked != looked.Verification.Asked {
			return nil
		}
		s = vpc.Edit(s)
		d, now := s.Verification, c.Now()
		pending := d.State == vpc.DNSPendingVerification
		switch late := now.Sub(d.Since) >= pendingTime; {
		case found || vouched(tx, s.Owner, s.PrivateDNSName):
			c.nameVerified(d)
		case trouble != nil && !(pending && late):
			d.Due = now.Add(troubleLook)
		case trouble == nil && pending && !d.Asked && !late:
			d.Due = now.Add(pendingLook)
		default:
			d.State, d.Asked, d.Due = vpc.DNSFailed, false, time.Time{}
		}
		tx.Put(s)
		return nil
	})
	if err != nil {
		return fmt.Errorf("write service %s: %w", looked.ID, err)
	}
	if trouble != nil {
		c.Log.Info("no resolver answers for a private DNS name", "service", looked.ID, "name", looked.PrivateDNSName, "error", trouble)
	}
	return nil
}

// findRecord reports whether one of the name's domains has the record. It is
// known not to be there only when every question was answered.
func (c *Control) findRecord(ctx context.Context, s *vpc.EndpointService) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var trouble error
	for _, domain := range vpc.VerificationDomains(s.PrivateDNSName) {
		for _, name := range []string{s.Verification.Name + "." + domain, domain} {
			if len(name) > 253 {
				continue // no such name can be asked for
			}
			texts, err := c.TXT.LookupTXT(ctx, name)
			if slices.Contains(texts, s.Verification.Value) {
				return true, nil
			}
			if err != nil {
				trouble = err
			}
		}
	}
	return false, trouble
}

// VerifyServiceName checks again whether the service may have its private DNS
// name: at once if the operator vouches for the domain, else by its TXT record
// soon after the call. Endpoints that have the name keep it when the check
// fails; new ones do not get it.
func (c *Control) VerifyServiceName(ctx context.Context, caller Caller, id vpc.ServiceID) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		s, err := OwnedService(tx, caller, id)
		if err != nil {
			return err
		}
		if s.Verification == nil {
			return badEndpoint("The VPC endpoint service %s has no private DNS name to verify", id)
		}
		s = vpc.Edit(s)
		d := s.Verification
		switch {
		case vouched(tx, s.Owner, s.PrivateDNSName):
			c.nameVerified(d)
		case c.TXT == nil:
			d.State = vpc.DNSFailed
		default:
			d.Since, d.Due, d.Asked = c.Now(), c.Now(), true
			if d.State == vpc.DNSFailed {
				d.State = vpc.DNSPendingVerification
			}
		}
		tx.Put(s)
		return nil
	})
}

// nameService sets the private DNS name with new verification values.
func (c *Control) nameService(tx *store.Tx, s *vpc.EndpointService, name string) error {
	const lower = "abcdefghijklmnopqrstuvwxyz0123456789"
	record, err := c.randomText(lower, 20)
	if err != nil {
		return err
	}
	value, err := c.randomText(lower+"ABCDEFGHIJKLMNOPQRSTUVWXYZ", 20)
	if err != nil {
		return err
	}
	s.PrivateDNSName = name
	s.Verification = &vpc.DNSVerification{Name: "_" + record, Value: "vpce:" + value, State: vpc.DNSPendingVerification}
	switch {
	case vouched(tx, s.Owner, name):
		c.nameVerified(s.Verification)
	case c.TXT != nil:
		s.Verification.Since, s.Verification.Due = c.Now(), c.Now().Add(firstLook)
	}
	return nil
}

// nameVerified marks a name as its owner's until the next look.
func (c *Control) nameVerified(d *vpc.DNSVerification) {
	d.State, d.Granted, d.Asked, d.Due = vpc.DNSVerified, true, false, time.Time{}
	if c.TXT != nil {
		d.Due = c.Now().Add(recheckLook)
	}
}

// vouched reports whether the operator vouches for the account's use of a name.
func vouched(v vpc.View, owner vpc.AccountID, name string) bool {
	for d := range vpc.By[vpc.VerifiedDomain](v, vpc.IndexOwner, owner) {
		if d.Covers(name) {
			return true
		}
	}
	return false
}

// checkPrivateName refuses what cannot be a private DNS name: it has at least
// two labels in lower case, and the first may be "*". "" is no name and fine.
func checkPrivateName(name string) error {
	bad := func(why string) error {
		return badEndpoint("'%.260s' cannot be a private DNS name (PrivateDnsName): %s", name, why)
	}
	if name == "" {
		return nil
	}
	if len(name) > 255 {
		return bad("it has more than 255 characters")
	}
	labels := strings.Split(strings.TrimPrefix(name, "*."), ".")
	if len(labels) < 2 {
		return bad("it needs a domain, such as service.example.com")
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' ||
			strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return bad("each label has 1 to 63 lower-case letters, digits or hyphens")
		}
	}
	return nil
}
