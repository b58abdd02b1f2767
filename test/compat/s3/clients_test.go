// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"os"
	"testing"

	"postern.dev/postern/test/compat/through"
)

// client runs a script against Postern's S3 and through an edge, each time with a
// backend of its own. least is how many of its steps have to pass.
func client(t *testing.T, least int, env []string, argv ...string) {
	t.Helper()
	t.Parallel()
	play := func(edge bool) through.Result {
		address := posternS3(t)
		if edge {
			e := newEdge(t, address, "127.0.0.1", "s3."+domain, "*.s3."+domain)
			defer e.Explain(t)
			address = e.Address
		}
		return through.Steps(t, through.Client(t.TempDir(), append([]string{"S3=" + address, "S3_NAME=s3." + domain + ":" + through.Port(address)}, env...)...), argv...)
	}
	directly := play(false)
	through.Same(t, directly, play(true), nil)
	if n := len(directly.Passes()); n < least {
		t.Errorf("only %d steps passed directly, want %d", n, least)
	}
}

func TestS3cmdDoesTheSameThroughTheEdge(t *testing.T) {
	client(t, 35, []string{"S3CMD=" + through.Need(t, "s3cmd")}, "/bin/bash", through.Script(t, "s3cmd.sh"))
}

// Each of its hundred calls starts the whole program, which takes about a second of
// the processor: it is one of the long tests.
func TestTheAWSCommandLineDoesTheSameThroughTheEdge(t *testing.T) {
	if os.Getenv("POSTERN_LONG_TESTS") == "" {
		t.Log("not asked for with POSTERN_LONG_TESTS")
		return
	}
	client(t, 38, []string{"AWS=" + through.Need(t, "aws")}, "/bin/bash", through.Script(t, "aws.sh"))
}

func TestBoto3DoesTheSameThroughTheEdge(t *testing.T) {
	client(t, 65, nil, through.Boto3(t), "-B", through.Script(t, "boto.py"))
}
