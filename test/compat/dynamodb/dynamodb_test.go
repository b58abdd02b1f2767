// SPDX-License-Identifier: Apache-2.0

// Package dynamodb runs boto3 against dynalite, an emulator of DynamoDB from npm that we
// did not write, and against the edge in front of it, as the entry of examples/services
// has it.
package dynamodb

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/catalogue"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/yamlfile"
	"postern.dev/postern/test/compat"
	"postern.dev/postern/test/compat/through"
)

// name is where clients find DynamoDB.
const name = "dynamodb." + through.Region + ".amazonaws.com"

// emulator runs dynalite and says where: host:port.
func emulator(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node; scripts/deps.sh compat installs it")
	}
	dir := compat.NPM(t, "dynamodb", "package.json", "package-lock.json", "server.mjs", ".npmrc")
	port, err := bufio.NewReader(through.Start(t, dir, node, "server.mjs")).ReadString('\n')
	if err != nil {
		t.Fatalf("dynalite did not say its port: %q, %v", port, err)
	}
	return "127.0.0.1:" + strings.TrimSpace(port)
}

// shipped is the service of examples/services/dynamodb.yaml, with the backend at
// another port.
func shipped(t *testing.T, backend string) desired.Service {
	t.Helper()
	const file = "../../../examples/services/dynamodb.yaml"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Services []catalogue.Entry `json:"services"`
	}
	if _, err := yamlfile.Decode(file, b, &f); err != nil {
		t.Fatal(err)
	}
	f.Services[0].Backend = "http://" + backend
	made, err := catalogue.Check(f.Services, catalogue.Place{Region: through.Region, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	s := made[0]
	if !slices.Equal(s.Names(), []string{name}) {
		t.Fatalf("%s has the names %q", file, s.Names())
	}
	return desired.Service{Name: s.Name, ServiceName: s.ServiceName, Protocol: s.Protocol, PublicNames: s.Names(), Backends: s.Backends}
}

// play runs a script with boto3 against what listens at an address.
func play(t *testing.T, script, address string) through.Result {
	t.Helper()
	return through.Steps(t, through.Client(t.TempDir(), "DYNAMODB=http://"+name+":"+through.Port(address), "ACCOUNT="+through.Account),
		through.Boto3(t), "-B", through.Script(t, script))
}

func TestBoto3DoesTheSameThroughTheEdge(t *testing.T) {
	directly := play(t, "boto.py", emulator(t))
	e := through.NewEdge(t, shipped(t, emulator(t)), "", through.KeyID)
	through.Same(t, directly, play(t, "boto.py", e.Address), nil)
	e.Explain(t)
	if n := len(directly.Passes()); n < 22 {
		t.Errorf("only %d steps passed directly", n)
	}
}

// A policy lets everybody read and write their own rows of one table: the rows whose
// partition key is their name.
func TestAPolicyMayNameTheRowsOfATable(t *testing.T) {
	const policy = `{"Version":"2012-10-17","Statement":[
		{"Sid":"Tables","Effect":"Allow","Principal":"*","Action":["dynamodb:CreateTable","dynamodb:DescribeTable","dynamodb:ListTables","dynamodb:DeleteTable"],"Resource":"*"},
		{"Sid":"Rows","Effect":"Allow","Principal":"*","Action":["dynamodb:*Item","dynamodb:*Items","dynamodb:Query","dynamodb:Scan"],
		 "Resource":["arn:aws:dynamodb:us-east-1:` + through.Account + `:table/orders","arn:aws:dynamodb:us-east-1:` + through.Account + `:table/orders/index/*"],
		 "Condition":{"ForAllValues:StringEquals":{"dynamodb:LeadingKeys":["ann","Ulm"]},"Null":{"dynamodb:LeadingKeys":"false"}}},
		{"Sid":"Keep","Effect":"Deny","Principal":"*","Action":"dynamodb:DeleteTable","Resource":"*"}]}`
	e := through.NewEdge(t, shipped(t, emulator(t)), policy, through.KeyID)
	r := play(t, "policy.py", e.Address)
	e.Explain(t)
	if n := len(r.Passes()); n != len(r) || n < 15 {
		t.Errorf("%d of %d steps passed", n, len(r))
	}
	// A denial is on record with what it was for and what would have been right.
	records := e.Records()
	i := slices.IndexFunc(records, func(r edge.Record) bool { return r.Action == "dynamodb:GetItem" && r.Decision == edge.DecisionDeny })
	if i < 0 {
		t.Fatal("there is no record of a denied GetItem")
	}
	got := records[i]
	if got.Resource != "arn:aws:dynamodb:us-east-1:"+through.Account+":table/orders" || got.Explicit || got.Sid != "Rows" || got.Status != 400 || len(got.Failed) != 1 {
		t.Fatalf("the record of a denial: %+v", got)
	}
	if f := got.Failed[0]; f.Operator != "ForAllValues:StringEquals" || f.Key != "dynamodb:LeadingKeys" || !slices.Equal(f.Want, []string{"ann", "Ulm"}) || !slices.Equal(f.Have, []string{"ben"}) {
		t.Errorf("the condition that failed: %+v", f)
	}
	i = slices.IndexFunc(records, func(r edge.Record) bool { return r.Action == "dynamodb:DeleteTable" })
	if i < 0 || !records[i].Explicit || records[i].Sid != "Keep" {
		t.Errorf("the record of DeleteTable: %+v", records[max(i, 0)])
	}
}
