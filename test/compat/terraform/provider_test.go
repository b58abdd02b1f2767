// SPDX-License-Identifier: Apache-2.0

package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/google/go-cmp/cmp"
	awsbase "github.com/hashicorp/aws-sdk-go-base/v2"
	"github.com/hashicorp/aws-sdk-go-base/v2/tfawserr"
	awspolicy "github.com/hashicorp/awspolicyequivalence"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/test/compat"
)

func TestMain(m *testing.M) { compat.Main(m) }

// provider is one configured provider: provider "aws" { endpoints { ... } }.
type provider struct {
	t       *testing.T
	srv     *compat.Server
	key     compat.Account
	account string
	ec2     *ec2.Client
	elb     *elb.Client
	tokens  int
}

// configure does what the provider does when it starts: configuration without
// any file, the credentials checked with GetCallerIdentity, which also tells the
// account, and 25 attempts per call.
func configure(t *testing.T, srv *compat.Server, key compat.Account) *provider {
	t.Helper()
	c := &awsbase.Config{
		AccessKey: key.AccessKey, SecretKey: key.Secret, Region: compat.Region, StsEndpoint: srv.URL, StsRegion: compat.Region,
		MaxRetries: 25, SuppressDebugLog: true, CallerName: "Terraform AWS Provider",
	}
	ctx, conf, diags := awsbase.GetAwsConfig(context.Background(), c)
	if diags.HasError() {
		t.Fatalf("configure: %v", diags)
	}
	account, partition, diags := awsbase.GetAwsAccountIDAndPartition(ctx, conf, c)
	if diags.HasError() || partition != "aws" || account != key.ID {
		t.Fatalf("account %q in partition %q, want %q in aws: %v", account, partition, key.ID, diags)
	}
	return &provider{
		t: t, srv: srv, key: key, account: account,
		ec2: ec2.NewFromConfig(conf, func(o *ec2.Options) { o.BaseEndpoint, o.HTTPClient = &srv.URL, apitest.Client() }),
		elb: elb.NewFromConfig(conf, func(o *elb.Options) { o.BaseEndpoint, o.HTTPClient = &srv.URL, apitest.Client() }),
	}
}

// start is a server and the provider of its first account.
func start(t *testing.T) *provider {
	t.Helper()
	srv := compat.New(t, compat.Options{})
	return configure(t, srv, srv.Account("consumer"))
}

// other is the provider of another account on the same server.
func (p *provider) other(name string) *provider {
	p.t.Helper()
	return configure(p.t, p.srv, p.srv.Account(name))
}

func (p *provider) ctx() context.Context { return p.t.Context() }

// token is a client token that was never sent before, as the provider makes
// one for every create.
func (p *provider) token() *string {
	p.tokens++
	return aws.String(fmt.Sprintf("terraform-20261125%06d", p.tokens))
}

func (p *provider) arn(service, resource string) string {
	return "arn:aws:" + service + ":" + compat.Region + ":" + p.account + ":" + resource
}

// ok fails the test when a call failed.
func (p *provider) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// must is the result of a call that has to succeed.
func must[T any](p *provider) func(T, error) T {
	return func(v T, err error) T {
		p.t.Helper()
		if err != nil {
			p.t.Fatal(err)
		}
		return v
	}
}

// refused requires a call to fail with one of the codes, and answers its text.
func (p *provider) refused(err error, codes ...string) string {
	p.t.Helper()
	if !tfawserr.ErrCodeEquals(err, codes...) {
		p.t.Fatalf("got %v, want one of %q", err, codes)
	}
	var api interface{ ErrorMessage() string }
	errors.As(err, &api)
	return api.ErrorMessage()
}

// attrs is a resource's state as its schema has it, flattened: sets are sorted
// lists of strings, blocks one string.
type attrs map[string]any

func (a attrs) str(key string) string          { s, _ := a[key].(string); return s }
func (a attrs) list(key string) []string       { l, _ := a[key].([]string); return l }
func (a attrs) tags() map[string]string        { m, _ := a["tags"].(map[string]string); return m }
func (a attrs) with(change attrs) attrs        { b := maps.Clone(a); maps.Copy(b, change); return b }
func (a attrs) changed(b attrs, k string) bool { return !cmp.Equal(a[k], b[k]) }

// set is a sorted list, never nil.
func set(values ...string) []string {
	l := append([]string{}, values...)
	slices.Sort(l)
	return l
}

// difference is what is in a and not in b.
func difference(a, b []string) []string {
	var out []string
	for _, v := range a {
		if !slices.Contains(b, v) {
			out = append(out, v)
		}
	}
	return out
}

// errGone is what a read answers of what the provider takes as gone.
var errGone = errors.New("gone")

// gone turns the provider's not-found codes into errGone.
func gone(err error, codes ...string) error {
	if tfawserr.ErrCodeEquals(err, codes...) {
		return errGone
	}
	return err
}

// resource is one resource type.
type resource struct {
	create func(config attrs) (id string)
	read   func(p *provider, id string) (attrs, error)
	// update brings the resource from one state to another; the id may change.
	update func(id string, from, to attrs) string
	remove func(id string, state attrs)
}

// change is one update: what the configuration says now, and which computed
// attributes follow from it.
type change struct {
	set      attrs
	computed []string
}

// lifecycle takes a resource through its life; during runs before the end.
func (p *provider) lifecycle(r resource, config attrs, changes []change, during ...func(id string, state attrs)) {
	p.t.Helper()
	id := r.create(config)
	state := p.settled(r, id)
	p.asConfigured("after create", config, state)
	for _, c := range changes {
		to := state.with(c.set)
		id = r.update(id, state, to)
		now := p.settled(r, id)
		config = config.with(c.set)
		p.asConfigured("after update", config, now)
		want := to
		for _, k := range c.computed {
			delete(want, k)
			if v, ok := now[k]; ok {
				want[k] = v
			}
		}
		if d := cmp.Diff(equivalent(want, now), map[string]any(now)); d != "" {
			p.t.Errorf("an update of %v changed something else as well, or not all (-want +got):\n%s", slices.Sorted(maps.Keys(c.set)), d)
		}
		state = now
	}
	// terraform import: a new run that knows the id only.
	imported := p.settled(r, id, configure(p.t, p.srv, p.key))
	if d := cmp.Diff(map[string]any(state), map[string]any(imported)); d != "" {
		p.t.Errorf("the imported state differs (-state +imported):\n%s", d)
	}
	for _, f := range during {
		f(id, state)
	}
	r.remove(id, state)
	if _, err := r.read(p, id); !errors.Is(err, errGone) {
		p.t.Errorf("a read after delete answers %v, want what the provider takes as not found", err)
	}
	r.remove(id, state) // somebody was faster: not an error for the provider
}

// settled reads until and requires what the provider relies on: one read and
// the next give the same.
func (p *provider) settled(r resource, id string, by ...*provider) attrs {
	p.t.Helper()
	who := p
	if len(by) > 0 {
		who = by[0]
	}
	first, err := r.read(who, id)
	p.ok(err)
	second, err := r.read(who, id)
	p.ok(err)
	if d := cmp.Diff(map[string]any(first), map[string]any(second)); d != "" {
		p.t.Errorf("a second read differs: Terraform would plan a change (-first +second):\n%s", d)
	}
	return second
}

// asConfigured requires that no configured attribute would be planned to change.
func (p *provider) asConfigured(when string, config, state attrs) {
	p.t.Helper()
	got := map[string]any{}
	for k := range config {
		got[k] = state[k]
	}
	if d := cmp.Diff(equivalent(config, state), got); d != "" {
		p.t.Errorf("%s Terraform would plan (-configured +state):\n%s", when, d)
	}
}

// equivalent takes over the spelling of policies that mean the same, as the
// provider suppresses such differences.
func equivalent(want, got attrs) map[string]any {
	out := maps.Clone(want)
	if a, ok := want["policy"].(string); ok {
		if same, err := awspolicy.PoliciesAreEquivalent(a, got.str("policy")); err == nil && same {
			out["policy"] = got["policy"]
		}
	}
	return out
}

// normalJSON is a document as the provider keeps it.
func (p *provider) normalJSON(s string) string {
	p.t.Helper()
	if s == "" {
		return ""
	}
	var v any
	p.ok(json.Unmarshal([]byte(s), &v))
	b, err := json.Marshal(v)
	p.ok(err)
	return string(b)
}

// wait polls as the provider's waiters do: a state that is neither pending nor a
// target ends the run; "" is not found, the target of a delete. It requires
// the target to be seen times in a row.
func (p *provider) wait(what string, pending, target []string, times int, state func() (string, error)) {
	p.t.Helper()
	end := time.Now().Add(30 * time.Second) // the provider's patience is minutes
	for seen := 0; ; {
		s, err := state()
		if errors.Is(err, errGone) {
			s, err = "", nil
		}
		p.ok(err)
		switch {
		case slices.Contains(target, s) || s == "" && len(target) == 0:
			if seen++; seen >= times {
				return
			}
		case !slices.Contains(pending, s):
			p.t.Fatalf("%s: state %q is neither pending %q nor the target %q", what, s, pending, target)
		default:
			seen = 0
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s: still %q", what, s)
		}
		time.Sleep(5 * time.Millisecond) // sleep: between polls, the provider's are seconds
	}
}

func tagSpec(kind ec2types.ResourceType, a attrs) []ec2types.TagSpecification {
	if len(a.tags()) == 0 {
		return nil
	}
	spec := ec2types.TagSpecification{ResourceType: kind}
	for _, k := range slices.Sorted(maps.Keys(a.tags())) {
		spec.Tags = append(spec.Tags, ec2types.Tag{Key: aws.String(k), Value: aws.String(a.tags()[k])})
	}
	return []ec2types.TagSpecification{spec}
}

func tagMap(tags []ec2types.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[*t.Key] = *t.Value
	}
	return m
}

// updateTags removes what is no longer there, then sets what is new or other.
func (p *provider) updateTags(id string, from, to attrs) {
	p.t.Helper()
	var drop, put []ec2types.Tag
	for _, k := range slices.Sorted(maps.Keys(from.tags())) {
		if _, ok := to.tags()[k]; !ok {
			drop = append(drop, ec2types.Tag{Key: aws.String(k)})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(to.tags())) {
		if v, ok := from.tags()[k]; !ok || v != to.tags()[k] {
			put = append(put, ec2types.Tag{Key: aws.String(k), Value: aws.String(to.tags()[k])})
		}
	}
	if len(drop) > 0 {
		_, err := p.ec2.DeleteTags(p.ctx(), &ec2.DeleteTagsInput{Resources: []string{id}, Tags: drop})
		p.ok(err)
	}
	if len(put) > 0 {
		_, err := p.ec2.CreateTags(p.ctx(), &ec2.CreateTagsInput{Resources: []string{id}, Tags: put})
		p.ok(err)
	}
}

func filter(name string, values ...string) ec2types.Filter {
	return ec2types.Filter{Name: aws.String(name), Values: values}
}

// one is the only element of a list, errGone for none.
func one[T any](p *provider, list []T, err error) (T, error) {
	p.t.Helper()
	var none T
	switch {
	case err != nil:
		return none, err
	case len(list) == 0:
		return none, errGone
	case len(list) > 1:
		p.t.Fatalf("%d results where the provider takes one", len(list))
	}
	return list[0], nil
}

// The tags of most tests: an empty value and one that is escaped.
var tagsOne = map[string]string{"Name": "one", "empty": "", "odd": `<&"'> +%20 ü`}
var tagsTwo = map[string]string{"Name": "two", "new": "x"}

// The provider's own start, and what it tells a person whose key is wrong.
func TestProviderStartsAndRefusesAWrongKey(t *testing.T) {
	srv := compat.New(t, compat.Options{})
	key := srv.Account("consumer")
	configure(t, srv, key)
	for _, c := range srv.Calls() {
		if c.Action != "GetCallerIdentity" || c.Status != 200 {
			t.Errorf("starting called %s: %d", c.Action, c.Status)
		}
	}
	conf := &awsbase.Config{
		AccessKey: key.AccessKey, SecretKey: key.Secret + "x", Region: compat.Region, StsEndpoint: srv.URL, StsRegion: compat.Region,
		MaxRetries: 25, SuppressDebugLog: true,
	}
	if _, _, diags := awsbase.GetAwsConfig(context.Background(), conf); !diags.HasError() {
		t.Error("a wrong secret was accepted")
	}
	if n := len(srv.Calls()); n != 1 {
		t.Errorf("a wrong secret was tried %d times", n)
	}
}
