// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/edge/tally"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

func TestMain(m *testing.M) {
	if a := os.Getenv(dialVariable); a != "" && len(os.Args) == 1 {
		os.Exit(dialForTest(a))
	}
	if os.Args[0] == "/proc/self/exe" { // a command that runs itself again
		main()
	}
	testscript.Main(m, map[string]func(){"postern": main})
}

// Each script talks to a server of its own, in this process, whose data
// directory is $DATA. Programs other than the usual ones are in $WORK/tools.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			t.Parallel()
			dir := serveAdmin(t)
			testscript.Run(t, testscript.Params{
				Files: []string{f},
				Setup: func(env *testscript.Env) error {
					bin, _, _ := strings.Cut(env.Getenv("PATH"), ":")
					env.Setenv("PATH", bin+":"+filepath.Join(env.WorkDir, "tools")+":/usr/bin:/bin")
					env.Setenv("DATA", dir)
					env.Setenv("POSTERN_DATA_DIR", dir)
					return nil
				},
				Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
					"count": func(ts *testscript.TestScript, neg bool, args []string) {
						if neg || len(args) != 1 {
							ts.Fatalf("usage: count RECORDS")
						}
						ts.Check(countRecords(ts.MkAbs(args[0]), paths{dir}.totals()))
					},
				},
				Condition: func(cond string) (bool, error) { return cond == "root" && os.Geteuid() == 0, nil },
			})
		})
	}
}

// countRecords counts what a record file tells of, as an edge does.
func countRecords(records, totals string) error {
	c := tally.New(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	log := newRecordLog[edge.Record](records)
	defer log.close()
	if err := log.read(func(r record[edge.Record]) { c.Count(r.Value.Tally()) }); err != nil {
		return err
	}
	f, err := os.OpenFile(totals, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var failed error
	tally.Keep(ctx, f, c, func(err error) { failed = err })
	return failed
}

// serveAdmin runs the operator's API on a fresh data directory, with known
// accounts, a host that is behind and a VPC with one of everything.
func serveAdmin(t *testing.T) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pc") // short, for the socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := paths{dir}
	if err := p.makeDirs(-1, -1); err != nil {
		t.Fatal(err)
	}
	c, _ := controltest.New(t)
	controltest.HandMade(c) // one of everything, without its parts
	const (
		owner   = vpc.AccountID("111111111111")
		network = vpc.VPCID("vpc-00000000000000001")
		subnet  = vpc.SubnetID("subnet-00000000000000001")
	)
	_, err = c.Store.Update(t.Context(), func(tx *store.Tx) error {
		tx.Put(&vpc.Account{ID: "999999999999", Name: "operator", Operator: true, Created: c.Now(),
			Keys: []vpc.AccessKey{{ID: "AKIAOPERATOR00000001", Secret: "it's the operator's"}}})
		tx.Put(&vpc.Account{ID: owner, Name: "consumer", Created: c.Now(),
			Keys: []vpc.AccessKey{{ID: "AKIACONSUMER00000001", Secret: "the-consumers-secret"}}})
		tx.Put(&vpc.User{ID: "AIDAANN", Owner: owner, Name: "ann", Path: "/", Created: c.Now(),
			Keys: []vpc.UserKey{{AccessKey: vpc.AccessKey{ID: "AKIAANN0000000000001", Secret: "a-secret-of-ann's"}}}})
		tx.Put(&vpc.User{ID: "AIDACARL", Owner: owner, Name: "carl", Path: "/", Created: c.Now(),
			Keys: []vpc.UserKey{{AccessKey: vpc.AccessKey{ID: "AKIACARL000000000001", Secret: "a-secret-of-carl's"}, Inactive: true}}})
		tx.Put(&vpc.Host{ID: "h1"})
		tx.Put(&vpc.VPC{ID: network, Owner: owner, VNI: 0x2000, CIDRs: []vpc.CIDRAssociation{{ID: "vpc-cidr-assoc-00000000000000001", CIDR: prefix("10.0.0.0/16")}}})
		tx.Put(&vpc.Subnet{ID: subnet, Owner: owner, VPC: network, CIDR: prefix("10.0.1.0/24"), Zone: "us-east-1a"})
		tx.Put(&vpc.NetworkInterface{ID: "eni-00000000000000001", Owner: owner, VPC: network, Subnet: subnet, Zone: "us-east-1a",
			Type: vpc.TypeInterface, Addr: addr("10.0.1.10"), MAC: "02:00:00:00:00:01"})
		tx.Put(&vpc.Instance{ID: "i-00000000000000001", Owner: owner, VPC: network, Subnet: subnet, State: vpc.InstanceShuttingDown, Host: "h1"})
		tx.Put(&vpc.CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", ID: "vpce-svc-00000000000000053", Protocol: "s3",
			Types: []vpc.EndpointType{vpc.GatewayEndpoint}, PrefixList: "pl-00000000000000053", Prefixes: []netip.Prefix{prefix("198.51.100.0/24")}, PolicySupported: true})
		tx.Put(&vpc.Endpoint{ID: "vpce-0000000000000cafe", Owner: owner, VPC: network, Type: vpc.GatewayEndpoint, ServiceName: "com.amazonaws.us-east-1.sns", State: vpc.EndpointAvailable})
		putNotifications(tx, owner, c.Now())
		tx.Put(&vpc.CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", Types: []vpc.EndpointType{vpc.GatewayEndpoint}, Protocol: "s3", PolicySupported: true})
		tx.Put(&vpc.Endpoint{ID: "vpce-00000000000000002", Owner: owner, VPC: network, Type: vpc.GatewayEndpoint, ServiceName: "com.amazonaws.us-east-1.s3", State: vpc.EndpointAvailable, DNSLabel: "vpce-00000000000000002-aaaaaaaa"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Hosts.Report(control.HostStatus{Host: "h1", Errors: map[string]string{"eni-00000000000000001": "no \x1b[31mdevice"}, Seen: c.Now()})
	l, err := net.Listen("unix", p.adminSocket())
	if err != nil {
		t.Fatal(err)
	}
	info := func() admin.Info {
		return admin.Info{Version: "1.2.3", Endpoint: "http://127.0.0.1:8420", Region: "us-east-1", Zones: []string{"us-east-1a"},
			DataDir: dir, Datapath: "ebpf", CA: p.ca(), WorkloadCA: p.workloadCA(), Host: "h1",
			HostsListen: "[::]:8421", Fingerprint: strings.Repeat("0f", 32)}
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: admin.Handler(admin.Config{Control: c, Info: info})}}
	s.Start()
	t.Cleanup(s.Close)
	return dir
}

// putNotifications writes two notifications: one whose topic is down, one whose
// topic refused.
func putNotifications(tx *store.Tx, owner vpc.AccountID, now time.Time) {
	const waits = vpc.NotificationID("vpce-nfn-00000000000000001")
	n := vpc.ConnectionNotification{
		ID: waits, Owner: owner, Service: "vpce-svc-00000000000000001", Topic: "arn:aws:sns:us-east-1:111111111111:events",
		Events: vpc.ConnectionEvents, State: vpc.NotificationEnabled, Closing: now, Lost: 7,
	}
	tx.Put(&n)
	for i := range 3 {
		w := &vpc.Notice{ID: fmt.Sprint("m-", i), Notification: waits, Owner: owner, Topic: n.Topic, Event: vpc.EventDelete, Endpoint: "vpce-00000000000000001", Sequence: int64(i + 4), Time: now}
		if i == 0 {
			w.Attempts, w.LastError, w.Next = 3, "answered 500 \x1b[31mred", now.Add(5*time.Minute)
		}
		tx.Put(w)
	}
	refused := n
	refused.ID, refused.State, refused.Reason, refused.Lost = "vpce-nfn-00000000000000002", vpc.NotificationDisabled, "NotFound: the topic does not exist", 0
	tx.Put(&refused)
}

// Every command that people type teaches what it does and how.
func TestHelpTeaches(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		if c.HasParent() {
			name := c.CommandPath()
			switch {
			case c.Short == "" || c.Short[0] < 'a' || c.Short[0] > 'z' || strings.HasSuffix(c.Short, "."):
				t.Errorf("%s: short help %q, want a phrase in lower case", name, c.Short)
			case len(c.Long) < 40:
				t.Errorf("%s: long help %q says too little", name, c.Long)
			case !strings.Contains(c.Example+c.Long, name+" ") && !strings.Contains(c.Example+c.Long, name+"\n") && !strings.HasSuffix(c.Example, name):
				t.Errorf("%s: no example of it in its help", name)
			}
			for _, line := range strings.Split(c.Long, "\n") {
				if len(line) > 88 && strings.Contains(c.Long, "\n\n") {
					t.Errorf("%s: help line of %d characters: %s", name, len(line), line)
				}
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}
