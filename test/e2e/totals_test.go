// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// What was denied is counted on when the edge was killed, when all is started again,
// and when the records are gone.
func TestDenialsAreCountedOnOverTheDeathOfTheEdge(t *testing.T) {
	needRoot(t)
	ctx := context.Background()
	_, url := newStandIn(t)
	file := filepath.Join(t.TempDir(), "postern.yaml")
	config := fmt.Sprintf("services:\n- {name: sns, protocol: sns, types: [Interface], backend: %q, prefixes: [203.0.113.1/32], addresses: [203.0.113.1], publicNames: [sns.us-east-1.amazonaws.com]}\n", url)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	i := newInstall(t, "--config", file)
	a := i.account("consumer")
	n := i.network(a)
	e := got(a.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
		VpcId: &n.vpc, ServiceName: aws.String("com.amazonaws.us-east-1.sns"), VpcEndpointType: types.VpcEndpointTypeInterface,
		SubnetIds: []string{n.subnet}, SecurityGroupIds: []string{n.group}, PrivateDnsEnabled: aws.Bool(false),
		PolicyDocument: aws.String(`{"Statement":[{"Sid":"Nothing","Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}`),
	})).or(t).VpcEndpoint
	addr, _ := n.addrs(e.NetworkInterfaceIds[0])
	client, _ := n.instance()
	eventually(t, "the endpoint is available", 15*time.Second, func() bool { return n.state(*e.VpcEndpointId) == "available" })
	ask := func() {
		t.Helper()
		out, err := i.exec(client, "get", "http://sns.us-east-1.amazonaws.com/?Action=ListTopics", "tcp4", addr+":80").CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "403 ") {
			t.Fatalf("%v: %s", err, out)
		}
	}
	counted := func(want int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d denials are counted", want), 15*time.Second, func() bool {
			cmd := i.postern("denials", "--totals", "--json", "--endpoint", *e.VpcEndpointId)
			out, err := cmd.Output()
			if err != nil {
				return false // nothing was written yet
			}
			var totals struct {
				Denials []struct {
					Policy, Sid string
					Explicit    bool
					Count       int
				}
			}
			if err := json.Unmarshal(out, &totals); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			d := totals.Denials
			return len(d) == 1 && d[0].Policy == "endpoint" && d[0].Sid == "Nothing" && d[0].Explicit && d[0].Count == want
		})
	}
	for range 3 {
		ask()
	}
	counted(3)
	if err := syscall.Kill(children(t, i.cmd.Process.Pid)["edge"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ask()
	ask()
	counted(5)
	if err := os.Remove(filepath.Join(i.dir, "log", "requests.jsonl")); err != nil {
		t.Fatal(err)
	}
	ask()
	i.stop() // at once: the edge writes when it ends
	counted(6)
}
