// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"sort"
	"strings"
)

// Request is one call to be judged. Its parts must come from the signature and
// the interface the call came in on, never from what the caller claims.
type Request struct {
	// Principal is the caller's ARN: root user, user, role, or session
	// (arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION). Empty for a call without
	// a signature, which only Principal "*" matches.
	Principal string
	// Account is the caller's 12-digit account id. Empty takes it from Principal.
	Account string
	// Action is service:Name, such as "s3:GetObject". Letter case means nothing.
	Action string
	// Resource is the ARN acted on, such as "arn:aws:s3:::bucket/key", or "*"
	// for an action without resource. Letter case counts.
	Resource string
	// Context holds the condition keys, in any letter case, with their values.
	// A key without values is absent. Keys that differ in case only are one key.
	Context map[string][]string
	// GatewayEndpoint says the call came through a gateway endpoint, where an
	// account named as Principal means the root user of that account and not, as
	// elsewhere, everybody in it. AWS wants Principal "*" with a condition
	// on aws:PrincipalArn there.
	GatewayEndpoint bool
}

// Decision is the answer to a request, with what a log needs to name the cause.
type Decision struct {
	// Allowed is true if a statement allows the request and none denies it.
	Allowed bool
	// Explicit is true if a Deny statement applied.
	Explicit bool
	// Statement is the index of the statement that decided: the Deny or Allow
	// that applied, or for an implicit deny the Allow that came nearest to
	// applying. -1 if the policy has no Allow statement, or if the request was
	// denied because its values are too long to fill into the policy's variables.
	Statement int
	// Sid is that statement's Sid, if it has one.
	Sid string
	// Condition is the operator and key that decided last, such as
	// "StringEquals aws:SourceVpc": the one that failed for an implicit deny, the
	// last one that matched otherwise. Empty if no condition had a part in it.
	Condition string
	// Reason is one line for people. Values from the request are quoted and cut.
	Reason string
}

// evaluation is what one Evaluate call works out once.
type evaluation struct {
	request *Request
	action  []rune
	context map[string][]string // by lower-case key
	split   map[string][]rune
	filled  map[*template]*filled
	// fillSize counts the characters that variables brought in; failed is set
	// when that or one value went past its limit.
	fillSize int
	failed   bool
}

// runes is textRunes, done once for each text.
func (e *evaluation) runes(s string) []rune {
	r, ok := e.split[s]
	if !ok {
		r = textRunes(s)
		e.split[s] = r
	}
	return r
}

func newEvaluation(r *Request) *evaluation {
	e := &evaluation{
		request: r,
		action:  textRunes(strings.ToLower(r.Action)),
		context: make(map[string][]string, len(r.Context)),
		split:   map[string][]rune{},
		filled:  map[*template]*filled{},
	}
	keys := make([]string, 0, len(r.Context))
	for k := range r.Context {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		lower := strings.ToLower(k)
		e.context[lower] = append(e.context[lower], r.Context[k]...)
	}
	return e
}

// stage is how far a statement got, in the order that makes the most useful
// explanation: the nearest statement is the one furthest along.
type stage int

const (
	failedAction stage = iota
	failedResource
	failedPrincipal
	failedCondition
	applies
)

// outcome is how a statement met a request.
type outcome struct {
	stage
	condition int // which one failed, or the number that matched
}

// Evaluate judges r. It never panics and does not keep r.
func (p *Policy) Evaluate(r Request) Decision {
	e := newEvaluation(&r)
	allow, nearest := -1, -1
	var best outcome
	for i := range p.statements {
		s := &p.statements[i]
		o := s.match(e)
		if e.failed {
			return Decision{Statement: -1, Reason: "denied, the request fills more into the variables of " +
				statementName(i, s.sid) + " than an evaluation allows"}
		}
		if s.deny {
			if o.stage == applies {
				d := p.decision(e, i, o)
				d.Explicit = true
				d.Reason = "explicitly denied by " + d.Reason
				return d
			}
			continue
		}
		if o.stage == applies && allow < 0 {
			allow = i
		}
		if nearest < 0 || o.stage > best.stage || o.stage == best.stage && o.condition > best.condition {
			nearest, best = i, o
		}
	}
	switch {
	case allow >= 0:
		d := p.decision(e, allow, outcome{applies, len(p.statements[allow].conditions)})
		d.Allowed = true
		d.Reason = "allowed by " + d.Reason
		return d
	case nearest >= 0:
		d := p.decision(e, nearest, best)
		d.Reason = "implicitly denied, nearest is " + d.Reason
		return d
	}
	return Decision{Statement: -1, Reason: "implicitly denied, the policy has no Allow statement"}
}

// match compares in the order of stage and stops at the first element that fails.
func (s *statement) match(e *evaluation) outcome {
	if s.matchAction(e) == s.notAction {
		return outcome{stage: failedAction}
	}
	if !s.matchResource(e) {
		return outcome{stage: failedResource}
	}
	if s.principals != nil && s.principals.match(e.request) == s.notPrincipal {
		return outcome{stage: failedPrincipal}
	}
	for i := range s.conditions {
		if !s.conditions[i].match(e) {
			return outcome{failedCondition, i}
		}
	}
	return outcome{applies, len(s.conditions)}
}

func (s *statement) matchAction(e *evaluation) bool {
	for _, a := range s.actions {
		if a.pattern.match(e.action, nil) {
			return true
		}
	}
	return false
}

func (s *statement) matchResource(e *evaluation) bool {
	unknown := false
	for _, t := range s.resources {
		matched, known := t.matchText(e, e.request.Resource)
		if matched {
			return !s.notResource
		}
		unknown = unknown || !known
	}
	if s.notResource {
		// An unknown value might have been this resource: count it against
		// the caller.
		return !unknown || s.deny
	}
	return false
}

// decision fills in everything but Allowed and Explicit. Reason starts with the
// statement's name.
func (p *Policy) decision(e *evaluation, index int, o outcome) Decision {
	s := &p.statements[index]
	d := Decision{Statement: index, Sid: s.sid}
	why := ""
	switch o.stage {
	case failedAction:
		why = fmt.Sprintf("action %s", quote(e.request.Action)) + notMatched("Action", s.notAction, s.actionNames())
	case failedResource:
		why = fmt.Sprintf("resource %s", quote(e.request.Resource)) + notMatched("Resource", s.notResource, s.resourceNames())
	case failedPrincipal:
		why = "an unsigned request"
		if e.request.Principal != "" {
			why = fmt.Sprintf("principal %s", quote(e.request.Principal))
		}
		why += notMatched("Principal", s.notPrincipal, s.principals.src)
		if e.request.GatewayEndpoint && !s.notPrincipal && len(s.principals.accounts) > 0 {
			why += `; on a gateway endpoint an account means its root user only, use Principal "*" and aws:PrincipalArn`
		}
	case failedCondition:
		c := &s.conditions[o.condition]
		d.Condition = c.String()
		why = "condition not met: " + c.explain(e)
	case applies:
		if n := len(s.conditions); n > 0 {
			c := &s.conditions[n-1]
			d.Condition = c.String()
			why = "condition met: " + c.explain(e)
			if n > 1 {
				why = fmt.Sprintf("%d conditions met, the last: %s", n, c.explain(e))
			}
		}
	}
	d.Reason = statementName(index, s.sid)
	if why != "" {
		d.Reason += ": " + why
	}
	return d
}

// notMatched says why an element or its Not form did not match.
func notMatched(element string, negated bool, names []string) string {
	if negated {
		return " is excluded by Not" + element + " " + quoteList(names)
	}
	return " is not in " + element + " " + quoteList(names)
}

func (s *statement) actionNames() []string {
	var out []string
	for _, a := range s.actions {
		out = append(out, a.src)
	}
	return out
}

func (s *statement) resourceNames() []string {
	var out []string
	for _, t := range s.resources {
		out = append(out, t.src)
	}
	return out
}
