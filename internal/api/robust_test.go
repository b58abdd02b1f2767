// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

// slowest is how long a call may take. A deletion waits for the life cycle, at
// most two seconds; the rest is for a machine that does other things too.
const slowest = 20 * time.Second

// Whatever is sent to it, the API answers: never with an internal error, always
// with a document, and afterwards every rule of the domain still holds and
// nobody sees what is another's.
func TestRandomCallsEndInNoInternalErrorAndBreakNoInvariant(t *testing.T) {
	calls := 700
	if os.Getenv("POSTERN_LONG_TESTS") != "" {
		calls = 33_334
	}
	for _, seed := range []uint64{1, 2, rand.Uint64()} {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			t.Logf("to repeat: seed %d, %d calls", seed, calls)
			attack(t, seed, calls)
		})
	}
}

func attack(t *testing.T, seed uint64, calls int) {
	d := newDoor(t)
	var key [32]byte
	copy(key[:], fmt.Sprint(seed))
	d.c.Random = &dice{r: rand.NewChaCha8(key)}
	d.c.Quotas.VPCs = 2 // so that what is chosen at random fits together now and then
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), ops: operations(t), view: d.c.View}
	var worst time.Duration
	codes, ok := map[string]int{}, map[string]int{}
	g.beginning(func(q request) {
		if a := d.do(q); a.status >= 500 {
			t.Fatalf("%s: %d %s\n%s", q.body, a.status, a.message, d.log)
		}
	})
	for i := range calls {
		q := g.next()
		r := d.sign(q)
		a := d.serve(r)
		problem := check(q, a, d.lastRecord())
		if problem == "" && !names(g, r, q, a) {
			problem = "a refusal that names neither a parameter nor a value"
		}
		if problem != "" {
			t.Errorf("call %d of seed %d: %s\n%s %s %.300q\nbody %.1000q\n%d %s: %.500q", i, seed, problem, r.Method, q.service, r.URL.RawQuery, q.body, a.status, a.code, a.message)
		}
		if a.status == 500 {
			t.Fatalf("the end of the log:\n%s", d.log)
		}
		if worst = max(worst, a.took); a.took > slowest {
			t.Errorf("call %d of seed %d took %v: %.500q", i, seed, a.took, q.body)
		}
		if m := nextToken.FindSubmatch(a.body); m != nil && len(g.tokens) < 50 {
			g.tokens = append(g.tokens, string(m[1]))
		}
		if i%37 == 0 {
			d.clock.Advance(time.Second)
		}
		if a.status == 200 {
			ok[d.lastRecord().Action]++
		}
		codes[fmt.Sprint(a.status, " ", a.code)]++
	}
	t.Logf("slowest call %v; %d actions succeeded; answers %v", worst, len(ok), codes)
	// The seeds differ, but no run may have been all refusals.
	if len(ok) < 40 {
		t.Errorf("only %d actions ever succeeded: %v", len(ok), slices.Sorted(maps.Keys(ok)))
	}
	controltest.CheckInvariants(t, d.c.View())
	d.checkNobodySeesOthers()
	d.noSecret()
}

// Calls that race for the same few things must not break together what each
// alone keeps.
func TestConcurrentCallsBreakNoInvariant(t *testing.T) {
	calls := 150
	if os.Getenv("POSTERN_LONG_TESTS") != "" {
		calls = 3000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := newDoor(t)
	d.c.Quotas.VPCs = 1
	ops := operations(t)
	first := &generator{Rand: rand.New(rand.NewPCG(seed, 0)), ops: ops, view: d.c.View}
	first.beginning(func(q request) { d.do(q) })
	var wg sync.WaitGroup
	for i := range 6 {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, uint64(i+1))), ops: ops, view: d.c.View}
		wg.Go(func() {
			for range calls {
				// All as one account, and only calls that are likely to succeed.
				q := request{signer: &signers[0]}
				g.owner = q.signer.caller.Account
				dr := g.cook()
				q.service, q.body = dr.op.service, dr.encode(g)
				// The store may be too busy for one of many that want the same.
				if a := d.do(q); a.status >= 500 && a.status != http.StatusServiceUnavailable {
					t.Errorf("%s: %d %s %s", q.body, a.status, a.code, a.message)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.Logf("the end of the log:\n%s", d.log)
	}
	controltest.CheckInvariants(t, d.c.View())
}

var nextToken = regexp.MustCompile(`(?:<(?:nextToken|NextMarker)>|"NextToken":")([^<"]+)`)

// check says what is wrong with an answer, "" if nothing is.
func check(q request, a answer, rec *audit.Record) string {
	switch {
	case a.status >= 500:
		return "an internal error"
	case a.requestID == "" || a.requestID != a.header.Get("x-amzn-RequestId"):
		return fmt.Sprintf("request id %q in the body and %q in the header", a.requestID, a.header.Get("x-amzn-RequestId"))
	case a.header.Get("Date") == "" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/xml") && a.header.Get("Content-Type") != "application/x-amz-json-1.1":
		return "no date, or another content type"
	case rec.RequestID != a.requestID || rec.Status != a.status || rec.ErrorCode != a.code:
		return fmt.Sprintf("another audit record: %+v", rec)
	case (rec.AccessKey == "") == (rec.Account != ""):
		return fmt.Sprintf("an audit record with a key and no account, or the reverse: %+v", rec)
	case a.status == 200:
		return ""
	case a.code == "" || a.message == "":
		return "an error without a code or a message"
	case len(a.message) > 4000:
		return fmt.Sprintf("a message of %d bytes", len(a.message))
	case !utf8.ValidString(a.message):
		return "a message that is no UTF-8"
	}
	for _, s := range signers {
		if strings.Contains(string(a.body), s.key.Secret) || strings.Contains(fmt.Sprint(*rec), s.key.Secret) {
			return "a secret in the answer or its record"
		}
	}
	return ""
}

// validation are the codes of errors that must say what is wrong with what.
var validation = regexp.MustCompile(`^(InvalidParameter|InvalidParameterValue|InvalidParameterCombination|MissingParameter|UnknownParameter|UnsupportedOperation|ValidationError|.*NotFound|.*Malformed)$`)

// names reports whether a refusal names a parameter of the action, or something
// that was sent.
func names(g *generator, r *http.Request, q request, a answer) bool {
	if !validation.MatchString(a.code) {
		return true
	}
	form, err := url.ParseQuery(strings.ReplaceAll(q.query+"&"+q.body, ";", "%3B"))
	if err != nil {
		return true // it was not read at all
	}
	message := strings.ToLower(a.message)
	var known []string
	word := func(name string) {
		for _, piece := range strings.Split(name, ".") {
			// LoadBalancerArn is named by "load balancer" too.
			known = append(append(known, piece), camelWord.FindAllString(piece, -1)...)
		}
	}
	for _, op := range g.ops {
		if op.name == form.Get("Action") {
			for _, p := range op.params {
				word(p.Name)
			}
		}
	}
	for name, values := range form {
		word(name)
		known = append(known, asXML(name))
		for _, v := range values {
			if v == "" {
				known = append(known, "''", `""`)
			}
			known = append(known, asXML(v))
		}
	}
	return slices.ContainsFunc(known, func(s string) bool {
		r := []rune(strings.ToLower(s))
		s = string(r[:min(len(r), 12)])
		return s != "" && strings.Contains(message, s)
	})
}

// asXML has U+FFFD where XML 1.0 has no character.
func asXML(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return utf8.RuneError
		}
		return r
	}, s) // which makes one of every byte that is no UTF-8
}

var camelWord = regexp.MustCompile(`[A-Z][a-z]{3,}`)

// shared are the actions that show what is others' on purpose.
var shared = map[string]string{
	"DescribeVpcEndpointConnections": "a provider sees who connects to its services",
	"DescribeVpcEndpointServices":    "services are offered to others",
}

var anyID = regexp.MustCompile(`\b[a-z][a-z]*(?:-[a-z]+){0,3}-[0-9a-f]{17}\b|arn:aws:elasticloadbalancing:[A-Za-z0-9:/-]+`)

// checkNobodySeesOthers asks every describe action as every account.
func (d *door) checkNobodySeesOthers() {
	d.t.Helper()
	owner := map[string]vpc.AccountID{}
	v := d.c.View()
	for _, k := range []vpc.Kind{
		vpc.KindVPC, vpc.KindSubnet, vpc.KindInterface, vpc.KindInstance, vpc.KindEndpoint, vpc.KindBalancer, vpc.KindTargetGroup,
		vpc.KindListener, vpc.KindRouteTable, vpc.KindACL, vpc.KindGroup, vpc.KindService,
	} {
		for o := range v.Objects(k) {
			for _, id := range idsIn(o) {
				owner[id] = o.(vpc.OwnedObject).OwnerID()
			}
		}
	}
	seen := 0
	for _, op := range operations(d.t) {
		if !strings.HasPrefix(op.name, "Describe") || shared[op.name] != "" {
			continue
		}
		for i := range signers {
			a := d.do(request{signer: &signers[i], service: op.service, body: "Action=" + op.name + "&Version=" + versions[op.service]})
			for _, id := range anyID.FindAllString(string(a.body), -1) {
				if op.name == "DescribeVpcEndpoints" && vpc.ValidID(vpc.PrefixService, id) {
					continue // the service that an endpoint leads to
				}
				if o, known := owner[id]; known && o != signers[i].caller.Account {
					d.t.Errorf("%s shows %s of account %s to account %s", op.name, id, o, signers[i].caller.Account)
				} else if known {
					seen++
				}
			}
		}
	}
	if seen == 0 {
		d.t.Error("nobody sees anything")
	}
}
