// SPDX-License-Identifier: Apache-2.0

// Package authz decides whether a caller may make a call, by the identity
// policies of the user or role that makes it. It is pure: it reads a view and
// is told the time.
//
// # Words
//
// A principal is who calls: the root user of an account, a user, or a session
// of a role. A check is one question to the policies: may this action be done
// to this resource, given these condition keys? A request makes one check for
// each resource it names or makes, and one more for each kind of resource it
// makes with tags; all must be allowed.
//
// # Promises
//
//   - The root user of an account may do everything in it; its sessions too.
//   - Anybody else may do what a policy allows and none denies. A session that
//     was narrowed by a policy of its own must be allowed by that one as well.
//   - A resource of another account is judged exactly as one that does not
//     exist, so that no answer tells them apart.
//   - A policy that cannot be read allows nothing.
package authz

import (
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/vpc"
)

// The services whose actions are judged, by their prefix in policies.
const (
	EC2      = "ec2"
	ELB      = "elasticloadbalancing"
	IAM      = "iam"
	Resolver = "route53resolver"
	Route53  = "route53"
	STS      = "sts"
)

// Principal is who calls. One without User and Role is the account's root user.
type Principal struct {
	Account vpc.AccountID
	ARN     string // of the root user, the user or the session
	UserID  string // as AWS shows it: the account, AIDA..., AROA...:session
	User    vpc.UserID
	Role    vpc.RoleID
	// Temporary is set for the keys of a session, Issued is when it began and
	// Policy the document it was narrowed by, "" if it was not.
	Temporary bool
	Issued    time.Time
	Policy    string
}

// Root reports whether p is the root user of its account.
func (p Principal) Root() bool { return p.User == "" && p.Role == "" }

// Source says how a request came.
type Source struct {
	IP        netip.Addr
	UserAgent string
	TLS       bool
}

// Params are a request's parameters by their names on the wire.
type Params interface {
	Names() []string
	Get(name string) string
}

// Request is one call to be judged.
type Request struct {
	Service string // one of the constants
	Action  string // without the service: CreateVpcEndpoint
	Params  Params
	Region  string
	Time    time.Time
	Source  Source
	// ServiceOwner answers who owns an endpoint service, by its name: an
	// account, "amazon", or "" for one that the caller does not find.
	ServiceOwner func(name string) string
}

// check is one question to the policies.
type check struct {
	action   string // ec2:CreateVpcEndpoint
	resource string // an ARN or *
	context  keys   // besides those of the request
}

// keys are condition keys with their values.
type keys map[string][]string

func (k keys) set(key, value string) {
	if value != "" {
		k[key] = []string{value}
	}
}

// Authorize returns nil when p may make the call, else a *vpc.Error of kind
// Denied that names who may not do what to which resource, and why.
func Authorize(v vpc.View, p Principal, r Request) error {
	if p.Root() {
		return nil
	}
	j, err := judgeOf(v, p)
	if err != nil {
		return err
	}
	list, err := checks(v, p, r)
	if err != nil {
		return err
	}
	base := Context(v, p, r)
	for _, c := range list {
		if why := j.decide(p, c, base); why != "" {
			return denied(r.Service, p.ARN, c.action, c.resource, why)
		}
	}
	return nil
}

// Verdict is what the identity policies alone say of one action.
type Verdict struct {
	Allowed bool
	// Explicit: a policy denies it; Err says so.
	Explicit bool
	// Narrowed: the session was narrowed by a policy that does not allow it.
	Narrowed bool
	Err      error
}

// AuthorizeOn asks p's identity policies about the request's action on one
// resource, for a resource whose own policy has a say too. tags are the
// resource's, more are condition keys of the action.
func AuthorizeOn(v vpc.View, p Principal, r Request, resource string, tags vpc.Tags, more map[string][]string) (Verdict, error) {
	j, err := judgeOf(v, p)
	if err != nil {
		return Verdict{}, err
	}
	c := check{action: r.Service + ":" + r.Action, resource: resource, context: maps.Clone(keys(more))}
	resourceTags(r.Service, tags, c.context)
	why := j.decide(p, c, Context(v, p, r))
	out := Verdict{Allowed: why == "", Explicit: strings.HasPrefix(why, explicitly)}
	if why != "" {
		out.Err = denied(r.Service, p.ARN, c.action, c.resource, why)
	}
	if j.session != nil {
		narrow := judge{identity: []*policy.Policy{j.session}}
		out.Narrowed = narrow.decide(p, c, Context(v, p, r)) != ""
	}
	return out, nil
}

// explicitly begins the reason of every explicit deny.
const explicitly = "with an explicit deny in "

// Bounds of what is judged, AWS's own: what goes beyond is refused for that.
const (
	maxResources = 1000
	maxTags      = 50 // of one resource
)

// checks are the questions a request makes.
func checks(v vpc.View, p Principal, r Request) ([]check, error) {
	b := builder{v: v, p: p, r: r, tags: map[string]keys{}}
	if r.Params != nil {
		b.names = r.Params.Names()
	}
	switch r.Service {
	case EC2:
		b.ec2()
	case ELB:
		b.elb()
	case IAM:
		b.iam()
	case Route53:
		b.route53()
	case Resolver:
		b.resolver()
	default:
		b.add("*", nil)
	}
	if len(b.out) > maxResources+2*len(makes) {
		return nil, vpc.Errorf(vpc.Limit, "tagged-resource", "", "A call can name at most %d resources", maxResources)
	}
	for _, c := range b.out {
		if len(c.context["aws:TagKeys"]) > maxTags {
			return nil, vpc.Errorf(vpc.Limit, "tag", "", "The maximum number of tags for a resource is %d", maxTags)
		}
	}
	return b.out, nil
}

func denied(service, who, action, resource, why string) error {
	start := ""
	if service == EC2 {
		start = "You are not authorized to perform this operation. "
	}
	return vpc.Errorf(vpc.Denied, action, resource, "%sUser: %s is not authorized to perform: %s on resource: %.300s %s", start, who, action, resource, why)
}

// judge holds the policies of one principal, parsed.
type judge struct {
	identity []*policy.Policy
	session  *policy.Policy // nil if the session was not narrowed
}

// judgeOf finds and parses what a user or role is given.
func judgeOf(v vpc.View, p Principal) (*judge, error) {
	j := &judge{}
	for _, doc := range documents(v, p) {
		read, err := parsed.get(doc)
		if err != nil {
			return nil, unreadable(p, err)
		}
		j.identity = append(j.identity, read)
	}
	if p.Policy != "" {
		read, err := parsed.get(p.Policy)
		if err != nil {
			return nil, unreadable(p, err)
		}
		j.session = read
	}
	return j, nil
}

func unreadable(p Principal, err error) error {
	return vpc.Errorf(vpc.Denied, "", "", "User: %s is not authorized to do anything because an identity-based policy cannot be read: %v", p.ARN, err)
}

func documents(v vpc.View, p Principal) []string {
	if p.Role != "" {
		if r, ok := vpc.Get[vpc.Role](v, p.Role); ok {
			return r.Policies.Documents(v)
		}
		return nil
	}
	if u, ok := vpc.Get[vpc.User](v, p.User); ok {
		return u.Policies.Documents(v)
	}
	return nil
}

// decide answers "" when the check is allowed, else why not in AWS's words.
func (j *judge) decide(p Principal, c check, base keys) string {
	req := policy.Request{Principal: p.ARN, Account: string(p.Account), Action: c.action, Resource: c.resource, Context: maps.Clone(base)}
	maps.Copy(req.Context, c.context)
	return j.judge(req)
}

func (j *judge) judge(req policy.Request) string {
	allowed := false
	for _, doc := range j.identity {
		d := doc.Evaluate(req)
		if d.Explicit {
			return explicitly + "an identity-based policy"
		}
		allowed = allowed || d.Allowed
	}
	if j.session != nil {
		d := j.session.Evaluate(req)
		if d.Explicit {
			return explicitly + "a session policy"
		}
		if allowed && !d.Allowed {
			return "because no session policy allows the " + req.Action + " action"
		}
	}
	if !allowed {
		return "because no identity-based policy allows the " + req.Action + " action"
	}
	return ""
}

// Context is what every request of a principal has, whatever it does.
func Context(v vpc.View, p Principal, r Request) map[string][]string {
	ctx := keys{}
	ctx.set("aws:PrincipalAccount", string(p.Account))
	ctx.set("aws:userid", p.UserID)
	ctx.set("aws:PrincipalArn", p.ARN)
	var tags vpc.Tags
	switch {
	case p.Role != "":
		ctx.set("aws:PrincipalType", "AssumedRole")
		if role, ok := vpc.Get[vpc.Role](v, p.Role); ok {
			ctx.set("aws:PrincipalArn", role.ARN()) // of the role, not of its session
			tags = role.Tags
		}
	case p.User != "":
		ctx.set("aws:PrincipalType", "User")
		if u, ok := vpc.Get[vpc.User](v, p.User); ok {
			ctx.set("aws:username", u.Name)
			tags = u.Tags
		}
	default:
		ctx.set("aws:PrincipalType", "Account")
	}
	for k, value := range tags {
		ctx["aws:PrincipalTag/"+k] = []string{value}
	}
	if p.Temporary {
		ctx.set("aws:MultiFactorAuthPresent", "false")
		ctx.set("aws:TokenIssueTime", p.Issued.UTC().Format(time.RFC3339))
	}
	if r.Source.IP.IsValid() {
		ctx.set("aws:SourceIp", r.Source.IP.Unmap().String())
	}
	ctx.set("aws:UserAgent", r.Source.UserAgent)
	ctx.set("aws:SecureTransport", strconv.FormatBool(r.Source.TLS))
	ctx.set("aws:RequestedRegion", r.Region)
	ctx.set("aws:CurrentTime", r.Time.UTC().Format(time.RFC3339))
	ctx.set("aws:EpochTime", strconv.FormatInt(r.Time.Unix(), 10))
	ctx.set("aws:ViaAWSService", "false")
	ctx.set("aws:PrincipalIsAWSService", "false")
	return ctx
}

// builder collects the checks of one request.
type builder struct {
	v     vpc.View
	p     Principal
	r     Request
	names []string        // of the parameters
	tags  map[string]keys // what requestTags found, by prefix
	out   []check
}

// add is a check of the request's own action.
func (b *builder) add(resource string, context keys) {
	b.addAction(b.r.Action, resource, context)
}

func (b *builder) addAction(action, resource string, context keys) {
	if len(resource) > maxResource {
		resource = "*" // nothing has such a name
	}
	b.out = append(b.out, check{b.r.Service + ":" + action, resource, context})
}

// maxResource bounds an ARN, as AWS does.
const maxResource = 2048

// arn is the name of something of the caller's account in the region.
func (b *builder) arn(service, resource string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, b.r.Region, b.p.Account, resource)
}

// requestTags adds the tags a request gives to what it makes or changes. The
// parameters are prefix + N + .Key and .Value.
func (b *builder) requestTags(prefix string, context keys) {
	found, done := b.tags[prefix]
	if !done {
		found = keys{}
		for _, name := range b.names {
			rest, ok := strings.CutPrefix(name, prefix)
			index, field, _ := strings.Cut(rest, ".")
			if key := b.r.Params.Get(name); ok && field == "Key" {
				found["aws:RequestTag/"+key] = []string{b.r.Params.Get(prefix + index + ".Value")}
				found["aws:TagKeys"] = append(found["aws:TagKeys"], key)
			}
		}
		b.tags[prefix] = found
	}
	for k, values := range found {
		context[k] = append(context[k], values...)
	}
}

// resourceTags adds the tags a resource has, in the spelling of all services
// and in that of its own.
func resourceTags(service string, tags vpc.Tags, context keys) {
	for k, value := range tags {
		context["aws:ResourceTag/"+k] = []string{value}
		context[service+":ResourceTag/"+k] = []string{value}
	}
}
