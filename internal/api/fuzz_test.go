// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/api"
)

// FuzzRequest sends query strings and bodies that are signed, so that nothing
// stands between them and the actions.
func FuzzRequest(f *testing.F) {
	d := newDoor(f)
	g := &generator{Rand: rand.New(rand.NewPCG(1, 1)), ops: operations(f), view: d.c.View}
	g.beginning(func(q request) { d.do(q) })
	var names []string
	for _, s := range api.Services() {
		names = append(names, s.Name)
	}
	for _, op := range g.ops {
		g.owner = signers[0].caller.Account
		dr := draft{op: op}
		dr.fill(g)
		f.Add(uint8(slices.Index(names, op.service)), "", dr.encode(g))
	}
	for _, q := range []string{"Action=DescribeVpcs", "Action=CreateTags&ResourceId.1=x&Tag.1.Key=%00", "Action=DescribeSubnets&Filter.1.Name=vpc-id&Filter.1.Value.1=*%3F"} {
		f.Add(uint8(0), q, "")
		f.Add(uint8(0), q, "&Version=2016-11-15")
	}
	f.Fuzz(func(t *testing.T, service uint8, query, body string) {
		if strings.ContainsAny(query, " #\r\n\x00") || strings.Contains(query, "X-Amz-") || len(body) > 1<<19 {
			return // not a query string that an HTTP server gives out
		}
		if _, err := url.ParseQuery(strings.ReplaceAll(query, ";", "%3B")); err != nil && query != "" {
			return // the signer itself stumbles over it
		}
		q := request{signer: &signers[0], service: names[int(service)%len(names)], query: query, body: body}
		d := &door{t: t, c: d.c, handler: d.handler, log: d.log}
		a := d.serve(d.sign(q))
		if a.status >= 500 || a.status != 200 && (a.code == "" || a.message == "") || a.requestID == "" {
			t.Errorf("%d %q %q, request %q\n%s", a.status, a.code, a.message, a.requestID, fmt.Sprintf("%.4000s", d.log))
		}
	})
}
