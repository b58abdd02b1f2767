// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/test/compat"
)

// terraformMirror is a directory with the AWS provider as Terraform's
// filesystem mirrors have it, "" if there is none. It is looked for before the
// environment is cleared. scripts/test.sh looks in the same places and leaves
// the test out where there is none: no package manager has the provider.
var terraformMirror = func() string {
	for _, pattern := range []string{
		os.Getenv("POSTERN_TERRAFORM_MIRROR"), os.Getenv("HOME") + "/.terraform.d/plugins",
		"/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins", "/opt/*",
	} {
		found, _ := filepath.Glob(pattern + "/registry.terraform.io/hashicorp/aws")
		if len(found) > 0 {
			return filepath.Dir(filepath.Dir(filepath.Dir(found[0])))
		}
	}
	return ""
}()

// terraform is a directory with a module, and what to run terraform in it with.
type terraform struct {
	*api
	program, dir string
	env          []string
}

// newTerraform copies a module to where terraform works on it. Not
// AWS_ENDPOINT_URL: the module's own endpoints are what is tried.
func newTerraform(t *testing.T, module string) *terraform {
	t.Helper()
	program, err := exec.LookPath("terraform")
	for _, p := range []string{"/usr/local/bin/terraform", "/usr/bin/terraform"} {
		if _, e := os.Stat(p); err != nil && e == nil {
			program, err = p, nil
		}
	}
	if err != nil || terraformMirror == "" {
		t.Skip("no terraform with its AWS provider: set POSTERN_TERRAFORM_MIRROR to a filesystem mirror that has it")
	}
	a := newAPI(t)
	dir := t.TempDir()
	files, err := filepath.Glob(module + "/*.tf")
	if err != nil || len(files) == 0 {
		t.Fatalf("the module is not there: %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rc := filepath.Join(dir, "terraformrc")
	if err := os.WriteFile(rc, []byte("provider_installation {\n  filesystem_mirror {\n    path = \""+terraformMirror+"\"\n  }\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tf := &terraform{a, program, dir, clean("HOME="+a.home, "TF_CLI_CONFIG_FILE="+rc, "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1", "AWS_EC2_METADATA_DISABLED=true")}
	tf.do("init", "-no-color", "-input=false")
	t.Log(strings.TrimSpace(tf.do("version")))
	return tf
}

// do runs terraform, which has to succeed, and answers what it printed.
func (tf *terraform) do(argv ...string) string {
	tf.t.Helper()
	return tf.run(tf.dir, tf.env, append([]string{tf.program}, argv...)...)
}

// id is that of a resource which terraform has made.
func (tf *terraform) id(resource string) string {
	tf.t.Helper()
	_, id, _ := strings.Cut(tf.do("state", "show", "-no-color", resource), "\n    id ")
	_, id, _ = strings.Cut(id, `"`)
	id, _, _ = strings.Cut(id, `"`)
	return id
}

// changesOne wants a plan to change one resource and nothing else.
func (tf *terraform) changesOne(argv ...string) {
	tf.t.Helper()
	cmd := exec.CommandContext(tf.t.Context(), tf.program, argv...)
	cmd.Dir, cmd.Env = tf.dir, tf.env
	var exit *exec.ExitError
	if out, err := cmd.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "0 to add, 1 to change, 0 to destroy") {
		tf.t.Errorf("%s should change one resource: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

// The module in examples/terraform with the provider itself: what it makes, it
// finds again without a difference, also after a change and after an import,
// and it takes all of it away.
func TestTheTerraformExampleIsAppliedPlannedChangedAndDestroyed(t *testing.T) {
	t.Parallel()
	a := newTerraform(t, "../../../examples/terraform")
	with := func(what, bucket string, more ...string) []string {
		return append([]string{what, "-no-color", "-input=false", "-var", "endpoint=" + a.endpoint, "-var", "bucket=" + bucket}, more...)
	}
	run := func(argv []string) string { return a.do(argv...) }

	run(with("apply", "one-bucket", "-auto-approve"))
	run(with("plan", "one-bucket", "-detailed-exitcode")) // exits with 2 if anything differs
	// A plan that would change something does not exit with 0: the test can fail.
	a.changesOne(with("plan", "another-bucket", "-detailed-exitcode")...)
	run(with("apply", "another-bucket", "-auto-approve"))
	run(with("plan", "another-bucket", "-detailed-exitcode"))
	// An import knows the id alone.
	id := a.id("aws_vpc.consumer")
	run([]string{"state", "rm", "aws_vpc.consumer"})
	run(append(with("import", "another-bucket"), "aws_vpc.consumer", id))
	run(with("plan", "another-bucket", "-detailed-exitcode"))
	run(with("destroy", "another-bucket", "-auto-approve"))

	for _, who := range []compat.Account{a.consumer, a.provider} {
		c := ec2.New(ec2.Options{Region: region, HTTPClient: apitest.Client(), BaseEndpoint: &a.endpoint, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(who.AccessKey, who.Secret, "")})
		for _, v := range got(c.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})).or(t).Vpcs {
			t.Errorf("left: %s", *v.VpcId)
		}
		for _, e := range got(c.DescribeVpcEndpoints(t.Context(), &ec2.DescribeVpcEndpointsInput{})).or(t).VpcEndpoints {
			t.Errorf("left: %s", *e.VpcEndpointId)
		}
	}
}
