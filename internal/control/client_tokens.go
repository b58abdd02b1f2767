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

// RunTokenCleanup forgets client tokens that are older than a day until ctx is
// done, and then returns its error. Without it they would pile up for ever.
func (c *Control) RunTokenCleanup(ctx context.Context) error {
	for {
		wait := tokenPause
		if more, err := c.ForgetTokens(ctx); err != nil {
			c.Log.Warn("old client tokens not forgotten, trying again", "error", err)
		} else if more {
			wait = 0
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
	var old []*vpc.ClientToken
	before := c.Now().Add(-tokenTime)
	for t := range vpc.All[vpc.ClientToken](c.View()) {
		if !t.Created.After(before) {
			if len(old) == tokensAtOnce {
				more = true
				break
			}
			old = append(old, t)
		}
	}
	if len(old) == 0 {
		return false, nil
	}
	_, err = c.Store.Update(ctx, func(tx *store.Tx) error {
		for _, t := range old {
			if now, ok := vpc.Get[vpc.ClientToken](tx, t.Key()); ok && !now.Created.After(before) {
				tx.Delete(now)
			}
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("forget client tokens: %w", err)
	}
	return more, nil
}
