// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"slices"
	"strings"
	"testing"
)

// zoneChecks are what zones.sh and zones.py find out.
var zoneChecks = []string{"zone", "zone-refused", "records", "records-refused", "associations", "tags", "lists", "all-gone"}

// play runs a program, which has to find out all of the checks.
func play(t *testing.T, checks, argv []string, more ...string) {
	t.Helper()
	a := newAPI(t)
	if got := checked(a.run(".", a.environment(more...), argv...)); !slices.Equal(got, checks) {
		t.Errorf("checked %s, want %s", strings.Join(got, " "), strings.Join(checks, " "))
	}
}

func TestPrivateHostedZonesWithTheAWSCommandLine(t *testing.T) {
	t.Parallel()
	found := awsCLIs()
	aws, ok := found["2"]
	if !ok {
		aws, ok = found["1"]
	}
	if !ok {
		t.Skip("no aws command line" + installHint)
	}
	t.Log(aws, ask(aws, "--version"))
	play(t, zoneChecks, []string{"./zones.sh"}, "AWS="+aws)
}

func TestPrivateHostedZonesWithBoto3(t *testing.T) {
	t.Parallel()
	for _, python := range onPath("python3") {
		if version := ask(python, "-c", "import boto3; print(boto3.__version__)"); strings.Count(version, ".") == 2 && !strings.Contains(version, " ") {
			t.Log(python, version)
			play(t, zoneChecks, []string{python, "zones.py"})
			return
		}
	}
	t.Skip("no python3 with boto3" + installHint)
}
