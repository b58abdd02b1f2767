// SPDX-License-Identifier: Apache-2.0

// Package e2e runs the program as a user does: the program, real namespaces,
// AWS's own SDK, packets. Each test has an installation of its own and leaves
// nothing behind; tests that need root skip without it.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"postern.dev/postern/internal/api/apitest"
)

// program is the program under test, built once.
var program string

// peerEnv makes the test program act as a workload's program; see peer_test.go.
const peerEnv = "POSTERN_E2E_PEER"

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestMain(m *testing.M) {
	if mode := os.Getenv(peerEnv); mode != "" {
		os.Exit(peer(mode, os.Args[1:]))
	}
	os.Exit(func() int {
		if b := os.Getenv("POSTERN_BIN"); b != "" {
			program = b
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "postern-e2e-bin")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "postern")
		build := exec.Command("go", "build", "-o", program, "postern.dev/postern/cmd/postern")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// install is one running installation.
type install struct {
	t        *testing.T
	dir      string
	args     []string
	endpoint string
	cmd      *exec.Cmd
	log      *lockedBuffer
	exited   chan struct{}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: namespaces and eBPF")
	}
}

// newInstall starts the program on a fresh data directory and a free port.
func newInstall(t *testing.T, args ...string) *install {
	t.Helper()
	// Not t.TempDir: the unprivileged server must be able to enter it.
	dir, err := os.MkdirTemp("", "pe2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	i := &install{t: t, dir: dir, args: append([]string{"--listen", "127.0.0.1:0", "--dns-upstream", "none"}, args...)}
	t.Cleanup(func() {
		i.kill()
		if t.Failed() {
			t.Logf("the program's log:\n%s", tail(i.log.String(), 60))
		}
		if os.Geteuid() == 0 {
			i.must("reset", "--yes")
		}
	})
	i.start()
	return i
}

func tail(s string, n int) string {
	l := strings.Split(s, "\n")
	return strings.Join(l[max(0, len(l)-n):], "\n")
}

// start runs serve and waits for its ready line.
func (i *install) start() {
	i.t.Helper()
	i.cmd = exec.Command(program, append([]string{"serve", "--data-dir", i.dir}, i.args...)...)
	i.cmd.Env = environment()
	if i.log == nil {
		i.log = &lockedBuffer{}
	}
	i.cmd.Stderr = i.log
	out, err := i.cmd.StdoutPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		sc := bufio.NewScanner(out)
		for sc.Scan() {
			if rest, ok := strings.CutPrefix(sc.Text(), "ready: "); ok {
				ready <- strings.Fields(rest)[0]
			}
		}
		close(ready)
	}()
	exited := make(chan struct{})
	i.exited = exited
	cmd := i.cmd
	go func() { cmd.Wait(); close(exited) }()
	select {
	case e, ok := <-ready:
		if !ok {
			i.t.Fatalf("serve ended before it was ready:\n%s", i.log)
		}
		i.endpoint = e
	case <-time.After(60 * time.Second):
		i.t.Fatalf("serve is not ready after a minute:\n%s", i.log)
	}
}

// kill ends serve at once, as kill -9 does.
func (i *install) kill() {
	if i.cmd != nil && i.cmd.Process != nil {
		i.cmd.Process.Kill()
		<-i.exited
	}
}

// stop ends serve with SIGTERM.
func (i *install) stop() {
	i.cmd.Process.Signal(syscall.SIGTERM)
	<-i.exited
}

// environment is all that a program we start sees.
func environment(more ...string) []string {
	return append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent"}, more...)
}

// postern prepares a command of the program on this installation.
func (i *install) postern(args ...string) *exec.Cmd {
	cmd := exec.Command(program, append(args[:len(args):len(args)], "--data-dir", i.dir)...)
	cmd.Env = environment()
	return cmd
}

// must runs a command of the program and answers its output.
func (i *install) must(args ...string) string {
	i.t.Helper()
	cmd := i.postern(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		i.t.Fatalf("postern %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

// account makes an account and answers its clients.
type account struct {
	id, key, secret string
	ec2             *ec2.Client
	elb             *elb.Client
}

func (i *install) account(name string) *account {
	i.t.Helper()
	var a struct {
		ID   string `json:"id"`
		Keys []struct{ ID, Secret string }
	}
	out := i.must("account", "create", name, "--json")
	if err := json.Unmarshal([]byte(out), &a); err != nil || len(a.Keys) == 0 {
		i.t.Fatalf("account create printed %s (%v)", out, err)
	}
	return i.clients(&account{id: a.ID, key: a.Keys[0].ID, secret: a.Keys[0].Secret})
}

// clients gives an account SDK clients for the installation as it runs now.
func (i *install) clients(a *account) *account {
	a.ec2 = ec2.New(ec2.Options{Region: "us-east-1", HTTPClient: apitest.Client(), BaseEndpoint: &i.endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(a.key, a.secret, "")})
	a.elb = elb.New(elb.Options{Region: "us-east-1", HTTPClient: apitest.Client(), BaseEndpoint: &i.endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(a.key, a.secret, "")})
	return a
}

// exec prepares this test program as a peer inside an instance.
func (i *install) exec(instance, mode string, args ...string) *exec.Cmd {
	i.t.Helper()
	self, err := os.Executable()
	if err != nil {
		i.t.Fatal(err)
	}
	cmd := i.postern(append([]string{"exec", instance, "--", "/usr/bin/env", peerEnv + "=" + mode, self}, args...)...)
	// The flag of postern() must stand before the command's own arguments.
	cmd.Args = append([]string{program, "exec", "--data-dir", i.dir, instance, "--", "/usr/bin/env", peerEnv + "=" + mode, self}, args...)
	return cmd
}

// background starts a peer and ends it with the test.
func (i *install) background(cmd *exec.Cmd) *exec.Cmd {
	i.t.Helper()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

// result is an answer that may be an error: got(call()).or(t).
type result[T any] struct {
	v   T
	err error
}

func got[T any](v T, err error) result[T] { return result[T]{v, err} }

// or ends the test on an error.
func (r result[T]) or(t *testing.T) T {
	t.Helper()
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.v
}

// eventually waits until f is true; what says what was waited for.
func eventually(t *testing.T, what string, within time.Duration, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// network is a VPC 10.0.0.0/16 with a subnet in the first zone and a group
// that lets everything in.
type network struct {
	i                  *install
	acct               *account
	vpc, subnet, group string
}

func (i *install) network(a *account) *network {
	t := i.t
	t.Helper()
	ctx := context.Background()
	n := &network{i: i, acct: a}
	n.vpc = *got(a.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})).or(t).Vpc.VpcId
	n.subnet = *got(a.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &n.vpc, CidrBlock: aws.String("10.0.1.0/24"), AvailabilityZone: aws.String("us-east-1a")})).or(t).Subnet.SubnetId
	n.group = *got(a.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &n.vpc, GroupName: aws.String("open"), Description: aws.String("all in")})).or(t).GroupId
	got(a.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &n.group, IpPermissions: []types.IpPermission{
		{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}},
	}})).or(t)
	return n
}

// instance starts a workload and waits until it runs.
func (n *network) instance() (id, addr string) {
	t := n.i.t
	t.Helper()
	out := got(n.acct.ec2.RunInstances(context.Background(), &ec2.RunInstancesInput{
		ImageId: aws.String("ami-00000000"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: &n.subnet, SecurityGroupIds: []string{n.group},
	})).or(t)
	id, addr = *out.Instances[0].InstanceId, *out.Instances[0].PrivateIpAddress
	eventually(t, "the instance runs", 10*time.Second, func() bool {
		d := got(n.acct.ec2.DescribeInstances(context.Background(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})).or(t)
		return d.Reservations[0].Instances[0].State.Name == types.InstanceStateNameRunning
	})
	return id, addr
}

// service puts a load balancer in front of an instance's port and makes an
// endpoint service of it; it returns once the target is healthy.
type service struct{ id, name, balancer, node string }

func (n *network) service(instance string, port int32, acceptance bool) *service {
	t, ctx := n.i.t, context.Background()
	t.Helper()
	lb := got(n.acct.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String("web"), Type: elbtypes.LoadBalancerTypeEnumNetwork,
		Scheme: elbtypes.LoadBalancerSchemeEnumInternal, Subnets: []string{n.subnet}})).or(t).LoadBalancers[0]
	tg := got(n.acct.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: aws.String("web"), Protocol: elbtypes.ProtocolEnumTcp, Port: &port,
		VpcId: &n.vpc, TargetType: elbtypes.TargetTypeEnumInstance})).or(t).TargetGroups[0]
	got(n.acct.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: tg.TargetGroupArn, Targets: []elbtypes.TargetDescription{{Id: &instance}}})).or(t)
	got(n.acct.elb.CreateListener(ctx, &elb.CreateListenerInput{LoadBalancerArn: lb.LoadBalancerArn, Protocol: elbtypes.ProtocolEnumTcp, Port: aws.Int32(80),
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: tg.TargetGroupArn}}})).or(t)
	eventually(t, "the target is healthy", 15*time.Second, func() bool {
		h := got(n.acct.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: tg.TargetGroupArn})).or(t)
		return len(h.TargetHealthDescriptions) == 1 && h.TargetHealthDescriptions[0].TargetHealth.State == elbtypes.TargetHealthStateEnumHealthy
	})
	s := got(n.acct.ec2.CreateVpcEndpointServiceConfiguration(ctx, &ec2.CreateVpcEndpointServiceConfigurationInput{
		NetworkLoadBalancerArns: []string{*lb.LoadBalancerArn}, AcceptanceRequired: &acceptance})).or(t).ServiceConfiguration
	got(n.acct.ec2.ModifyVpcEndpointServicePermissions(ctx, &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: s.ServiceId, AddAllowedPrincipals: []string{"*"}})).or(t)
	eni := got(n.acct.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{
		{Name: aws.String("interface-type"), Values: []string{"network_load_balancer"}}}})).or(t)
	return &service{id: *s.ServiceId, name: *s.ServiceName, balancer: *lb.LoadBalancerArn, node: *eni.NetworkInterfaces[0].PrivateIpAddress}
}

// endpoint makes an interface endpoint to a service and answers its id and
// first address.
func (n *network) endpoint(s *service) (id, addr string) {
	t, ctx := n.i.t, context.Background()
	t.Helper()
	e := got(n.acct.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &n.vpc, ServiceName: &s.name, VpcEndpointType: types.VpcEndpointTypeInterface,
		SubnetIds: []string{n.subnet}, SecurityGroupIds: []string{n.group}, PrivateDnsEnabled: aws.Bool(false)})).or(t).VpcEndpoint
	eni := got(n.acct.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: e.NetworkInterfaceIds})).or(t)
	return *e.VpcEndpointId, *eni.NetworkInterfaces[0].PrivateIpAddress
}

// state is an endpoint's state as the API says it.
func (n *network) state(endpoint string) string {
	n.i.t.Helper()
	d := got(n.acct.ec2.DescribeVpcEndpoints(context.Background(), &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{endpoint}})).or(n.i.t)
	return string(d.VpcEndpoints[0].State)
}
