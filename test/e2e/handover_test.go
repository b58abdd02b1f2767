// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/miekg/dns"
)

// What a client that goes on asking does: a request over a new connection, one over
// a connection that is kept, and a question, each this often, and how many may wait.
const (
	askEvery   = 40 * time.Millisecond
	askWaiting = 512
)

// asked is what came of it all.
type asked struct {
	Requests, Questions int
	Again               int           // how often a question was asked again
	Slowest             time.Duration // of the requests
	Failed              []string
}

// keepAsking asks a gateway endpoint's service, and a resolver for names that a domain
// does not have, again and again until its input ends, and prints what came of it. It
// says so once some of both have been answered. A question is asked three times in all, as a workload's library does.
func keepAsking(url, addr, server, domain string) error {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp4", addr)
	}
	once := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	kept := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 2}}
	var numbers, again atomic.Int64
	request := func(c *http.Client) error {
		r, err := c.Get(url)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err == nil && r.StatusCode != 200 {
			err = fmt.Errorf("%s: %s", r.Status, b)
		}
		return err
	}
	question := func() error {
		// A name of its own each time: the datapath has no answer to it from before.
		name := fmt.Sprintf("nobody-%d.%s.", numbers.Add(1), domain)
		var errs []error
		for range 3 {
			r, _, err := (&dns.Client{Timeout: 5 * time.Second}).Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), net.JoinHostPort(server, "53"))
			if err == nil && r.Rcode != dns.RcodeNameError {
				err = errors.New(dns.RcodeToString[r.Rcode])
			}
			if err == nil {
				return nil
			}
			again.Add(1)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	var mu sync.Mutex
	var out asked
	some := sync.OnceFunc(func() { fmt.Println("asking") })
	var wg sync.WaitGroup
	waiting := make(chan struct{}, askWaiting)
	do := func(what string, count *int, f func() error) {
		select {
		case waiting <- struct{}{}:
		default:
			return
		}
		wg.Go(func() {
			defer func() { <-waiting }()
			began := time.Now()
			err := f()
			mu.Lock()
			defer mu.Unlock()
			*count++
			if count == &out.Requests {
				out.Slowest = max(out.Slowest, time.Since(began))
			}
			if out.Requests >= 10 && out.Questions >= 5 {
				some()
			}
			if err != nil && len(out.Failed) < 20 {
				out.Failed = append(out.Failed, fmt.Sprintf("%s, begun at %s, after %v: %v", what, began.UTC().Format("15:04:05.000"), time.Since(began), err))
			}
		})
	}
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for going := true; going; {
		select {
		case <-tick.C:
		case <-ended:
			going = false
		}
		do("a request", &out.Requests, func() error { return request(once) })
		do("a request over a kept connection", &out.Requests, func() error { return request(kept) })
		do("a question", &out.Questions, question)
	}
	wg.Wait()
	out.Again = int(again.Load())
	b, err := json.Marshal(out)
	fmt.Println(string(b))
	return err
}

// upload sends a body of many bytes, the last of them only when its input ends, and
// prints the answer's status.
func upload(url, addr string) error {
	c, err := net.DialTimeout("tcp4", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	body, end := io.Pipe()
	r, err := http.NewRequest("PUT", url, body)
	if err != nil {
		return err
	}
	r.ContentLength = int64(len(chunk)) + 1
	go func() {
		end.Write(chunk)
		fmt.Println("sending")
		io.Copy(io.Discard, os.Stdin)
		end.Write([]byte{1})
	}()
	client := &http.Client{Transport: over(c)}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	return nil
}

// over makes requests of one connection.
func over(c net.Conn) *http.Transport {
	return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
}

// late connects within a time, says so, and makes a request of the connection when
// its input ends.
func late(url, addr, within string) error {
	d, err := time.ParseDuration(within)
	if err != nil {
		return err
	}
	c, err := net.DialTimeout("tcp4", addr, d)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println("connected")
	io.Copy(io.Discard, os.Stdin)
	client := &http.Client{Timeout: 20 * time.Second, Transport: over(c)}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	return nil
}

// gated is an installation with a workload that reaches a service through a gateway
// endpoint.
type gated struct {
	*install
	client machine
}

// The service's URL, name and address, a domain that has no names, and the VPC's
// resolver.
const (
	gatedURL      = "http://s3.us-east-1.amazonaws.com/bucket/key"
	gatedAddr     = "203.0.113.10:80"
	gatedName     = "s3.us-east-1.amazonaws.com"
	gatedDomain   = "example"
	gatedResolver = "10.0.0.2"
)

func newGated(t *testing.T) *gated {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err == nil {
			fmt.Fprintln(w, n)
		}
	}))
	t.Cleanup(backend.Close)
	file := filepath.Join(t.TempDir(), "config.yaml")
	conf := fmt.Sprintf("services: [{name: s3, types: [Gateway], protocol: s3, prefixes: [203.0.113.0/24], addresses: [203.0.113.10], publicNames: [%s], backend: '%s'}]\n", gatedName, backend.URL)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	questions, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	names := &dns.Server{PacketConn: questions, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeNameError))
	})}
	go names.ActivateAndServe()
	t.Cleanup(func() { questions.Close() })
	g := &gated{install: newInstall(t, "--config", file, "--dns-upstream", questions.LocalAddr().String())}
	n := g.network(g.account("owner"))
	g.client = n.launch(n.subnet, n.group)
	got(n.acct.ec2.CreateVpcEndpoint(context.Background(), &ec2.CreateVpcEndpointInput{VpcId: &n.vpc, ServiceName: aws.String("com.amazonaws.us-east-1.s3"), RouteTableIds: []string{n.table("")}})).or(t)
	eventually(t, "the endpoint leads to the service", 15*time.Second, func() bool {
		out, err := g.exec(g.client.id, "get", gatedURL, "tcp4", gatedAddr).CombinedOutput()
		return err == nil && strings.HasPrefix(string(out), "200 ")
	})
	return g
}

// endingPeer is one that says something, and says how it went once its input has ended.
type endingPeer struct {
	t   *testing.T
	in  io.Closer
	out *bufio.Scanner
}

// starts starts one and wants its first words.
func (g *gated) starts(first, mode string, args ...string) *endingPeer {
	g.t.Helper()
	cmd := g.exec(g.client.id, mode, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	g.background(cmd)
	p := &endingPeer{g.t, in, bufio.NewScanner(out)}
	if !p.out.Scan() || p.out.Text() != first {
		g.t.Fatalf("%s says %q, want %q", mode, p.out.Text(), first)
	}
	return p
}

func (p *endingPeer) ends() string {
	p.t.Helper()
	p.in.Close()
	p.out.Scan()
	return p.out.Text()
}

// keepsAsking asks all the time during f, and wants everything to be answered.
func (g *gated) keepsAsking(what string, f func()) {
	g.t.Helper()
	p := g.starts("asking", "keep-asking", gatedURL, gatedAddr, gatedResolver, gatedDomain)
	f()
	said := p.ends()
	var a asked
	if err := json.Unmarshal([]byte(said), &a); err != nil {
		g.t.Fatalf("%s: the client says %q: %v", what, said, err)
	}
	if len(a.Failed) > 0 || a.Requests < 20 || a.Questions < 10 {
		g.t.Errorf("%s: of %d requests and %d questions these failed: %s", what, a.Requests, a.Questions, strings.Join(a.Failed, "\n"))
	}
	g.t.Logf("%s: %d requests, of which the slowest took %v, and %d questions, asked again %d times", what, a.Requests, a.Slowest, a.Questions, a.Again)
}

func (g *gated) child(name string) int {
	g.t.Helper()
	pid := 0
	eventually(g.t, "there is a child "+name, 10*time.Second, func() bool {
		pid = children(g.t, g.cmd.Process.Pid)[name]
		return pid != 0
	})
	return pid
}

// replaced waits until there is another child of the name, that answers.
func (g *gated) replaced(name string, old int) {
	g.t.Helper()
	eventually(g.t, name+" is started again", 20*time.Second, func() bool {
		now := children(g.t, g.cmd.Process.Pid)[name]
		return now != 0 && now != old
	})
	g.answers()
}

// ended is how many edges have begun to end, by what they say.
func (g *gated) ended() int {
	return strings.Count(g.log.String(), "the edge takes no more requests")
}

// ending waits until another one does.
func (g *gated) ending(before int) {
	g.t.Helper()
	eventually(g.t, "an edge ends", 10*time.Second, func() bool { return g.ended() > before })
}

func (g *gated) answers() {
	g.t.Helper()
	out, err := g.exec(g.client.id, "get", gatedURL, "tcp4", gatedAddr).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "200 ") {
		g.t.Errorf("a request after it: %v: %s", err, out)
	}
}

// An upgrade refuses nobody and breaks nothing: neither that of a whole
// installation, nor the end of its agent, however it comes about.
func TestAnUpgradeRefusesNobody(t *testing.T) {
	needRoot(t)
	g := newGated(t)
	for _, c := range []struct {
		name string
		sig  syscall.Signal
	}{{"the agent is killed", syscall.SIGKILL}, {"the agent is ended", syscall.SIGTERM}} {
		g.keepsAsking(c.name, func() {
			agent, edge := g.child("agent"), g.child("edge")
			long, before := g.starts("sending", "upload", gatedURL, gatedAddr), g.ended()
			if err := syscall.Kill(agent, c.sig); err != nil {
				t.Fatal(err)
			}
			if c.sig == syscall.SIGKILL {
				g.replaced("edge", edge) // which does not wait for the request to end
			} else {
				g.ending(before) // and goes on with the request
			}
			if got := long.ends(); got != "200" {
				t.Errorf("%s while a request is under way, which ends with %q", c.name, got)
			}
			g.replaced("edge", edge)
			g.replaced("agent", agent)
		})
	}
	g.keepsAsking("the installation is upgraded", func() {
		long, before := g.starts("sending", "upload", gatedURL, gatedAddr), g.ended()
		stopped := make(chan struct{})
		go func() {
			g.stop()
			close(stopped)
		}()
		g.ending(before) // and goes on with the request
		if got := long.ends(); got != "200" {
			t.Errorf("the installation is stopped while a request is under way, which ends with %q", got)
		}
		<-stopped
		// Longer than a client waits before it tries again: this is not waited for, it
		// is what the test is about.
		time.Sleep(2 * time.Second)
		g.start()
		g.answers()
	})
}

// The agent keeps the edge's sockets: with the edge gone a connection is made at
// once, and the next edge answers it.
func TestConnectionsAreMadeWhileThereIsNoEdge(t *testing.T) {
	needRoot(t)
	g := newGated(t)
	agent, edge := g.child("agent"), g.child("edge")
	if err := syscall.Kill(agent, syscall.SIGSTOP); err != nil { // so that it starts no other
		t.Fatal(err)
	}
	resume := func() { syscall.Kill(agent, syscall.SIGCONT) }
	t.Cleanup(resume)
	if err := syscall.Kill(edge, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the edge has ended", 5*time.Second, func() bool {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(edge) + "/stat")
		return err != nil || strings.Contains(string(b), ") Z ")
	})
	// Sooner than a client whose first packet is not answered tries again.
	p := g.starts("connected", "late", gatedURL, gatedAddr, "700ms")
	resume()
	if got := p.ends(); got != "200" {
		t.Errorf("the next edge answers with %q", got)
	}
}
