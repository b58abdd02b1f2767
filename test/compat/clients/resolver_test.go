// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"postern.dev/postern/internal/api/apitest"
)

// resolverChecks are what resolver.sh and resolver.py find out.
var resolverChecks = []string{
	"inbound", "interfaces", "address-in-use", "paging", "addresses", "tags", "outbound", "rules", "target-inside", "associations", "in-use", "foreign", "deleted",
}

func TestRoute53ResolverWithTheAWSCommandLine(t *testing.T) {
	t.Parallel()
	playShell(t, "./resolver.sh", resolverChecks)
}

func TestRoute53ResolverWithBoto3(t *testing.T) {
	t.Parallel()
	playPython(t, "resolver.py", resolverChecks)
}

// The module resolver: endpoints, rules and associations. What the provider makes
// it finds again without a difference, in the long tests also after a change and
// an import, and it takes all of it away.
func TestTerraformMakesResolverEndpointsAndRules(t *testing.T) {
	t.Parallel()
	tf := newTerraform(t, "resolver")
	with := func(what string, more ...string) []string {
		return append([]string{what, "-no-color", "-input=false", "-var", "endpoint=" + tf.endpoint}, more...)
	}
	tf.do(with("apply", "-auto-approve")...)
	tf.do(with("plan", "-detailed-exitcode")...) // exits with 2 if anything differs
	if os.Getenv("POSTERN_LONG_TESTS") != "" {
		other := []string{"-var", "target=192.0.2.54", "-var", "name=other", "-var", "third=true"}
		tf.do(with("apply", append(other, "-auto-approve")...)...)
		tf.do(with("plan", append(other, "-detailed-exitcode")...)...)
		for _, resource := range []string{"aws_route53_resolver_endpoint.inbound", "aws_route53_resolver_rule.corp", "aws_route53_resolver_rule_association.corp"} {
			id := tf.id(resource)
			tf.do("state", "rm", resource)
			tf.do(with("import", append(other, resource, id)...)...)
		}
		tf.do(with("plan", append(other, "-detailed-exitcode")...)...)
	}
	tf.do(with("destroy", "-auto-approve")...)
	c := ec2.New(ec2.Options{Region: region, HTTPClient: apitest.Client(), BaseEndpoint: &tf.endpoint, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(tf.consumer.AccessKey, tf.consumer.Secret, "")})
	for _, n := range got(c.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{})).or(t).NetworkInterfaces {
		t.Errorf("left: %s", *n.NetworkInterfaceId)
	}
}
