// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"time"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// tokenTime is how long a client token is remembered at least.
const tokenTime = 24 * time.Hour

// Bounds of the clean-up: tokens of one transaction, and the pause between
// two looks.
const (
	tokensAtOnce = 500
	tokenPause   = 10 * time.Minute
)

// RunTokenCleanup forgets client tokens, and changes of hosted zones, that are
// older than a day until ctx is done, and then returns its error. Without it
// they would pile up for ever.
func (c *Control) RunTokenCleanup(ctx context.Context) error {
	for {
		wait := tokenPause
		for _, forget := range []func(context.Context) (bool, error){c.ForgetTokens, c.ForgetDNSChanges} {
			if more, err := forget(ctx); err != nil {
				c.Log.Warn("what is a day old is not forgotten, trying again", "error", err)
			} else if more {
				wait = 0
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ForgetTokens forgets a bounded number of old client tokens and answers
// whether there are more.
func (c *Control) ForgetTokens(ctx context.Context) (more bool, err error) {
	return forget(ctx, c, func(t *vpc.ClientToken) time.Time { return t.Created })
}

// ForgetDNSChanges is ForgetTokens for changes of hosted zones.
func (c *Control) ForgetDNSChanges(ctx context.Context) (more bool, err error) {
	return forget(ctx, c, func(d *vpc.DNSChange) time.Time { return d.Submitted })
}

func forget[T any, P object[T]](ctx context.Context, c *Control, made func(P) time.Time) (more bool, err error) {
	var old []P
	before := c.Now().Add(-tokenTime)
	kind := P(nil).Kind()
	for o := range c.View().Objects(kind) {
		if !made(o.(P)).After(before) {
			if len(old) == tokensAtOnce {
				more = true
				break
			}
			old = append(old, o.(P))
		}
	}
	if len(old) == 0 {
		return false, nil
	}
	_, err = c.Store.Update(ctx, func(tx *store.Tx) error {
		for _, o := range old {
			if now, ok := tx.Object(kind, o.Key()); ok && !made(now.(P)).After(before) {
				tx.Delete(now)
			}
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("forget every old %s: %w", kind, err)
	}
	return more, nil
}
