// SPDX-License-Identifier: Apache-2.0

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
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"postern.dev/postern/internal/link"
)

// cableEnv is set for a test that runs in the first of two hosts' networks; it
// names the namespace of the second one.
const cableEnv = "POSTERN_E2E_OTHER_HOST"

// Addresses of the two hosts on the cable between them.
const (
	firstHost  = "192.0.2.1"
	secondHost = "192.0.2.2"
)

// onTwoHosts makes two hosts' networks with a cable between them and runs the
// test again in the first one; there it answers the namespace of the second.
func onTwoHosts(t *testing.T) (second string, here bool) {
	t.Helper()
	needRoot(t)
	if ns := os.Getenv(cableEnv); ns != "" {
		return ns, true
	}
	name := func(n int) string { return fmt.Sprintf("pe2e-%d-%d", os.Getpid(), n) }
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
	}
	for n := range 2 {
		ip("netns", "add", name(n))
		t.Cleanup(func() { ip("netns", "del", name(n)) })
	}
	ip("-n", name(0), "link", "add", "cable", "mtu", "1600", "type", "veth", "peer", "name", "cable", "netns", name(1), "mtu", "1600")
	for n, addr := range []string{firstHost, secondHost} {
		ip("-n", name(n), "addr", "add", addr+"/24", "dev", "cable")
		for _, dev := range []string{"lo", "cable"} {
			ip("-n", name(n), "link", "set", dev, "up")
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	second = filepath.Join("/run/netns", name(1))
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), cableEnv+"="+second, "POSTERN_BIN="+program)
	var out lockedBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := link.StartIn(filepath.Join("/run/netns", name(0)), cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, &out)
	}
	return "", false
}

// joinedHost is a host whose agent is started by itself.
type joinedHost struct {
	i     *install
	name  string
	netns string // "" is the test's own
	dir   string
	cmd   *exec.Cmd
	log   lockedBuffer
}

// start runs something of the program on the host.
func (h *joinedHost) start(cmd *exec.Cmd) error {
	if h.netns == "" {
		return cmd.Start()
	}
	return link.StartIn(h.netns, cmd)
}

// joining is what `host add` prints.
type joining struct{ Host, Server, Token string }

func (i *install) addHost(name string, args ...string) joining {
	i.t.Helper()
	var j joining
	if err := json.Unmarshal([]byte(i.must(append([]string{"host", "add", name, "--json"}, args...)...)), &j); err != nil {
		i.t.Fatal(err)
	}
	return j
}

// newHost is a machine that has not joined yet.
func (i *install) newHost(name, netns string) *joinedHost {
	t := i.t
	t.Helper()
	dir, err := os.MkdirTemp("", "pe2e")
	if err != nil {
		t.Fatal(err)
	}
	h := &joinedHost{i: i, name: name, netns: netns, dir: dir}
	t.Cleanup(func() {
		h.stop()
		if t.Failed() {
			t.Logf("the log of %s:\n%s", h.name, tail(h.log.String(), 40))
		}
		if out, err := h.run("reset", "--yes", "--data"); err != nil {
			t.Errorf("reset of %s: %v\n%s", h.name, err, out)
		}
	})
	return h
}

// run runs a command of the program on the host.
func (h *joinedHost) run(args ...string) (string, error) {
	cmd := exec.Command(program, append([]string{args[0], "--data-dir", h.dir}, args[1:]...)...)
	cmd.Env = environment()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := h.start(cmd); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return out.String(), err
}

// agent starts the host's agent and waits until it is ready.
func (h *joinedHost) agent(args ...string) {
	t := h.i.t
	t.Helper()
	h.cmd = exec.Command(program, append([]string{"agent", "--data-dir", h.dir}, args...)...)
	h.cmd.Env, h.cmd.Stderr = environment(), &h.log
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.start(h.cmd); err != nil {
		t.Fatal(err)
	}
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(out).ReadString('\n')
		line <- s
	}()
	select {
	case s := <-line:
		if !strings.HasPrefix(s, "ready: host "+h.name+" ") {
			t.Fatalf("the agent of %s said %q:\n%s", h.name, s, &h.log)
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("%s is not ready after a minute:\n%s", h.name, &h.log)
	}
}

// stop ends the host's agent, as its service manager would.
func (h *joinedHost) stop() {
	if h.cmd == nil || h.cmd.Process == nil {
		return
	}
	h.cmd.Process.Signal(os.Interrupt)
	timer := time.AfterFunc(20*time.Second, func() { h.cmd.Process.Kill() })
	defer timer.Stop()
	h.cmd.Wait()
	h.cmd = nil
}

// peer prepares this test program as a peer inside an instance on the host.
func (h *joinedHost) peer(m machine, mode string, args ...string) *exec.Cmd {
	t := h.i.t
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tag, err := link.TagFor(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := link.New(link.Config{Tag: tag, RunDir: link.DefaultRunDir(tag)})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nsenter", append([]string{"--net=" + l.NamespacePath(m.id), self}, args...)...)
	cmd.Env = environment(peerEnv + "=" + mode)
	return cmd
}

// says wants a peer to print something.
func (h *joinedHost) says(want string, cmd *exec.Cmd) {
	h.i.t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != want {
		drops, _ := h.run("drops")
		h.i.t.Errorf("%s: %v, %q; want %q; dropped on %s:\n%s", strings.Join(cmd.Args[3:], " "), err, out, want, h.name, drops)
	}
}

// hostAnswer is a host as `host list` shows it.
type hostAnswer struct {
	ID, Zone, Underlay string
	Joined, Live       bool
	Interfaces         int
	Errors             map[string]string
}

func (i *install) hostList() map[string]hostAnswer {
	i.t.Helper()
	var list []hostAnswer
	if err := json.Unmarshal([]byte(i.must("host", "list", "--json")), &list); err != nil {
		i.t.Fatal(err)
	}
	out := map[string]hostAnswer{}
	for _, h := range list {
		out[h.ID] = h
	}
	return out
}

func (i *install) live(hosts ...string) {
	i.t.Helper()
	eventually(i.t, fmt.Sprint(hosts, " are live"), 15*time.Second, func() bool {
		list := i.hostList()
		for _, h := range hosts {
			if !list[h].Live {
				return false
			}
		}
		return true
	})
}

// Two machines join a server over TLS and run the workloads of one zone between
// them: of one VPC on both, and of a consumer and a provider on one each.
func TestTwoHostsJoinAServerAndCarryItsVPCs(t *testing.T) {
	second, here := onTwoHosts(t)
	if !here {
		return
	}
	i := newInstall(t, "--datapath=none", "--hosts-listen", firstHost+":0")
	a, b := i.newHost("host-a", ""), i.newHost("host-b", second)
	zone := []string{"--zone", "us-east-1a", "--underlay"}
	ja := i.addHost("host-a", append(zone, firstHost)...)
	jb := i.addHost("host-b", append(zone, secondHost)...)

	// A machine joins only the server that the token is from, and only with it.
	other := strings.TrimSuffix(jb.Token, jb.Token[len(jb.Token)-8:]) + "00000000"
	if out, err := b.run("agent", "--join", jb.Server, "--token", other); err == nil || !strings.Contains(out, "another fingerprint") {
		t.Errorf("a server with another fingerprint: %v\n%s", err, out)
	}
	if out, err := b.run("agent", "--join", jb.Server); err == nil || !strings.Contains(out, "host add") {
		t.Errorf("without a token: %v\n%s", err, out)
	}
	if out, err := b.run("agent", "--join", jb.Server, "--token", strings.Replace(jb.Token, "host-b", "host-a", 1)); err == nil || !strings.Contains(out, "token is not valid") {
		t.Errorf("with another host's token: %v\n%s", err, out)
	}
	a.agent("--join", ja.Server, "--token", ja.Token)
	b.agent("--join", jb.Server, "--token", jb.Token)
	i.live("host-a", "host-b")
	onlyItsPrivileges(t, "agent", b.cmd.Process.Pid)
	procs := children(t, b.cmd.Process.Pid)
	for _, name := range []string{"edge", "prober"} {
		onlyItsPrivileges(t, name, procs[name])
	}

	// Instances go where there is most room.
	tenant := i.network(i.account("tenant"))
	one, two := tenant.launch(tenant.subnet, tenant.group), tenant.launch(tenant.subnet, tenant.group)
	consumer := i.networkOf(i.account("consumer"), "10.0.0.0/16", false)
	client := consumer.launch(consumer.subnet, consumer.group)
	provider := i.networkOf(i.account("provider"), "10.0.0.0/16", false)
	target := provider.launch(provider.subnet, provider.group)
	for name, h := range i.hostList() {
		if h.Interfaces != 2 || h.Zone != "us-east-1a" || h.Underlay != map[string]string{"host-a": firstHost, "host-b": secondHost}[name] {
			t.Errorf("%s: %+v, want two interfaces in us-east-1a", name, h)
		}
	}
	i.listening(b.peer(target, "answer", target.addr+":8080"))
	s := provider.service(target.id, 8080, false)
	endpoint, addr := consumer.endpoint(s)
	eventually(t, "the endpoint is available", 10*time.Second, func() bool { return consumer.state(endpoint) == "available" })

	// A zone without a host runs nothing.
	elsewhere := tenant.addSubnetIn(2, "us-east-1b")
	_, err := tenant.acct.ec2.RunInstances(context.Background(), &ec2.RunInstancesInput{
		ImageId: aws.String("ami-00000000"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: &elsewhere})
	if err == nil || !strings.Contains(err.Error(), "InsufficientInstanceCapacity") {
		t.Errorf("an instance in a zone without hosts: %v", err)
	}

	// The S3 server that comes with Postern is on another machine: an endpoint
	// to it says so at once.
	table := tenant.table("")
	got(tenant.acct.ec2.CreateVpcEndpoint(context.Background(), &ec2.CreateVpcEndpointInput{VpcId: &tenant.vpc, RouteTableIds: []string{table},
		ServiceName: aws.String("com.amazonaws.us-east-1.s3"), VpcEndpointType: types.VpcEndpointTypeGateway})).or(t)
	for h, m := range map[*joinedHost]machine{a: one, b: two} {
		out, err := h.peer(m, "get", "http://s3.us-east-1.amazonaws.com/bucket/key", "tcp4", "198.51.100.10:80").CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "503 ") || !strings.Contains(string(out), "ServiceUnavailable") {
			t.Errorf("S3 from %s: %v\n%s", h.name, err, out)
		}
	}

	// Commands of the host work there; one that needs the server says where it is.
	if out, err := b.run("exec", two.id, "--", "sh", "-c", "ip -4 -o addr show dev eth0; cat /etc/resolv.conf; echo $SSL_CERT_FILE"); err != nil ||
		!strings.Contains(out, two.addr+"/24") || !strings.Contains(out, "nameserver 10.0.0.2") || !strings.Contains(out, b.dir) {
		t.Errorf("exec on %s: %v\n%s", b.name, err, out)
	}
	for what, args := range map[string][]string{
		"is on another": {"status"}, "on the server's machine": {"exec", two.id, "--account", "tenant", "--", "true"}, "neither an instance": {"exec", one.id, "--", "true"},
	} {
		if out, err := b.run(args...); err == nil || !strings.Contains(out, what) {
			t.Errorf("%v on %s: %v, want %q\n%s", args, b.name, err, what, out)
		}
	}

	// An agent comes back without a token, and nobody takes its place with an
	// old one.
	b.stop()
	b.agent("--join", jb.Server)
	i.live("host-b")
	late := i.newHost("host-b", second)
	if out, err := late.run("agent", "--join", jb.Server, "--token", jb.Token); err == nil || !strings.Contains(out, "token is not valid") {
		t.Errorf("with a token that was used: %v\n%s", err, out)
	}
	if out, err := i.postern("host", "remove", "host-b").CombinedOutput(); err == nil || !strings.Contains(string(out), "terminate its instance") {
		t.Errorf("a host in use is removed: %v\n%s", err, out)
	}

	// Packets between the hosts: within a VPC, and through the endpoint, where
	// the provider sees its load balancer's node.
	i.listening(b.peer(two, "answer", two.addr+":7000"))
	i.listening(a.peer(one, "answer", one.addr+":7000"))
	a.says(one.addr, a.peer(one, "ask", "tcp", two.addr+":7000"))
	b.says(two.addr, b.peer(two, "ask", "tcp", one.addr+":7000"))
	a.says("reply", a.peer(one, "ping", two.addr))
	a.says(strconv.Itoa(bulkSize), a.peer(one, "bulk", two.addr+":7000", "1"))
	a.says(s.node, a.peer(client, "ask", "tcp", addr+":80"))
	a.says(strconv.Itoa(bulkSize), a.peer(client, "bulk", addr+":80", "1"))
}

// The server's own machine is a host among others. What runs between hosts goes
// on while the server is away, and the other host comes back to it.
func TestAHostJoinsTheServersOwn(t *testing.T) {
	second, here := onTwoHosts(t)
	if !here {
		return
	}
	i := newInstall(t, "--hosts-listen", firstHost+":8421", "--underlay", firstHost, "--host-zone", "us-east-1a", "--mtu", "1550")
	b := i.newHost("host-b", second)
	j := i.addHost("host-b", "--zone", "us-east-1b", "--underlay", secondHost)
	b.agent("--join", j.Server, "--token", j.Token, "--mtu", "1550")
	i.live("host-b")

	// Two VPCs with a peering connection between them, one on each host.
	a := i.account("tenant")
	left, right := i.networkOf(a, "10.1.0.0/16", false), i.networkOf(a, "10.2.0.0/16", false)
	one := left.launch(left.subnet, left.group)
	beyond := left.launch(left.addSubnetIn(2, "us-east-1b"), left.group)
	two := right.launch(right.addSubnetIn(2, "us-east-1b"), right.group)
	for name, h := range i.hostList() {
		if want := map[bool]int{true: 2, false: 1}[name == "host-b"]; h.Interfaces != want || len(h.Errors) > 0 {
			t.Errorf("%s: %+v, want %d interfaces and no errors", name, h, want)
		}
	}
	i.listening(b.peer(beyond, "answer", beyond.addr+":7000"))
	i.listening(b.peer(two, "answer", two.addr+":7000"))
	i.says(one.addr, i.asks(one, "tcp", beyond.addr+":7000"))
	i.dropped("no-route", i.asks(one, "tcp", two.addr+":7000"))
	left.peer(right)
	i.says(one.addr, i.asks(one, "tcp", two.addr+":7000"))
	i.carries(one, two.addr+":7000")

	talk := i.talks(one, beyond.addr+":7000", one.addr)
	talk.goesOn(true)
	i.kill()
	talk.goesOn(true)
	i.start()
	i.live("host-b")
	talk.goesOn(true)
	i.clients(a)
	// The other host has followed: what is closed now is closed there too.
	rules := got(a.ec2.DescribeSecurityGroups(context.Background(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{right.group}})).or(t).SecurityGroups[0].IpPermissions
	got(a.ec2.RevokeSecurityGroupIngress(context.Background(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &right.group, IpPermissions: rules})).or(t)
	cmd := i.asks(one, "tcp", two.addr+":7000")
	cmd.Env = append(cmd.Env, patienceEnv+"=600ms")
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("a closed group lets in: %s", out)
	}
}
