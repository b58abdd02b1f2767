// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/test/compat"
)

// example runs one program of a language: a story (gateway, service or
// interface), what to do, and its arguments. It answers the output.
type example func(a *api, who compat.Account, story, what string, args ...string) string

// without drops the arguments of the steps that find what they are about by
// themselves.
func (run example) without() example {
	return func(a *api, who compat.Account, story, what string, args ...string) string {
		if what == "accept" || what == "wait" {
			args = nil
		}
		return run(a, who, story, what, args...)
	}
}

// play runs the three stories as the examples' README tells them.
func (run example) play(t *testing.T) {
	a := newAPI(t)
	find := func(out, pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("no %s in\n%s", pattern, out)
		}
		return m[len(m)-1]
	}
	find(run(a, a.consumer, "gateway", "up", "one-bucket"), `endpoint (vpce-[0-9a-f]{17})\b`)
	find(run(a, a.consumer, "gateway", "down"), `deleted vpc-`)

	name := find(run(a, a.provider, "service", "up", a.consumer.ID), `service (com\.amazonaws\.vpce\.us-east-1\.vpce-svc-[0-9a-f]{17})\b`)
	id := find(run(a, a.consumer, "interface", "up", name), `endpoint\s+(vpce-[0-9a-f]{17})\s+pendingAcceptance`)
	find(run(a, a.provider, "service", "accept", a.consumer.ID), `accepted `+id)
	out := run(a, a.consumer, "interface", "wait", name)
	for _, zone := range []string{"", "-us-east-1a", "-us-east-1b"} {
		find(out, `name\s+`+id+`-[a-z0-9]+`+zone+`\.vpce-svc-[0-9a-f]{17}\.us-east-1\.vpce\.amazonaws\.com`)
	}
	find(run(a, a.consumer, "interface", "down"), `deleted vpc-`)
	find(run(a, a.provider, "service", "down"), `deleted vpc-`)

	// Nothing is left that costs money at AWS.
	for _, who := range []compat.Account{a.consumer, a.provider} {
		c := ec2.New(ec2.Options{Region: region, HTTPClient: apitest.Client(), BaseEndpoint: &a.endpoint, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(who.AccessKey, who.Secret, "")})
		vpcs := got(c.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{Filters: filter("is-default", "false")})).or(t).Vpcs
		services := got(c.DescribeVpcEndpointServiceConfigurations(t.Context(), &ec2.DescribeVpcEndpointServiceConfigurationsInput{})).or(t).ServiceConfigurations
		for _, v := range vpcs {
			t.Errorf("left: %s", aws.ToString(v.VpcId))
		}
		for _, s := range services {
			t.Errorf("left: %s", aws.ToString(s.ServiceId))
		}
	}
}

func TestTheShellExamplesTellTheirStories(t *testing.T) {
	t.Parallel()
	// Version 1 where it is, since version 2 has the scenario.
	cli := cmp.Or(awsCLIs()["1"], awsCLIs()["2"])
	if cli == "" {
		t.Skip("no aws command line" + installHint)
	}
	t.Log(cli, ask(cli, "--version"))
	example(func(a *api, who compat.Account, story, what string, args ...string) string {
		env := a.as(who)
		env[0] = "PATH=" + filepath.Dir(cli) + ":" + strings.TrimPrefix(env[0], "PATH=")
		return a.run("../../../examples/shell", env, append([]string{"./" + story + ".sh", what}, args...)...)
	}).without().play(t)
}

func TestThePythonExamplesTellTheirStories(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3"
	if ask(python, "-c", "import boto3; print('here')") != "here" {
		t.Skip("no python3 with boto3" + installHint)
	}
	example(func(a *api, who compat.Account, story, what string, args ...string) string {
		return a.run("../../../examples/python", a.as(who, "PYTHONDONTWRITEBYTECODE=1"), append([]string{python, story + ".py", what}, args...)...)
	}).without().play(t)
}

func TestTheGoExamplesTellTheirStories(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "examples")
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Dir = "../../../examples/go"
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the examples: %v\n%s", err, out)
	}
	example(func(a *api, who compat.Account, story, what string, args ...string) string {
		return a.run(".", a.as(who), append([]string{bin, story, what}, args...)...)
	}).without().play(t)
}

// A playbook run again accepts, and says the endpoint's names.
func TestTheAnsibleExamplesTellTheirStories(t *testing.T) {
	t.Parallel()
	needAnsible(t)
	example(func(a *api, who compat.Account, story, what string, args ...string) string {
		argv := []string{ansiblePlaybook, "-i", "localhost,", story + ".yml", "-e", "ansible_python_interpreter=/usr/bin/python3"}
		if what == "down" {
			argv = append(argv, "-e", "state=absent")
		}
		variable := map[string]string{"gateway": "bucket", "service": "consumer", "interface": "service"}[story]
		for _, v := range args {
			argv = append(argv, "-e", variable+"="+v)
		}
		return a.run("../../../examples/ansible", a.as(who, "ANSIBLE_NOCOLOR=1"), argv...)
	}).play(t)
}

// Each story is told in each language.
func TestEveryLanguageHasTheThreeStories(t *testing.T) {
	for dir, ext := range map[string]string{"shell": "sh", "python": "py", "go": "go", "ansible": "yml", "terraform": "tf"} {
		for _, story := range []string{"gateway", "service", "interface"} {
			if _, err := os.Stat(filepath.Join("../../../examples", dir, story+"."+ext)); err != nil {
				t.Error(err)
			}
		}
	}
	b := got(os.ReadFile("../../../examples/README.md")).or(t)
	for _, dir := range []string{"shell", "python", "go", "ansible", "terraform"} {
		if !slices.Contains(strings.Fields(string(b)), "`"+dir+"/`") {
			t.Errorf("examples/README.md does not name %s/", dir)
		}
	}
}
