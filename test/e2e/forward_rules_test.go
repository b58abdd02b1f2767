// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	rslvrtypes "github.com/aws/aws-sdk-go-v2/service/route53resolver/types"
)

// A tenant's forward rule reaches a resolver elsewhere. Of the host that sends
// the questions it reaches what the operator named.
func TestAForwardRuleReachesNothingOfTheHostUnlessNamed(t *testing.T) {
	needRoot(t)
	// A network beside the host: a namespace and a pair of devices.
	name := strings.ToLower(rand.Text()[:8])
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	ns, block := "pe2e-"+name, 4*mrand.IntN(64)
	host, elsewhere := fmt.Sprintf("198.51.100.%d", block+1), fmt.Sprintf("198.51.100.%d", block+2)
	ip("netns", "add", ns)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() }) // and with it the pair
	ip("link", "add", "pe"+name, "type", "veth", "peer", "name", "out", "netns", ns)
	ip("link", "set", "pe"+name, "up")
	ip("addr", "add", host+"/30", "dev", "pe"+name)
	ip("-n", ns, "link", "set", "out", "up")
	ip("-n", ns, "addr", "add", elsewhere+"/30", "dev", "out")
	const port = 10053
	onHost := newNameServerAt(t, "", fmt.Sprint(host, ":", port))
	onHost.publishes("www A 192.0.2.81")
	away := newNameServerAt(t, ns, fmt.Sprint(elsewhere, ":", port))
	away.publishes("www A 192.0.2.82")

	file := filepath.Join(t.TempDir(), "config.yaml")
	configure := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	configure("dnsUpstreams: [none]\n")
	i, ctx := newInstall(t, "--config", file), context.Background()
	n := i.networkOf(i.account("tenant"), "10.0.0.0/16", false)
	client := n.launch(n.subnet, n.group)
	api := n.resolver()
	out := got(api.CreateResolverEndpoint(ctx, &route53resolver.CreateResolverEndpointInput{
		CreatorRequestId: aws.String("out"), Direction: rslvrtypes.ResolverEndpointDirectionOutbound, SecurityGroupIds: []string{n.group},
		IpAddresses: []rslvrtypes.IpAddressRequest{{SubnetId: &n.subnet}, {SubnetId: &n.subnet}},
	})).or(t).ResolverEndpoint
	targets := func(ip string) []rslvrtypes.TargetAddress {
		return []rslvrtypes.TargetAddress{{Ip: &ip, Port: aws.Int32(port)}}
	}
	rule := got(api.CreateResolverRule(ctx, &route53resolver.CreateResolverRuleInput{CreatorRequestId: aws.String("rule"), RuleType: rslvrtypes.RuleTypeOptionForward,
		DomainName: aws.String("example.com"), ResolverEndpointId: out.Id, TargetIps: targets(elsewhere)})).or(t).ResolverRule
	got(api.AssociateResolverRule(ctx, &route53resolver.AssociateResolverRuleInput{ResolverRuleId: rule.Id, VPCId: &n.vpc})).or(t)
	asks := func() string {
		b, err := i.exec(client.id, "lookup", "udp", "www.example.com", "10.0.0.2").CombinedOutput()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	eventually(t, "the rule leads elsewhere", 15*time.Second, func() bool { return asks() == "192.0.2.82" })

	got(api.UpdateResolverRule(ctx, &route53resolver.UpdateResolverRuleInput{ResolverRuleId: rule.Id, Config: &rslvrtypes.ResolverRuleConfig{TargetIps: targets(host)}})).or(t)
	eventually(t, "the log tells that the host is not asked", 15*time.Second, func() bool {
		if a := asks(); a == "192.0.2.81" {
			t.Fatal("the rule reached the host")
		}
		return strings.Contains(i.log.String(), "a target of a forward rule is not asked") && strings.Contains(i.log.String(), host+" is an address of this host")
	})
	if a := asks(); a != "" {
		t.Errorf("the answer is %s", a)
	}

	configure(fmt.Sprintf("dnsUpstreams: [none]\ndnsHostTargets: [%s]\n", host))
	i.stop()
	i.start()
	eventually(t, "the rule leads to the host's resolver, which the operator named", 15*time.Second, func() bool { return asks() == "192.0.2.81" })
}
