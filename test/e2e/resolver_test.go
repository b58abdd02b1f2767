// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// flood sends so many questions for the resolver's own reverse name at once and
// prints how many answers came.
func flood(resolver, questions string) error {
	n, err := strconv.Atoi(questions)
	if err != nil {
		return err
	}
	c, err := net.Dial("udp", net.JoinHostPort(resolver, "53"))
	if err != nil {
		return err
	}
	defer c.Close()
	question := []byte("\xab\xcd\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x012\x010\x010\x0210\x07in-addr\x04arpa\x00\x00\x0c\x00\x01")
	got := make(chan int)
	go func() {
		buf, answers := make([]byte, 512), 0
		for {
			if _, err := c.Read(buf); err != nil {
				got <- answers
				return
			}
			answers++
		}
	}()
	for i := range n {
		if _, err := c.Write(question); err != nil {
			return err
		}
		if i%64 == 63 { // no more than the socket at the other end keeps
			time.Sleep(time.Millisecond)
		}
	}
	c.SetReadDeadline(time.Now().Add(time.Second))
	fmt.Println(<-got)
	return nil
}

// What an instance asks beyond its share is dropped, its neighbour is answered,
// and the operator sees whose it was, also after the edge has died.
func TestQuestionsBeyondTheRateAreDroppedAndShown(t *testing.T) {
	needRoot(t)
	const rate = 300 // a second, less than the usual 1024
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "dnsPacketsPerSecond: %d\n", rate), 0o644); err != nil {
		t.Fatal(err)
	}
	i := newInstall(t, "--config", file)
	n := i.network(i.account("consumer"))
	noisy, addr := n.instance()
	quiet, _ := n.instance()
	const sent = 4000
	begun := time.Now()
	out, err := i.exec(noisy, "flood", "10.0.0.2", strconv.Itoa(sent)).Output()
	answers, aerr := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || aerr != nil || answers < rate || float64(answers) > rate+rate*time.Since(begun).Seconds() {
		t.Fatalf("%d questions got %q answers: %v", sent, out, err)
	}
	out, err = i.exec(quiet, "flood", "10.0.0.2", "100").Output()
	if err != nil || strings.TrimSpace(string(out)) != "100" {
		t.Errorf("a neighbour's 100 questions got %q answers: %v", out, err)
	}
	shown := func() (packets int) {
		var list []struct {
			Instance, Reason, VPC, Source, Destination string
			Packets                                    int
		}
		if err := json.Unmarshal([]byte(i.must("drops", "--json")), &list); err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			if d.Reason == "resolver-rate" {
				if d.Instance != noisy || d.VPC == "" || !strings.HasPrefix(d.Source, addr+":") || d.Destination != "10.0.0.2:53" {
					t.Errorf("shown is %+v", d)
				}
				packets += d.Packets
			}
		}
		return packets
	}
	eventually(t, fmt.Sprintf("%d questions are shown as dropped", sent-answers), 5*time.Second, func() bool { return shown() == sent-answers })
	i.kill()
	i.start()
	if got := shown(); got != sent-answers {
		t.Errorf("after a restart %d are shown, before it were %d", got, sent-answers)
	}
	if _, err := i.exec(noisy, "flood", "10.0.0.2", strconv.Itoa(sent)).Output(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they are counted on", 5*time.Second, func() bool { return shown() > sent-answers })
}

// A question that the resolver has answered is answered by the datapath when it is
// asked again, by whoever is in the VPC; with the endpoint its name goes there too,
// and so it does with the resolver's process.
func TestAQuestionAskedAgainIsAnsweredByTheDatapath(t *testing.T) {
	needRoot(t)
	i, ctx := newInstall(t), context.Background()
	provider, consumer := i.network(i.account("provider")), i.network(i.account("consumer"))
	target := provider.launch(provider.subnet, provider.group)
	i.listening(i.exec(target.id, "answer", target.addr+":8080"))
	s := provider.service(target.id, 8080, false)
	client, other := consumer.launch(consumer.subnet, consumer.group), consumer.launch(consumer.subnet, consumer.group)
	endpoint, addr := consumer.endpoint(s)
	eventually(t, "the endpoint is available", 10*time.Second, func() bool { return consumer.state(endpoint) == "available" })
	d := got(consumer.acct.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{endpoint}})).or(t)
	name := *d.VpcEndpoints[0].DnsEntries[0].DnsName
	asks := func(m machine) (string, int) {
		t.Helper()
		out, _ := i.exec(m.id, "records", name, "A", "10.0.0.2").CombinedOutput() // which says what failed
		var counted struct{ Value int }
		dump := i.must("datapath", "dump", "--map", "dns_answered", "--json")
		if err := json.Unmarshal([]byte(dump), &counted); err != nil && dump != "" {
			t.Fatalf("%v: %s", err, dump)
		}
		return strings.TrimSpace(string(out)), counted.Value
	}
	want := "NOERROR | A " + addr
	said, before := asks(client)
	if said != want {
		t.Fatalf("%s has %q, want %q", name, said, want)
	}
	for n, m := range []machine{client, other} {
		if said, now := asks(m); said != want || now != before+1+n {
			t.Errorf("asked again, it is %q, and the datapath has answered %d, before it were %d", said, now, before)
		}
	}
	if err := syscall.Kill(children(t, i.cmd.Process.Pid)["edge"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	last := before + 2
	eventually(t, "another edge answers", 10*time.Second, func() bool { said, before = asks(client); return said == want && before == last })
	if said, now := asks(client); said != want || now != before+1 {
		t.Errorf("after the edge's death it is %q, and the datapath has answered %d, before it were %d", said, now, before)
	}
	got(consumer.acct.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{endpoint}})).or(t)
	eventually(t, "the name is gone", 10*time.Second, func() bool { said, _ := asks(client); return !strings.Contains(said, addr) })
}
