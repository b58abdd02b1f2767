// SPDX-License-Identifier: Apache-2.0

package policy

// Kind is what a policy is attached to.
type Kind string

// The kinds of policy that may have a say in one request.
const (
	EndpointPolicy Kind = "endpoint"
	IdentityPolicy Kind = "identity"
	Boundary       Kind = "boundary" // a permissions boundary
	SessionPolicy  Kind = "session"
	ResourcePolicy Kind = "resource"
)

// Set is every policy that has a say in a request. A nil or empty field is a
// policy that is not there.
type Set struct {
	Endpoint *Policy   // of the endpoint that the request came through
	Identity []*Policy // of the user or role
	Boundary *Policy
	Session  []*Policy // given when the session was made
	Resource *Policy   // of the bucket, queue, topic, ...
	// ResourceAccount owns the resource. Empty is the caller's own account.
	ResourceAccount string
}

// Outcome is a decision of a Set.
type Outcome struct {
	Decision
	// Policy is the kind of the policy that decided: the one that denied, or
	// that allowed last. For an implicit deny it is the one that should have
	// allowed and, if Missing, is not there.
	Policy  Kind
	Missing bool
	// Index is that policy's place among those of its kind.
	Index int
}

// Evaluate judges r as AWS does:
//
//   - An applying Deny in any policy wins.
//   - The endpoint's policy has to allow.
//   - Within one account the caller's side or the resource's has to allow, across
//     accounts both. The caller's side is: an identity policy allows, and the
//     boundary and a session policy allow where they are there. The root user of
//     an account may do what nothing denies.
//   - A resource policy that names the caller itself or everybody is not narrowed
//     by a boundary or session policy; one that names the role of which the caller
//     is a session is; one that names the caller's account leaves it to the
//     caller's side.
//   - A request without a signature has only the resource's policy to allow it.
func (s *Set) Evaluate(r Request) Outcome {
	identity, boundary, session := s.judge(r, IdentityPolicy, s.Identity), s.judge(r, Boundary, one(s.Boundary)), s.judge(r, SessionPolicy, s.Session)
	endpoint, resource := s.judge(r, EndpointPolicy, one(s.Endpoint)), s.judge(r, ResourcePolicy, one(s.Resource))
	for _, o := range []Outcome{endpoint, identity, boundary, session, resource} {
		if o.Explicit {
			return o
		}
	}
	if s.Endpoint != nil && !endpoint.Allowed {
		return endpoint
	}
	caller, ok := parsePrincipalARN(r.Principal)
	account := r.Account
	if account == "" {
		account = caller.account
	}
	if r.Principal == "" {
		return resource
	}
	mine := identity
	if ok && caller.service == "iam" && caller.resource == "root" {
		mine = Outcome{Decision: Decision{Allowed: true, Statement: -1, Reason: "allowed, the root user of an account may do what nothing denies"}, Policy: IdentityPolicy}
	}
	narrowed := func(o Outcome) Outcome {
		if o.Allowed && s.Boundary != nil && !boundary.Allowed {
			return boundary
		}
		if o.Allowed && len(s.Session) > 0 && !session.Allowed {
			return session
		}
		return o
	}
	if s.ResourceAccount != "" && s.ResourceAccount != account {
		if mine = narrowed(mine); !mine.Allowed {
			return mine
		}
		return resource
	}
	if resource.Allowed {
		switch s.Resource.grants(r) {
		case grantDirect:
			return resource
		case grantRole:
			return narrowed(resource)
		}
	}
	return narrowed(mine)
}

// judge asks the policies of one kind: a Deny of any decides, else an Allow of
// any, else the first one that came to nothing.
func (s *Set) judge(r Request, kind Kind, list []*Policy) Outcome {
	if len(list) == 0 {
		return Outcome{Policy: kind, Missing: true,
			Decision: Decision{Statement: -1, Reason: "implicitly denied, there is no " + string(kind) + " policy"}}
	}
	var best Outcome
	for i, p := range list {
		o := Outcome{Decision: p.Evaluate(r), Policy: kind, Index: i}
		if o.Explicit {
			return o
		}
		if i == 0 || o.Allowed && !best.Allowed {
			best = o
		}
	}
	return best
}

func one(p *Policy) []*Policy {
	if p == nil {
		return nil
	}
	return []*Policy{p}
}

// grants is the most direct way in which a statement of p allows r.
func (p *Policy) grants(r Request) grant {
	e := p.begin(&r)
	defer e.end()
	best := grantNone
	for i := range p.statements {
		s := &p.statements[i]
		if s.deny || !s.takesAction(r.Action) {
			continue
		}
		if o := s.match(e); o.stage == applies {
			best = max(best, o.how)
		}
	}
	return best
}
