// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/policy"
)

func newPolicyCommand(o *options) *cobra.Command {
	return groupCommand(&cobra.Command{
		Use:   "policy",
		Short: "check, try and write endpoint policies",
		Long: `Check a policy document, ask it about a request, or write the policy that covers
the requests an endpoint carried. None of that needs a server, and the answers
are those that endpoints give. Then watch what it would change as the endpoint's
candidate policy before it is the endpoint's own.`,
		Example: `  postern policy check policy.json
  postern policy test policy.json --action s3:GetObject --resource arn:aws:s3:::bucket/key
  sudo postern policy suggest vpce-0123456789abcdef0 >policy.json
  sudo postern policy candidate set vpce-0123456789abcdef0 policy.json`,
	}, newPolicyCheckCommand(o), newPolicyTestCommand(o), newPolicySuggestCommand(o), newCandidateCommand(o))
}

// The kinds of document, as users name them.
var policyKinds = []string{"endpoint", "identity", "resource", "trust"}

// policyOptions is how a kind of document is read.
func policyOptions(kind string) (o policy.Options, endpoint bool, err error) {
	switch kind {
	case "endpoint":
		return o, true, nil
	case "identity":
		return policy.Options{Identity: true}, false, nil
	case "resource":
		return o, false, nil
	case "trust":
		return policy.Options{Trust: true}, false, nil
	}
	return o, false, usageError("--kind %q: want %s", kind, strings.Join(policyKinds, ", "))
}

// readDocument reads a file, or standard input for "-", but no more than shows
// that it is too long for a policy.
func readDocument(name string, in io.Reader) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, &exitError{exitUsage, fmt.Errorf("read the policy: %w", err)}
		}
		defer f.Close()
		in = f
	}
	doc, err := io.ReadAll(io.LimitReader(in, policy.MaxBytes+1))
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("read the policy: %w", err)}
	}
	return doc, nil
}

// policyProblem is one thing wrong with a document, as JSON says it.
type policyProblem struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	Statement *int   `json:"statement,omitempty"` // from 0
	Sid       string `json:"sid,omitempty"`
	Element   string `json:"element,omitempty"`
	Message   string `json:"message"`
}

func newPolicyCheckCommand(o *options) *cobra.Command {
	kind := policyKinds[0]
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "say what is wrong with a policy document",
		Long: `Say everything that is wrong with a policy document: file, line and column of the
value, then the statement (counted from 0), its element and the problem. "-" is
standard input.

The rules for an endpoint's policy are AWS's grammar, its limit of 20,480
characters, and those that only endpoints have: no wildcards or numeric
operators with keys that hold generated ids, six characters in a row beside a
wildcard in a string condition, and no account that is partly a wildcard.
--kind asks for the rules of another document: identity (of a user or role),
resource (of a bucket), trust (of a role).

Exits 0 if nothing is wrong, 1 if something is, 2 if the file cannot be read.`,
		Example: `  postern policy check policy.json
  postern policy check --kind identity - <user.json
  postern policy check policy.json --json | jq -r '.[].message'`,
		Args: wantArgs(1, "the FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			options, endpoint, err := policyOptions(kind)
			if err != nil {
				return err
			}
			doc, err := readDocument(args[0], c.InOrStdin())
			if err != nil {
				return err
			}
			problems := []policyProblem{}
			for _, p := range policy.Check(doc, options, endpoint) {
				problems = append(problems, problemOf(args[0], doc, p))
			}
			if err := printProblems(c.OutOrStdout(), o.json, problems); err != nil {
				return err
			}
			if len(problems) > 0 {
				return &exitError{code: exitFailed}
			}
			return nil
		},
	}
	c.Flags().StringVar(&kind, "kind", kind, "what the policy is for: "+strings.Join(policyKinds, ", "))
	return c
}

func problemOf(file string, doc []byte, p *policy.ParseError) policyProblem {
	out := policyProblem{File: file, Sid: p.Sid, Element: p.Field, Message: p.Error()}
	out.Line, out.Column = policy.Position(doc, p.Offset)
	if p.Statement >= 0 {
		out.Statement = &p.Statement
	}
	return out
}

func printProblems(out io.Writer, asJSON bool, problems []policyProblem) error {
	if asJSON {
		return printJSON(out, problems)
	}
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&b, "%s:%d:%d: %s\n", p.File, p.Line, p.Column, p.Message)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// policyTestInput is what the flags of 'postern policy test' say.
type policyTestInput struct {
	action, resource, principal, account     string
	context                                  []string
	gateway                                  bool
	identity                                 []string // files
	boundary, session, resourcePolicy, owner string
}

// policyAnswer is a decision, as JSON says it.
type policyAnswer struct {
	Decision string `json:"decision"` // allow or deny
	Explicit bool   `json:"explicit"` // a Deny statement applied
	Policy   string `json:"policy"`   // the kind of the policy that decided
	File     string `json:"file,omitempty"`
	// Statement is the one that decided or came nearest, from 0, -1 if none did.
	Statement  int               `json:"statement"`
	Sid        string            `json:"sid,omitempty"`
	Reason     string            `json:"reason"`
	Conditions []failedCondition `json:"failedConditions,omitempty"`
	// Remedy is what would make that policy allow the request.
	Remedy string `json:"remedy,omitempty"`
}

type failedCondition = edge.FailedCondition

// unmet is a condition that failed, for people.
func unmet(f failedCondition) string {
	have := "absent"
	if len(f.Have) > 0 {
		have = fmt.Sprintf("%q", f.Have)
	}
	return fmt.Sprintf("%s %s: want %q, have %s", f.Operator, f.Key, f.Want, have)
}

func newPolicyTestCommand(o *options) *cobra.Command {
	var in policyTestInput
	c := &cobra.Command{
		Use:   "test FILE --action ACTION --resource ARN",
		Short: "ask an endpoint policy about a request",
		Long: `Ask an endpoint policy, offline, whether it allows a request, and why. "-" is
standard input.

The condition keys are those that --context names; a key that is named twice
has two values. Only --principal brings two of its own, unless --context names
them: aws:PrincipalArn and aws:PrincipalAccount. Without --principal the request
has no signature. As on AWS, aws:SourceIp is absent behind an endpoint.

With --identity, --boundary, --session-policy or --resource-policy those
policies have their say too, as AWS composes them: the endpoint's policy has to
allow; within one account the caller's policies or the resource's have to, and
across accounts (--resource-account) both.

Exits 0 if the request is allowed, 1 if it is denied, 2 if there is no answer:
wrong flags, or a policy that cannot be read.`,
		Example: `  postern policy test policy.json --action s3:GetObject --resource arn:aws:s3:::bucket/key \
    --principal arn:aws:iam::111122223333:user/ann --context aws:SourceVpc=vpc-0123456789abcdef0
  postern policy test policy.json --action s3:PutObject --resource arn:aws:s3:::bucket/key \
    --principal arn:aws:iam::111122223333:user/ann --identity ann.json --resource-policy bucket.json --json`,
		Args: wantArgs(1, "the FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			return runPolicyTest(c, o.json, args[0], in)
		},
	}
	f := c.Flags()
	f.StringVar(&in.action, "action", "", "the action, such as s3:GetObject")
	f.StringVar(&in.resource, "resource", "", `the ARN of what it acts on, or "*"`)
	f.StringVar(&in.principal, "principal", "", "the ARN of the caller")
	f.StringVar(&in.account, "account", "", "the caller's account, if not the one in its ARN")
	f.StringArrayVar(&in.context, "context", nil, "a condition key and its value, KEY=VALUE; may be repeated")
	f.BoolVar(&in.gateway, "gateway", false, "the request comes through a gateway endpoint, where an account as Principal is its root user only")
	f.StringArrayVar(&in.identity, "identity", nil, "a file with a policy of the caller; may be repeated")
	f.StringVar(&in.boundary, "boundary", "", "a file with the caller's permissions boundary")
	f.StringVar(&in.session, "session-policy", "", "a file with the policy of the caller's session")
	f.StringVar(&in.resourcePolicy, "resource-policy", "", "a file with the policy of the resource")
	f.StringVar(&in.owner, "resource-account", "", "the account that owns the resource, if not the caller's")
	return c
}

func runPolicyTest(c *cobra.Command, asJSON bool, file string, in policyTestInput) error {
	request, err := in.request()
	if err != nil {
		return err
	}
	set, err := in.policies(file, c.InOrStdin())
	if err != nil {
		return err
	}
	var outcome policy.Outcome
	if in.together() {
		outcome = set.Evaluate(request)
	} else {
		outcome = policy.Outcome{Decision: set.Endpoint.Evaluate(request), Policy: policy.EndpointPolicy}
	}
	if err := printOutcome(c.OutOrStdout(), asJSON, answerOf(outcome, file, in)); err != nil {
		return err
	}
	if !outcome.Allowed {
		return &exitError{code: exitFailed}
	}
	return nil
}

// together reports whether more than the endpoint's policy was asked.
func (in policyTestInput) together() bool {
	return len(in.identity) > 0 || in.boundary != "" || in.session != "" || in.resourcePolicy != ""
}

func (in policyTestInput) request() (policy.Request, error) {
	none := policy.Request{}
	if service, name, _ := strings.Cut(in.action, ":"); service == "" || name == "" || strings.ContainsAny(in.action, "*? ") {
		return none, usageError("--action %q: want one action, such as s3:GetObject", in.action)
	}
	if in.resource != "*" && (!strings.HasPrefix(in.resource, "arn:") || strings.Count(in.resource, ":") < 5) {
		return none, usageError(`--resource %q: want an ARN, such as arn:aws:s3:::bucket/key, or "*"`, in.resource)
	}
	if in.owner != "" && !in.together() {
		return none, usageError("--resource-account needs the other policies: --identity and --resource-policy")
	}
	context := map[string][]string{}
	if in.principal != "" {
		arn, account, ok := policy.PrincipalOf(in.principal)
		if !ok {
			return none, usageError("--principal %q: want the ARN of a root user, user, role or session", in.principal)
		}
		if in.account != "" {
			account = in.account
		}
		context["aws:PrincipalArn"], context["aws:PrincipalAccount"] = []string{arn}, []string{account}
	}
	given := map[string][]string{}
	for _, pair := range in.context {
		key, value, found := strings.Cut(pair, "=")
		if prefix, name, ok := strings.Cut(key, ":"); !found || !ok || prefix == "" || name == "" {
			return none, usageError("--context %q: want KEY=VALUE, such as aws:SourceVpc=vpc-0123456789abcdef0", pair)
		}
		given[key] = append(given[key], value)
	}
	for key, values := range given {
		for own := range context {
			if strings.EqualFold(own, key) {
				delete(context, own)
			}
		}
		context[key] = values
	}
	return policy.Request{Principal: in.principal, Account: in.account, Action: in.action, Resource: in.resource,
		Context: context, GatewayEndpoint: in.gateway}, nil
}

// policies reads every file. What is wrong with one is said with its place.
func (in policyTestInput) policies(file string, stdin io.Reader) (*policy.Set, error) {
	var firstErr error
	read := func(name string, o policy.Options) *policy.Policy {
		if name == "" || firstErr != nil {
			return nil
		}
		doc, err := readDocument(name, stdin)
		if err != nil {
			firstErr = err
			return nil
		}
		p, err := policy.ParseOptions(doc, o)
		var bad *policy.ParseError
		if errors.As(err, &bad) {
			line, column := policy.Position(doc, bad.Offset)
			firstErr = usageError("%s:%d:%d: %w", name, line, column, err)
		}
		return p
	}
	identity := policy.Options{Identity: true}
	s := &policy.Set{ResourceAccount: in.owner}
	s.Endpoint = read(file, policy.Options{})
	for _, name := range in.identity {
		s.Identity = append(s.Identity, read(name, identity))
	}
	s.Boundary = read(in.boundary, identity)
	if p := read(in.session, identity); p != nil {
		s.Session = []*policy.Policy{p}
	}
	s.Resource = read(in.resourcePolicy, policy.Options{})
	return s, firstErr
}

func answerOf(o policy.Outcome, file string, in policyTestInput) policyAnswer {
	a := policyAnswer{Decision: "deny", Explicit: o.Explicit, Policy: string(o.Policy), Statement: o.Statement, Sid: o.Sid, Reason: o.Reason, Remedy: o.Remedy}
	if o.Allowed {
		a.Decision = "allow"
	}
	if !o.Missing {
		switch o.Policy {
		case policy.EndpointPolicy:
			a.File = file
		case policy.IdentityPolicy:
			if o.Index < len(in.identity) {
				a.File = in.identity[o.Index]
			}
		case policy.Boundary:
			a.File = in.boundary
		case policy.SessionPolicy:
			a.File = in.session
		case policy.ResourcePolicy:
			a.File = in.resourcePolicy
		}
	}
	for _, f := range o.Failed {
		a.Conditions = append(a.Conditions, failedCondition(f))
	}
	return a
}

func printOutcome(out io.Writer, asJSON bool, a policyAnswer) error {
	if asJSON {
		return printJSON(out, a)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s policy", a.Decision, a.Policy)
	if a.File != "" {
		fmt.Fprintf(&b, " (%s)", a.File)
	}
	fmt.Fprintf(&b, ": %s\n", a.Reason)
	for _, f := range a.Conditions {
		fmt.Fprintf(&b, "  %s\n", unmet(f))
	}
	if a.Remedy != "" {
		fmt.Fprintf(&b, "  to allow it: %s\n", a.Remedy)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
