// SPDX-License-Identifier: Apache-2.0

package awsjson_test

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/api/awsjson"
	"postern.dev/postern/internal/api/awsquery"
)

func request(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", "Route53Resolver.CreateResolverRule")
	r.Header.Set("Content-Type", awsjson.ContentType)
	return r
}

func TestMembersBecomeAForm(t *testing.T) {
	form, body, err := awsjson.Parse(request(`{"Name":"a b","Port":53,"Fast":true,"None":null,"Empty":{},"No":[],
		"TargetIps":[{"Ip":"192.0.2.1","Port":1e3},{"Ip":"192.0.2.2","None":null}],"Protocols":["Do53"],"Config":{"Name":""},"List":[[1,2],[3]]}`), 1000)
	if err != nil || form.Action != "CreateResolverRule" || !strings.HasPrefix(string(body), `{"Name"`) {
		t.Fatalf("got %+v, %q, %v", form, body, err)
	}
	want := map[string]string{
		"Name": "a b", "Port": "53", "Fast": "true", "No": "", "TargetIps.member.1.Ip": "192.0.2.1", "TargetIps.member.1.Port": "1e3",
		"TargetIps.member.2.Ip": "192.0.2.2", "Protocols.member.1": "Do53", "Config.Name": "",
		"List.member.1.member.1": "1", "List.member.1.member.2": "2", "List.member.2.member.1": "3",
	}
	got := map[string]string{}
	for _, n := range form.Names() {
		got[n] = form.Get(n)
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if form, _, err := awsjson.Parse(request(""), 10); err != nil || form.Len() != 0 {
		t.Errorf("no body: %v, %v", form, err)
	}
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	type kind = awsquery.Kind
	deep := strings.Repeat(`{"a":`, 1<<16) + "1" + strings.Repeat("}", 1<<16)
	for body, want := range map[string]kind{
		"x": awsquery.KindMalformed, "[]": awsquery.KindMalformed, `"a"`: awsquery.KindMalformed, "{": awsquery.KindMalformed, `{"a"`: awsquery.KindMalformed,
		`{"a":}`: awsquery.KindMalformed, `{"a":[1,]}`: awsquery.KindMalformed, `{"a":[`: awsquery.KindMalformed, `{"a":1}{"b":2}`: awsquery.KindMalformed, `{"a":"` + "\xff" + `"}`: awsquery.KindMalformed,
		`{"a":1,"a":2}`: awsquery.KindDuplicate, `{"a":{"b":1,"b":1}}`: awsquery.KindDuplicate, `{"a":null,"a":1}`: awsquery.KindDuplicate,
		`{"a.b":1}`: awsquery.KindUnknown, `{"":1}`: awsquery.KindUnknown, `{"Action":"x"}`: awsquery.KindUnknown, `{"Version":"x"}`: awsquery.KindUnknown,
		`{"a":[{}]}`: awsquery.KindInvalid, `{"a":[null]}`: awsquery.KindInvalid, deep: awsquery.KindUnknown, strings.Repeat("[", 1<<16): awsquery.KindMalformed,
		`{"` + strings.Repeat("a", 300) + `":1}`:                              awsquery.KindUnknown,
		`{"a":[` + strings.TrimSuffix(strings.Repeat("1,", 3000), ",") + `]}`: awsquery.KindTooMany,
		strings.Repeat(" ", 1<<20) + "{}":                                     awsquery.KindTooLarge,
	} {
		_, _, err := awsjson.Parse(request(body), 1<<20)
		var e *awsquery.Error
		if !errors.As(err, &e) || e.Kind != want {
			t.Errorf("%.60q: %v, want %v", body, err, want)
		}
	}
	for what, change := range map[string]func(*http.Request){
		"GET":             func(r *http.Request) { r.Method = http.MethodGet },
		"a form":          func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") },
		"JSON 1.0":        func(r *http.Request) { r.Header.Set("Content-Type", "application/x-amz-json-1.0") },
		"no content type": func(r *http.Request) { r.Header.Del("Content-Type") },
		"compressed":      func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") },
	} {
		r := request("{}")
		change(r)
		if _, _, err := awsjson.Parse(r, 100); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

type observer struct {
	http.ResponseWriter
	seen string
}

func (o *observer) ObserveError(code, message string) { o.seen = code + ": " + message }

func TestAnswers(t *testing.T) {
	w := httptest.NewRecorder()
	out := struct {
		Name string  `json:"Name"`
		Next *string `json:",omitempty"`
	}{Name: "a<b"}
	if err := awsjson.Write(w, "req-1", out); err != nil || w.Code != 200 || w.Header().Get("Content-Type") != awsjson.ContentType || w.Header().Get("x-amzn-RequestId") != "req-1" {
		t.Errorf("%v %v %s", err, w.Header(), w.Body)
	}
	if got := w.Body.String(); got != `{"Name":"a\u003cb"}` {
		t.Errorf("answered %s", got)
	}
	w = httptest.NewRecorder()
	if err := awsjson.Write(w, "req-1", func() {}); err == nil || w.Body.Len() > 0 {
		t.Errorf("a function is answered: %v %s", err, w.Body)
	}
	o := &observer{ResponseWriter: w}
	if err := awsjson.WriteError(o, "req-2", 400, "InvalidRequestException", `no "x"`); err != nil || o.seen != `InvalidRequestException: no "x"` {
		t.Errorf("%v, observed %q", err, o.seen)
	}
	if got := w.Body.String(); w.Code != 400 || got != `{"__type":"InvalidRequestException","Message":"no \"x\""}` || w.Header().Get("x-amzn-ErrorType") != "InvalidRequestException" {
		t.Errorf("answered %d %s", w.Code, got)
	}
}

// Nothing that is sent can do more than be refused, and what is taken keeps to
// the bounds of a form.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"{}", `{"a":[{"b":1}]}`, `{"a":null}`, `{"a":[[]]}`, `{"a":"\u0000"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		form, _, err := awsjson.Parse(request(body), 1<<16)
		if err != nil {
			var e *awsquery.Error
			if !errors.As(err, &e) {
				t.Errorf("%v", err)
			}
			return
		}
		for _, n := range form.Names() {
			if len(n) > awsquery.MaxNameLength || slices.Contains(strings.Split(n, "."), "") {
				t.Errorf("name %q", n)
			}
		}
	})
}
