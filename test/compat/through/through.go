// SPDX-License-Identifier: Apache-2.0

// Package through runs clients of a service that we did not write twice: against a
// backend, and against an edge in front of it. What succeeds must be the same.
package through

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/vpc"
)

// Who calls, and where.
const (
	Region  = "us-east-1"
	Account = "111122223333"
	KeyID   = "AKIAIOSFODNN7EXAMPLE"
	Secret  = "a-secret-of-the-tests"
)

// limit is for one run of one client.
const limit = 10 * time.Minute

// Env is all of the environment that a program we start sees.
func Env(more ...string) []string {
	return append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}, more...)
}

// Client is Env with what clients of AWS read, and a home of their own.
func Client(home string, more ...string) []string {
	return Env(append([]string{
		"HOME=" + home, "AWS_ACCESS_KEY_ID=" + KeyID, "AWS_SECRET_ACCESS_KEY=" + Secret, "AWS_DEFAULT_REGION=" + Region,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1", "AWS_PAGER=",
	}, more...)...)
}

// Need finds a program of the distribution's.
func Need(t *testing.T, program string) string {
	t.Helper()
	for _, dir := range []string{"/usr/bin", "/opt/postern-awscli/bin", "/usr/local/bin"} {
		if p := filepath.Join(dir, program); works(t, p, "--version") {
			return p
		}
	}
	t.Skipf("no %s; scripts/deps.sh compat installs it", program)
	return ""
}

// Boto3 is a Python that has it.
func Boto3(t *testing.T) string {
	t.Helper()
	python := Need(t, "python3")
	if !works(t, python, "-c", "import boto3") {
		t.Skip("no boto3; scripts/deps.sh compat installs it")
	}
	return python
}

// works reports whether a program can be run like this.
func works(t *testing.T, argv ...string) bool {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = t.TempDir(), Env("HOME="+t.TempDir())
	return cmd.Run() == nil
}

// Script is the path of one of the test's files.
func Script(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Start runs a program until the test ends.
func Start(t *testing.T, dir string, argv ...string) (stdout io.Reader) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, Env("HOME="+dir)
	// It ends with the test's process, too, however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log := &bytes.Buffer{}
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		defer kill.Stop()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(argv[0]), Tail(log.String(), 4000))
		}
	})
	return stdout
}

// Run runs a client in dir and returns what it printed, and how it ended: suites
// end with an error when any of their tests fails.
func Run(t *testing.T, dir string, env []string, argv ...string) (out, errs string, _ error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, env
	// The whole group, so that no child of a script outlives the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s did not end: %v\n%s%s", strings.Join(argv, " "), ctx.Err(), Tail(stdout.String(), 4000), Tail(stderr.String(), 4000))
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("%s: %.1f s", filepath.Base(argv[0]), time.Since(began).Seconds())
	return stdout.String(), stderr.String(), err
}

// Tail is the end of a long text.
func Tail(s string, n int) string { return s[max(0, len(s)-n):] }

// Result is what each test or step of a run came to: PASS with what else must be
// the same, FAIL or SKIP.
type Result map[string]string

// Steps runs a script that says "PASS name" or "FAIL name why" for each of its
// steps and goes on after a failure. A step that passed may say what it got.
func Steps(t *testing.T, env []string, argv ...string) Result {
	t.Helper()
	out, errs, err := Run(t, t.TempDir(), env, argv...)
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", argv, err, Tail(out, 4000), Tail(errs, 4000))
	}
	r := Result{}
	for line := range strings.Lines(out) {
		what, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if what != "PASS" && what != "FAIL" {
			continue
		}
		name, more, _ := strings.Cut(rest, " ")
		if r[name] != "" {
			t.Errorf("%s is there twice", name)
		}
		if what == "FAIL" {
			t.Logf("%s failed: %s", name, more)
			more = ""
		}
		r[name] = strings.TrimSpace(what + " " + more)
	}
	return r
}

// Passes are the names of those that came to pass.
func (r Result) Passes() []string {
	var names []string
	for name, what := range r {
		if strings.HasPrefix(what, "PASS") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Same fails for each test that came to something else through the edge, unless it
// is named in differ with the reason, and then it must.
func Same(t *testing.T, directly, through Result, differ map[string]string) {
	t.Helper()
	names := map[string]bool{}
	for name := range directly {
		names[name] = true
	}
	for name := range through {
		names[name] = true
	}
	for name := range names {
		_, known := differ[name]
		switch a, b := directly[name], through[name]; {
		case a == b && known:
			t.Errorf("%s is %q both ways, it need not be listed", name, a)
		case a != b && !known:
			t.Errorf("%s: directly %q, through the edge %q", name, a, b)
		}
	}
	t.Logf("%d passed directly, %d through the edge", len(directly.Passes()), len(through.Passes()))
}

// Edge is an edge with one endpoint to one service.
type Edge struct {
	Address string // host:port

	mu      sync.Mutex
	records []edge.Record
}

// identFunc is an edge.Identifier.
type identFunc func() edge.Identity

func (f identFunc) Identify(_, _ netip.AddrPort, _ int) (edge.Identity, error) { return f(), nil }

// NewEdge starts an edge in front of a service until the test ends. Its only endpoint
// is a gateway endpoint with the policy, the default one if that is "". The key's is
// Account.
func NewEdge(t *testing.T, s desired.Service, policy, key string) *Edge {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &Edge{Address: l.Addr().String()}
	const endpoint = vpc.EndpointID("vpce-0123456789abcdef0")
	id := edge.Identity{VNI: vpc.FirstVNI, Client: netip.MustParseAddrPort("10.0.1.5:40000"), Endpoint: vpc.Num(endpoint)}
	configs := make(chan edge.Config, 1)
	configs <- edge.Config{
		Region:   Region,
		VPCs:     map[vpc.VNI]desired.VPC{id.VNI: {ID: "vpc-0a", Owner: Account, VNI: id.VNI}},
		Services: map[string]desired.Service{s.Name: s},
		Endpoints: map[vpc.EndpointID]desired.Endpoint{endpoint: {
			ID: endpoint, Owner: Account, VPC: "vpc-0a", VNI: id.VNI, Type: vpc.GatewayEndpoint, Service: s.Name, Policy: policy,
		}},
		Keys: map[string]vpc.AccountID{key: Account},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- edge.Run(ctx, edge.Sockets{HTTP: l}, configs, func() {}, identFunc(func() edge.Identity { return id }), func(r edge.Record) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.records = append(f.records, r)
		}, func(map[string]map[string]bool) {})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

// Records are those of the requests so far.
func (f *Edge) Records() []edge.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.records)
}

// Explain logs what the edge made of the requests that it answered itself.
func (f *Edge) Explain(t *testing.T) {
	t.Helper()
	seen := map[string]bool{}
	for _, r := range f.Records() {
		if r.Decision == edge.DecisionAllow && r.Error == "" {
			continue
		}
		what := fmt.Sprintf("%s: %s %s %s", r.Decision, r.Method, r.Reason, r.Error)
		if !seen[what] && len(seen) < 200 {
			seen[what] = true
			t.Log("the edge: ", what, " ", r.Host, " ", r.Resource)
		}
	}
}

// Port of host:port.
func Port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}
