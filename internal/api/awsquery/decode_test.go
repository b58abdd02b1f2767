// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type tag struct {
	Key   string  `query:"Key,required"`
	Value *string `query:"Value"`
}

type color string

type paging struct {
	MaxResults *int32  `query:"MaxResults"`
	NextToken  *string `query:"NextToken"`
}

type nested struct {
	paging
	Name    string            `query:"Name"`
	Enabled *bool             `query:"Enabled"`
	Size    *int64            `query:"Size"`
	Ratio   float64           `query:"Ratio"`
	When    *time.Time        `query:"When"`
	Data    []byte            `query:"Data"`
	Color   color             `query:"Color,enum=red|green"`
	IDs     []string          `query:"Id"`
	Ports   []int32           `query:"Port"`
	Tags    []tag             `query:"Tag"`
	Options *options          `query:"Options,stored"`
	Attrs   map[string]string `query:"Attrs"`
	Inner   []nested          `query:"Inner"`
	Untyped string            `query:"-"`
	_       Refused           `query:"Gone,refuse"`
	_       Refused           `query:"Soft,refuse,unless=false,unless=default"`
	//lint:ignore U1000 an unexported field must not be taken for a parameter
	internal int
}

type options struct {
	Mode  string   `query:"Mode"`
	Names []string `query:"Name"`
	_     string   `query:"Hard,refuse"`
}

func form(t *testing.T, encoded string) *Form {
	t.Helper()
	f, _, err := Parse(httptest.NewRequest("POST", "/", strings.NewReader(encoded)), 1<<20)
	if err != nil {
		t.Fatalf("parse %q: %v", encoded, err)
	}
	return f
}

func p[T any](v T) *T { return &v }

func TestValuesOfEveryTypeAreDecoded(t *testing.T) {
	when := time.Date(2024, 2, 29, 12, 30, 15, 250e6, time.UTC)
	for _, c := range []struct {
		name    string
		dialect Dialect
		form    string
		want    nested
	}{
		{"nothing", EC2, "Action=X&Version=2016-11-15", nested{}},
		{"scalars", EC2, "Name=a+b%20c%2B&Enabled=false&Size=-9223372036854775808&Ratio=1.5&Color=green&Data=" + url.QueryEscape(base64.StdEncoding.EncodeToString([]byte{0, 255})),
			nested{Name: "a b c+", Enabled: p(false), Size: p(int64(-1 << 63)), Ratio: 1.5, Color: "green", Data: []byte{0, 255}}},
		{"embedded", EC2, "MaxResults=7&NextToken=", nested{paging: paging{MaxResults: p(int32(7)), NextToken: p("")}}},
		{"time", EC2, "When=2024-02-29T12:30:15.250Z", nested{When: &when}},
		{"time in a zone", EC2, "When=2024-02-29T13%3A30%3A15.25%2B01%3A00", nested{When: &when}},
		{"epoch", EC2, "When=1709209815.25", nested{When: &when}},
		{"list order and holes", EC2, "Id.10=c&Id.2=b&Id.1=a&Port.7=443", nested{IDs: []string{"a", "b", "c"}, Ports: []int32{443}}},
		{"struct list", EC2, "Tag.1.Key=k&Tag.1.Value=&Tag.4.Key=l", nested{Tags: []tag{{Key: "k", Value: p("")}, {Key: "l"}}}},
		{"structure", EC2, "Options.Name.1=x&Options.Mode=m", nested{Options: &options{Mode: "m", Names: []string{"x"}}}},
		{"a type in itself", EC2, "Inner.1.Inner.2.Name=deep", nested{Inner: []nested{{Inner: []nested{{Name: "deep"}}}}}},
		{"query list", Query, "Id.member.2=b&Id.member.1=a", nested{IDs: []string{"a", "b"}}},
		{"query empty list", Query, "Id=&Tag=", nested{IDs: []string{}, Tags: []tag{}}},
		{"query struct list", Query, "Tag.member.1.Key=k", nested{Tags: []tag{{Key: "k"}}}},
		{"query map", Query, "Attrs.entry.1.key=a.b&Attrs.entry.1.value=1&Attrs.entry.3.value=&Attrs.entry.3.key=c", nested{Attrs: map[string]string{"a.b": "1", "c": ""}}},
		{"refused with the harmless value", EC2, "Soft=default&Name=n", nested{Name: "n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got nested
			if err := Decode(c.dialect, form(t, c.form), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(nested{}, paging{}, options{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBadRequestsNameTheParameter(t *testing.T) {
	for _, c := range []struct {
		dialect Dialect
		form    string
		kind    Kind
		param   string
	}{
		{EC2, "Nope=1", KindUnknown, "Nope"},
		{EC2, "name=1", KindUnknown, "name"},
		{EC2, "Options.Nope.1=1", KindUnknown, "Options.Nope.1"},
		{EC2, "Tag.1.Key=a&Tag.1.Nope=1", KindUnknown, "Tag.1.Nope"},
		{EC2, "Name.1=a", KindUnknown, "Name.1"},
		{EC2, "Name.=a", KindUnknown, "Name."},
		{EC2, "Id.member.1=a", KindUnknown, "Id.member.1"},
		{EC2, "Id.0=a", KindUnknown, "Id.0"},
		{EC2, "Id.01=a", KindUnknown, "Id.01"},
		{EC2, "Id.-1=a", KindUnknown, "Id.-1"},
		{EC2, "Id.1=a&Id.1.x=b", KindUnknown, "Id.1.x"},
		{EC2, "Id=a", KindInvalid, "Id"},
		{EC2, "Id=", KindInvalid, "Id"},
		{EC2, "Id.2001=a", KindTooMany, "Id.2001"},
		{EC2, "Id.99999999999999999999=a", KindTooMany, "Id.99999999999999999999"},
		{EC2, "Untyped=x", KindUnknown, "Untyped"},
		{EC2, "internal=1", KindUnknown, "internal"},
		{Query, "Id=a", KindInvalid, "Id"},
		{Query, "Id.1=a", KindUnknown, "Id.1"},
		{Query, "Id.member=a", KindInvalid, "Id.member"},
		{Query, "Attrs.entry.1.key=a", KindMissing, "Attrs.entry.1.value"},
		{Query, "Attrs.entry.1.value=a", KindMissing, "Attrs.entry.1.key"},
		{Query, "Attrs.entry.1.key=a&Attrs.entry.1.value=1&Attrs.entry.1.x=1", KindUnknown, "Attrs.entry.1.x"},
		{Query, "Attrs.entry.1.key=a&Attrs.entry.1.value=1&Attrs.entry.2.key=a&Attrs.entry.2.value=1", KindDuplicate, "Attrs.entry.2.key"},
		{EC2, "Tag.3.Value=v", KindMissing, "Tag.3.Key"},
		{EC2, "Tag.3.Key=&Tag.3.Value=v", KindMissing, "Tag.3.Key"},
		{EC2, "Enabled=TRUE", KindInvalid, "Enabled"},
		{EC2, "Enabled=", KindInvalid, "Enabled"},
		{EC2, "Size=1.0", KindInvalid, "Size"},
		{EC2, "Size=0x10", KindInvalid, "Size"},
		{EC2, "MaxResults=2147483648", KindInvalid, "MaxResults"},
		{EC2, "Ratio=NaN", KindInvalid, "Ratio"},
		{EC2, "When=yesterday", KindInvalid, "When"},
		{EC2, "When=-1", KindInvalid, "When"},
		{EC2, "Data=*", KindInvalid, "Data"},
		{EC2, "Color=blue", KindInvalid, "Color"},
		{EC2, "Options=x", KindInvalid, "Options"},
		{EC2, "Gone=", KindUnsupported, "Gone"},
		{EC2, "Gone.2.Deep.1=v", KindUnsupported, "Gone.2.Deep.1"},
		{EC2, "Soft=true", KindUnsupported, "Soft"},
		{EC2, "Soft.1=false", KindUnsupported, "Soft.1"},
		{EC2, "Options.Hard=1", KindUnsupported, "Options.Hard"},
	} {
		t.Run(c.form, func(t *testing.T) {
			var e *Error
			if err := Decode(c.dialect, form(t, c.form), &nested{}); !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if e.Kind != c.kind || e.Parameter != c.param {
				t.Errorf("got %s, want %s %q", e, c.kind, c.param)
			}
		})
	}
}

func TestAFormIsReadWholeOrRefused(t *testing.T) {
	post := func(target, body string) *http.Request {
		r := httptest.NewRequest("POST", target, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		return r
	}
	f, body, err := Parse(post("/?Action=Run&X-Amz-Signature=00&&A=%41", "Version=1&B=;c"), 100)
	if err != nil || string(body) != "Version=1&B=;c" {
		t.Fatalf("body %q, error %v", body, err)
	}
	if f.Action != "Run" || f.Version != "1" || f.Get("A") != "A" || f.Get("B") != ";c" || f.Len() != 2 || f.Has("X-Amz-Signature") {
		t.Errorf("got %+v", f)
	}
	if f, _, err = Parse(httptest.NewRequest("GET", "/?Action=Run&A=1", nil), 100); err != nil || f.Action != "Run" || f.Get("A") != "1" {
		t.Errorf("GET: %+v, %v", f, err)
	}

	typed := post("/", "A=1")
	typed.Header.Set("Content-Type", "application/json")
	zipped := post("/", "A=1")
	zipped.Header.Set("Content-Encoding", "gzip")
	chunked := post("/", strings.Repeat("a", 11))
	chunked.ContentLength = -1
	var many strings.Builder
	for i := range MaxParameters + 1 {
		fmt.Fprintf(&many, "a%d=&", i)
	}
	for name, c := range map[string]struct {
		r    *http.Request
		max  int64
		kind Kind
	}{
		"too large":              {post("/", "A=1234567890"), 11, KindTooLarge},
		"too large, no length":   {chunked, 10, KindTooLarge},
		"twice in the body":      {post("/", "A=1&A=1"), 100, KindDuplicate},
		"in query and body":      {post("/?A=1", "A=2"), 100, KindDuplicate},
		"two actions":            {post("/?Action=A", "Action=B"), 100, KindDuplicate},
		"bad escape":             {post("/", "A=%zz"), 100, KindMalformed},
		"bad escape in name":     {post("/", "%=1"), 100, KindMalformed},
		"not UTF-8":              {post("/", "A=%ff"), 100, KindMalformed},
		"no name":                {post("/", "=x"), 100, KindMalformed},
		"content type":           {typed, 100, KindMalformed},
		"content encoding":       {zipped, 100, KindMalformed},
		"GET with a body":        {httptest.NewRequest("GET", "/", strings.NewReader("A=1")), 100, KindMalformed},
		"method":                 {httptest.NewRequest("PUT", "/", nil), 100, KindMethod},
		"long name":              {post("/", strings.Repeat("a", MaxNameLength+1)+"=1"), 1000, KindUnknown},
		"deep name":              {post("/", strings.Repeat("a.", MaxNameDepth)+"a=1"), 1000, KindUnknown},
		"too many":               {post("/", many.String()), 1 << 20, KindTooMany},
		"X-Amz- name in a body":  {post("/", "X-Amz-A=1&X-Amz-A=2"), 1 << 20, KindDuplicate},
		"too large even as type": {typed, 1, KindTooLarge},
	} {
		var e *Error
		if _, _, err := Parse(c.r, c.max); !errors.As(err, &e) || e.Kind != c.kind {
			t.Errorf("%s: got %v, want %s", name, err, c.kind)
		}
	}
}

func TestMessagesAreBoundedAndHaveAWSCodes(t *testing.T) {
	e := &Error{Kind: KindInvalid, Parameter: strings.Repeat("é", 100), Value: strings.Repeat("x", 1<<20), Detail: "it must be short"}
	if m := e.Message(); len(m) > 300 || !strings.Contains(m, "It must be short.") || strings.Contains(m, "\ufffd") {
		t.Errorf("message of %d bytes: %.300s", len(m), m)
	}
	if len(e.Error()) > 600 {
		t.Errorf("error of %d bytes", len(e.Error()))
	}
	for _, c := range []struct {
		kind   Kind
		d      Dialect
		code   string
		status int
	}{
		{KindUnknown, EC2, "UnknownParameter", 400}, {KindUnknown, Query, "ValidationError", 400},
		{KindMissing, EC2, "MissingParameter", 400}, {KindInvalid, EC2, "InvalidParameterValue", 400},
		{KindUnsupported, EC2, "UnsupportedOperation", 400}, {KindTooLarge, EC2, "RequestEntityTooLarge", 413},
		{KindTooLarge, Query, "RequestEntityTooLarge", 413}, {KindTooMany, EC2, "InvalidParameterValue", 400},
	} {
		if code, status := (&Error{Kind: c.kind}).Code(c.d); code != c.code || status != c.status {
			t.Errorf("%s in %s: %s %d", c.kind, c.d, code, status)
		}
	}
}

func TestWrongStructsAreErrorsNotPanics(t *testing.T) {
	type untagged struct{ Name string }
	type dotted struct {
		A string `query:"A.B"`
	}
	type twice struct {
		A string `query:"A"`
		B string `query:"A"`
	}
	type option struct {
		A string `query:"A,ignore=because"`
	}
	type channel struct {
		A chan int `query:"A"`
	}
	type enumInt struct {
		A int `query:"A,enum=1|2"`
	}
	type refusedRequired struct {
		A string `query:"A,refuse,required"`
	}
	type unlessAlone struct {
		A string `query:"A,unless=x"`
	}
	type hidden struct {
		a string `query:"A"` //lint:ignore U1000 only its tag is looked at
	}
	type marker struct {
		A Refused `query:"A"`
	}
	_ = hidden{}.a
	var nilPointer *nested
	for _, dst := range []any{nil, nested{}, nilPointer, new(string), &untagged{}, &dotted{}, &twice{}, &option{}, &channel{}, &enumInt{}, &refusedRequired{}, &unlessAlone{}, &hidden{}, &marker{}} {
		err := Decode(EC2, form(t, ""), dst)
		var e *Error
		if err == nil || errors.As(err, &e) {
			t.Errorf("%T: got %v, want a type error", dst, err)
		}
	}
	if err := Decode(EC2, form(t, "Attrs.entry.1.key=a"), &nested{}); err == nil {
		t.Error("a map in the EC2 dialect was decoded")
	}
}

func TestDescribeListsEveryParameterByWireName(t *testing.T) {
	type input struct {
		paging
		Tags   []tag             `query:"Tag,required"`
		Opt    *options          `query:"Opt,stored"`
		Attrs  map[string]string `query:"Attrs"`
		Colors []color           `query:"Color,enum=red|green"`
		_      Refused           `query:"Soft,refuse,unless=false"`
	}
	got, err := Describe(Query, reflect.TypeFor[*input]())
	if err != nil {
		t.Fatal(err)
	}
	want := []Param{
		{Name: "MaxResults", Kind: "integer", Mode: Works},
		{Name: "NextToken", Kind: "string", Mode: Works},
		{Name: "Tag.member.N", Kind: "structure", Mode: Works, Required: true},
		{Name: "Tag.member.N.Key", Kind: "string", Mode: Works, Required: true},
		{Name: "Tag.member.N.Value", Kind: "string", Mode: Works},
		{Name: "Opt.Mode", Kind: "string", Mode: Stored},
		{Name: "Opt.Name.member.N", Kind: "string", Mode: Stored},
		{Name: "Opt.Hard", Kind: "string", Mode: IsRefused},
		{Name: "Attrs.entry.N.key", Kind: "string", Mode: Works},
		{Name: "Attrs.entry.N.value", Kind: "string", Mode: Works},
		{Name: "Color.member.N", Kind: "string", Mode: Works, Enum: []string{"red", "green"}},
		{Name: "Soft", Kind: "any", Mode: IsRefused, Unless: []string{"false"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	type flat struct {
		Tags  []tag    `query:"Tag"`
		Again []nested `query:"Again"`
	}
	if got, err = Describe(EC2, reflect.TypeFor[flat]()); err == nil {
		t.Errorf("a map was described in the EC2 dialect: %v", got)
	}
}

func TestCoverageFindsWhatAStructDoesNotHave(t *testing.T) {
	unknown, refused, err := Coverage(EC2, form(t, "Nope.1=a&Tag.1.Extra=b&Tag.1.Key=&Gone.1.A=1&Gone.2.A=1&Soft=false&Color=blue&Id.x=1"), reflect.TypeFor[nested]())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Id.x", "Nope.1", "Tag.1.Extra"}, unknown); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Gone.1.A", "Gone.2.A", "Soft"}, refused); diff != "" {
		t.Error(diff)
	}
}

func TestTheLargestFormsTakeBoundedMemory(t *testing.T) {
	deep, wide := url.Values{}, url.Values{}
	for i := range MaxParameters {
		// Every parameter a path of its own, as deep as names may be.
		deep.Set(fmt.Sprintf("Inner.%d.Inner.%d.Inner.1.Inner.1.Inner.1.Name", i%MaxIndex+1, i/MaxIndex+1), "x")
		wide.Set(fmt.Sprintf("x%d%s", i, strings.Repeat(".a", MaxNameDepth-1)), "x")
	}
	for name, values := range map[string]url.Values{"deep": deep, "wide": wide} {
		f, err := FormOf(values)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = Decode(EC2, f, &nested{})
		runtime.ReadMemStats(&after)
		var e *Error
		if name == "deep" && err != nil || name == "wide" && (!errors.As(err, &e) || e.Kind != KindUnknown) {
			t.Errorf("%s: %v", name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
			t.Errorf("%s: %d MiB were allocated", name, used>>20)
		} else {
			t.Logf("%s: %d KiB", name, used>>10)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"Id.1=a&Id.1.2=b", "Attrs.entry.1.key=&Attrs.entry..value=", "Inner.1.Inner.2000.Tag.member.1.Key=", "When=99999999999999&Data===", "...=1", "Size=%2b1&When=1.&Ratio=1e999", "Tag=&Tag.member=&Inner.1.Gone=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		fm, _, err := Parse(httptest.NewRequest("POST", "/", strings.NewReader(s)), 1<<16)
		if err != nil {
			return
		}
		for _, d := range []Dialect{EC2, Query} {
			var got nested
			err := Decode(d, fm, &got)
			if err != nil && len(err.Error()) > 1024 {
				t.Fatalf("error of %d bytes", len(err.Error()))
			}
			unknown, _, _ := Coverage(d, fm, reflect.TypeFor[nested]())
			if err == nil && len(unknown) > 0 {
				t.Fatalf("accepted, though %q are unknown", unknown)
			}
		}
	})
}
