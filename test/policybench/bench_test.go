// SPDX-License-Identifier: Apache-2.0

package policybench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"postern.dev/postern/internal/policy"
)

const teams = 98

// call is a request as a person would say it.
type call struct {
	name, user, action, bucket, key, vpc string
	secure, allowed                      bool
}

var calls = []call{
	{"first", "ann", "GetObject", "team-000-data", "2026/11/report.parquet", vpcOf(0), true, true},
	{"last", "ann", "PutObject", "team-097-data", "2026/11/report.parquet", vpcOf(97), true, true},
	{"home", "ann", "DeleteObject", "homes", "ann/notes.txt", vpcOf(3), true, true},
	{"otherHome", "ann", "DeleteObject", "homes", "bob/notes.txt", vpcOf(3), true, false},
	{"otherVPC", "ann", "GetObject", "team-050-data", "2026/11/report.parquet", vpcOf(51), true, false},
	{"plainHTTP", "ann", "GetObject", "team-050-data", "2026/11/report.parquet", vpcOf(50), false, false},
}

func vpcOf(n int) string    { return fmt.Sprintf("vpc-%017d", n) }
func bucketOf(n int) string { return fmt.Sprintf("team-%03d-data", n) }

// engine is a policy that is ready, and makes of a call a decision to time.
type engine struct {
	name    string
	prepare func(testing.TB, call) (decide func() bool)
}

func engines(t testing.TB) []engine {
	return []engine{{"postern", postern(t)}, {"cedar", cedarGo(t)}, {"opa", opa(t)}}
}

func postern(t testing.TB) func(testing.TB, call) func() bool {
	var s []string
	for i := range teams {
		s = append(s, fmt.Sprintf(`{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::%s/*","Condition":{"StringEquals":{"aws:SourceVpc":%q}}}`, bucketOf(i), vpcOf(i)))
	}
	s = append(s, `{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::homes/${aws:username}/*"}`,
		`{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`)
	p, err := policy.Parse([]byte(`{"Version":"2012-10-17","Statement":[` + strings.Join(s, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return func(_ testing.TB, c call) func() bool {
		// The keys that the edge sets on every request, not only those asked about.
		r := policy.Request{
			Principal: "arn:aws:iam::111111111111:user/" + c.user, Account: "111111111111", Action: "s3:" + c.action,
			Resource: "arn:aws:s3:::" + c.bucket + "/" + c.key, GatewayEndpoint: true,
			Context: map[string][]string{
				"aws:username": {c.user}, "aws:SourceVpc": {c.vpc}, "aws:SecureTransport": {fmt.Sprint(c.secure)},
				"aws:PrincipalArn": {"arn:aws:iam::111111111111:user/" + c.user}, "aws:PrincipalAccount": {"111111111111"}, "aws:PrincipalType": {"User"},
				"aws:userid": {"AIDAEXAMPLE"}, "aws:SourceVpce": {"vpce-00000000000000001"}, "aws:VpcSourceIp": {"10.0.0.7"}, "aws:VpceAccount": {"111111111111"},
				"aws:RequestedRegion": {"us-east-1"}, "aws:CurrentTime": {"2026-11-25T12:00:00Z"}, "aws:EpochTime": {"1795608000"}, "aws:UserAgent": {"aws-cli/2.31"},
				"s3:authType": {"REST-HEADER"}, "s3:signatureversion": {"AWS4-HMAC-SHA256"},
			},
		}
		return func() bool { return p.Decide(&r).Allowed }
	}
}

func cedarGo(t testing.TB) func(testing.TB, call) func() bool {
	var b strings.Builder
	for i := range teams {
		fmt.Fprintf(&b, "permit(principal, action in [Action::\"GetObject\", Action::\"PutObject\"], resource in Bucket::%q) when { context.vpc == %q };\n", bucketOf(i), vpcOf(i))
	}
	b.WriteString(`permit(principal, action, resource in Bucket::"homes") when { resource.folder == principal.name };
forbid(principal, action, resource) when { !context.secure };
`)
	set, err := cedar.NewPolicySetFromBytes("policy.cedar", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return func(_ testing.TB, c call) func() bool {
		user, bucket := cedar.NewEntityUID("User", cedar.String(c.user)), cedar.NewEntityUID("Bucket", cedar.String(c.bucket))
		object := cedar.NewEntityUID("Object", cedar.String(c.bucket+"/"+c.key))
		folder, _, _ := strings.Cut(c.key, "/")
		entities := cedar.EntityMap{
			user:   {UID: user, Attributes: cedar.NewRecord(cedar.RecordMap{"name": cedar.String(c.user)})},
			bucket: {UID: bucket},
			object: {UID: object, Parents: cedar.NewEntityUIDSet(bucket), Attributes: cedar.NewRecord(cedar.RecordMap{"folder": cedar.String(folder)})},
		}
		r := cedar.Request{Principal: user, Action: cedar.NewEntityUID("Action", cedar.String(c.action)), Resource: object,
			Context: cedar.NewRecord(cedar.RecordMap{"vpc": cedar.String(c.vpc), "secure": cedar.Boolean(c.secure)})}
		return func() bool {
			d, _ := cedar.Authorize(set, entities, r)
			return d == cedar.Allow
		}
	}
}

func opa(t testing.TB) func(testing.TB, call) func() bool {
	var b strings.Builder
	b.WriteString("package postern\n\ndefault allow := false\n\nallow if {\n\tgranted\n\tinput.secure\n}\n")
	for i := range teams {
		// One rule a statement, with equalities first: OPA has an index for these.
		fmt.Fprintf(&b, "\ngranted if {\n\tinput.bucket == %q\n\tinput.action in {\"GetObject\", \"PutObject\"}\n\tinput.vpc == %q\n}\n", bucketOf(i), vpcOf(i))
	}
	b.WriteString("\ngranted if {\n\tinput.bucket == \"homes\"\n\tstartswith(input.key, concat(\"\", [input.user, \"/\"]))\n}\n")
	query, err := rego.New(rego.Query("data.postern.allow"), rego.Module("policy.rego", b.String())).PrepareForEval(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return func(t testing.TB, c call) func() bool {
		input := map[string]any{"user": c.user, "action": c.action, "bucket": c.bucket, "key": c.key, "vpc": c.vpc, "secure": c.secure}
		value, err := ast.InterfaceToValue(input)
		if err != nil {
			t.Fatal(err)
		}
		return func() bool {
			result, err := query.Eval(context.Background(), rego.EvalParsedInput(value))
			return err == nil && result.Allowed()
		}
	}
}

func TestAllGiveTheSameAnswers(t *testing.T) {
	for _, e := range engines(t) {
		for _, c := range calls {
			if got := e.prepare(t, c)(); got != c.allowed {
				t.Errorf("%s: %s: %v, want %v", e.name, c.name, got, c.allowed)
			}
		}
	}
}

// BenchmarkDecision reports the median of single decisions beside the mean: a
// mean holds what the machine did meanwhile.
func BenchmarkDecision(b *testing.B) {
	for _, e := range engines(b) {
		for _, c := range calls {
			b.Run(e.name+"/"+c.name, func(b *testing.B) {
				decide := e.prepare(b, c)
				b.ReportAllocs()
				const batch = 64 // a clock is read in tens of nanoseconds
				var took []time.Duration
				for b.Loop() {
					start := time.Now()
					for range batch {
						decide()
					}
					took = append(took, time.Since(start))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/batch, "p50-ns/decision")
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "mean-ns/decision")
			})
		}
	}
}
