// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// proxied adds what the proxy says of a request.
type proxied struct {
	http.RoundTripper
	context string
}

func (p proxied) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if p.context != "" {
		r.Header.Set(headerContext, p.context)
	}
	return p.RoundTripper.RoundTrip(r)
}

// from is a client whose requests come from somewhere.
func (g *gateway) from(key accessKey, keys map[string]string) *s3.Client {
	text := ""
	if keys != nil {
		b, err := json.Marshal(keys)
		if err != nil {
			g.t.Fatal(err)
		}
		text = string(b)
	}
	h := g.httpClient()
	h.Transport = proxied{h.Transport, text}
	return s3.New(s3.Options{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider(key.Access, key.Secret, ""),
		BaseEndpoint: aws.String("http://" + virtualDomain), UsePathStyle: true, HTTPClient: h, RetryMaxAttempts: 1,
	})
}

func TestBucketPoliciesAskWhereARequestComesFrom(t *testing.T) {
	dir := t.TempDir()
	g := start(t, dir, []accessKey{keyA1, keyB})
	mine := map[string]string{"aws:SourceVpce": "vpce-1", "aws:SourceVpc": "vpc-1", "aws:VpcSourceIp": "10.0.1.5", "aws:SecureTransport": "true", "aws:PrincipalArn": "arn:aws:iam::" + accountB + ":root"}
	other := map[string]string{"aws:SourceVpce": "vpce-2", "aws:SourceVpc": "vpc-2", "aws:VpcSourceIp": "10.0.2.5", "aws:SecureTransport": "false"}
	a := g.from(keyA1, mine)
	makeBucket(t, a, "bucket-a")
	wantOK(t, "put", put(t, a, "bucket-a", "k", []byte("v")))
	set := func(statements string) string {
		t.Helper()
		doc := `{"Version":"2012-10-17",  "Statement":[` + statements + `]}`
		_, err := a.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("bucket-a"), Policy: &doc})
		wantOK(t, "policy", err)
		return doc
	}
	statement := func(effect, principal, condition string) string {
		return `{"Effect":"` + effect + `","Principal":` + principal + `,"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket-a/*","Condition":` + condition + `}`
	}
	toB := `{"AWS":"` + accountB + `"}`
	for name, tc := range map[string]struct {
		statements          string
		mine, other, direct bool // may B read
	}{
		"allow an endpoint":          {statement("Allow", toB, `{"StringEquals":{"aws:SourceVpce":"vpce-1"}}`), true, false, false},
		"allow one of two":           {statement("Allow", toB, `{"StringEquals":{"AWS:sourcevpce":["vpce-1","vpce-2"]}}`), true, true, false},
		"allow a pattern":            {statement("Allow", toB, `{"StringLike":{"aws:SourceVpc":"vpc-?"},"IpAddress":{"aws:VpcSourceIp":"10.0.1.0/24"}}`), true, false, false},
		"allow all but an endpoint":  {statement("Allow", toB, `{"StringNotEquals":{"aws:SourceVpce":"vpce-2"}}`), true, false, true},
		"if there is one":            {statement("Allow", toB, `{"StringEqualsIfExists":{"aws:SourceVpce":"vpce-1"}}`), true, false, true},
		"only without one":           {statement("Allow", toB, `{"Null":{"aws:SourceVpce":"true"}}`), false, false, true},
		"deny outside of a VPC":      {statement("Allow", toB, `{}`) + "," + statement("Deny", `"*"`, `{"StringNotEquals":{"aws:SourceVpc":"vpc-1"}}`), true, false, false},
		"deny without TLS":           {statement("Allow", toB, `{}`) + "," + statement("Deny", `"*"`, `{"Bool":{"aws:SecureTransport":"false"}}`), true, false, false},
		"with what the gateway has":  {statement("Allow", toB, `{"StringEquals":{"aws:SourceVpce":"vpce-1"},"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`), true, false, false},
		"and against it":             {statement("Allow", toB, `{"StringEquals":{"aws:SourceVpce":"vpce-1"},"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`), false, false, false},
		"a public address is absent": {statement("Allow", toB, `{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}`), false, false, true},
		"to anybody of an endpoint":  {statement("Allow", `"*"`, `{"StringEquals":{"aws:SourceVpce":"vpce-1"}}`), true, false, false},
		"by its caller":              {statement("Allow", toB, `{"StringEquals":{"aws:PrincipalArn":"arn:aws:iam::`+accountB+`:root"}}`), true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			doc := set(tc.statements)
			for from, c := range map[string]struct {
				keys map[string]string
				want bool
			}{"mine": {mine, tc.mine}, "other": {other, tc.other}, "direct": {nil, tc.direct}} {
				if _, err := get(t, g.from(keyB, c.keys), "bucket-a", "k"); (err == nil) != c.want {
					t.Errorf("from %s: %v, want allowed: %v", from, err, c.want)
				}
			}
			out, err := a.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: aws.String("bucket-a")})
			if err != nil || *out.Policy != doc {
				t.Errorf("put %s\n got %v %v", doc, aws.ToString(out.Policy), err)
			}
		})
	}

	// The owner is denied too, from elsewhere, and not where he may be.
	doc := set(`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket-a","arn:aws:s3:::bucket-a/*"],"Condition":{"StringNotEquals":{"aws:SourceVpce":"vpce-1"}}}`)
	for from, keys := range map[string]map[string]string{"other": other, "nowhere": nil} {
		_, err := get(t, g.from(keyA1, keys), "bucket-a", "k")
		wantCode(t, "the owner from "+from, err, "AccessDenied")
		_, err = g.from(keyA1, keys).DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String("bucket-a")})
		wantCode(t, "the owner changes it from "+from, err, "AccessDenied")
	}
	wantBody(t, a, "bucket-a", "k", []byte("v"))
	// A policy survives a restart.
	g.stdin.Close()
	g.wantExit()
	g = start(t, dir, []accessKey{keyA1, keyB})
	a = g.from(keyA1, mine)
	out, err := a.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: aws.String("bucket-a")})
	if err != nil || *out.Policy != doc {
		t.Errorf("after a restart: %v %v", out, err)
	}
	_, err = get(t, g.from(keyA1, other), "bucket-a", "k")
	wantCode(t, "after a restart", err, "AccessDenied")

	// A statement about endpoints makes nothing public; one about nothing does.
	for condition, want := range map[string]bool{`{"StringEquals":{"aws:SourceVpce":"vpce-1"}}`: false, `{}`: true} {
		set(statement("Allow", `"*"`, condition))
		st, err := a.GetBucketPolicyStatus(t.Context(), &s3.GetBucketPolicyStatusInput{Bucket: aws.String("bucket-a")})
		if err != nil || *st.PolicyStatus.IsPublic != want {
			t.Errorf("%s: public %v %v", condition, st, err)
		}
	}
	// What is wrong is refused.
	for _, bad := range []string{
		statement("Allow", toB, `{"StringEquls":{"aws:SourceVpce":"vpce-1"}}`),
		statement("Allow", toB, `{"IpAddress":{"aws:VpcSourceIp":"ten"}}`),
		statement("Allow", toB, `{"StringEquals":{"aws:SourceVpce":"vpce-1","aws:Unheard":"x"}}`),
		statement("Allow", toB, `{"StringEquals":{"aws:SourceVpce":"vpce-1","AWS:SOURCEVPCE":"vpce-2"}}`),
		strings.Replace(statement("Allow", toB, `{"StringEquals":{"aws:SourceVpce":"vpce-1"}}`), `"Condition"`, `"condition"`, 1),
		statement("Allow", `{"AWS":"999999999999"}`, `{"StringEquals":{"aws:SourceVpce":"vpce-1"}}`),
	} {
		doc := `{"Version":"2012-10-17","Statement":[` + bad + `]}`
		_, err := a.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("bucket-a"), Policy: &doc})
		wantCode(t, bad, err, "MalformedPolicy")
	}
	doc = `{"Version":"2012-10-17","Statement":[` + statement("Allow", toB, `{"StringEquals":{"aws:SourceVpce":"vpce-1"}}`) + `]}`
	_, err = g.from(keyB, mine).PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("bucket-a"), Policy: &doc})
	wantCode(t, "another's bucket", err, "AccessDenied")
	// An object whose name looks like the request for a policy is an object.
	wantOK(t, "an object", put(t, a, "bucket-a", "policy", []byte(doc)))
	wantBody(t, a, "bucket-a", "policy", []byte(doc))
}

// On a port anybody could say where he comes from.
func TestTheOriginIsBelievedOnASocketOnly(t *testing.T) {
	g := start(t, t.TempDir(), []accessKey{keyA1, keyB}, "--listen", "127.0.0.1:0")
	mine := map[string]string{"aws:SourceVpce": "vpce-1"}
	a := g.from(keyA1, nil)
	makeBucket(t, a, "bucket-a")
	wantOK(t, "put", put(t, a, "bucket-a", "k", []byte("v")))
	doc := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + accountB + `"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket-a/*","Condition":{"StringEquals":{"aws:SourceVpce":"vpce-1"}}}]}`
	_, err := a.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("bucket-a"), Policy: &doc})
	wantOK(t, "policy", err)
	_, err = get(t, g.from(keyB, mine), "bucket-a", "k")
	wantCode(t, "a client that says so", err, "AccessDenied")
}

// The tags of whoever signs are the proxy's to tell, and a policy that asks for one
// is never judged without them.
func TestBucketPoliciesAskForTagsOfTheCaller(t *testing.T) {
	g := start(t, t.TempDir(), []accessKey{keyA1, keyB})
	a := g.from(keyA1, map[string]string{"aws:PrincipalAccount": accountA})
	makeBucket(t, a, "bucket-a")
	wantOK(t, "put", put(t, a, "bucket-a", "k", []byte("v")))
	put := func(statements string) (string, error) {
		doc := `{"Version":"2012-10-17","Statement":[` + statements + `]}`
		_, err := a.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("bucket-a"), Policy: &doc})
		return doc, err
	}
	const resource = `,"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket-a/*"`
	allow := func(condition string) string {
		return `{"Effect":"Allow","Principal":{"AWS":"` + accountB + `"}` + resource + `,"Condition":` + condition + `}`
	}
	deny := func(condition string) string {
		return allow(`{}`) + `,{"Effect":"Deny","Principal":"*"` + resource + `,"Condition":` + condition + `}`
	}
	red := map[string]string{"aws:PrincipalAccount": accountB, "aws:PrincipalTag/Team": "red", "aws:PrincipalTag/ünit": "é<&"}
	blue := map[string]string{"aws:PrincipalAccount": accountB, "aws:PrincipalTag/team": "blue", "aws:PrincipalTag/TEAM": "green"}
	none := map[string]string{"aws:PrincipalAccount": accountB}
	full := map[string]string{"aws:PrincipalAccount": accountB, tagsLeftOut: "true"}
	for name, tc := range map[string]struct {
		statements            string
		red, blue, none, full bool // may B read
	}{
		"a tag":                {allow(`{"StringEquals":{"aws:PrincipalTag/team":"red"}}`), true, false, false, false},
		"a tag in other case":  {allow(`{"StringEquals":{"AWS:principaltag/TEAM":["red","green"]}}`), true, true, false, false},
		"a pattern":            {allow(`{"StringLike":{"aws:PrincipalTag/team":"r?d"}}`), true, false, false, false},
		"a tag of other signs": {allow(`{"StringEquals":{"aws:PrincipalTag/ünit":"é<&"}}`), true, false, false, false},
		"not a value":          {allow(`{"StringNotEquals":{"aws:PrincipalTag/team":"red"}}`), false, true, true, false},
		"two tags":             {allow(`{"StringEquals":{"aws:PrincipalTag/team":"red","aws:PrincipalTag/ünit":"x"}}`), false, false, false, false},
		"whoever has one":      {allow(`{"Null":{"aws:PrincipalTag/team":"false"}}`), true, true, false, false},
		"if there is one":      {allow(`{"StringEqualsIfExists":{"aws:PrincipalTag/team":"red"}}`), true, false, true, false},
		"deny a tag":           {deny(`{"StringEquals":{"aws:PrincipalTag/team":"red"}}`), false, true, true, false},
		"deny all without one": {deny(`{"StringNotEquals":{"aws:PrincipalTag/team":"red"}}`), true, false, false, false},
		"and the account":      {allow(`{"StringEquals":{"aws:PrincipalTag/team":"red","aws:PrincipalAccount":"` + accountB + `"}}`), true, false, false, false},
		"no tag at all":        {allow(`{"StringEquals":{"aws:PrincipalAccount":"` + accountB + `"}}`), true, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := put(tc.statements)
			wantOK(t, "policy", err)
			for who, c := range map[string]struct {
				keys map[string]string
				want bool
			}{"red": {red, tc.red}, "blue": {blue, tc.blue}, "none": {none, tc.none}, "full": {full, tc.full}} {
				switch _, err := get(t, g.from(keyB, c.keys), "bucket-a", "k"); {
				case c.want:
					wantOK(t, who, err)
				case who == "full":
					wantCode(t, who, err, "RequestHeaderSectionTooLarge")
				default:
					wantCode(t, who, err, "AccessDenied")
				}
			}
			out, err := a.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: aws.String("bucket-a")})
			if err != nil || *out.Policy != doc {
				t.Errorf("put %s\n got %v %v", doc, aws.ToString(out.Policy), err)
			}
		})
	}
	for _, bad := range []string{
		allow(`{"StringEquals":{"aws:PrincipalTag/":"red"}}`),
		allow(`{"StringEquals":{"aws:PrincipalTag":"red"}}`),
		allow(`{"StringEquls":{"aws:PrincipalTag/team":"red"}}`),
		allow(`{"StringEquals":{"aws:PrincipalTag/team":"red","AWS:PRINCIPALTAG/TEAM":"blue"}}`),
	} {
		_, err := put(bad)
		wantCode(t, bad, err, "MalformedPolicy")
	}
	// A variable would be plain text to the gateway.
	for _, bad := range []string{
		strings.Replace(allow(`{}`), "bucket-a/*", "bucket-a/${aws:PrincipalTag/team}/*", 1),
		strings.Replace(allow(`{}`), "bucket-a/*", `bucket-a/\u0024{AWS:principalTag/team, 'none'}/*`, 1),
		deny(`{"StringEquals":{"aws:PrincipalTag/team":"${aws:PrincipalTag/unit}"}}`),
	} {
		_, err := put(bad)
		wantCode(t, bad, err, "MalformedPolicy")
		if err == nil || !strings.Contains(err.Error(), "The variable aws:PrincipalTag is not filled in") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
