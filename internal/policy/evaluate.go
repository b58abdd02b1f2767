// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strings"
	"sync"
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
	// Failed is, for an implicit deny, every condition that statement failed when
	// all else matched.
	Failed []FailedCondition
	// Remedy is, for a denial, one line that says what would make the policy allow
	// the request. Empty for a request whose values cannot be judged.
	Remedy string
}

// FailedCondition is a condition that a request did not meet.
type FailedCondition struct {
	Operator string   // such as "StringEquals"
	Key      string   // as the policy spells it
	Want     []string // the policy's values, variables not filled in
	Have     []string // the request's, none if the key is absent
}

// Verdict is a decision without its explanation.
type Verdict struct {
	// Allowed and Explicit are as in [Decision].
	Allowed, Explicit bool
	// Statement is the index of the Deny or Allow that applied, -1 if none did.
	Statement int
}

// evaluation is what one decision works out once.
type evaluation struct {
	request    Request
	values     [][]string // of the keys that the policy asks about, by keyID
	caller     principalARN
	callerRead bool
	made       map[*template]made
	// fillSize counts the characters that variables brought in; failed is set
	// when that or one value went past its limit, or is no text.
	fillSize int
	failed   failure
}

// failure is why a request cannot be judged.
type failure int8

const (
	failedNot failure = iota
	failedSize
	failedText
)

var evaluations = sync.Pool{New: func() any { return new(evaluation) }}

func (p *Policy) begin(r *Request) *evaluation {
	e := evaluations.Get().(*evaluation)
	e.request = *r
	p.keys.read(e, r.Context)
	return e
}

// end gives e back without what it holds of the request.
func (e *evaluation) end() {
	clear(e.values)
	*e = evaluation{values: e.values[:0]}
	evaluations.Put(e)
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
	condition int   // which one failed, or the number that matched
	how       grant // of a statement that applies
}

// Sid is the Sid of the statement with that index, empty if there is none.
func (p *Policy) Sid(statement int) string {
	if statement < 0 || statement >= len(p.statements) {
		return ""
	}
	return p.statements[statement].sid
}

// Decide judges r as [Policy.Evaluate] does and does not say why. It allocates
// nothing, unless the request spells a key in two ways, or the policy has a
// variable in an ARN condition, in StringEqualsIgnoreCase or between two
// wildcards. It never panics and does not keep r.
func (p *Policy) Decide(r *Request) Verdict {
	e := p.begin(r)
	defer e.end()
	named := p.named(r.Action)
	if i := p.first(e, named.deny, p.wild.deny); i >= 0 {
		return Verdict{Explicit: true, Statement: i}
	}
	if i := p.first(e, named.allow, p.wild.allow); i >= 0 && e.failed == failedNot {
		return Verdict{Allowed: true, Statement: i}
	}
	return Verdict{Statement: -1}
}

// first is the first statement that applies, -1 if none does or the request
// cannot be judged. exact name the action and wild may; both are in order.
func (p *Policy) first(e *evaluation, exact, wild []candidate) int {
	for e.failed == failedNot {
		var c *candidate
		named := len(exact) > 0 && (len(wild) == 0 || exact[0].index < wild[0].index)
		switch {
		case named:
			c, exact = &exact[0], exact[1:]
		case len(wild) > 0:
			c, wild = &wild[0], wild[1:]
		default:
			return -1
		}
		if !c.fits(e.request.Resource) {
			continue
		}
		s := &p.statements[c.index]
		if !named && !s.takesAction(e.request.Action) {
			continue
		}
		if o := s.match(e); o.stage == applies && e.failed == failedNot {
			return c.index
		}
	}
	return -1
}

// named is the statements that name an action whole.
func (p *Policy) named(action string) candidates {
	var buf [64]byte
	if len(action) > len(buf) {
		return p.exact[strings.ToLower(action)]
	}
	for i := range len(action) {
		buf[i] = lowerByte(action[i])
	}
	return p.exact[string(buf[:len(action)])]
}

// Evaluate judges r and explains. It never panics and does not keep r.
func (p *Policy) Evaluate(r Request) Decision {
	e := p.begin(&r)
	defer e.end()
	allow, nearest := -1, -1
	var best outcome
	for _, i := range p.denyFirst() {
		s := &p.statements[i]
		o := outcome{stage: failedAction}
		if s.takesAction(r.Action) {
			o = s.match(e)
		}
		switch {
		case e.failed == failedSize:
			return Decision{Statement: -1, Reason: "denied, the request fills more into the variables of " +
				statementName(i, s.sid) + " than an evaluation allows"}
		case e.failed == failedText:
			return Decision{Statement: -1, Reason: "denied, the request fills bytes that are no text into the variables of " +
				statementName(i, s.sid)}
		case s.deny && o.stage == applies:
			d := p.decision(e, i, o)
			d.Explicit = true
			d.Reason = "explicitly denied by " + d.Reason
			d.Remedy = statementName(i, s.sid) + " must not apply: no Allow overrides it"
			return d
		case s.deny:
			continue
		case o.stage == applies:
			allow = i
		case nearest < 0 || o.stage > best.stage || o.stage == best.stage && o.condition > best.condition:
			nearest, best = i, o
		}
		if allow >= 0 {
			break
		}
	}
	switch {
	case allow >= 0:
		d := p.decision(e, allow, outcome{stage: applies, condition: len(p.statements[allow].conditions)})
		d.Allowed = true
		d.Reason = "allowed by " + d.Reason
		return d
	case nearest >= 0:
		d := p.decision(e, nearest, best)
		d.Reason = "implicitly denied, nearest is " + d.Reason
		d.Remedy = p.remedy(e, nearest, best)
		return d
	}
	return Decision{Statement: -1, Reason: "implicitly denied, the policy has no Allow statement", Remedy: newStatement(&e.request)}
}

// denyFirst is the indexes of the statements as they are judged.
func (p *Policy) denyFirst() []int {
	var deny, allow []int
	for i := range p.statements {
		if p.statements[i].deny {
			deny = append(deny, i)
		} else {
			allow = append(allow, i)
		}
	}
	return append(deny, allow...)
}

// match compares all but the action, in the order of stage, and stops at the
// first element that fails.
func (s *statement) match(e *evaluation) outcome {
	if !s.matchResource(e) {
		return outcome{stage: failedResource}
	}
	how := s.matchPrincipal(e)
	if how == grantNone {
		return outcome{stage: failedPrincipal}
	}
	if i := s.unmet(e); i >= 0 {
		return outcome{stage: failedCondition, condition: i}
	}
	return outcome{applies, len(s.conditions), how}
}

// matchPrincipal says in which way the statement is about the caller.
func (s *statement) matchPrincipal(e *evaluation) grant {
	if s.principals == nil {
		return grantDirect
	}
	how := s.principals.match(e)
	if !s.notPrincipal {
		return how
	}
	if how != grantNone {
		return grantNone
	}
	return grantDirect
}

// unmet is the first condition that the request does not meet, -1 if it meets all.
func (s *statement) unmet(e *evaluation) int {
	for i := range s.conditions {
		if !s.conditions[i].match(e) {
			return i
		}
	}
	return -1
}

// takesAction compares the action.
func (s *statement) takesAction(name string) bool {
	for i := range s.actions {
		if s.actions[i].pattern.match(nil, name, nil) {
			return !s.notAction
		}
	}
	return s.notAction
}

func (s *statement) matchResource(e *evaluation) bool {
	unknown := false
	for _, t := range s.resources {
		t.admit(e)
		if !t.known(e) {
			unknown = true
		} else if t.match(e, e.request.Resource) {
			return !s.notResource
		}
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
		for i := o.condition; i < len(s.conditions); i++ {
			if c := &s.conditions[i]; !c.match(e) {
				d.Failed = append(d.Failed, FailedCondition{c.spelling, c.key, c.src, e.values[c.id]})
			}
		}
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
