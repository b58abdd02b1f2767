// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"encoding/xml"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/ec2"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// netList is the prefix list of the fixture's only catalogue service.
const netList = "pl-0000000000000000a"

// netAPI is the API as three accounts see it; calls go in as forms and come
// back as trees of elements.
type netAPI struct {
	t     testing.TB
	c     *control.Control
	clock *controltest.Clock
}

func newNetAPI(t testing.TB) *netAPI {
	t.Helper()
	c, clock := controltest.New(t)
	_, err := c.Store.Update(context.Background(), func(tx *store.Tx) error {
		tx.Put(&vpc.CatalogueService{
			Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", ID: "vpce-svc-0000000000000005a",
			Types: []vpc.EndpointType{vpc.GatewayEndpoint, vpc.InterfaceEndpoint}, PrefixList: netList, Protocol: "s3",
			Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25"), netip.MustParsePrefix("192.0.2.128/25")},
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return &netAPI{t, c, clock}
}

// xmlTree is any XML element.
type xmlTree struct {
	XMLName  xml.Name
	Text     string    `xml:",chardata"`
	Children []xmlTree `xml:",any"`
}

// all answers the texts of the elements at a path below the root, such as
// "subnetSet/item/subnetId".
func (x xmlTree) all(path string) []string {
	level := []xmlTree{x}
	for name := range strings.SplitSeq(path, "/") {
		var next []xmlTree
		for _, e := range level {
			for _, c := range e.Children {
				if c.XMLName.Local == name {
					next = append(next, c)
				}
			}
		}
		level = next
	}
	var out []string
	for _, e := range level {
		out = append(out, strings.TrimSpace(e.Text))
	}
	return out
}

// one is the only text at a path, "" if there is none.
func (x xmlTree) one(path string) string {
	if l := x.all(path); len(l) == 1 {
		return l[0]
	} else if len(l) > 1 {
		return "several: " + strings.Join(l, " ")
	}
	return ""
}

func (a *netAPI) serve(caller control.Caller, action string, pairs []string) (int, xmlTree) {
	a.t.Helper()
	v := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	f, err := awsquery.FormOf(v)
	if err != nil {
		a.t.Fatal(err)
	}
	w := httptest.NewRecorder()
	ec2.Actions.Serve(w, &ec2.Call{Context: context.Background(), Control: a.c, Caller: caller}, f, "11111111-2222-3333-4444-555555555555")
	var tree xmlTree
	if err := xml.Unmarshal(w.Body.Bytes(), &tree); err != nil {
		a.t.Fatalf("%s: %v in %s", action, err, w.Body)
	}
	return w.Code, tree
}

// do runs a call of the consumer that must succeed.
func (a *netAPI) do(action string, pairs ...string) xmlTree {
	a.t.Helper()
	return a.as(controltest.Consumer, action, pairs...)
}

func (a *netAPI) as(caller control.Caller, action string, pairs ...string) xmlTree {
	a.t.Helper()
	status, tree := a.serve(caller, action, pairs)
	if status != 200 {
		a.t.Fatalf("%s %q: %d %s: %s", action, pairs, status, tree.one("Errors/Error/Code"), tree.one("Errors/Error/Message"))
	}
	return tree
}

// refused runs a call of the consumer that must fail with a code, and must
// write nothing. It answers the message.
func (a *netAPI) refused(code, action string, pairs ...string) string {
	a.t.Helper()
	return a.refusedAs(controltest.Consumer, code, action, pairs...)
}

func (a *netAPI) refusedAs(caller control.Caller, code, action string, pairs ...string) string {
	a.t.Helper()
	before := a.c.View().Revision()
	status, tree := a.serve(caller, action, pairs)
	if got := tree.one("Errors/Error/Code"); got != code || status == 200 {
		a.t.Errorf("%s %q: %d %q (%s), want %q", action, pairs, status, got, tree.one("Errors/Error/Message"), code)
	}
	if after := a.c.View().Revision(); after != before {
		a.t.Errorf("%s %q failed but wrote: revision %d became %d", action, pairs, before, after)
	}
	return tree.one("Errors/Error/Message")
}

func (a *netAPI) vpc(cidr string) string {
	a.t.Helper()
	return a.do("CreateVpc", "CidrBlock", cidr).one("vpc/vpcId")
}

func (a *netAPI) subnet(vpcID, cidr string) string {
	a.t.Helper()
	return a.do("CreateSubnet", "VpcId", vpcID, "CidrBlock", cidr).one("subnet/subnetId")
}

func (a *netAPI) eni(subnet string) string {
	a.t.Helper()
	return a.do("CreateNetworkInterface", "SubnetId", subnet).one("networkInterface/networkInterfaceId")
}

func (a *netAPI) group(vpcID, name string) string {
	a.t.Helper()
	return a.do("CreateSecurityGroup", "VpcId", vpcID, "GroupName", name, "GroupDescription", "for a test").one("groupId")
}

// put writes objects past the API.
func (a *netAPI) put(objects ...vpc.Object) {
	a.t.Helper()
	_, err := a.c.Store.Update(context.Background(), func(tx *store.Tx) error {
		for _, o := range objects {
			tx.Put(o)
		}
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func equalLists(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s is %q, want %q", what, got, want)
	}
}

func netipPrefix(s string) (netip.Prefix, error) { return netip.ParsePrefix(s) }
