// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/edge/s3"
	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/vpc"
)

// wants are the condition keys of policies that have to be found out for each
// request, most of them by asking the backend.
type wants struct {
	tags  bool // s3:ExistingObjectTag/...
	owner bool // s3:ResourceAccount and aws:ResourceAccount
}

func wantsOf(p *policy.Policy) wants {
	return wants{tags: p.Asks("s3:ExistingObjectTag/"), owner: p.Asks("s3:ResourceAccount") || p.Asks("aws:ResourceAccount")}
}

func (w wants) or(o wants) wants { return wants{w.tags || o.tags, w.owner || o.owner} }

// learn adds the keys that policies want to the checks of a call. What a backend
// does not say when it is asked is nobody's guess: a Deny may be about it, and the
// call is refused. The candidate policy alone is worth no refusal: it goes without
// a judgement then, and judgeable is false.
func (x *exchange) learn(ctx context.Context, c *call.Call, by signer) (judgeable bool, _ *call.Error) {
	needed := x.ep.wants
	if by.user != nil {
		needed = needed.or(by.user.wants)
	}
	all := needed
	if x.ep.candidate != nil {
		all = all.or(x.ep.candidate.wants)
	}
	if all == (wants{}) {
		return true, nil
	}
	if x.ep.service.protocol.namespace != "s3" {
		if all.owner && x.ep.service.protocol.owned {
			nameOwners(c)
		}
		return true, nil
	}
	if x.ep.service.asked == nil {
		return true, nil
	}
	err := learnObjects(ctx, x.ep.service.asked, c, by.account, all)
	if err == nil {
		return true, nil
	}
	x.rec.Error = "the backend does not say what policies ask: " + err.Error()
	if needed == (wants{}) {
		return false, nil
	}
	return false, call.ErrUnavailable
}

// nameOwners takes the accounts of resources from their ARNs.
func nameOwners(c *call.Call) {
	for i := range c.Checks {
		k := &c.Checks[i]
		part := strings.SplitN(k.Resource, ":", 6)
		if len(part) == 6 && len(part[4]) == 12 && strings.Trim(part[4], "0123456789") == "" {
			k.Context = with(k.Context, map[string][]string{"aws:ResourceAccount": {part[4]}})
		}
	}
}

// with is a context with more keys. Neither is changed.
func with(context, more map[string][]string) map[string][]string {
	if len(context) == 0 {
		return more
	}
	context = maps.Clone(context)
	maps.Copy(context, more)
	return context
}

// learnObjects asks once about all that the checks of a call are about.
func learnObjects(ctx context.Context, b *backend, c *call.Call, caller vpc.AccountID, w wants) error {
	about := func(k call.Check) (s3.Object, bool) {
		o, ok := s3.About(c, k)
		if !w.tags {
			o = s3.Object{Bucket: o.Bucket}
		}
		return o, ok && (w.owner || o.Key != "")
	}
	var list []s3.Object
	keys := map[s3.Object]map[string][]string{}
	for _, k := range c.Checks {
		if o, ok := about(k); ok && keys[o] == nil {
			keys[o] = map[string][]string{}
			list = append(list, o)
		}
	}
	if len(list) == 0 {
		return nil
	}
	known, err := askBackend(ctx, b, list)
	if err != nil {
		return err
	}
	for i, k := range known {
		if k.Owner == "" && c.Checks[0].Action == "s3:CreateBucket" {
			k.Owner = string(caller) // whose it will be
		}
		to := keys[list[i]]
		if w.owner && k.Owner != "" {
			to["s3:ResourceAccount"], to["aws:ResourceAccount"] = []string{k.Owner}, []string{k.Owner}
		}
		for tag, value := range k.Tags {
			to["s3:ExistingObjectTag/"+tag] = []string{value}
		}
	}
	for i := range c.Checks {
		if o, ok := about(c.Checks[i]); ok && len(keys[o]) > 0 {
			c.Checks[i].Context = with(c.Checks[i].Context, keys[o])
		}
	}
	return nil
}

// Bounds of a question and its answer. An object has ten tags, and a request is
// about few objects: a thousand are only deleted together, for which nobody's tags
// count.
const (
	askTime    = 2 * time.Second
	maxAsked   = 16
	maxKnowing = 1 << 20
)

// known is what a backend knows of an object.
type known struct {
	Owner string            `json:"owner"` // of the bucket; "" if there is none
	Tags  map[string]string `json:"tags"`  // none if there is no such object
}

// askBackend asks a backend about buckets and objects.
func askBackend(ctx context.Context, b *backend, about []s3.Object) ([]known, error) {
	if len(about) > maxAsked {
		return nil, fmt.Errorf("the request is about %d objects, more than %d", len(about), maxAsked)
	}
	question, err := json.Marshal(map[string][]s3.Object{"objects": about})
	if err != nil {
		return nil, err
	}
	ctx, done := context.WithTimeout(ctx, askTime)
	defer done()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.scheme+"://"+b.host+"/", bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	// It changes nothing: it may be sent again when a connection was closed that
	// had waited for it.
	req.Header["Idempotency-Key"] = nil
	resp, err := b.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxKnowing+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("status %d: %.200q", resp.StatusCode, answer)
	case len(answer) > maxKnowing:
		return nil, fmt.Errorf("the answer has more than %d bytes", maxKnowing)
	}
	var out struct {
		Objects []known `json:"objects"`
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return nil, err
	}
	if len(out.Objects) != len(about) {
		return nil, fmt.Errorf("%d answers to %d questions", len(out.Objects), len(about))
	}
	return out.Objects, nil
}
