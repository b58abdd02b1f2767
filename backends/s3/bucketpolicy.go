// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
)

// Bucket policies that ask where a request comes from.
//
// The gateway sees only the proxy in front of it: it refuses condition keys such as
// aws:SourceVpce, and aws:SecureTransport is about its own socket. The proxy knows,
// and says so in a header of every request (headerContext). So a policy is kept as
// it was put, in the bucket, where a restart or another proxy finds it; the gateway
// checks it without those conditions when it is put, and gets to see, for each
// request, the policy as it is for that request: a statement whose conditions on
// the origin hold comes without them, one whose conditions do not hold is left out.
// A request that did not come through an endpoint has none of these keys.

// headerContext is the proxy's header: a JSON object of condition keys and values.
// It counts on a unix socket only, which nobody else can open.
const headerContext = "X-Postern-Context"

// maxPolicy is S3's bound of a bucket policy.
const maxPolicy = 20 << 10

// originKeys are the condition keys of the origin, in lower case, as the gateway
// spells them. Those marked are known to the gateway too, which is right about
// them where no proxy says otherwise.
var originKeys = map[string]struct {
	name    string
	gateway bool
}{
	"aws:sourcevpce":            {"aws:SourceVpce", false},
	"aws:sourcevpc":             {"aws:SourceVpc", false},
	"aws:sourcevpcarn":          {"aws:SourceVpcArn", false},
	"aws:vpcsourceip":           {"aws:VpcSourceIp", false},
	"aws:vpceaccount":           {"aws:VpceAccount", false},
	"aws:vpceorgid":             {"aws:VpceOrgID", false},
	"aws:vpceorgpaths":          {"aws:VpceOrgPaths", false},
	"aws:principalaccount":      {"aws:PrincipalAccount", false},
	"aws:principaltype":         {"aws:PrincipalType", false},
	"aws:principalorgid":        {"aws:PrincipalOrgID", false},
	"aws:principalisawsservice": {"aws:PrincipalIsAWSService", false},
	"aws:viaawsservice":         {"aws:ViaAWSService", false},
	"aws:requestedregion":       {"aws:RequestedRegion", false},
	"aws:principalarn":          {"aws:PrincipalArn", true},
	"aws:userid":                {"aws:userid", true},
	"aws:username":              {"aws:username", true},
	"aws:sourceip":              {"aws:SourceIp", true},
	"aws:securetransport":       {"aws:SecureTransport", true},
}

// principalTag starts the keys of the tags that a caller has. The letter case of a
// tag's key means nothing in a policy: here it is small.
const principalTag = "aws:PrincipalTag/"

// tagsLeftOut is what the proxy says in the place of tags for which a request has
// no room left.
const tagsLeftOut = "postern:PrincipalTagsLeftOut"

// lookOrigin is a key of the origin as it is spelt here, and whether the gateway
// knows it too.
func lookOrigin(key string) (name string, gateway, ok bool) {
	lower := strings.ToLower(key)
	if k, ok := originKeys[lower]; ok {
		return k.name, k.gateway, true
	}
	if tag, ok := strings.CutPrefix(lower, strings.ToLower(principalTag)); ok && tag != "" {
		return principalTag + tag, false, true
	}
	return "", false, false
}

// origin is what the proxy says of a request; nil if there was no proxy.
type origin map[string][]string

// readOrigin reads the proxy's header.
func readOrigin(text string) (origin, error) {
	var said map[string]string
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		return nil, errContext
	}
	o := origin{}
	for key, v := range said {
		if name, _, ok := lookOrigin(key); ok {
			key = name
		}
		o[key] = append(o[key], v) // two spellings are one key
	}
	return o, nil
}

type (
	originKey struct{} // of an origin in a request's context
	putKey    struct{} // of a *putPolicy
)

// putPolicy is a policy that is being put.
type putPolicy struct {
	request  fiber.Ctx
	original []byte // what to keep; nil until the gateway gets less
}

// policyKeeper is the storage as the gateway's policies see it.
type policyKeeper struct {
	backend.Backend
	// trusted says that the proxy's header can be believed.
	trusted bool
}

var errContext = errors.New("the proxy's header cannot be read")

// middleware puts what the keeper needs beside a request, and gives policies back
// as they were put.
func (k *policyKeeper) middleware(ctx fiber.Ctx) error {
	if k.trusted {
		if text := ctx.Get(headerContext); text != "" {
			o, err := readOrigin(text)
			if err != nil {
				return err
			}
			ctx.Locals(originKey{}, o)
		}
	}
	args := ctx.Request().URI().QueryArgs()
	policy, status := args.Has("policy"), args.Has("policyStatus")
	path, err := url.PathUnescape(ctx.Path())
	bucket := strings.Trim(path, "/")
	if err != nil || !policy && !status || bucket == "" || strings.Contains(bucket, "/") {
		return ctx.Next()
	}
	if ctx.Method() == http.MethodPut && policy {
		ctx.Locals(putKey{}, &putPolicy{request: ctx})
	}
	if err := ctx.Next(); err != nil || ctx.Method() != http.MethodGet || ctx.Response().StatusCode() != http.StatusOK {
		return err
	}
	doc, err := k.Backend.GetBucketPolicy(context.Background(), bucket)
	switch {
	case err != nil:
		return err
	case policy:
		ctx.Response().SetBody(doc)
	default:
		// A statement about where requests come from makes nothing public.
		without, err := forRequest(doc, nil, true)
		if err != nil {
			return err
		}
		if p, err := auth.ParsePolicyDocument(without); err != nil || !p.IsPublic() {
			ctx.Response().SetBody(bytes.Replace(ctx.Response().Body(), []byte("<IsPublic>true<"), []byte("<IsPublic>false<"), 1))
		}
	}
	return nil
}

// GetBucketPolicy is a bucket's policy as it is for the request of ctx.
func (k *policyKeeper) GetBucketPolicy(ctx context.Context, bucket string) ([]byte, error) {
	doc, err := k.Backend.GetBucketPolicy(ctx, bucket)
	if err != nil {
		return nil, err
	}
	o, _ := ctx.Value(originKey{}).(origin)
	return forRequest(doc, o, false)
}

// GetBucketAcl is what the gateway asks for once a signature is checked and before
// it looks at a policy that is being put: here it gets the policy that it can hold.
// One that has no such form stays as it is, for the gateway to refuse.
func (k *policyKeeper) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) ([]byte, error) {
	if p, ok := ctx.Value(putKey{}).(*putPolicy); ok && p.original == nil {
		body := slices.Clone(p.request.BodyRaw())
		if fillsTags(body) {
			return nil, errVariable
		}
		if less, err := withoutOrigin(body); err == nil && !bytes.Equal(less, body) {
			p.original = body
			p.request.Request().SetBody(less)
		}
	}
	return k.Backend.GetBucketAcl(ctx, in)
}

// fillsTags reports whether a policy has a variable for a tag of the caller's: the
// gateway would take it for plain text, so that a Deny would deny nothing.
func fillsTags(doc []byte) bool {
	var text any // however its letters are escaped
	return json.Unmarshal(doc, &text) == nil && anyText(text, tagVariable.MatchString)
}

// anyText reports whether a text of a JSON value is one of those.
func anyText(v any, is func(string) bool) bool {
	switch v := v.(type) {
	case string:
		return is(v)
	case []any:
		return slices.ContainsFunc(v, func(v any) bool { return anyText(v, is) })
	case map[string]any:
		for _, v := range v {
			if anyText(v, is) {
				return true
			}
		}
	}
	return false
}

// PutBucketPolicy keeps a policy as it was put.
func (k *policyKeeper) PutBucketPolicy(ctx context.Context, bucket string, policy []byte) error {
	if p, ok := ctx.Value(putKey{}).(*putPolicy); ok && p.original != nil {
		policy = p.original
	}
	return k.Backend.PutBucketPolicy(ctx, bucket, policy)
}

// document is a policy, its statements not taken apart further than needed.
type document struct {
	fields     map[string]json.RawMessage
	statements []map[string]json.RawMessage
}

// conditions are operators, keys and values.
type conditions map[string]map[string]json.RawMessage

// asksTags reports whether a tag of the caller's is among them.
func (c conditions) asksTags() bool {
	for _, keys := range c {
		for key := range keys {
			if strings.HasPrefix(key, principalTag) {
				return true
			}
		}
	}
	return false
}

var (
	errPolicy = errors.New("no policy")
	// errTags is for requests that cannot be judged: neither an Allow nor a Deny
	// may count that asks for a tag.
	errTags = s3err.APIError{
		Code: "RequestHeaderSectionTooLarge", HTTPStatusCode: http.StatusBadRequest,
		Description: "The bucket's policy asks for a tag of the caller's, and the caller's tags do not fit into 8192 bytes beside the request's own headers.",
	}
	// errVariable is for policies that would never mean what they say.
	errVariable = s3err.APIError{
		Code: "MalformedPolicy", HTTPStatusCode: http.StatusBadRequest,
		Description: "The variable aws:PrincipalTag is not filled in in bucket policies here: write a condition on the key aws:PrincipalTag instead",
	}
)

// tagVariable finds a variable that stands for a tag of the caller's.
var tagVariable = regexp.MustCompile(`(?i)\$\{\s*aws:principaltag/`)

func parseDocument(doc []byte) (document, error) {
	var d document
	if err := json.Unmarshal(doc, &d.fields); err != nil {
		return d, err
	}
	if err := exact(d.fields, "Statement"); err != nil {
		return d, err
	}
	if err := json.Unmarshal(d.fields["Statement"], &d.statements); err != nil {
		return d, err
	}
	for _, s := range d.statements {
		if err := exact(s, "Condition"); err != nil {
			return d, err
		}
	}
	return d, nil
}

// exact refuses a name in other letters, which the gateway would take for it.
func exact(fields map[string]json.RawMessage, name string) error {
	for f := range fields {
		if f != name && strings.EqualFold(f, name) {
			return errPolicy
		}
	}
	return nil
}

func (d document) text() ([]byte, error) {
	if d.statements == nil {
		d.statements = []map[string]json.RawMessage{}
	}
	statements, err := json.Marshal(d.statements)
	if err != nil {
		return nil, err
	}
	d.fields["Statement"] = statements
	return json.Marshal(d.fields)
}

// split takes the conditions on the origin out of a statement. all includes the
// keys that the gateway knows as well. of is nil if there are none.
func split(s map[string]json.RawMessage, all bool) (of conditions, err error) {
	if s["Condition"] == nil {
		return nil, nil
	}
	var c conditions
	if err := json.Unmarshal(s["Condition"], &c); err != nil {
		return nil, err
	}
	for op, keys := range c {
		for key, values := range keys {
			name, gateway, ok := lookOrigin(key)
			if !ok || gateway && !all {
				continue
			}
			if of == nil {
				of = conditions{}
			}
			if of[op] == nil {
				of[op] = map[string]json.RawMessage{}
			}
			if of[op][name] != nil {
				return nil, errPolicy // a key twice
			}
			of[op][name] = values
			delete(keys, key)
		}
		if len(keys) == 0 {
			delete(c, op)
		}
	}
	if of == nil {
		return nil, nil
	}
	delete(s, "Condition")
	if len(c) > 0 {
		rest, err := json.Marshal(c)
		if err != nil {
			return nil, err
		}
		s["Condition"] = rest
	}
	return of, nil
}

// withoutOrigin is a policy without its conditions on the origin that the gateway
// does not know, for it to check. What it cannot check, those conditions, is
// checked here: as conditions on keys of the same kind that it knows.
func withoutOrigin(doc []byte) ([]byte, error) {
	if len(doc) > maxPolicy {
		return nil, errPolicy
	}
	d, err := parseDocument(doc)
	if err != nil {
		return nil, err
	}
	changed := false
	for _, s := range d.statements {
		of, err := split(s, false)
		if err != nil {
			return nil, err
		}
		if of == nil {
			continue
		}
		changed = true
		known := conditions{}
		for op, keys := range of {
			for key, values := range keys {
				as := "aws:UserAgent"
				if key == "aws:VpcSourceIp" {
					as = "aws:SourceIp"
				}
				if known[op] == nil {
					known[op] = map[string]json.RawMessage{}
				}
				if known[op][as] != nil {
					// Two keys of one operator: one after the other.
					if err := checkConditions(known); err != nil {
						return nil, err
					}
				}
				known[op][as] = values
			}
		}
		if err := checkConditions(known); err != nil {
			return nil, err
		}
	}
	if !changed {
		return doc, nil
	}
	return d.text()
}

func checkConditions(c conditions) error {
	return auth.ValidatePolicyDocument(probe(c), probeBucket, nil)
}

// probe is a policy with these conditions and nothing else to match.
func probe(c conditions) []byte {
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Principal": "*", "Action": string(auth.GetObjectAction), "Resource": auth.ResourceArnPrefix + probeBucket + "/*", "Condition": c,
	}}})
	if err != nil {
		return nil // raw JSON that was parsed always marshals
	}
	return b
}

const probeBucket = "bucket"

// forRequest is a policy as it is for a request of this origin. With strip, every
// statement about the origin is left out.
func forRequest(doc []byte, o origin, strip bool) ([]byte, error) {
	d, err := parseDocument(doc)
	if err != nil {
		return nil, err
	}
	kept := d.statements[:0]
	changed := false
	for _, s := range d.statements {
		of, err := split(s, o != nil)
		if err != nil {
			return nil, err
		}
		if of != nil {
			changed = true
			if strip {
				continue
			}
			if o[tagsLeftOut] != nil && of.asksTags() {
				return nil, errTags
			}
			same := func(_, object string) string { return object }
			if auth.VerifyPublicBucketPolicy(probe(of), probeBucket, "key", o, same, auth.GetObjectAction) != nil {
				continue
			}
		}
		kept = append(kept, s)
	}
	if !changed {
		return doc, nil
	}
	d.statements = kept
	return d.text()
}
