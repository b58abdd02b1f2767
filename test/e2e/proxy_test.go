// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// meets connects a client that waits to be greeted to a server that then reads
// a header and says what is in it: the client's address and port, and rest. Many
// bytes follow.
func (i *install) meets(client machine, addr, rest string) {
	i.t.Helper()
	out, err := i.exec(client.id, "meet", addr).CombinedOutput()
	lines := strings.Split(string(out), "\n")
	if err != nil || len(lines) != 4 || lines[1] != "welcome" || lines[2] != lines[0]+" "+rest {
		i.t.Errorf("a client of %s says where it is, and the server: %q (%v), want the client's address and %s; dropped: %v", addr, out, err, rest, i.drops())
	}
	i.says(strconv.Itoa(bulkSize), i.exec(client.id, "bulk", addr, "2"))
}

// A server that greets before the client has said anything, as those of mail
// and databases do, is told who the client is.
func TestATargetIsToldWhoItsClientIs(t *testing.T) {
	needRoot(t)
	i, ctx := newInstall(t), context.Background()
	consumer, provider := i.network(i.account("consumer")), i.network(i.account("provider"))
	client, server := consumer.launch(consumer.subnet, consumer.group), provider.launch(provider.subnet, provider.group)
	i.listening(i.exec(server.id, "greet", "25"))
	service := provider.service(server.id, 25, false)
	endpoint, addr := consumer.endpoint(service)
	(&story{install: i, consumer: consumer, endpoint: endpoint}).available()
	cmd := i.exec(client.id, "meet", addr+":80")
	cmd.Env = append(cmd.Env, patienceEnv+"=500ms")
	out, err := cmd.CombinedOutput()
	if lines := strings.Split(string(out), "\n"); len(lines) < 2 || lines[1] != "welcome" || strings.Contains(string(out), endpoint) {
		t.Errorf("without the attribute the client meets %q (%v)", out, err)
	}

	groups := got(provider.acct.elb.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{})).or(t).TargetGroups
	got(provider.acct.elb.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: groups[0].TargetGroupArn,
		Attributes: []elbtypes.TargetGroupAttribute{{Key: aws.String("proxy_protocol_v2.enabled"), Value: aws.String("true")}}})).or(t)
	i.meets(client, addr+":80", service.node+":80 "+endpoint)
	// The target's health is checked with a header too.
	h := got(provider.acct.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: groups[0].TargetGroupArn})).or(t).TargetHealthDescriptions
	if len(h) != 1 || h[0].TargetHealth.State != elbtypes.TargetHealthStateEnumHealthy {
		t.Errorf("the target's health: %+v", h)
	}
}
