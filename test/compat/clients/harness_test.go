// SPDX-License-Identifier: Apache-2.0

// Package clients lets AWS's own clients judge the API: the same scenario as a
// shell script with the aws command line, as programs with boto3, the SDKs for
// Go and JavaScript, and as Ansible playbooks. What each has to find out is in
// checks.txt, and the tests compare. The examples are run here too.
package clients

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern.dev/postern/test/compat"
)

const region = compat.Region

// api is a running API with two accounts, and a home directory for clients
// whose ~/.aws has a profile for each.
type api struct {
	t                  *testing.T
	endpoint           string
	home               string
	consumer, provider compat.Account
}

// newAPI starts the API and ends it with the test.
func newAPI(t *testing.T) *api {
	t.Helper()
	s := compat.New(t, compat.Options{})
	a := &api{t: t, endpoint: s.URL, home: t.TempDir(), consumer: s.Account("consumer"), provider: s.Account("provider")}
	a.writeProfiles()
	return a
}

// writeProfiles writes what every client reads: ~/.aws with two profiles.
func (a *api) writeProfiles() {
	var config, credentials strings.Builder
	for _, p := range []compat.Account{a.consumer, a.provider} {
		fmt.Fprintf(&config, "[profile %s]\nregion = %s\n", p.Name, region)
		fmt.Fprintf(&credentials, "[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n", p.Name, p.AccessKey, p.Secret)
	}
	dir := filepath.Join(a.home, ".aws")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		a.t.Fatal(err)
	}
	for name, text := range map[string]string{"config": config.String(), "credentials": credentials.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
}

// clean is all of the environment that a program we start sees: nothing of
// the machine's certificates, proxies, keys and settings.
func clean(more ...string) []string {
	return append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}, more...)
}

// environment is a client's. One attempt, so that no retry hides an error.
func (a *api) environment(more ...string) []string {
	return clean(append([]string{
		"HOME=" + a.home, "AWS_ENDPOINT_URL=" + a.endpoint, "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1",
	}, more...)...)
}

// as is a client's environment with an account's keys in it.
func (a *api) as(who compat.Account, more ...string) []string {
	return a.environment(append([]string{"AWS_ACCESS_KEY_ID=" + who.AccessKey, "AWS_SECRET_ACCESS_KEY=" + who.Secret, "AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region}, more...)...)
}

// run runs a client in dir and answers what it printed; it has to succeed.
func (a *api) run(dir string, env []string, argv ...string) string {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, env
	// The whole group, so that no child of a script outlives the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	start := time.Now()
	if err := cmd.Run(); err != nil {
		a.t.Fatalf("%s: %v\n%s%s", strings.Join(argv, " "), err, out.String(), errs.String())
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	a.t.Logf("%s %s: %.1f s, of the processor %.1f s", filepath.Base(argv[0]), strings.Join(argv[1:], " "), time.Since(start).Seconds(), cpu.Seconds())
	return out.String()
}

// wanted are the names in checks.txt.
func wanted(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("checks.txt")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
			names = append(names, f[0])
		}
	}
	if len(names) < 40 {
		t.Fatalf("checks.txt has %d checks: it is read wrongly", len(names))
	}
	return names
}

// compare fails if a client found out less than checks.txt says, or something
// that is not there.
func compare(t *testing.T, got []string) {
	t.Helper()
	want := wanted(t)
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("not checked: %s", w)
		}
	}
	for i, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("checked but not in checks.txt: %s", g)
		}
		if slices.Contains(got[:i], g) {
			t.Errorf("checked twice: %s", g)
		}
	}
}

// checked are the names in a program's lines "ok NAME".
func checked(out string) []string {
	var names []string
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "ok "); ok {
			names = append(names, name)
		}
	}
	return names
}
