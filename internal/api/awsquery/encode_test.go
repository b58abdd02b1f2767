// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

type outTag struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

type outBase struct {
	NextToken *string `xml:"nextToken"`
}

type outThing struct {
	outBase
	ID      string            `xml:"thingId"`
	Note    string            `xml:"note,omitempty"`
	On      bool              `xml:"on"`
	Maybe   *bool             `xml:"maybe"`
	Count   int32             `xml:"count"`
	Ratio   float64           `xml:"ratio,omitempty"`
	Created time.Time         `xml:"creationTimestamp"`
	Ended   *time.Time        `xml:"ended"`
	Blob    []byte            `xml:"blob,omitempty"`
	Groups  []outTag          `xml:"groupSet"`
	IDs     []string          `xml:"idSet>id"`
	Quiet   []string          `xml:"quietSet,omitempty"`
	Inner   *outTag           `xml:"inner"`
	Attrs   map[string]string `xml:"Attributes,omitempty"`
	Hidden  string            `xml:"-"`
}

const head = `<?xml version="1.0" encoding="UTF-8"?>`

func TestAnswersHaveTheExactBytes(t *testing.T) {
	created := time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.FixedZone("", 3600))
	full := outThing{
		outBase: outBase{NextToken: p("t")}, ID: "a<&>\"'\x00\xff\n\u00e9", On: true, Maybe: p(false), Count: -3, Ratio: 0.5, Created: created, Ended: &created,
		Blob: []byte{255}, Groups: []outTag{{"k", ""}, {"l", "v"}}, IDs: []string{"1", "2"}, Quiet: []string{"q"}, Inner: &outTag{}, Hidden: "x",
	}
	for _, c := range []struct {
		name  string
		write func(http.ResponseWriter) error
		code  int
		want  string
	}{
		{"empty", func(w http.ResponseWriter) error { return WriteEC2(w, "id-1", "DescribeThings", outThing{}) }, 200,
			head + `<DescribeThingsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>id-1</requestId><thingId></thingId><on>false</on><count>0</count><groupSet></groupSet><idSet></idSet></DescribeThingsResponse>`},
		{"full", func(w http.ResponseWriter) error { return WriteEC2(w, "id-1", "DescribeThings", &full) }, 200,
			head + `<DescribeThingsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>id-1</requestId><nextToken>t</nextToken><thingId>a&lt;&amp;&gt;&#34;&#39;` + "\ufffd\ufffd" + `&#xA;é</thingId><on>true</on><maybe>false</maybe><count>-3</count><ratio>0.5</ratio>` +
				`<creationTimestamp>2024-05-06T06:08:09.123Z</creationTimestamp><ended>2024-05-06T06:08:09.123Z</ended><blob>/w==</blob><groupSet><item><key>k</key><value></value></item><item><key>l</key><value>v</value></item></groupSet>` +
				`<idSet><id>1</id><id>2</id></idSet><quietSet><item>q</item></quietSet><inner><key></key><value></value></inner></DescribeThingsResponse>`},
		{"void", func(w http.ResponseWriter) error { return WriteEC2(w, "id-2", "ModifyThing", nil) }, 200,
			head + `<ModifyThingResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>id-2</requestId><return>true</return></ModifyThingResponse>`},
		{"query", func(w http.ResponseWriter) error {
			return WriteQuery(w, ServiceSNS, "id-3", "Get", struct {
				Groups []outTag          `xml:"Groups"`
				Attrs  map[string]string `xml:"Attributes"`
			}{[]outTag{{"k", "v"}}, map[string]string{"b": "2", "a": "<"}})
		}, 200, head + `<GetResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><GetResult><Groups><member><key>k</key><value>v</value></member></Groups><Attributes><entry><key>a</key><value>&lt;</value></entry><entry><key>b</key><value>2</value></entry></Attributes></GetResult><ResponseMetadata><RequestId>id-3</RequestId></ResponseMetadata></GetResponse>`},
		{"query void", func(w http.ResponseWriter) error { return WriteQuery(w, ServiceELBv2, "id-4", "DeleteRule", nil) }, 200,
			head + `<DeleteRuleResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"><DeleteRuleResult></DeleteRuleResult><ResponseMetadata><RequestId>id-4</RequestId></ResponseMetadata></DeleteRuleResponse>`},
		{"EC2 error", func(w http.ResponseWriter) error { return WriteEC2Error(w, "id-5", 412, "DryRunOperation", "<no>") }, 412,
			head + `<Response><Errors><Error><Code>DryRunOperation</Code><Message>&lt;no&gt;</Message></Error></Errors><RequestID>id-5</RequestID></Response>`},
		{"query error", func(w http.ResponseWriter) error {
			return WriteQueryError(w, ServiceSTS, "id-6", 403, "AccessDenied", "m")
		}, 403,
			head + `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>m</Message></Error><RequestId>id-6</RequestId></ErrorResponse>`},
		{"query failure", func(w http.ResponseWriter) error {
			return WriteQueryError(w, ServiceSTS, "id-7", 500, "InternalFailure", "m")
		}, 500,
			head + `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Receiver</Type><Code>InternalFailure</Code><Message>m</Message></Error><RequestId>id-7</RequestId></ErrorResponse>`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if err := c.write(w); err != nil {
				t.Fatal(err)
			}
			if w.Code != c.code || w.Body.String() != c.want {
				t.Errorf("status %d\n got %s\nwant %s", w.Code, w.Body, c.want)
			}
			h := w.Header()
			if id := h.Get("x-amzn-RequestId"); !strings.Contains(c.want, id) || id == "" || h.Get("Content-Type") != "text/xml;charset=UTF-8" {
				t.Errorf("headers %v", h)
			}
			if date, err := http.ParseTime(h.Get("Date")); err != nil || time.Since(date).Abs() > time.Minute {
				t.Errorf("date %q: %v", h.Get("Date"), err)
			}
		})
	}
}

func TestWhatCannotBeEncodedWritesNothing(t *testing.T) {
	type loop struct {
		Next *loop `xml:"next"`
	}
	endless := &loop{}
	endless.Next = endless
	for name, out := range map[string]any{
		"no tag": struct{ A string }{},
		"twice": struct {
			A string `xml:"a"`
			B string `xml:"b"`
			outBase
			N string `xml:"nextToken"`
		}{},
		"bad name": struct {
			A string `xml:"a b"`
		}{},
		"bad option": struct {
			A string `xml:"a,attr"`
		}{},
		"bad type": struct {
			A func() `xml:"a"`
		}{},
		"not a struct": "text",
		"endless":      endless,
		"map keys": struct {
			A map[int]string `xml:"a"`
		}{map[int]string{1: "x"}},
	} {
		w := httptest.NewRecorder()
		if err := WriteEC2(w, "id", "Op", out); err == nil || w.Body.Len() > 0 {
			t.Errorf("%s: error %v, body %q", name, err, w.Body)
		}
	}
	w := httptest.NewRecorder()
	if err := WriteEC2(w, "id", "Op><evil", nil); err == nil || w.Body.Len() > 0 {
		t.Errorf("bad operation name: %v, %q", err, w.Body)
	}
	if err := WriteQuery(w, ServiceSTS, "id", "", nil); err == nil || w.Body.Len() > 0 {
		t.Errorf("no operation name: %v, %q", err, w.Body)
	}
}
