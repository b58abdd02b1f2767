// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/link"
	"postern.dev/postern/internal/vpc"
)

// dialVariable makes the test's program try one TCP connection and end.
const dialVariable = "POSTERN_TEST_DIAL"

func dialForTest(addr string) int {
	c, err := net.DialTimeout("tcp", addr, 500*time.Millisecond)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c.Close()
	return 0
}

// hostLab is a whole installation with packets, run as users run it.
type hostLab struct {
	t        *testing.T
	program  string
	data     string
	endpoint string
}

func newHostLab(t *testing.T) *hostLab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if failed := probeDatapath(t.Context()); len(failed) > 0 {
		t.Skipf("this host cannot carry packets: %v", failed)
	}
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// The unprivileged processes must be able to reach program and state.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l := &hostLab{t: t, program: filepath.Join(dir, "postern"), data: filepath.Join(dir, "data")}
	copyProgram(t, l.program)
	t.Cleanup(func() {
		links := l.links()
		if _, err := links.Reset(); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return l
}

func copyProgram(t *testing.T, to string) {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, self); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func (l *hostLab) links() *link.Links {
	tag, err := link.TagFor(l.data)
	if err != nil {
		l.t.Fatal(err)
	}
	links, err := link.New(link.Config{Tag: tag, RunDir: link.DefaultRunDir(tag)})
	if err != nil {
		l.t.Fatal(err)
	}
	return links
}

func (l *hostLab) command(args ...string) *exec.Cmd {
	cmd := exec.Command(l.program, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "POSTERN_DATA_DIR=" + l.data}
	return cmd
}

// serve starts the server and returns what stops it.
func (l *hostLab) serve() (stop func()) {
	l.t.Helper()
	cmd := l.command("serve", "--listen", "127.0.0.1:0", "--dns-upstream", "none")
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		defer timer.Stop()
		if err := cmd.Wait(); err != nil {
			l.t.Errorf("the server ended with %v:\n%s", err, log.String())
		}
	}
	l.t.Cleanup(stop)
	timer := time.AfterFunc(60*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	f := strings.Fields(line)
	if err != nil || len(f) < 2 || f[0] != "ready:" {
		l.t.Fatalf("the server said %q (%v), want ready", line, err)
	}
	l.endpoint = f[1]
	return stop
}

// postern runs a command to its end.
func (l *hostLab) postern(env []string, args ...string) (code int, stdout, stderr string) {
	l.t.Helper()
	cmd := l.command(args...)
	cmd.Env = append(cmd.Env, env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); cmd.ProcessState == nil {
		l.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// subnet makes a VPC and a subnet through the AWS API.
func (l *hostLab) subnet() string {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	cl := admin.NewClient(paths{l.data}.adminSocket())
	defer cl.Close()
	a, err := cl.CreateAccount(ctx, admin.NewAccount{Name: "consumer"})
	if err != nil {
		l.t.Fatal(err)
	}
	c := ec2.New(ec2.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(l.endpoint), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(a.Keys[0].ID, a.Keys[0].Secret, ""),
	})
	v, err := c.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16")})
	if err != nil {
		l.t.Fatal(err)
	}
	s, err := c.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: v.Vpc.VpcId, CidrBlock: aws.String("10.9.1.0/24")})
	if err != nil {
		l.t.Fatal(err)
	}
	return *s.Subnet.SubnetId
}

func (l *hostLab) workload(id string) admin.Workload {
	l.t.Helper()
	cl := admin.NewClient(paths{l.data}.adminSocket())
	defer cl.Close()
	w, err := cl.Workload(l.t.Context(), id)
	if err != nil {
		l.t.Fatal(err)
	}
	return w
}

// From a bare host to a command in an instance, its packets in the tables,
// and back to a bare host.
func TestCommandsOnARealHost(t *testing.T) {
	l := newHostLab(t)
	stop := l.serve()
	subnet := l.subnet()

	// The command sees the VPC's resolver and the account's keys, and its
	// exit code comes back.
	code, out, errOut := l.postern(nil, "run", "--subnet", subnet, "--account", "consumer", "--",
		"sh", "-c", `grep nameserver /etc/resolv.conf; echo $AWS_REGION $AWS_ACCESS_KEY_ID $SSL_CERT_FILE; exit 7`)
	if code != 7 {
		t.Fatalf("exit code %d, want the command's 7; stderr: %s", code, errOut)
	}
	for _, want := range []string{"nameserver 10.9.0.2\n", "us-east-1 AKIA", paths{l.data}.workloadCA()} {
		if !strings.Contains(out, want) {
			t.Errorf("the command said %q, want %q in it", out, want)
		}
	}
	for _, x := range []struct {
		argv []string
		want int
	}{{[]string{"no-such-command"}, exitNoSuchFile}, {[]string{"/etc/passwd"}, exitCannotRun}, {[]string{"sh", "-c", "kill -KILL $$"}, 137}} {
		if code, _, errOut := l.postern(nil, append([]string{"run", "--subnet", subnet, "--"}, x.argv...)...); code != x.want {
			t.Errorf("run %v: exit code %d, want %d; stderr: %s", x.argv, code, x.want, errOut)
		}
	}
	for _, i := range l.namespaces() {
		t.Errorf("namespace %s is left behind", i)
	}

	// An instance that stays, entered twice, dropping a packet to nobody.
	code, _, errOut = l.postern(nil, "run", "--subnet", subnet, "--keep", "--name", "keeper", "--", "true")
	_, rest, _ := strings.Cut(errOut, "instance ")
	id, _, _ := strings.Cut(rest, " ")
	if code != 0 || !vpc.ValidID(vpc.PrefixInstance, id) {
		t.Fatalf("run --keep: exit code %d, %q", code, errOut)
	}
	w := l.workload(id)
	if w.State != vpc.InstanceRunning || w.Name != "keeper" {
		t.Fatalf("kept instance: %+v", w)
	}
	if code, _, errOut := l.postern([]string{dialVariable + "=10.9.1.200:80"}, "exec", id, "--", l.program); code != 1 {
		t.Errorf("a connection to nobody: exit code %d, %s", code, errOut)
	}
	var drops []dropAnswer
	code, out, errOut = l.postern(nil, "drops", "--interface", string(w.Interface), "--json")
	if err := json.Unmarshal([]byte(out), &drops); code != 0 || err != nil {
		t.Fatalf("drops: %d, %v, %s%s", code, err, out, errOut)
	}
	if !slices.ContainsFunc(drops, func(d dropAnswer) bool {
		return d.Reason == reasonARP && d.Instance == id && d.Name == "keeper" && d.Dest == "10.9.1.200" && d.Packets > 0
	}) {
		t.Errorf("drops %+v, want the unanswered ARP of %s", drops, id)
	}

	// A flow within the VPC shows as one: from an instance of its own to a
	// port nobody listens on, which answers.
	code, _, errOut = l.postern([]string{dialVariable + "=" + w.Addr.String() + ":81"}, "run", "--subnet", subnet, "--", l.program)
	if code != 1 || !strings.Contains(errOut, "refused") && !strings.Contains(errOut, "timeout") {
		t.Errorf("a connection to a closed port: exit code %d, %s", code, errOut)
	}
	code, out, errOut = l.postern(nil, "datapath", "flows", "--vpc", string(w.VPC), "--json")
	if code != 0 || strings.Contains(errOut, "refused") && !strings.Contains(out, w.Addr.String()+":81") {
		t.Errorf("datapath flows: %d, %s%s", code, out, errOut)
	}
	code, out, errOut = l.postern(nil, "datapath", "dump", "--interface", id)
	if code != 0 || !strings.Contains(out, "interfaces  vni="+string(w.VPC)+" addr="+w.Addr.String()) || !strings.Contains(out, "self.eni="+string(w.Interface)) {
		t.Errorf("datapath dump of %s: %d, %s%s", id, code, out, errOut)
	}
	code, out, errOut = l.postern(nil, "datapath", "dump", "--map", "routes", "--vpc", string(w.VPC))
	if code != 0 || !strings.Contains(out, "table=rtb-") || !strings.Contains(out, "kind=local") || strings.Contains(out, "interfaces") {
		t.Errorf("datapath dump of the routes: %d, %s%s", code, out, errOut)
	}
	if code, _, errOut = l.postern(nil, "datapath", "dump", "--map", "nothing"); code != exitUsage || !strings.Contains(errOut, "endpoints, ") {
		t.Errorf("datapath dump of no map: %d, %s", code, errOut)
	}

	// A signal ends the command, and the instance with it.
	cmd := l.command("run", "--subnet", subnet, "--name", "signalled", "--", "sh", "-c", "echo up; exec sleep 60")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(pipe).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGTERM) {
		t.Errorf("run after SIGTERM: exit code %d", code)
	}
	if ns := l.namespaces(); len(ns) != 1 || !strings.Contains(ns[0], id) {
		t.Errorf("namespaces of instances %v, want that of %s alone", ns, id)
	}

	// What was called is on record, though the server has given root up.
	code, out, errOut = l.postern(nil, "audit", "--action", "CreateVpc")
	if code != 0 || !strings.Contains(out, "consumer") || !strings.Contains(out, string(w.VPC)+" CidrBlock=") {
		t.Errorf("audit: %d, %s%s", code, out, errOut)
	}

	// Nothing is reset under a running server; after it, everything goes.
	if code, _, errOut := l.postern(nil, "reset", "--yes"); code != 1 || !strings.Contains(errOut, "stop it first") {
		t.Errorf("reset of a running server: %d, %s", code, errOut)
	}
	stop()
	if code, out, errOut = l.postern(nil, "drops"); code != 0 || !strings.Contains(out, "10.9.1.200") || !strings.Contains(errOut, "no server") {
		t.Errorf("drops without a server: %d, %s%s", code, out, errOut)
	}
	if code, out, errOut = l.postern(nil, "reset", "--yes", "--data"); code != 0 || !strings.Contains(out, id) {
		t.Errorf("reset: %d, %s%s", code, out, errOut)
	}
	if left, err := l.links().Inventory(); err != nil || len(left) > 0 {
		t.Errorf("left after reset: %v, %v", left, err)
	}
	if _, err := os.Stat(l.data); !os.IsNotExist(err) {
		t.Errorf("the data directory is still there: %v", err)
	}
}

// namespaces are those of the installation's instances.
func (l *hostLab) namespaces() []string {
	l.t.Helper()
	items, err := l.links().Inventory()
	if err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for _, i := range items {
		if i.Kind == link.ItemNamespace && i.Owner != "service" {
			out = append(out, i.Name)
		}
	}
	return out
}
