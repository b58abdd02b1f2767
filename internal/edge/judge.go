// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"time"

	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/vpc"
)

// document is an endpoint policy, or what is to become one.
type document struct {
	text    string         // "" for the default one
	policy  *policy.Policy // nil if the document is unreadable: nothing is allowed
	badText string         // why
	wants   wants
}

// signer is who asks, as far as a signature says.
type signer struct {
	principal string // ARN, "" for an unsigned request or a key nobody has
	account   vpc.AccountID
	user      *user // of a user's key
}

// verdict is what the policies that have a say make of a call.
type verdict struct {
	policy.Decision
	// by is the kind of the policy that denied, or that allowed.
	by policy.Kind
	// check and resource are what was denied, or the call's own; resource is one
	// of the check's readings.
	check    call.Check
	resource string
}

// judge asks the endpoint's policy, and a user's own ones, about all checks of a
// call. The record names the decision on the first that is denied, or on the
// call's own. The endpoint's candidate policy is asked the same in the other's
// place, for the record alone.
func (x *exchange) judge(c *call.Call, r *http.Request, now time.Time) *call.Error {
	var by signer
	by.principal, by.account, by.user = x.state.principal(c.Claim.KeyID)
	x.rec.AccessKey, x.rec.Principal = c.Claim.KeyID, by.principal
	x.context(c, by.account, by.principal, by.user, r, now)
	judgeable, e := x.learn(r.Context(), c, by)
	if e != nil {
		return e
	}
	v := x.decide(c, by, &x.ep.document)
	x.rec.Judgement = v.judgement()
	if x.ep.candidate != nil && judgeable {
		x.rec.noteCandidate(x.ep.CandidateSet, x.decide(c, by, x.ep.candidate))
	}
	if v.Allowed {
		if c.Unknown == "" {
			x.rec.noteFurther(c.Checks)
		}
		return nil
	}
	x.rec.Action, x.rec.Resource = v.check.Action, v.resource
	if c.Unknown != "" {
		return &call.Error{Status: http.StatusForbidden, Code: call.AccessDenied, Message: "Access Denied: " + c.Unknown}
	}
	kind := "VPC endpoint"
	if v.by == policy.IdentityPolicy {
		kind = "identity-based"
	}
	return notAuthorized(by.principal, v.check, kind, v.Explicit)
}

// decide judges a call with a document as the endpoint's policy. It changes
// nothing.
func (x *exchange) decide(c *call.Call, by signer, doc *document) verdict {
	if c.Unknown != "" {
		return x.decideUnknown(c, by, doc)
	}
	var own verdict
	for i, check := range c.Checks {
		req := x.request(c, check, by)
		for j := -1; j < len(check.Also); j++ {
			if j >= 0 {
				req.Resource = check.Also[j]
			}
			v := verdict{by: policy.EndpointPolicy, check: check, resource: req.Resource}
			if doc.policy == nil {
				v.Decision = policy.Decision{Statement: -1, Reason: doc.badText, Remedy: "give the endpoint a policy that can be read"}
				return v
			}
			if v.Decision = judgedBy(doc.policy, &req); !v.Allowed {
				return v
			}
			if i == 0 && j < 0 {
				own = v
			}
			if by.user == nil {
				continue
			}
			if d := by.user.decide(req); !d.Allowed {
				v.by, v.Decision = policy.IdentityPolicy, d
				return v
			}
		}
	}
	return own
}

// judgedBy asks a policy. What it allows is most of all requests: for them the
// statement is enough, and only a denial is worth an explanation.
func judgedBy(p *policy.Policy, r *policy.Request) policy.Decision {
	if v := p.Decide(r); v.Allowed {
		return policy.Decision{Allowed: true, Statement: v.Statement, Sid: p.Sid(v.Statement)}
	}
	return p.Evaluate(*r)
}

// request is what a policy is asked about one check.
func (x *exchange) request(c *call.Call, check call.Check, by signer) policy.Request {
	ctx := c.Context
	if len(check.Context) > 0 {
		ctx = maps.Clone(ctx)
		maps.Copy(ctx, check.Context)
	}
	return policy.Request{
		Principal: by.principal, Account: string(by.account), Action: check.Action, Resource: check.Resource, Context: ctx,
		GatewayEndpoint: x.ep.Type == vpc.GatewayEndpoint,
	}
}

// decideUnknown is decide for a request that nobody knows: it may pass only if
// every policy allows the whole service.
func (x *exchange) decideUnknown(c *call.Call, by signer, doc *document) verdict {
	check, namespace := c.Checks[0], x.ep.service.protocol.namespace
	req := x.request(c, check, by)
	allowed := func(doc string, options policy.Options) bool {
		p, err := wholeNamespace(doc, namespace, options)
		return err == nil && p != nil && p.Evaluate(req).Allowed
	}
	v := verdict{by: policy.EndpointPolicy, check: check, resource: check.Resource}
	v.Statement = -1
	ok := doc.policy != nil && (doc.text == "" || allowed(doc.text, policy.Options{}))
	if ok && by.user != nil {
		ok, v.by = by.user.allowsUnknown(req, namespace), policy.IdentityPolicy
	}
	if ok {
		v.Allowed, v.by, v.Reason = true, policy.EndpointPolicy, c.Unknown+", but the whole service is allowed"
		return v
	}
	v.Reason = c.Unknown + ", and not every policy allows the whole service"
	v.Remedy = fmt.Sprintf("the %s policy has to allow the whole service: Action %q on Resource \"*\", and no Deny of a part of it", v.by, namespace+":*")
	return v
}

// allowsUnknown reports whether a user's own policies allow a whole service.
func (u *user) allowsUnknown(req policy.Request, namespace string) bool {
	if u.badText != "" {
		return false
	}
	denied, some := false, false
	for _, doc := range u.Policies {
		p, err := wholeNamespace(doc, namespace, policy.Options{Identity: true})
		if err != nil {
			denied = true
		} else if p != nil {
			d := p.Evaluate(req)
			denied, some = denied || d.Explicit, some || d.Allowed
		}
	}
	return some && !denied
}

// decide asks a user's own policies. The backend cannot: to it every key of an
// account is that account. Which of the policies decided has no number: the
// statement is in the reason.
func (u *user) decide(req policy.Request) policy.Decision {
	whose := "an identity-based policy of " + u.ARN
	if u.badText != "" {
		return policy.Decision{Statement: -1, Reason: u.badText, Remedy: "repair " + whose}
	}
	none := policy.Decision{
		Statement: -1, Reason: "no identity-based policy of " + u.ARN + " allows it",
		Remedy: fmt.Sprintf("%s has to allow %s on %s", whose, req.Action, req.Resource),
	}
	allowed := false
	for _, p := range u.policies {
		d := judgedBy(p, &req)
		switch {
		case d.Explicit:
			d.Statement, d.Sid = -1, ""
			d.Reason, d.Remedy = whose+": "+d.Reason, whose+": "+d.Remedy
			return d
		case d.Allowed:
			allowed = true
		case len(d.Failed) > 0 && len(none.Failed) == 0: // the nearest to allowing it
			none.Condition, none.Failed = d.Condition, d.Failed
			none.Reason += ", nearest is " + d.Reason
			none.Remedy = whose + ": " + d.Remedy
		}
	}
	if allowed {
		return policy.Decision{Allowed: true, Statement: -1}
	}
	return none
}

// notAuthorized is AWS's answer to what a kind of policy does not allow.
func notAuthorized(principal string, c call.Check, kind string, explicit bool) *call.Error {
	why := "because no " + kind + " policy allows the " + c.Action + " action"
	if explicit {
		article := "a "
		if kind == "identity-based" {
			article = "an "
		}
		why = "with an explicit deny in " + article + kind + " policy"
	}
	return &call.Error{Status: http.StatusForbidden, Code: call.AccessDenied, Message: fmt.Sprintf(
		"User: %s is not authorized to perform: %s on resource: \"%s\" %s", cmp.Or(principal, "anonymous"), c.Action, c.Resource, why)}
}
