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
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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

// patienceEnv is how long a peer waits for an answer; 3 s if it is not set.
const patienceEnv = "POSTERN_E2E_PATIENCE"

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

// newInstall starts the program on a fresh data directory and a free port. It
// asks no DNS server unless the arguments name one.
func newInstall(t *testing.T, args ...string) *install {
	t.Helper()
	// Not t.TempDir: the unprivileged server must be able to enter it.
	dir, err := os.MkdirTemp("", "pe2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if !slices.Contains(args, "--dns-upstream") {
		args = append(args[:len(args):len(args)], "--dns-upstream", "none")
	}
	i := &install{t: t, dir: dir, args: append([]string{"--listen", "127.0.0.1:0"}, args...)}
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

// listening starts a peer and waits until it listens.
func (i *install) listening(cmd *exec.Cmd) {
	i.t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	i.background(cmd)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "listening\n" {
		i.t.Fatalf("%s said %q (%v)", cmd, line, err)
	}
}

// says wants a peer to print something.
func (i *install) says(want string, cmd *exec.Cmd) {
	i.t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != want {
		i.t.Errorf("%s: %v, %q; want %q; dropped: %v", strings.Join(cmd.Args[len(cmd.Args)-3:], " "), err, out, want, i.drops())
	}
}

// dropped wants a peer to fail because packets were dropped for a reason.
func (i *install) dropped(reason string, cmd *exec.Cmd) {
	i.t.Helper()
	before := i.drops()[reason]
	cmd.Env = append(cmd.Env, patienceEnv+"=600ms")
	out, err := cmd.CombinedOutput()
	if now := i.drops(); err == nil || now[reason] == before {
		i.t.Errorf("%s: %v, %q; want it dropped as %s; dropped: %v", strings.Join(cmd.Args[len(cmd.Args)-3:], " "), err, out, reason, now)
	}
}

// refused wants a peer to be told that nobody listens.
func (i *install) refused(cmd *exec.Cmd) {
	i.t.Helper()
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "connection refused") {
		i.t.Errorf("%s: %v, %q; want it refused; dropped: %v", strings.Join(cmd.Args[len(cmd.Args)-3:], " "), err, out, i.drops())
	}
}

// drops are the packets dropped so far, by reason.
func (i *install) drops() map[string]int {
	i.t.Helper()
	var list []struct {
		Reason  string
		Packets int
	}
	if err := json.Unmarshal([]byte(i.must("drops", "--json")), &list); err != nil {
		i.t.Fatal(err)
	}
	n := map[string]int{}
	for _, d := range list {
		n[d.Reason] += d.Packets
	}
	return n
}

// asks prepares a question to whoever answers at an address.
func (i *install) asks(m machine, network, addr string) *exec.Cmd {
	i.t.Helper()
	return i.exec(m.id, "ask", network, addr)
}

// carries wants many bytes to go to whoever answers at an address, and back.
func (i *install) carries(m machine, addr string) {
	i.t.Helper()
	i.says(strconv.Itoa(bulkSize), i.exec(m.id, "bulk", addr, "1"))
}

// conversation is a TCP connection over which a peer talks.
type conversation struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
	n   int
}

// talks begins a conversation; seen is what address the other end sees.
func (i *install) talks(m machine, addr, seen string) *conversation {
	t := i.t
	t.Helper()
	cmd := i.exec(m.id, "talk", addr)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	i.background(cmd)
	c := &conversation{t: t, in: in, out: bufio.NewScanner(out)}
	if !c.out.Scan() || c.out.Text() != seen {
		t.Fatalf("the other end at %s sees %q, want %s", addr, c.out.Text(), seen)
	}
	return c
}

// goesOn says another word and wants it back, or silence.
func (c *conversation) goesOn(want bool) {
	c.t.Helper()
	c.n++
	word, answer, patience := fmt.Sprint("word", c.n), "silence", "500ms"
	if want {
		answer, patience = word, "5s" // what was lost before is sent again first
	}
	fmt.Fprintln(c.in, patience, word)
	if !c.out.Scan() {
		c.t.Fatal("the conversation has ended")
	}
	if got := c.out.Text(); got != answer {
		c.t.Errorf("the conversation: %q, want %q", got, answer)
	}
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

// network is a VPC with a subnet in the first zone and a group that lets
// everything in.
type network struct {
	i                  *install
	acct               *account
	vpc, subnet, group string
	cidr, six          netip.Prefix // six is not valid in a VPC without IPv6
}

// network makes a VPC 10.0.0.0/16.
func (i *install) network(a *account) *network {
	i.t.Helper()
	return i.networkOf(a, "10.0.0.0/16", false)
}

// networkOf makes a VPC with a block, with IPv6 or without.
func (i *install) networkOf(a *account, cidr string, six bool) *network {
	t := i.t
	t.Helper()
	ctx := context.Background()
	n := &network{i: i, acct: a, cidr: netip.MustParsePrefix(cidr)}
	v := got(a.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: &cidr, AmazonProvidedIpv6CidrBlock: &six})).or(t).Vpc
	n.vpc = *v.VpcId
	every := types.IpPermission{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}
	if six {
		n.six = netip.MustParsePrefix(*v.Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlock)
		every.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}
	}
	n.subnet = n.addSubnet(1)
	n.group = n.addGroup("open", every)
	return n
}

// addSubnet makes the VPC's subnet x.x.number.0/24 in the first zone. With
// IPv6 it has the /64 of that number, and its interfaces have addresses of it.
func (n *network) addSubnet(number byte) string {
	n.i.t.Helper()
	return n.addSubnetIn(number, "us-east-1a")
}

// addSubnetIn is addSubnet in another zone.
func (n *network) addSubnetIn(number byte, zone string) string {
	t, ctx := n.i.t, context.Background()
	t.Helper()
	four := n.cidr.Addr().As4()
	four[2] = number
	in := &ec2.CreateSubnetInput{VpcId: &n.vpc, AvailabilityZone: &zone, CidrBlock: aws.String(netip.PrefixFrom(netip.AddrFrom4(four), 24).String())}
	if n.six.IsValid() {
		six := n.six.Addr().As16()
		six[7] = number
		in.Ipv6CidrBlock = aws.String(netip.PrefixFrom(netip.AddrFrom16(six), 64).String())
	}
	id := got(n.acct.ec2.CreateSubnet(ctx, in)).or(t).Subnet.SubnetId
	if n.six.IsValid() {
		got(n.acct.ec2.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{SubnetId: id, AssignIpv6AddressOnCreation: &types.AttributeBooleanValue{Value: aws.Bool(true)}})).or(t)
	}
	return *id
}

// addGroup makes a group that lets in what is permitted, and everything out.
func (n *network) addGroup(name string, in ...types.IpPermission) string {
	n.i.t.Helper()
	id := *got(n.acct.ec2.CreateSecurityGroup(context.Background(), &ec2.CreateSecurityGroupInput{VpcId: &n.vpc, GroupName: &name, Description: &name})).or(n.i.t).GroupId
	if len(in) > 0 {
		n.letIn(id, in...)
	}
	return id
}

func (n *network) letIn(group string, in ...types.IpPermission) {
	n.i.t.Helper()
	got(n.acct.ec2.AuthorizeSecurityGroupIngress(context.Background(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: in})).or(n.i.t)
}

// tcp permits a port of TCP to a prefix.
func tcp(port int32, from string) types.IpPermission {
	p := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port}
	if netip.MustParsePrefix(from).Addr().Is4() {
		p.IpRanges = []types.IpRange{{CidrIp: &from}}
	} else {
		p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: &from}}
	}
	return p
}

// table is the route table of a subnet of its own, or the VPC's main one.
func (n *network) table(subnet string) string {
	t, ctx := n.i.t, context.Background()
	t.Helper()
	if subnet == "" {
		return *got(n.acct.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: []types.Filter{
			{Name: aws.String("vpc-id"), Values: []string{n.vpc}}, {Name: aws.String("association.main"), Values: []string{"true"}}}})).or(t).RouteTables[0].RouteTableId
	}
	id := got(n.acct.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &n.vpc})).or(t).RouteTable.RouteTableId
	got(n.acct.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: id, SubnetId: &subnet})).or(t)
	return *id
}

func (n *network) route(in *ec2.CreateRouteInput) {
	n.i.t.Helper()
	got(n.acct.ec2.CreateRoute(context.Background(), in)).or(n.i.t)
}

// instance starts a workload and waits until it runs.
func (n *network) instance() (id, addr string) {
	n.i.t.Helper()
	m := n.launch(n.subnet, n.group)
	return m.id, m.addr
}

// machine is an instance that runs.
type machine struct{ id, addr, six string }

// launch starts a workload in a subnet and waits until it runs.
func (n *network) launch(subnet string, groups ...string) machine {
	t := n.i.t
	t.Helper()
	out := got(n.acct.ec2.RunInstances(context.Background(), &ec2.RunInstancesInput{
		ImageId: aws.String("ami-00000000"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: &subnet, SecurityGroupIds: groups,
	})).or(t)
	m := machine{id: *out.Instances[0].InstanceId, addr: *out.Instances[0].PrivateIpAddress}
	eventually(t, "the instance runs", 10*time.Second, func() bool {
		d := got(n.acct.ec2.DescribeInstances(context.Background(), &ec2.DescribeInstancesInput{InstanceIds: []string{m.id}})).or(t)
		m.six = aws.ToString(d.Reservations[0].Instances[0].Ipv6Address)
		return d.Reservations[0].Instances[0].State.Name == types.InstanceStateNameRunning
	})
	return m
}

// service puts a load balancer in front of an instance's port and makes an
// endpoint service of it; it returns once the target is healthy. With IPv6 both
// are dual-stack.
type service struct{ id, name, balancer, node string }

func (n *network) service(instance string, port int32, acceptance bool) *service {
	t, ctx := n.i.t, context.Background()
	t.Helper()
	family, families := elbtypes.IpAddressTypeIpv4, []string{"ipv4"}
	if n.six.IsValid() {
		family, families = elbtypes.IpAddressTypeDualstack, append(families, "ipv6")
	}
	lb := got(n.acct.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String("web"), Type: elbtypes.LoadBalancerTypeEnumNetwork,
		Scheme: elbtypes.LoadBalancerSchemeEnumInternal, IpAddressType: family, Subnets: []string{n.subnet}})).or(t).LoadBalancers[0]
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
		NetworkLoadBalancerArns: []string{*lb.LoadBalancerArn}, AcceptanceRequired: &acceptance, SupportedIpAddressTypes: families})).or(t).ServiceConfiguration
	got(n.acct.ec2.ModifyVpcEndpointServicePermissions(ctx, &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: s.ServiceId, AddAllowedPrincipals: []string{"*"}})).or(t)
	eni := got(n.acct.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{
		{Name: aws.String("interface-type"), Values: []string{"network_load_balancer"}}}})).or(t)
	return &service{id: *s.ServiceId, name: *s.ServiceName, balancer: *lb.LoadBalancerArn, node: *eni.NetworkInterfaces[0].PrivateIpAddress}
}

// endpoint makes an interface endpoint to a service, dual-stack with IPv6, and
// answers its id and first address.
func (n *network) endpoint(s *service) (id, addr string) {
	t, ctx := n.i.t, context.Background()
	t.Helper()
	family := types.IpAddressTypeIpv4
	if n.six.IsValid() {
		family = types.IpAddressTypeDualstack
	}
	e := got(n.acct.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &n.vpc, ServiceName: &s.name, VpcEndpointType: types.VpcEndpointTypeInterface,
		IpAddressType: family, SubnetIds: []string{n.subnet}, SecurityGroupIds: []string{n.group}, PrivateDnsEnabled: aws.Bool(false)})).or(t).VpcEndpoint
	addr, _ = n.addrs(e.NetworkInterfaceIds[0])
	return *e.VpcEndpointId, addr
}

// addrs are the addresses of an interface; six is "" if it has none.
func (n *network) addrs(eni string) (four, six string) {
	n.i.t.Helper()
	d := got(n.acct.ec2.DescribeNetworkInterfaces(context.Background(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{eni}})).or(n.i.t).NetworkInterfaces[0]
	if len(d.Ipv6Addresses) > 0 {
		six = *d.Ipv6Addresses[0].Ipv6Address
	}
	return *d.PrivateIpAddress, six
}

// state is an endpoint's state as the API says it.
func (n *network) state(endpoint string) string {
	n.i.t.Helper()
	d := got(n.acct.ec2.DescribeVpcEndpoints(context.Background(), &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{endpoint}})).or(n.i.t)
	return string(d.VpcEndpoints[0].State)
}
