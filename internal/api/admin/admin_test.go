// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

const testHost vpc.HostID = "here"

// lab is a server with a VPC of the consumer's.
type lab struct {
	*admin.Client
	t      *testing.T
	c      *control.Control
	socket string
	vpc    vpc.VPCID
	subnet vpc.SubnetID
	audit  chan *audit.Record
}

func newLab(t *testing.T) *lab {
	t.Helper()
	c, _ := controltest.New(t)
	l := &lab{t: t, c: c, audit: make(chan *audit.Record, 1000)}
	dir, err := os.MkdirTemp("", "pa") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l.socket = filepath.Join(dir, "admin.sock")
	ln, err := net.Listen("unix", l.socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(admin.Handler(admin.Config{Control: c, Info: func() admin.Info {
		return admin.Info{Version: "test", Endpoint: "http://127.0.0.1:1", Region: "us-east-1", DataDir: dir, Datapath: "ebpf"}
	}, Audit: func(r *audit.Record) { l.audit <- r }}))
	s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return admin.WithPeer(ctx, "uid 7 pid 8") }
	s.Listener.Close()
	s.Listener = ln
	s.Start()
	t.Cleanup(s.Close)
	l.Client = admin.NewClient(l.socket)
	t.Cleanup(l.Client.Close)

	ctx := t.Context()
	if l.vpc, err = c.CreateVPC(ctx, controltest.Consumer, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")}); err != nil {
		t.Fatal(err)
	}
	l.subnet = "subnet-0123456789abcdef0"
	if _, err := c.Store.Update(ctx, func(tx *store.Tx) error {
		controltest.PutSubnet(tx, &vpc.Subnet{ID: l.subnet, Owner: controltest.Consumer.Account, VPC: l.vpc, CIDR: netip.MustParsePrefix("10.0.1.0/24"), Zone: "us-east-1a"})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) put(o vpc.Object) {
	l.t.Helper()
	if _, err := l.c.Store.Update(l.t.Context(), func(tx *store.Tx) error { tx.Put(o); return nil }); err != nil {
		l.t.Fatal(err)
	}
}

// withHost connects a host that applies everything at once, and runs the life
// cycle of instances.
func (l *lab) withHost() {
	l.c.LocalHost = testHost
	l.put(&vpc.Host{ID: testHost})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			snap, changed := l.c.Store.Changed()
			l.c.Hosts.Report(control.HostStatus{Host: testHost, Applied: snap.Revision(), Seen: l.c.Now()})
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		l.c.RunInstanceLifecycle(ctx)
	}()
	l.t.Cleanup(func() { cancel(); <-done; <-done })
}

func wantKind(t *testing.T, err error, want vpc.ErrorKind) {
	t.Helper()
	if got := control.KindOf(err); got != want {
		t.Errorf("error %v has kind %q, want %q", err, got, want)
	}
}

func TestInfoNamesTheHost(t *testing.T) {
	l := newLab(t)
	l.c.LocalHost = testHost
	i, err := l.Info(t.Context())
	if err != nil || i.Host != testHost || i.Version != "test" {
		t.Fatalf("info %+v, %v", i, err)
	}
}

func TestSecretsAreOnlyInTheAnswerForOneAccount(t *testing.T) {
	l := newLab(t)
	made, err := l.CreateAccount(t.Context(), admin.NewAccount{Name: "fresh"})
	if err != nil {
		t.Fatal(err)
	}
	if len(made.Keys) != 1 || made.Keys[0].Secret == "" {
		t.Fatalf("a new account came with keys %+v, want one with its secret", made.Keys)
	}
	one, err := l.Account(t.Context(), "fresh")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(made, one); d != "" {
		t.Errorf("account read back differs (-made +read):\n%s", d)
	}
	byID, err := l.Account(t.Context(), string(made.ID))
	if err != nil || byID.Name != "fresh" {
		t.Errorf("by id: %+v, %v", byID, err)
	}
	list, err := l.Accounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range list {
		names = append(names, a.Name)
		for _, k := range a.Keys {
			if k.Secret != "" {
				t.Errorf("the list shows the secret of %s", a.Name)
			}
		}
	}
	if d := cmp.Diff([]string{"consumer", "fresh", "provider", "stranger"}, names); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
}

func TestAccountsWithGivenKeys(t *testing.T) {
	l := newLab(t)
	_, err := l.CreateAccount(t.Context(), admin.NewAccount{Name: "half", AccessKey: "AKIAHALF000000000001"})
	wantKind(t, err, vpc.Combination)
	in := admin.NewAccount{Name: "own", AccessKey: "AKIAOWN0000000000001", SecretKey: "of-the-operators-choice"}
	a, err := l.CreateAccount(t.Context(), in)
	if err != nil || a.Keys[0] != (admin.AccessKey{ID: in.AccessKey, Secret: in.SecretKey}) {
		t.Fatalf("made %+v, %v", a, err)
	}
	_, err = l.CreateAccount(t.Context(), in)
	wantKind(t, err, vpc.Duplicate)
	for _, name := range []string{"", ".", "..", "none", "a/b", "%2e"} {
		_, err := l.Account(t.Context(), name)
		wantKind(t, err, vpc.NotFound)
	}
}

func TestDomains(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	if err := l.VerifyDomain(ctx, admin.Domain{Account: "provider", Domain: "Example.COM."}); err != nil {
		t.Fatal(err)
	}
	list, err := l.Domains(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]admin.Domain{{Account: "provider", Domain: "example.com"}}, list); d != "" {
		t.Errorf("domains (-want +got):\n%s", d)
	}
	wantKind(t, l.VerifyDomain(ctx, admin.Domain{Account: "nobody", Domain: "example.com"}), vpc.NotFound)
	wantKind(t, l.VerifyDomain(ctx, admin.Domain{Domain: "example.com"}), vpc.Missing)
	wantKind(t, l.UnverifyDomain(ctx, admin.Domain{Account: "consumer", Domain: "example.com"}), vpc.NotFound)
	if err := l.UnverifyDomain(ctx, admin.Domain{Account: "provider", Domain: "example.com"}); err != nil {
		t.Fatal(err)
	}
	if list, err = l.Domains(ctx); err != nil || len(list) != 0 {
		t.Errorf("after taking it back: %v, %v", list, err)
	}
}

func TestRunAnswersARunningInstanceOfTheSubnetsOwner(t *testing.T) {
	l := newLab(t)
	l.withHost()
	w, err := l.Run(t.Context(), admin.NewRun{Subnet: l.subnet, Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	want := admin.Workload{
		Instance: w.Instance, State: vpc.InstanceRunning, Name: "web", Owner: controltest.Consumer.Account, Account: "consumer",
		Interface: w.Interface, Addr: netip.MustParseAddr("10.0.1.4"), VPC: l.vpc, Subnet: l.subnet, Zone: "us-east-1a",
		Host: testHost, Servers: []netip.Addr{netip.MustParseAddr("10.0.0.2")}, Search: []string{"ec2.internal"},
	}
	addrs := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if d := cmp.Diff(want, w, addrs); d != "" {
		t.Errorf("workload (-want +got):\n%s", d)
	}
	for _, id := range []string{string(w.Instance), string(w.Interface)} {
		got, err := l.Workload(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, addrs); d != "" {
			t.Errorf("workload %s (-want +got):\n%s", id, d)
		}
	}
	if err := l.Terminate(t.Context(), w.Instance); err != nil {
		t.Fatal(err)
	}
	l.await(w.Instance, vpc.InstanceTerminated)
	// What is left is what the instance remembers.
	got, err := l.Workload(t.Context(), string(w.Instance))
	if err != nil || got.State != vpc.InstanceTerminated || got.Addr != want.Addr || got.Account != "consumer" {
		t.Errorf("after its end: %+v, %v", got, err)
	}
	wantKind(t, l.Terminate(t.Context(), "i-00000000000000000"), vpc.NotFound)
}

func (l *lab) await(id vpc.InstanceID, want vpc.InstanceState) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Second)
	defer cancel()
	for {
		snap, changed := l.c.Store.Changed()
		if i, ok := vpc.Get[vpc.Instance](snap, id); ok && i.State == want {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			l.t.Fatalf("instance %s did not become %s", id, want)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	l := newLab(t)
	_, err := l.Run(t.Context(), admin.NewRun{Subnet: l.subnet})
	wantKind(t, err, vpc.Unsupported) // no datapath
	l.withHost()
	_, err = l.Run(t.Context(), admin.NewRun{Subnet: "subnet-00000000000000000"})
	wantKind(t, err, vpc.NotFound)
	_, err = l.Run(t.Context(), admin.NewRun{Subnet: l.subnet, Account: "provider"})
	wantKind(t, err, vpc.NotFound)
	_, err = l.Run(t.Context(), admin.NewRun{Subnet: l.subnet, Groups: []vpc.GroupID{"sg-00000000000000000"}})
	wantKind(t, err, vpc.NotFound)
	_, err = l.Run(t.Context(), admin.NewRun{Subnet: l.subnet, Name: strings.Repeat("n", 300)})
	wantKind(t, err, vpc.Invalid)
	for i := range vpc.All[vpc.Instance](l.c.View()) {
		t.Errorf("instance %s was made all the same", i.ID)
	}
}

// Whoever asked and went away never learns the id: the instance must not stay.
func TestRunLeavesNothingWhenItsCallerGoes(t *testing.T) {
	l := newLab(t)
	l.c.LocalHost = testHost // never reports, so the instance stays pending
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := l.Run(ctx, admin.NewRun{Subnet: l.subnet})
		failed <- err
	}()
	id := l.awaitAny()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the caller's own cancellation", err)
	}
	l.await(id, vpc.InstanceShuttingDown)
}

func (l *lab) awaitAny() vpc.InstanceID {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Second)
	defer cancel()
	for {
		snap, changed := l.c.Store.Changed()
		for i := range vpc.All[vpc.Instance](snap) {
			return i.ID
		}
		select {
		case <-changed:
		case <-ctx.Done():
			l.t.Fatal("no instance was made")
		}
	}
}

func TestAttachAndDetach(t *testing.T) {
	l := newLab(t)
	const eni = vpc.InterfaceID("eni-0123456789abcdef0")
	l.put(&vpc.NetworkInterface{
		ID: eni, Owner: controltest.Consumer.Account, VPC: l.vpc, Subnet: l.subnet, Zone: "us-east-1a", Type: vpc.TypeInterface,
		Addr: netip.MustParseAddr("10.0.1.50"), MAC: "02:00:00:00:00:01",
	})
	ns := vpc.ExternalWorkload{Netns: "/run/netns/blue"}
	wantKind(t, l.Attach(t.Context(), admin.Attachment{Interface: eni, Workload: ns}), vpc.Unsupported)
	l.withHost()
	if err := l.Attach(t.Context(), admin.Attachment{Interface: eni, Workload: ns}); err != nil {
		t.Fatal(err)
	}
	w, err := l.Workload(t.Context(), string(eni))
	if err != nil || w.External == nil || *w.External != ns || w.Host != testHost || w.Instance != "" {
		t.Errorf("attached: %+v, %v", w, err)
	}
	wantKind(t, l.Attach(t.Context(), admin.Attachment{Interface: eni, Workload: ns}), vpc.InUse)
	if err := l.Detach(t.Context(), eni); err != nil {
		t.Fatal(err)
	}
	if w, err = l.Workload(t.Context(), string(eni)); err != nil || w.External != nil || w.Host != "" {
		t.Errorf("detached: %+v, %v", w, err)
	}
	wantKind(t, l.Detach(t.Context(), eni), vpc.NotFound)
}

func TestWorkloadOfAnUnknownOrImpossibleId(t *testing.T) {
	l := newLab(t)
	for id, want := range map[string]vpc.ErrorKind{
		"i-00000000000000000": vpc.NotFound, "eni-00000000000000000": vpc.NotFound,
		"": vpc.Malformed, "..": vpc.Malformed, "vpc-00000000000000000": vpc.Malformed, "i-1/../x": vpc.Malformed,
	} {
		_, err := l.Workload(t.Context(), id)
		if control.KindOf(err) != want {
			t.Errorf("%q: %v, want %s", id, err, want)
		}
	}
}

func TestStatusTellsOfEveryHost(t *testing.T) {
	l := newLab(t)
	controltest.HandMade(l.c) // an instance of nobody's
	l.put(&vpc.Host{ID: "away", Zone: "us-east-1b"})
	l.put(&vpc.Host{ID: testHost, Underlay: netip.MustParseAddr("192.0.2.1")})
	l.put(&vpc.Instance{ID: "i-00000000000000001", State: vpc.InstanceTerminated, Subnet: l.subnet})
	seen := l.c.Now()
	l.c.Hosts.Report(control.HostStatus{Host: testHost, Applied: 2, Errors: map[string]string{"eni-1": "no device"}, Seen: seen})
	s, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []admin.Host{
		{ID: "away", Zone: "us-east-1b"},
		{ID: testHost, Underlay: netip.MustParseAddr("192.0.2.1"), Live: true, Applied: 2, Errors: map[string]string{"eni-1": "no device"}, Seen: seen},
	}
	if d := cmp.Diff(want, s.Hosts, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Errorf("hosts (-want +got):\n%s", d)
	}
	if s.Revision != l.c.View().Revision() {
		t.Errorf("revision %d, want %d", s.Revision, l.c.View().Revision())
	}
	for k, n := range map[vpc.Kind]int{vpc.KindAccount: 3, vpc.KindVPC: 1, vpc.KindSubnet: 1, vpc.KindInstance: 0} {
		if s.Objects[k] != n {
			t.Errorf("%d objects of kind %s, want %d", s.Objects[k], k, n)
		}
	}
}

func TestNamesTranslateTheDatapathsNumbers(t *testing.T) {
	l := newLab(t)
	controltest.HandMade(l.c) // an endpoint without interfaces
	l.withHost()
	w, err := l.Run(t.Context(), admin.NewRun{Subnet: l.subnet, Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	l.put(&vpc.Endpoint{
		ID: "vpce-0123456789abcdef0", Owner: controltest.Consumer.Account, VPC: l.vpc, Type: vpc.InterfaceEndpoint,
		ServiceName: "com.amazonaws.us-east-1.s3", State: vpc.EndpointAvailable, Link: 0x5000, Tags: vpc.Tags{"Name": "to-s3"},
	})
	n, err := l.Names(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[uint64]admin.Name{}
	for _, x := range n.Names {
		num, err := strconv.ParseUint(x.Num, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		found[num] = x
	}
	if x := found[vpc.Num(w.Interface)]; x.ID != string(w.Interface) || x.Name != "web" || x.Instance != w.Instance || x.Addr != w.Addr {
		t.Errorf("interface: %+v", x)
	}
	if x := found[vpc.Num("vpce-0123456789abcdef0")]; x.Name != "to-s3" || x.Kind != vpc.KindEndpoint || x.VPC != l.vpc {
		t.Errorf("endpoint: %+v", x)
	}
	if x := found[vpc.Num(l.subnet)]; x.ID != string(l.subnet) || x.Kind != vpc.KindSubnet || x.VPC != l.vpc {
		t.Errorf("subnet: %+v", x)
	}
	for r := range vpc.All[vpc.RouteTable](l.c.View()) {
		if x := found[vpc.Num(r.ID)]; x.ID != string(r.ID) || x.Kind != vpc.KindRouteTable || x.VPC != r.VPC {
			t.Errorf("route table: %+v", x)
		}
	}
	for b := range vpc.All[vpc.LoadBalancer](l.c.View()) {
		for _, n := range b.Nodes {
			if x := found[vpc.Num(desired.NodeName(b.ARN, n.Zone))]; x.Kind != vpc.KindBalancer || x.Name != b.Name || x.VPC != b.VPC {
				t.Errorf("node of a load balancer: %+v", x)
			}
		}
	}
	p, _ := vpc.Get[vpc.VPC](l.c.View(), l.vpc)
	want := []admin.Space{{VNI: 0x5000, VPC: l.vpc, Endpoint: "vpce-0123456789abcdef0"}, {VNI: p.VNI, VPC: l.vpc}}
	if d := cmp.Diff(want, n.Spaces); d != "" {
		t.Errorf("spaces (-want +got):\n%s", d)
	}
}

func TestRequestsThatAreNotUnderstood(t *testing.T) {
	l := newLab(t)
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", l.socket)
	}}}
	defer c.CloseIdleConnections()
	for _, x := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/", "", 404},
		{"GET", "/v2/info", "", 404},
		{"PUT", "/v1/accounts", "{}", 404},
		{"POST", "/v1/accounts", "", 400},
		{"POST", "/v1/accounts", `{"name":"x","nmae":"y"}`, 400},
		{"POST", "/v1/accounts", `{"name":"x"}{"name":"y"}`, 400},
		{"POST", "/v1/accounts", `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, 400},
		{"POST", "/v1/run", `[]`, 400},
	} {
		t.Run(fmt.Sprintf("%s %s %.30s", x.method, x.path, x.body), func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), x.method, "http://postern"+x.path, strings.NewReader(x.body))
			if err != nil {
				t.Fatal(err)
			}
			res, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != x.want || !strings.Contains(string(b), `"error":"`) || !strings.Contains(string(b), `"kind":"`) {
				t.Errorf("%d %.200s, want %d and an error with its kind", res.StatusCode, b, x.want)
			}
		})
	}
	n := 0
	for range vpc.All[vpc.Account](l.c.View()) {
		n++
	}
	if n != 3 {
		t.Errorf("%d accounts, want the 3 there were", n)
	}
}

func TestClientSaysWhyNoServerCouldBeAsked(t *testing.T) {
	dir := t.TempDir()
	missing := admin.NewClient(filepath.Join(dir, "none.sock"))
	if _, err := missing.Info(t.Context()); !errors.Is(err, admin.ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	dead := filepath.Join(dir, "dead.sock")
	ln, err := net.Listen("unix", dead)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	if _, err := admin.NewClient(dead).Info(t.Context()); !errors.Is(err, admin.ErrNotRunning) {
		t.Errorf("socket of a dead server: %v", err)
	}
	if os.Geteuid() == 0 {
		return // root may open every socket
	}
	l := newLab(t)
	if err := os.Chmod(l.socket, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.NewClient(l.socket).Info(t.Context()); !errors.Is(err, admin.ErrNotAllowed) {
		t.Errorf("socket of another user: %v", err)
	}
}

// What waits is counted whole and listed up to a bound.
func TestNotificationsShowWhatWaits(t *testing.T) {
	l := newLab(t)
	if list, err := l.Notifications(t.Context()); err != nil || list == nil || len(list) != 0 {
		t.Fatalf("%v, %v: want an empty list", list, err)
	}
	controltest.HandMade(l.c) // notices of an endpoint that never was
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l.put(&vpc.ConnectionNotification{
		ID: "vpce-nfn-1", Owner: controltest.Provider.Account, Service: "vpce-svc-1", Topic: "arn:aws:sns:us-east-1:222222222222:one",
		Events: vpc.ConnectionEvents, State: vpc.NotificationEnabled, Lost: 2, Closing: at,
	})
	for i := range 101 {
		l.put(&vpc.Notice{
			ID: fmt.Sprint(i), Notification: "vpce-nfn-1", Owner: controltest.Provider.Account, Event: vpc.EventReject, Endpoint: "vpce-1",
			Sequence: int64(i + 1), Time: at, Attempts: 3, LastError: "answered 500", Next: at.Add(time.Minute), Claimant: "somebody",
		})
	}
	list, err := l.Notifications(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	n := list[0]
	if n.Waiting != 101 || len(n.Notices) != 100 || n.Account != "provider" || !n.Closing || n.Lost != 2 {
		t.Errorf("%d waiting, %d listed, of %s, closing %v, lost %d", n.Waiting, len(n.Notices), n.Account, n.Closing, n.Lost)
	}
	want := admin.Notice{
		MessageID: "0", Event: vpc.EventReject, Endpoint: "vpce-1", Sequence: 1, Time: at,
		Attempts: 3, LastError: "answered 500", Next: at.Add(time.Minute), UnderWay: true,
	}
	if d := cmp.Diff(want, n.Notices[0]); d != "" {
		t.Error(d)
	}
}

func TestHostsAreAddedAndRemoved(t *testing.T) {
	l := newLab(t)
	l.withHost()
	ctx := t.Context()
	underlay := netip.MustParseAddr("192.0.2.2")
	j, err := l.AddHost(ctx, admin.NewHost{ID: "h2", Zone: "us-east-1a", Underlay: underlay})
	if err != nil {
		t.Fatal(err)
	}
	if j.Host != "h2" || j.Secret == "" || !j.Before.Equal(l.c.Now().Add(control.JoinTime)) {
		t.Errorf("joining %+v", j)
	}
	again, err := l.NewHostToken(ctx, "h2")
	if err != nil || again.Secret == j.Secret {
		t.Errorf("again: %+v, %v", again, err)
	}
	if _, err := l.c.JoinHost(ctx, "h2", j.Secret, []byte("key")); err == nil {
		t.Error("the secret that was replaced is good")
	}
	if _, err := l.c.JoinHost(ctx, "h2", again.Secret, []byte("key")); err != nil {
		t.Error(err)
	}
	eni, err := l.c.CreateInterface(ctx, controltest.Consumer, control.CreateInterfaceInput{Subnet: l.subnet})
	if err != nil {
		t.Fatal(err)
	}
	blue := vpc.ExternalWorkload{Netns: "/run/netns/blue"}
	wantKind(t, l.Attach(ctx, admin.Attachment{Interface: eni, Host: "h9", Workload: blue}), vpc.NotFound)
	if err := l.Attach(ctx, admin.Attachment{Interface: eni, Host: "h2", Workload: blue}); err != nil {
		t.Fatal(err)
	}
	if w, err := l.Workload(ctx, string(eni)); err != nil || w.Host != "h2" {
		t.Errorf("attached to %+v, %v", w, err)
	}
	list, err := l.Hosts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := []admin.Host{{ID: "h2", Zone: "us-east-1a", Underlay: underlay, Joined: true, Interfaces: 1}, {ID: testHost, Local: true, Joined: true, Live: true}}
	ignore := cmpopts.IgnoreFields(admin.Host{}, "Applied", "Seen")
	if d := cmp.Diff(want, list, ignore, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Errorf("hosts (-want +got):\n%s", d)
	}
	// What is run by the command is on this machine, whatever other host is in the zone.
	if w, err := l.Run(ctx, admin.NewRun{Subnet: l.subnet}); err != nil || w.Host != testHost {
		t.Errorf("ran on %+v, %v", w, err)
	}
	wantKind(t, l.RemoveHost(ctx, "h2", false), vpc.InUse)
	wantKind(t, l.RemoveHost(ctx, "../accounts", false), vpc.NotFound)
	_, err = l.NewHostToken(ctx, "..")
	wantKind(t, err, vpc.NotFound)
	if err := l.RemoveHost(ctx, "h2", true); err != nil {
		t.Error(err)
	}
	if list, err := l.Hosts(ctx); err != nil || len(list) != 1 {
		t.Errorf("left %+v, %v", list, err)
	}
}

func TestCandidatePolicies(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	const id = vpc.EndpointID("vpce-0123456789abcdef0")
	const service = "com.amazonaws.us-east-1.s3"
	l.put(&vpc.CatalogueService{Name: "s3", ServiceName: service, Protocol: "s3", PolicySupported: true, Types: []vpc.EndpointType{vpc.GatewayEndpoint}})
	l.put(&vpc.Endpoint{ID: id, Owner: controltest.Consumer.Account, VPC: l.vpc, Type: vpc.GatewayEndpoint, ServiceName: service, State: vpc.EndpointAvailable, Named: true, DNSLabel: string(id) + "-aaaaaaaa"})

	_, err := l.Candidate(ctx, id)
	wantKind(t, err, vpc.NotFound)
	// As long as a policy may be, of characters that JSON writes with more.
	doc := `{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::a<b/*"}}`
	doc += strings.Repeat("\n", 20_480-len(doc))
	set, err := l.SetCandidate(ctx, id, doc)
	if err != nil || set.Policy != doc || set.Endpoint != id || set.Owner != controltest.Consumer.Account || set.Set.IsZero() {
		t.Fatalf("set %+v, %v", set, err)
	}
	if got, err := l.Candidate(ctx, id); err != nil || got.Policy != doc || !got.Set.Equal(set.Set) {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = l.SetCandidate(ctx, id, `{"Statement":[{"Sid":"S","Effect":"Allow","Principal":"*","Action":"s3","Resource":"*"}]}`)
	wantKind(t, err, vpc.BadPolicy)
	if err == nil || !strings.Contains(err.Error(), `Statement[0] (Sid "S"): Action`) {
		t.Errorf("%v names no place", err)
	}
	for _, bad := range []vpc.EndpointID{"", ".", "..", "vpce-0", "a/b"} {
		_, err := l.SetCandidate(ctx, bad, doc)
		wantKind(t, err, vpc.NotFound)
		_, err = l.Candidate(ctx, bad)
		wantKind(t, err, vpc.NotFound)
		wantKind(t, l.RemoveCandidate(ctx, bad), vpc.NotFound)
	}
	if err := l.RemoveCandidate(ctx, id); err != nil {
		t.Fatal(err)
	}
	wantKind(t, l.RemoveCandidate(ctx, id), vpc.NotFound)
	_, err = l.Candidate(ctx, id)
	wantKind(t, err, vpc.NotFound)
}
