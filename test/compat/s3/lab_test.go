// SPDX-License-Identifier: Apache-2.0

// Package s3 runs suites and clients of S3 that we did not write twice: against a
// backend, and against the edge in front of it, with the policy that a new endpoint
// has. What succeeds must be the same.
//
// Two backends are there: the S3 that Postern brings along, for clients, and the
// Versity S3 Gateway as others run it, which has the root account and the admin
// calls that its suite wants; both answer S3 with the same code.
package s3

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
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

const (
	region  = "us-east-1"
	account = "111122223333"
	keyID   = "AKIAIOSFODNN7EXAMPLE"
	secret  = "a-secret-of-the-tests"
	// domain is where both the backend and the edge say they are. Its names are
	// the loopback's everywhere, without a name server (RFC 6761).
	domain = "localhost"
	// limit is for one run of one client.
	limit = 10 * time.Minute
)

// clean is all of the environment that a program we start sees.
func clean(more ...string) []string {
	return append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}, more...)
}

// build makes a program of a module in this repository.
func build(t *testing.T, module, pkg, name string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, text)
	}
	return out
}

// start runs a program until the test ends.
func start(t *testing.T, dir string, argv ...string) (stdout io.Reader) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, clean("HOME="+dir)
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
			t.Logf("%s said:\n%s", filepath.Base(argv[0]), tail(log.String(), 4000))
		}
	})
	return stdout
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// posternS3 runs Postern's S3 with one key and says where: host:port.
func posternS3(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	keys, err := json.Marshal(map[string]any{"accounts": []map[string]string{{"access": keyID, "secret": secret, "account": account}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "accounts.json"), keys, 0o600); err != nil {
		t.Fatal(err)
	}
	program := build(t, "../../../backends/s3", ".", "postern-s3")
	line, err := bufio.NewReader(start(t, dir, program, "--dir", filepath.Join(dir, "data"), "--accounts", filepath.Join(dir, "accounts.json"),
		"--region", region, "--domain", "s3."+domain)).ReadBytes('\n')
	var ready struct{ Listen string }
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		t.Fatalf("postern-s3 is not ready: %v: %s", err, line)
	}
	return ready.Listen
}

// identFunc is an edge.Identifier.
type identFunc func() edge.Identity

func (f identFunc) Identify(_, _ netip.AddrPort, _ int) (edge.Identity, error) { return f(), nil }

// front is an edge in front of one backend.
type front struct {
	address string // host:port
	mu      sync.Mutex
	records []edge.Record
}

// newFront starts an edge whose only endpoint has the default policy, and whose
// service answers to names.
func newFront(t *testing.T, backend string, key string, names ...string) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{address: l.Addr().String()}
	const endpoint = vpc.EndpointID("vpce-0123456789abcdef0")
	id := edge.Identity{VNI: vpc.FirstVNI, Client: netip.MustParseAddrPort("10.0.1.5:40000"), Endpoint: vpc.Num(endpoint)}
	configs := make(chan edge.Config, 1)
	configs <- edge.Config{
		Region: region,
		VPCs:   map[vpc.VNI]desired.VPC{id.VNI: {ID: "vpc-0a", Owner: account, VNI: id.VNI}},
		Services: map[string]desired.Service{"s3": {
			Name: "s3", ServiceName: "com.amazonaws." + region + ".s3", Protocol: "s3", Backends: []string{"http://" + backend}, PublicNames: names,
		}},
		Endpoints: map[vpc.EndpointID]desired.Endpoint{endpoint: {
			ID: endpoint, Owner: account, VPC: "vpc-0a", VNI: id.VNI, Type: vpc.GatewayEndpoint, Service: "s3",
		}},
		Keys: map[string]vpc.AccountID{key: account},
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

// port of host:port.
func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// run runs a client in dir and returns what it printed, and how it ended: suites
// end with an error when any of their tests fails.
func run(t *testing.T, dir string, env []string, argv ...string) (out, errs string, _ error) {
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
		t.Fatalf("%s did not end: %v\n%s%s", strings.Join(argv, " "), ctx.Err(), tail(stdout.String(), 4000), tail(stderr.String(), 4000))
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("%s: %.1f s", filepath.Base(argv[0]), time.Since(began).Seconds())
	return stdout.String(), stderr.String(), err
}

// result is what each test or step of a run came to.
type result map[string]string

// passes are the names of those that came to pass.
func (r result) passes() []string {
	var names []string
	for name, what := range r {
		if what == "PASS" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// same fails for each test that came to something else through the edge, unless it
// is named in differ with the reason, and then it must.
func same(t *testing.T, directly, through result, differ map[string]string) {
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
	t.Logf("%d passed directly, %d through the edge", len(directly.passes()), len(through.passes()))
}

// explain logs what the edge made of the requests that it answered itself.
func (f *front) explain(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[string]bool{}
	for _, r := range f.records {
		if r.Decision == edge.DecisionAllow && r.Error == "" {
			continue
		}
		what := fmt.Sprintf("%s: %s %s %s", r.Decision, r.Method, r.Reason, r.Error)
		if !seen[what] && len(seen) < 200 {
			seen[what] = true
			t.Log("the edge: ", what, " ", r.Host, " ", r.Bucket, "/", r.Key)
		}
	}
}
