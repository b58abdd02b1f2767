// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"cmp"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern.dev/postern/test/compat"
)

// installHint is what to do when a client is missing.
const installHint = "; scripts/deps.sh compat installs it"

// ask runs a program for its version or path, "" if it cannot be run.
func ask(argv ...string) string {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = clean("HOME=" + os.TempDir())
	out, _ := cmd.CombinedOutput()
	return strings.TrimSpace(string(out))
}

// onPath are programs of this name: the distribution's, and the user's own if
// it is another. A version manager puts stand-ins on the PATH that need its
// environment; the program behind is asked for.
func onPath(name string) []string {
	found := []string{"/usr/bin/" + name}
	if p, err := exec.Command("pyenv", "which", name).Output(); err == nil {
		found = append(found, strings.TrimSpace(string(p)))
	} else if p, err := exec.LookPath(name); err == nil {
		found = append(found, p)
	}
	if name == "aws" {
		found = append(found, "/opt/postern-awscli/bin/aws", "/usr/local/bin/aws")
		if p := os.Getenv("POSTERN_AWS"); p != "" {
			found = append([]string{p}, found...)
		}
	}
	return found
}

var awsVersion = regexp.MustCompile(`^aws-cli/((\d+)\.\S+)`)

// awsCLIs are the first aws command line of each major version. Asking one for
// its version takes as long as a call.
var awsCLIs = sync.OnceValue(func() map[string]string {
	found := map[string]string{}
	for _, p := range onPath("aws") {
		if m := awsVersion.FindStringSubmatch(ask(p, "--version")); m != nil && found[m[2]] == "" {
			found[m[2]] = p
		}
	}
	return found
})

func TestTheAWSCommandLineVersion2(t *testing.T) {
	t.Parallel()
	aws, ok := awsCLIs()["2"]
	if !ok {
		t.Skip("no aws command line of version 2" + installHint)
	}
	shellScenario(t, aws)
}

// Version 1 is no package of Debian 12 and not installed for the test: where it
// happens to be, it runs the shell examples always, and the scenario, whose
// hundred calls take a minute, with the long tests.
func TestTheAWSCommandLineVersion1(t *testing.T) {
	t.Parallel()
	aws, ok := awsCLIs()["1"]
	if !ok || os.Getenv("POSTERN_LONG_TESTS") == "" {
		t.Log("not here, or not asked for with POSTERN_LONG_TESTS: nothing to test")
		return
	}
	shellScenario(t, aws)
}

func shellScenario(t *testing.T, aws string) {
	t.Log(aws, ask(aws, "--version"))
	a := newAPI(t)
	compare(t, checked(a.run(".", a.environment("AWS="+aws), "./scenario.sh")))
}

// playShell runs a script with the aws command line; it has to find out all of
// the checks.
func playShell(t *testing.T, script string, checks []string) {
	t.Helper()
	aws := cmp.Or(awsCLIs()["2"], awsCLIs()["1"])
	if aws == "" {
		t.Skip("no aws command line" + installHint)
	}
	t.Log(aws, ask(aws, "--version"))
	play(t, checks, []string{script}, "AWS="+aws)
}

// playPython runs a program with the first boto3 there is; it has to find out
// all of the checks.
func playPython(t *testing.T, program string, checks []string) {
	t.Helper()
	for _, python := range onPath("python3") {
		if version := boto3(python); version != "" {
			t.Log(python, version)
			play(t, checks, []string{python, "-B", program})
			return
		}
	}
	t.Skip("no python3 with boto3" + installHint)
}

func play(t *testing.T, checks, argv []string, more ...string) {
	t.Helper()
	a := newAPI(t)
	if got := checked(a.run(".", a.environment(more...), argv...)); !slices.Equal(got, checks) {
		t.Errorf("checked %s, want %s", strings.Join(got, " "), strings.Join(checks, " "))
	}
}

var boto3Version = regexp.MustCompile(`^\d+\.\d+\.\d+$`)

// boto3 is the version of it that a python3 has, "" if it has none.
func boto3(python string) string {
	if version := ask(python, "-c", "import boto3; print(boto3.__version__)"); boto3Version.MatchString(version) {
		return version
	}
	return ""
}

func TestBoto3(t *testing.T) {
	t.Parallel()
	versions := map[string]bool{}
	for _, python := range onPath("python3") {
		version := boto3(python)
		if version == "" || versions[version] {
			continue
		}
		versions[version] = true
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			compare(t, checked(a.run(".", a.environment(), python, "-B", "scenario.py")))
		})
	}
	if len(versions) == 0 {
		t.Skip("no python3 with boto3" + installHint)
	}
}

func TestTheJavaScriptSDK(t *testing.T) {
	t.Parallel()
	dir := compat.NPM(t, "clients", "package.json", "package-lock.json", "scenario.mjs", ".npmrc")
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	t.Log("node", ask(node, "--version"))
	a := newAPI(t)
	compare(t, checked(a.run(dir, a.environment(), node, "scenario.mjs")))
}

// The machines that the lock file was made on are nobody's business.
func TestTheLockFileNamesNoHost(t *testing.T) {
	b, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(strings.Fields(string(b)), `"resolved":`) {
		t.Error("package-lock.json has \"resolved\" entries: npm install --omit-lockfile-registry-resolved")
	}
}
