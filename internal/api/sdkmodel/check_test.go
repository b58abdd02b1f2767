// SPDX-License-Identifier: Apache-2.0

package sdkmodel

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/api/awsquery"
)

// things is a small model: { thingSet/item[]{ thingId s; size i; created t; state s(on|off); nameSet/item[] s; inner{ ok b } }; nextToken s }.
var things = &Shape{Kind: Structure, Members: map[string]*Shape{
	"nextToken": {Kind: String},
	"thingSet": {Kind: List, Item: "item", Elem: &Shape{Kind: Structure, Members: map[string]*Shape{
		"thingId": {Kind: String}, "size": {Kind: Integer}, "created": {Kind: Timestamp}, "state": {Kind: String, Enum: []string{"on", "off"}},
		"nameSet": {Kind: List, Item: "item", Elem: &Shape{Kind: String}},
		"inner":   {Kind: Structure, Members: map[string]*Shape{"ok": {Kind: Boolean}}},
	}}},
}}

type right struct {
	Things []struct {
		ID      string    `xml:"thingId"`
		Size    *int      `xml:"size"`
		Created time.Time `xml:"created"`
		State   string    `xml:"state"`
		Names   []string  `xml:"nameSet>item"`
		Inner   *struct {
			OK bool `xml:"ok"`
		} `xml:"inner"`
	} `xml:"thingSet"`
	Token string `xml:"nextToken,omitempty"`
}

func TestATypeThatFitsTheModelHasNoProblem(t *testing.T) {
	if p := CheckType(awsquery.EC2, reflect.TypeFor[right](), things); p != nil {
		t.Errorf("%q", p)
	}
	if a := Absent(awsquery.EC2, reflect.TypeFor[right](), things); a != nil {
		t.Errorf("absent: %q", a)
	}
}

func TestEveryPlantedErrorOfATypeIsFound(t *testing.T) {
	for want, out := range map[string]any{
		"nexttoken: not in the model: there it is spelled nextToken": struct {
			Token string `xml:"nexttoken"`
		}{},
		"invented: not in the model": struct {
			X string `xml:"invented"`
		}{},
		"thingId: not in the model": struct { // one level too high
			ID string `xml:"thingId"`
		}{},
		"thingSet/item/inner: is a boolean here and a structure in the model": struct {
			Things []struct {
				OK bool `xml:"inner"`
			} `xml:"thingSet"`
		}{},
		"thingSet/item/size: is a string here and a integer in the model": struct {
			Things []struct {
				Size string `xml:"size"`
			} `xml:"thingSet"`
		}{},
		"thingSet/item/created: is a string here and a timestamp in the model": struct {
			Things []struct {
				Created string `xml:"created"`
			} `xml:"thingSet"`
		}{},
		"thingSet: is a structure here and a list in the model": struct {
			Things struct {
				ID string `xml:"thingId"`
			} `xml:"thingSet"`
		}{},
		"nextToken: is a list here and a string in the model": struct {
			Tokens []string `xml:"nextToken"`
		}{},
		`thingSet/item/nameSet: its children are called "member" here and "item" in the model`: struct {
			Things []struct {
				Names []string `xml:"nameSet>member"`
			} `xml:"thingSet"`
		}{},
		"thingSet/item/nameSet/item: is a structure here and a string in the model": struct {
			Things []struct {
				Names []struct {
					N string `xml:"n"`
				} `xml:"nameSet"`
			} `xml:"thingSet"`
		}{},
	} {
		if p := CheckType(awsquery.EC2, reflect.TypeOf(out), things); !slices.Equal(p, []string{want}) {
			t.Errorf("got %q, want %q", p, want)
		}
	}
	// A list's children have the dialect's name.
	var out struct {
		Things []struct {
			ID string `xml:"thingId"`
		} `xml:"thingSet"`
	}
	if p := CheckType(awsquery.Query, reflect.TypeOf(out), things); len(p) != 1 || !strings.Contains(p[0], `"member"`) {
		t.Errorf("%q", p)
	}
}

func TestAbsentElementsAreListedOnceAtTheirTop(t *testing.T) {
	var out struct {
		Things []struct {
			ID string `xml:"thingId"`
		} `xml:"thingSet"`
	}
	got := Absent(awsquery.EC2, reflect.TypeOf(out), things)
	if want := []string{"nextToken", "thingSet/created", "thingSet/inner", "thingSet/nameSet", "thingSet/size", "thingSet/state"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestOnlyAnEC2OperationWithoutOutputMayAnswerReturn(t *testing.T) {
	var out struct {
		Return bool `xml:"return"`
	}
	none := &Shape{Kind: Structure}
	if p := CheckType(awsquery.EC2, reflect.TypeOf(out), none); p != nil {
		t.Errorf("%q", p)
	}
	for _, p := range [][]string{CheckType(awsquery.Query, reflect.TypeOf(out), none), CheckType(awsquery.EC2, reflect.TypeOf(out), things)} {
		if !slices.Equal(p, []string{"return: not in the model"}) {
			t.Errorf("%q", p)
		}
	}
}

func TestEveryPlantedErrorOfAnAnswerIsFound(t *testing.T) {
	const head = `<?xml version="1.0" encoding="UTF-8"?><DescribeThingsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>1</requestId>`
	const tail = `</DescribeThingsResponse>`
	item := func(s string) string { return head + "<thingSet><item>" + s + "</item></thingSet>" + tail }
	for body, want := range map[string]string{
		item(`<thingId>a</thingId><size>1</size><created>2026-01-02T03:04:05.000Z</created><state>on</state><nameSet><item>b</item></nameSet><inner><ok>true</ok></inner>`): "",
		head + `<thingSet></thingSet>` + tail:                                 "",
		item(`<thingID>a</thingID>`):                                          "thingSet/item/thingID: not in the model: there it is spelled thingId",
		item(`<size>big</size>`):                                              `thingSet/item/size: "big" is no integer`,
		item(`<size>4294967296</size>`):                                       `thingSet/item/size: "4294967296" is no integer`,
		item(`<created>2026-01-02</created>`):                                 `thingSet/item/created: "2026-01-02" is no timestamp`,
		item(`<state>On</state>`):                                             `thingSet/item/state: "On" is none of on, off`,
		item(`<state>half</state>`):                                           "",
		item(`<inner><ok>True</ok></inner>`):                                  `thingSet/item/inner/ok: "True" is no boolean`,
		item(`<inner>true</inner>`):                                           `thingSet/item/inner: has the text "true" beside elements`,
		item(`<nameSet>b</nameSet>`):                                          `thingSet/item/nameSet: has the text "b" beside elements`,
		item(`<nameSet><m>b</m></nameSet>`):                                   "thingSet/item/nameSet/m: is in a list of item",
		item(`<thingId><a>b</a></thingId>`):                                   "thingSet/item/thingId: has elements and is a string",
		item(`<size>1</size><size>1</size>`):                                  "thingSet/item/size: is there twice",
		strings.Replace(head, "ec2.", "x.", 1) + tail:                         `: the root is DescribeThingsResponse in "http://x.amazonaws.com/doc/2016-11-15/", want DescribeThingsResponse in "http://ec2.amazonaws.com/doc/2016-11-15/"`,
		strings.Replace(head, "<requestId>1</requestId>", "", 1) + tail:       "requestId: is there 0 times",
		strings.ReplaceAll(head+tail, "DescribeThingsResponse", "DescribeRe"): `: the root is DescribeRe in "http://ec2.amazonaws.com/doc/2016-11-15/", want DescribeThingsResponse in "http://ec2.amazonaws.com/doc/2016-11-15/"`,
	} {
		got := CheckAnswer(awsquery.ServiceEC2, "DescribeThings", []byte(body), things, func(path, value string) bool {
			return path == "thingSet/item/state" && value == "half"
		})
		if strings.Join(got, "; ") != want {
			t.Errorf("%s:\n got %q\nwant %q", body, got, want)
		}
	}
	const query = `<DoResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><DoResult><nextToken>x</nextToken></DoResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></DoResponse>`
	for body, want := range map[string]string{
		query: "",
		strings.ReplaceAll(query, "DoResult", "Result"):       "Result: beside the result",
		strings.ReplaceAll(query, "nextToken", "NextToken"):   "NextToken: not in the model: there it is spelled nextToken",
		strings.ReplaceAll(query, "ResponseMetadata", "Meta"): "Meta: beside the result; ResponseMetadata: is there 0 times",
	} {
		if got := CheckAnswer(awsquery.ServiceSTS, "Do", []byte(body), things, nil); strings.Join(got, "; ") != want {
			t.Errorf("%s:\n got %q\nwant %q", body, got, want)
		}
	}
}

func TestTheModelOfTheSDKHasNamesTypesListsAndEnums(t *testing.T) {
	m, err := Load("ec2")
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Operation("DescribeVpcEndpoints")
	if err != nil {
		t.Fatal(err)
	}
	list := s.Members["vpcEndpointSet"]
	if list == nil || list.Kind != List || list.Item != "item" || list.Elem.Kind != Structure {
		t.Fatalf("vpcEndpointSet is %+v", list)
	}
	ep := list.Elem.Members
	if ep["privateDnsEnabled"].Kind != Boolean || ep["creationTimestamp"].Kind != Timestamp || ep["subnetIdSet"].Elem.Kind != String ||
		!slices.Contains(ep["state"].Enum, "PendingAcceptance") || ep["dnsOptions"].Members["dnsRecordIpType"] == nil {
		t.Errorf("endpoint: %v", list.Elem.Names())
	}
	if s, err := m.Operation("DeleteVpc"); err != nil || len(s.Members) != 0 {
		t.Errorf("DeleteVpc: %v, %v", s, err)
	}
	if _, err := m.Operation("MakeCoffee"); err == nil {
		t.Error("an operation that does not exist has a shape")
	}
	m, err = Load("elasticloadbalancingv2")
	if err != nil {
		t.Fatal(err)
	}
	if s, err = m.Operation("DescribeLoadBalancers"); err != nil {
		t.Fatal(err)
	}
	if l := s.Members["LoadBalancers"]; l.Item != "member" || l.Elem.Members["State"].Members["Code"].Enum == nil {
		t.Errorf("LoadBalancers is %+v", l)
	}
}

// Every decoder of the modules is understood, not only those of actions that
// exist today: a new action must not stumble over this package.
func TestEveryOperationOfTheModulesHasAShape(t *testing.T) {
	for _, module := range []string{"ec2", "elasticloadbalancingv2", "sts"} {
		m, err := Load(module)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for name := range m.funcs {
			if op, ok := strings.CutPrefix(name, m.prefix+"_deserializeOp"); ok && !strings.HasPrefix(op, "Error") && !strings.HasPrefix(op, "Document") {
				n++
				if _, err := m.Operation(op); err != nil {
					t.Error(err)
				}
			}
		}
		if n < 5 {
			t.Errorf("%s has only %d operations", module, n)
		}
	}
}
