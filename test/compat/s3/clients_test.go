// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// client runs a script against Postern's S3 and through an edge, each time with a
// backend of its own. The script says "PASS name" or "FAIL name why" for each of
// its steps and goes on after a failure. least is how many steps have to pass.
func client(t *testing.T, least int, env []string, argv ...string) {
	t.Helper()
	t.Parallel()
	play := func(through bool) result {
		address := posternS3(t)
		var f *front
		if through {
			f = newFront(t, address, keyID, "127.0.0.1", "s3."+domain, "*.s3."+domain)
			address = f.address
		}
		home := t.TempDir()
		work := filepath.Join(home, "work")
		if err := os.Mkdir(work, 0o700); err != nil {
			t.Fatal(err)
		}
		out, errs, err := run(t, work, clean(append([]string{
			"HOME=" + home, "S3=" + address, "S3_NAME=s3." + domain + ":" + port(address),
			"AWS_ACCESS_KEY_ID=" + keyID, "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_DEFAULT_REGION=" + region,
			"AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1", "AWS_PAGER=",
		}, env...)...), argv...)
		if err != nil {
			t.Fatalf("%v: %v\n%s%s", argv, err, tail(out, 4000), tail(errs, 4000))
		}
		r := result{}
		for line := range strings.Lines(out) {
			what, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			if what != "PASS" && what != "FAIL" {
				continue
			}
			name, why, _ := strings.Cut(rest, " ")
			if r[name] != "" {
				t.Errorf("%s is there twice", name)
			}
			r[name] = what
			if what == "FAIL" {
				t.Logf("through the edge: %v: %s failed: %s", through, name, why)
			}
		}
		if through {
			f.explain(t)
		}
		return r
	}
	directly := play(false)
	through := play(true)
	same(t, directly, through, nil)
	if n := len(directly.passes()); n < least {
		t.Errorf("only %d steps passed directly, want %d", n, least)
	}
}

// need finds a program of the distribution's.
func need(t *testing.T, program string) string {
	t.Helper()
	for _, dir := range []string{"/usr/bin", "/opt/postern-awscli/bin", "/usr/local/bin"} {
		if p := filepath.Join(dir, program); works(t, p, "--version") {
			return p
		}
	}
	t.Skipf("no %s; scripts/deps.sh compat installs it", program)
	return ""
}

// works reports whether a program can be run like this.
func works(t *testing.T, argv ...string) bool {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = t.TempDir(), clean("HOME="+t.TempDir())
	return cmd.Run() == nil
}

func script(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestS3cmdDoesTheSameThroughTheEdge(t *testing.T) {
	client(t, 35, []string{"S3CMD=" + need(t, "s3cmd")}, "/bin/bash", script(t, "s3cmd.sh"))
}

// Each of its hundred calls starts the whole program, which takes about a second of
// the processor: it is one of the long tests.
func TestTheAWSCommandLineDoesTheSameThroughTheEdge(t *testing.T) {
	if os.Getenv("POSTERN_LONG_TESTS") == "" {
		t.Log("not asked for with POSTERN_LONG_TESTS")
		return
	}
	client(t, 38, []string{"AWS=" + need(t, "aws")}, "/bin/bash", script(t, "aws.sh"))
}

func TestBoto3DoesTheSameThroughTheEdge(t *testing.T) {
	python := need(t, "python3")
	if !works(t, python, "-c", "import boto3") {
		t.Skip("no boto3; scripts/deps.sh compat installs it")
	}
	client(t, 65, nil, python, "-B", script(t, "boto.py"))
}
