// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/route53"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/test/compat"
)

// The module zones: private hosted zones with associations in one account and
// another, records of every kind and aliases. What the provider makes it finds
// again without a difference, in the long tests also after a change and after an
// import, and it takes all of it away.
func TestTerraformMakesPrivateHostedZones(t *testing.T) {
	t.Parallel()
	tf := newTerraform(t, "zones")
	with := func(what string, more ...string) []string {
		return append([]string{what, "-no-color", "-input=false", "-var", "endpoint=" + tf.endpoint}, more...)
	}
	tf.do(with("apply", "-auto-approve")...)
	tf.do(with("plan", "-detailed-exitcode")...)
	if got := tf.do("output", "-no-color", "servers"); !strings.Contains(got, "ns-0.awsdns-00.com") {
		t.Errorf("the zone's name servers are %s", got)
	}
	tf.changesOne(with("plan", "-detailed-exitcode", "-var", "address=10.0.1.99")...)
	// The provider waits half a minute for every change that is not made in
	// parallel with others: the rest is for the long tests.
	if os.Getenv("POSTERN_LONG_TESTS") != "" {
		tf.changeAndImportZones(with)
	}
	tf.do(with("destroy", "-auto-approve")...)

	for _, who := range []compat.Account{tf.consumer, tf.provider} {
		c := route53.New(route53.Options{Region: region, HTTPClient: apitest.Client(), BaseEndpoint: &tf.endpoint, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(who.AccessKey, who.Secret, "")})
		for _, z := range got(c.ListHostedZones(t.Context(), &route53.ListHostedZonesInput{})).or(t).HostedZones {
			t.Errorf("left: %s", *z.Name)
		}
	}
}

func (tf *terraform) changeAndImportZones(with func(string, ...string) []string) {
	tf.t.Helper()
	tf.do(with("apply", "-auto-approve", "-var", "address=10.0.1.99")...)
	tf.do(with("plan", "-detailed-exitcode", "-var", "address=10.0.1.99")...)
	id := strings.Trim(strings.TrimSpace(tf.do("output", "-no-color", "zone")), `"`)
	for resource, known := range map[string]string{
		"aws_route53_zone.corp": id, "aws_route53_record.address": id + "_www.corp.example.com_A",
		"aws_route53_record.wildcard": id + "_*.apps.corp.example.com_A", "aws_route53_record.balancer": id + "_lb.corp.example.com_A",
	} {
		tf.do("state", "rm", resource)
		tf.do(with("import", "-var", "address=10.0.1.99", resource, known)...)
	}
	// An import leaves force_destroy behind, which is no attribute of the zone.
	tf.do(with("apply", "-auto-approve", "-var", "address=10.0.1.99")...)
	tf.do(with("plan", "-detailed-exitcode", "-var", "address=10.0.1.99")...)
}
