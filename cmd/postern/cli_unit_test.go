// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/vpc"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestShellReadsQuotedWordsBack(t *testing.T) {
	for _, want := range []string{"", "plain", "it's", `a "b" $c \d`, "two\nlines", "`id`", "*", "~", "-n", "ü"} {
		out, err := exec.Command("/bin/sh", "-c", "printf %s "+shellQuote(want)).Output()
		if err != nil || string(out) != want {
			t.Errorf("%q came back as %q (%v), written %s", want, out, err, shellQuote(want))
		}
	}
}

func TestTableAlignsAndDisarms(t *testing.T) {
	tab := newTable("NAME", "VALUE", "LAST")
	tab.row("ünï", "x", "1")
	tab.row("", "\x1b[2Jred\u202e", "a\xffb\n")
	var b bytes.Buffer
	if err := tab.write(&b); err != nil {
		t.Fatal(err)
	}
	tab.row("n", "short", "later")
	if err := tab.write(&b); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		`NAME  VALUE             LAST`,
		`ünï   x                 1`,
		`-     \x1b[2Jred\u202e  a\xffb\x0a`,
		`n     short             later`, "",
	}, "\n")
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("table (-want +got):\n%s", d)
	}
}

func TestWorkloadEnvLeadsThroughTheEndpoints(t *testing.T) {
	info := admin.Info{Region: "eu-west-1", WorkloadCA: "/d/workload-ca.pem"}
	base := []string{
		"PATH=/bin", "AWS_ENDPOINT_URL=http://x", "AWS_ENDPOINT_URL_S3=http://y", "AWS_REGION=us-west-2", "https_proxy=http://p",
		"NO_PROXY=*", "SSL_CERT_FILE=/etc/ssl/x", "AWS_ACCESS_KEY_ID=old", "AWS_SECRET_ACCESS_KEY=old", "AWS_SESSION_TOKEN=t", "AWS_PROFILE=prod",
	}
	has := func(env []string, kv string) bool { return slices.Contains(env, kv) }
	env := workloadEnv(base, info, nil)
	for _, kv := range []string{"PATH=/bin", "AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1", "SSL_CERT_FILE=/d/workload-ca.pem",
		"AWS_CA_BUNDLE=/d/workload-ca.pem", "AWS_ACCESS_KEY_ID=old", "AWS_SESSION_TOKEN=t", "AWS_PROFILE=prod"} {
		if !has(env, kv) {
			t.Errorf("%s is missing", kv)
		}
	}
	env = append(env, workloadEnv(base, info, &admin.AccessKey{ID: "new", Secret: "s"})...)
	names := map[string]int{}
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		names[name]++
		if strings.HasPrefix(name, "AWS_ENDPOINT_URL") || strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			t.Errorf("%s is still there", kv)
		}
	}
	if !has(env, "AWS_ACCESS_KEY_ID=new") || !has(env, "AWS_SECRET_ACCESS_KEY=s") {
		t.Error("the account's keys are missing")
	}
	for name, n := range map[string]int{"SSL_CERT_FILE": 2, "AWS_REGION": 2, "AWS_ACCESS_KEY_ID": 2, "AWS_SESSION_TOKEN": 1, "AWS_PROFILE": 1} {
		if names[name] != n {
			t.Errorf("%s is set %d times in two environments, want %d", name, names[name], n)
		}
	}
}

func TestOnlyNamespacesOfThisHostAreEntered(t *testing.T) {
	info := admin.Info{Datapath: "ebpf", Host: "here", DataDir: t.TempDir()}
	running := admin.Workload{Instance: "i-00000000000000001", Interface: "eni-1", State: vpc.InstanceRunning, Host: "here"}
	with := func(f func(*admin.Workload)) admin.Workload { w := running; f(&w); return w }
	external := func(e vpc.ExternalWorkload) admin.Workload {
		return admin.Workload{Interface: "eni-1", Host: "here", External: &e}
	}
	for name, x := range map[string]struct {
		w          admin.Workload
		path, fail string
	}{
		"instance": {w: running, path: "-i-00000000000000001"},
		"pending":  {w: with(func(w *admin.Workload) { w.State = vpc.InstancePending }), fail: "pending"},
		"away":     {w: with(func(w *admin.Workload) { w.Host = "there" }), fail: "there"},
		"nothing":  {w: admin.Workload{Interface: "eni-1"}, fail: "nothing is attached"},
		"netns":    {w: external(vpc.ExternalWorkload{Netns: "/run/netns/blue"}), path: "/run/netns/blue"},
		"process":  {w: external(vpc.ExternalWorkload{PID: 42}), path: "/proc/42/ns/net"},
		"device":   {w: external(vpc.ExternalWorkload{Ifname: "tap0"}), fail: "tap0"},
	} {
		got, err := workloadNamespace(info, x.w)
		if x.fail != "" && (err == nil || !strings.Contains(err.Error(), x.fail)) || x.fail == "" && (err != nil || !strings.HasSuffix(got, x.path)) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	info.Datapath = "none"
	if _, err := workloadNamespace(info, with(func(w *admin.Workload) { w.Host = "there" })); err == nil || !strings.Contains(err.Error(), "there") {
		t.Errorf("on another host than a server without a datapath: %v", err)
	}
	if _, err := workloadNamespace(info, running); err == nil {
		t.Error("entered an instance of a server without a datapath")
	}
}

func TestRunForwardsSignalsAndExitCodes(t *testing.T) {
	code := func(script string, send ...os.Signal) int {
		t.Helper()
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		ready, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		signals := make(chan os.Signal, 1)
		go func() {
			ready.Read(make([]byte, 1)) // the script says when its trap is set
			for _, s := range send {
				signals <- s
			}
		}()
		c, err := runForeground(cmd, signals)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := code("exit 7"); c != 7 {
		t.Errorf("exit 7 came out as %d", c)
	}
	if c := code("kill -KILL $$"); c != 128+9 {
		t.Errorf("a killed command came out as %d", c)
	}
	if c := code(`trap 'exit 9' TERM; echo; while :; do sleep 0.02; done`, syscall.SIGTERM); c != 9 {
		t.Errorf("a command that catches SIGTERM and exits 9 came out as %d", c)
	}
	if _, err := runForeground(exec.Command("/nonexistent"), nil); err == nil {
		t.Error("a command that cannot be started was no error")
	}
}

func TestOurFailuresAreNotTheCommands(t *testing.T) {
	for _, err := range []error{errors.New("x"), &exitError{exitNoServe, errors.New("no server")}, fmt.Errorf("y: %w", usageError("z"))} {
		var e *exitError
		if !errors.As(ours(err), &e) || e.code != exitOurs || e.err == nil {
			t.Errorf("%v became %v", err, ours(err))
		}
	}
	if ours(nil) != nil {
		t.Error("success became an error")
	}
}

// someNumbers name one interface, one endpoint and two VPCs.
func someNumbers() numbers {
	num := func(id string) string { return fmt.Sprint(vpc.Num(id)) }
	return newNumbers(admin.Names{
		Names: []admin.Name{
			{Num: num("eni-1"), ID: "eni-1", Kind: vpc.KindInterface, Name: "web", Instance: "i-1"},
			{Num: num("vpce-1"), ID: "vpce-1", Kind: vpc.KindEndpoint},
			{Num: num("pcx-1"), ID: "pcx-1", Kind: vpc.KindPeering},
		},
		Spaces: []admin.Space{{VNI: 0x2000, VPC: "vpc-1"}, {VNI: 0x3000, VPC: "vpc-2"}, {VNI: 0x4000, VPC: "vpc-1", Endpoint: "vpce-1"}},
	})
}

func TestDropsAreNamedAndFiltered(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	list := []datapath.Drop{
		{Interface: vpc.Num("eni-1"), Reason: datapath.ReasonOf(20), Packets: 3, Last: now.Add(-2 * time.Second), VNI: 0x2000, Protocol: vpc.TCP,
			Source: netip.MustParseAddrPort("10.0.0.4:1000"), Dest: netip.MustParseAddrPort("10.0.0.5:80")},
		{Interface: vpc.Num("eni-1"), Reason: datapath.ReasonOf(12), Packets: 1, Last: now.Add(-2 * time.Hour),
			Source: netip.MustParseAddrPort("10.0.0.4:0"), Dest: netip.MustParseAddrPort("10.0.0.9:0")},
		{Interface: datapath.ServiceInterface, Reason: datapath.ReasonOf(39), Packets: 1, Last: now, VNI: vpc.ServiceVNI, Protocol: vpc.ICMP,
			Source: netip.MustParseAddrPort("100.64.0.1:0"), Dest: netip.MustParseAddrPort("100.64.0.9:0")},
		{Interface: 77, Reason: datapath.ReasonOf(1), Packets: 1, Last: now, VNI: 0x9000, Protocol: vpc.UDP},
	}
	all := dropAnswers(list, someNumbers(), dropsInput{}, now)
	var b bytes.Buffer
	if err := dropTable(all[:3], now).write(&b); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"LAST    INTERFACE     NAME  REASON         PACKETS  LAST PACKET",
		"2s ago  eni-1         web   group-ingress  3        tcp 10.0.0.4:1000 > 10.0.0.5:80",
		"2h ago  eni-1         web   arp            1        arp 10.0.0.4 > 10.0.0.9",
		"now     service-port  -     no-probe       1        icmp 100.64.0.1 > 100.64.0.9", "",
	}, "\n")
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("table (-want +got):\n%s", d)
	}
	if u := all[3]; u.Interface != "#000000000000004d" || u.VPC != "vni-36864" {
		t.Errorf("what has no name shows as %q in %q", u.Interface, u.VPC)
	}
	for _, x := range []struct {
		in   dropsInput
		want int
	}{{dropsInput{iface: "eni-1"}, 2}, {dropsInput{iface: "i-1"}, 2}, {dropsInput{iface: "eni-2"}, 0}, {dropsInput{since: time.Minute}, 3}} {
		if got := dropAnswers(list, someNumbers(), x.in, now); len(got) != x.want {
			t.Errorf("%+v gives %d rows, want %d", x.in, len(got), x.want)
		}
	}
}

func TestSpacesHaveNames(t *testing.T) {
	for v, want := range map[vpc.VNI]string{
		0: "", vpc.ServiceVNI: "service", vpc.UplinkVNI: "uplink", 0x2000: "vpc-1", 0x4000: "vpc-1", 0x9000: "vni-36864",
		datapath.PeeringSpace(vpc.Num("pcx-1")): "pcx-1",
	} {
		if got := someNumbers().vpcOf(v); got != want {
			t.Errorf("space %d shows as %q, want %q", v, got, want)
		}
	}
}

func TestDropsSinceAreWhatWasAdded(t *testing.T) {
	drop := func(iface uint64, code uint32, packets uint64) datapath.Drop {
		return datapath.Drop{Interface: iface, Reason: datapath.ReasonOf(code), Packets: packets, Bytes: 100 * packets}
	}
	before := []datapath.Drop{drop(1, 1, 5), drop(1, 2, 5), drop(2, 1, 5), drop(3, 1, 5)}
	now := []datapath.Drop{drop(1, 1, 7), drop(1, 2, 5), drop(2, 1, 2), drop(4, 1, 1)}
	want := []datapath.Drop{drop(1, 1, 2), drop(2, 1, 2), drop(4, 1, 1)}
	if got := dropsSince(before, now); !slices.Equal(got, want) {
		t.Errorf("new drops %+v, want %+v", got, want)
	}
}

func TestFlowsAreOneRowEach(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	walk := func(yield func(datapath.Connection, error) bool) {
		for i := range 50 {
			at := start.Add(time.Duration(i*7%50) * time.Second)
			c := datapath.Connection{Kind: "plain", VNI: 0x3000, Protocol: vpc.TCP, LastSeen: at, Expires: at.Add(time.Minute), Bytes: [2]uint64{uint64(i), 0}}
			if !yield(c, nil) {
				return
			}
		}
		half := datapath.Connection{
			Kind: "consumer", VNI: 0x2000, PeerVNI: 0x3000, Protocol: vpc.TCP, LastSeen: start, Expires: start.Add(350 * time.Second), Replied: true,
			Interface: vpc.Num("eni-1"), Endpoint: vpc.Num("vpce-1"),
			Initiator: netip.MustParseAddrPort("10.0.0.4:1000"), Responder: netip.MustParseAddrPort("10.0.0.9:80"),
			PeerInitiator: netip.MustParseAddrPort("10.0.0.4:2000"), PeerResponder: netip.MustParseAddrPort("10.0.0.5:8080"),
			Packets: [2]uint64{3, 2}, Bytes: [2]uint64{300, 2000},
		}
		if !yield(half, nil) {
			return
		}
		half.Kind = "provider"
		yield(half, nil)
	}
	list, total, err := pickFlows(iter.Seq2[datapath.Connection, error](walk), someNumbers(), flowsInput{limit: 10}, start)
	if err != nil || total != 51 || len(list) != 10 {
		t.Fatalf("%d of %d, %v; want 10 of 51", len(list), total, err)
	}
	for i, c := range list {
		if want := start.Add(time.Duration(49-i) * time.Second); !c.LastSeen.Equal(want) {
			t.Errorf("row %d was last seen %v, want %v", i, c.LastSeen, want)
		}
	}
	list, _, err = pickFlows(walk, someNumbers(), flowsInput{limit: 3, top: 3}, start)
	if err != nil || len(list) != 3 || list[0].bytes() != 2300 || list[1].bytes() != 49 || list[2].bytes() != 48 {
		t.Errorf("the three largest: %+v, %v", list, err)
	}
	list, total, err = pickFlows(walk, someNumbers(), flowsInput{endpoint: "vpce-1"}, start)
	if err != nil || total != 1 {
		t.Fatalf("%d flows through the endpoint, %v; want the one, once", total, err)
	}
	want := flowAnswer{
		Translated: true, Protocol: "tcp", VPC: "vpc-1", Interface: "eni-1", Name: "web", Initiator: "10.0.0.4:1000", Responder: "10.0.0.9:80",
		Endpoint: "vpce-1", Peer: &peer{"vpc-2", "10.0.0.4:2000", "10.0.0.5:8080"}, State: "open", Created: time.Time{}, LastSeen: start,
		Expires: start.Add(350 * time.Second), Packets: [2]uint64{3, 2}, Bytes: [2]uint64{300, 2000},
	}
	if d := cmp.Diff(want, list[0]); d != "" {
		t.Errorf("flow (-want +got):\n%s", d)
	}
	var b bytes.Buffer
	now := start.Add(10 * time.Second)
	if err := flowTable(list, now).write(&b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Join([]string{
		"SEEN     LEFT   PROTO  STATE  VPC    FROM           NAME  TO           ENDPOINT  AS             TARGET         PACKETS  BYTES",
		"10s ago  5m40s  tcp    open   vpc-1  10.0.0.4:1000  web   10.0.0.9:80  vpce-1    10.0.0.4:2000  10.0.0.5:8080  3/2      300/2000", "",
	}, "\n"), b.String()); d != "" {
		t.Errorf("table (-want +got):\n%s", d)
	}
	for _, x := range []struct {
		in   flowsInput
		want int
	}{{flowsInput{iface: "i-1"}, 1}, {flowsInput{iface: "eni-2"}, 0}, {flowsInput{vpc: "vpc-2"}, 51}, {flowsInput{vpc: "vpc-1"}, 1}} {
		if _, total, _ := pickFlows(walk, someNumbers(), x.in, start); total != x.want {
			t.Errorf("%+v gives %d flows, want %d", x.in, total, x.want)
		}
	}
	if list, _, _ := pickFlows(walk, someNumbers(), flowsInput{endpoint: "vpce-1"}, start.Add(time.Hour)); list[0].State != "expired" {
		t.Errorf("after an hour the flow is %s", list[0].State)
	}
	broken := func(yield func(datapath.Connection, error) bool) {
		yield(datapath.Connection{}, errors.New("map gone"))
	}
	if _, _, err := pickFlows(broken, numbers{}, flowsInput{}, start); err == nil {
		t.Error("an error of the walk was swallowed")
	}
}

func TestTimeLeftIsShort(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 30500 * time.Millisecond: "30s", 350 * time.Second: "5m50s", 3725 * time.Second: "1h02m", 432000 * time.Second: "5d",
	} {
		if got := left(now, now.Add(d)); got != want {
			t.Errorf("%v shows as %s, want %s", d, got, want)
		}
	}
}

func TestDumpNamesFiltersAndStops(t *testing.T) {
	entries := func(yield func(datapath.Entry, error) bool) {
		for i := range 5 {
			e := datapath.Entry{Map: "interfaces",
				Key: datapath.Fields{{Name: "vni", Value: vpc.VNI(0x2000)}, {Name: "addr", Value: addr(fmt.Sprint("10.0.0.", i))}},
				Value: datapath.Fields{{Name: "eni", Value: datapath.Number(vpc.Num("eni-1"))}, {Name: "sg_in", Value: datapath.Number(0)},
					{Name: "kind", Value: "endpoint"}, {Name: "ports", Value: []any{uint64(80), uint64(443)}},
					{Name: "peer", Value: datapath.Fields{{Name: "vni", Value: vpc.VNI(0x3000)}, {Name: "addr", Value: addr("::")}}},
					{Name: "ends", Value: []any{addr("::"), addr("::")}}, {Name: "to_mac", Value: make(net.HardwareAddr, 6)}},
			}
			if !yield(e, nil) {
				return
			}
		}
		if !yield(datapath.Entry{Map: "eni_quota", Key: datapath.Number(vpc.Num("eni-2")), Value: datapath.Number(7)}, nil) {
			return
		}
		yield(datapath.Entry{}, errors.New("map gone"))
	}
	var out bytes.Buffer
	more, err := dumpMap(entries, someNumbers(), dumpInput{limit: 1, vpc: "vpc-2", iface: "i-1"}, false, &out)
	if want := "interfaces  vni=vpc-1 addr=10.0.0.0  =>  eni=eni-1 kind=endpoint ports=80,443 peer.vni=vpc-2\n"; err != nil || !more || out.String() != want {
		t.Errorf("dump says %q, more %v, %v; want %q", &out, more, err, want)
	}
	out.Reset()
	if more, err = dumpMap(entries, someNumbers(), dumpInput{limit: 1, iface: "eni-3"}, false, &out); err == nil || more || out.Len() > 0 {
		t.Errorf("an interface without entries: %q, more %v; the error of the walk: %v", &out, more, err)
	}
	out.Reset()
	dumpMap(entries, someNumbers(), dumpInput{}, true, &out)
	lines := strings.Split(out.String(), "\n")
	want := `{"map":"interfaces","key":{"addr":"10.0.0.4","vni":"vpc-1"},"value":{"ends":["::","::"],"eni":"eni-1","kind":"endpoint","peer":{"addr":"::","vni":"vpc-2"},"ports":[80,443],"sg_in":0,"to_mac":"00:00:00:00:00:00"}}`
	if len(lines) != 7 || lines[4] != want || lines[5] != fmt.Sprintf(`{"map":"eni_quota","key":"#%016x","value":7}`, vpc.Num("eni-2")) {
		t.Errorf("as JSON:\n%s", &out)
	}
}

func TestRequestLogIsFollowedThroughEverything(t *testing.T) {
	name := filepath.Join(t.TempDir(), "requests.jsonl")
	l := newRecordLog[edge.Record](name)
	defer l.close()
	read := func() (ids []string) {
		t.Helper()
		if err := l.read(func(r record[edge.Record]) { ids = append(ids, r.Value.RequestID) }); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return ids
	}
	write := func(s string) {
		t.Helper()
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	want("no file yet", read())
	write(`{"requestId":"a"}` + "\n" + `{"requestId":`)
	want("a line and a half", read(), "a")
	write(`"b"}` + "\n")
	want("the other half", read(), "b")
	write("not json\n" + `{"requestId":"` + strings.Repeat("x", 2*maxRecord) + "\"}\n" + `{"requestId":"c"}` + "\n")
	want("what is no record", read(), "c")
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	want("renamed", read())
	write(`{"requestId":"d"}` + "\n")
	want("written anew", read(), "d")
	// What came between the last look and the rename is not lost.
	write(`{"requestId":"d2"}` + "\n")
	if err := os.Rename(name, name+".2"); err != nil {
		t.Fatal(err)
	}
	write(`{"requestId":"d3"}` + "\n")
	want("rotated behind our back", read(), "d2", "d3")
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	want("emptied", read())
	write(`{"requestId":"e"}` + "\n")
	want("after that", read(), "e")
}

func TestWhyNamesTheStatement(t *testing.T) {
	for _, x := range []struct {
		r    edge.Record
		want string
	}{
		{edge.Record{Judgement: edge.Judgement{Decision: edge.DecisionAllow, Statement: 0}}, "statement 0"},
		{edge.Record{Judgement: edge.Judgement{Decision: edge.DecisionDeny, Statement: 2, Sid: "NoDeletes", Condition: "aws:SourceVpc"}}, "statement 2 (NoDeletes); aws:SourceVpc"},
		{edge.Record{Judgement: edge.Judgement{Decision: edge.DecisionDeny, Statement: -1, Reason: "no statement allows it"}}, "no statement allows it"},
		{edge.Record{Judgement: edge.Judgement{Decision: edge.DecisionInvalid, Reason: "bad URI"}, Error: "reset"}, "bad URI; reset"},
	} {
		if got := why(&x.r); got != x.want {
			t.Errorf("%+v: %q, want %q", x.r, got, x.want)
		}
	}
}
