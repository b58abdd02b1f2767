// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"net/netip"
	"testing"
)

func TestAClientOverIPv6IsJudgedByItsAddress(t *testing.T) {
	b := newBench(t, signedBackend(t).URL)
	b.policy(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*",
		"Condition":{"IpAddress":{"aws:VpcSourceIp":["10.0.1.0/24","2001:db8:1::/64"]}}}]}`)
	for client, want := range map[string]int{
		"[2001:db8:1::5]:40000": 200, "[2001:db8:1:1::5]:40000": 403, "10.0.1.5:40000": 200, "[::ffff:10.0.1.5]:40000": 200, "10.0.2.5:40000": 403,
	} {
		b.mu.Lock()
		b.identity.Client = netip.MustParseAddrPort(client)
		b.mu.Unlock()
		b.client.CloseIdleConnections() // who is there is asked once for a connection
		if resp, got := b.do(b.request("GET", testHost, "/data/a", "")); resp.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", client, resp.StatusCode, got, want)
		}
		if rec := b.last(); rec.Client != client {
			t.Errorf("%s: recorded as %s", client, rec.Client)
		}
	}
}
