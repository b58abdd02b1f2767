// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

const b = "arn:aws:s3:::b"

func TestSuggestedPoliciesAreTheLeast(t *testing.T) {
	on := func(action string, resources ...string) (out []Observed) {
		for _, r := range resources {
			out = append(out, Observed{action, r})
		}
		return out
	}
	many := func(format string, n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf(format, i))
		}
		return out
	}
	for _, c := range []struct {
		name  string
		calls []Observed
		want  string // its statements: actions on resources
	}{
		{"one", on("s3:GetObject", b+"/k", b+"/k"), `s3:GetObject on arn:aws:s3:::b/k`},
		{"bucket and object", append(on("s3:ListBucket", b), on("s3:GetObject", b+"/x/k")...), `s3:ListBucket on arn:aws:s3:::b; s3:GetObject on arn:aws:s3:::b/x/k`},
		{"same resources", append(on("s3:PutObject", b+"/x"), on("s3:GetObject", b+"/x")...), `s3:GetObject s3:PutObject on arn:aws:s3:::b/x`},
		{"as many as are listed", on("s3:GetObject", many(b+"/x/%d", 5)...), `s3:GetObject on arn:aws:s3:::b/x/0 arn:aws:s3:::b/x/1 arn:aws:s3:::b/x/2 arn:aws:s3:::b/x/3 arn:aws:s3:::b/x/4`},
		{"one folder", on("s3:GetObject", many(b+"/x/%d", 6)...), `s3:GetObject on arn:aws:s3:::b/x/*`},
		{"an object beside a folder", on("s3:GetObject", append(many(b+"/x/%d", 6), b+"/top")...), `s3:GetObject on arn:aws:s3:::b/top arn:aws:s3:::b/x/*`},
		{"many folders", on("s3:GetObject", many(b+"/x/%d/y/k", 6)...), `s3:GetObject on arn:aws:s3:::b/x/*`},
		{"a folder and what is in it", on("s3:GetObject", b+"/x/a/s/k", b+"/x/a/t/k", b+"/x/a/1", b+"/y/1", b+"/y/2", b+"/y/3"),
			`s3:GetObject on arn:aws:s3:::b/x/a/* arn:aws:s3:::b/y/1 arn:aws:s3:::b/y/2 arn:aws:s3:::b/y/3`},
		{"the whole bucket", on("s3:GetObject", many(b+"/%d", 6)...), `s3:GetObject on arn:aws:s3:::b/*`},
		{"buckets apart", on("s3:GetObject", append(many(b+"/x/%d", 6), "arn:aws:s3:::c/x/1")...), `s3:GetObject on arn:aws:s3:::b/x/* arn:aws:s3:::c/x/1`},
		{"actions apart", append(on("s3:GetObject", many(b+"/x/%d", 6)...), on("s3:PutObject", b+"/x/1")...), `s3:GetObject on arn:aws:s3:::b/x/*; s3:PutObject on arn:aws:s3:::b/x/1`},
		{"other services", append(on("dynamodb:GetItem", many("arn:aws:dynamodb:us-east-1:111111111111:table/t%d", 6)...), on("s3:ListAllMyBuckets", "*")...),
			`s3:ListAllMyBuckets on *; dynamodb:GetItem on ` + strings.Join(many("arn:aws:dynamodb:us-east-1:111111111111:table/t%d", 6), " ")},
		{"hostile keys", on("s3:GetObject", b+"/*", b+"/${aws:username}", b+"/a?"), `s3:GetObject on arn:aws:s3:::b/${$}{aws:username} arn:aws:s3:::b/${*} arn:aws:s3:::b/a${?}`},
		{"a key that is not whole", on("s3:GetObject", b+"/x/"+strings.Repeat("k", 1100), b+"/y/\ufffd/z"), `s3:GetObject on arn:aws:s3:::b/x/* arn:aws:s3:::b/y/*`},
	} {
		doc, err := Suggest(c.calls)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		p := mustParse(t, string(doc))
		var got []string
		for i := range p.statements {
			s := &p.statements[i]
			got = append(got, strings.Join(s.actionNames(), " ")+" on "+strings.Join(s.resourceNames(), " "))
		}
		if g := strings.Join(got, "; "); g != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, g, c.want)
		}
	}
	for name, calls := range map[string][]Observed{
		"nothing":        nil,
		"no action":      {{"", b}},
		"no resource":    {{"s3:GetObject", "b/k"}},
		"more than fits": on("sqs:SendMessage", many("arn:aws:sqs:us-east-1:111111111111:a-queue-with-a-long-name-%04d", 1000)...),
	} {
		if doc, err := Suggest(calls); err == nil {
			t.Errorf("%s: %s", name, doc)
		}
	}
}

func TestSuggestedPoliciesCoverWhatWasSeen(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	names := []string{"a", "b", "data", "*", "?", "$", "${", "${*}", "é", "", "%2F", " "}
	for range 300 {
		var calls []Observed
		for range 1 + rng.IntN(60) {
			resource := b + fmt.Sprint(rng.IntN(3))
			for range rng.IntN(5) {
				resource += "/" + names[rng.IntN(len(names))] + names[rng.IntN(len(names))]
			}
			calls = append(calls, Observed{[]string{"s3:GetObject", "s3:PutObject", "s3:ListBucket"}[rng.IntN(3)], resource})
		}
		doc, err := Suggest(calls) // it verifies that all are allowed
		if err != nil {
			t.Fatalf("%q: %v", calls, err)
		}
		for i := len(calls) - 1; i > 0; i-- {
			j := rng.IntN(i + 1)
			calls[i], calls[j] = calls[j], calls[i]
		}
		if again, err := Suggest(calls); err != nil || string(again) != string(doc) {
			t.Fatalf("another order gave another policy: %v\n%s\n%s", err, doc, again)
		}
		p := mustParse(t, string(doc))
		for _, r := range []Observed{{"s3:DeleteObject", calls[0].Resource}, {calls[0].Action, b + "9/a"}} {
			if p.Decide(&Request{Action: r.Action, Resource: r.Resource}).Allowed {
				t.Fatalf("%+v was never seen and is allowed by\n%s", r, doc)
			}
		}
	}
}
