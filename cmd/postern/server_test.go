// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/miekg/dns"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/hostsync"
	"postern.dev/postern/internal/vpc"
)

// zoneOnLoopback serves TXT records, name to text.
func zoneOnLoopback(t *testing.T) (addr string, publish func(name, text string)) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	records := map[string]string{}
	srv := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		name := strings.ToLower(q.Question[0].Name) // which may come in any case
		mu.Lock()
		text, ok := records[name]
		mu.Unlock()
		if ok && q.Question[0].Qtype == dns.TypeTXT {
			m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1}, Txt: []string{text}}}
		} else {
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})}
	var wg sync.WaitGroup
	started := make(chan struct{})
	srv.NotifyStartedFunc = func() { close(started) }
	wg.Go(func() { srv.ActivateAndServe() })
	<-started
	t.Cleanup(func() { srv.Shutdown(); wg.Wait() })
	return pc.LocalAddr().String(), func(name, text string) {
		mu.Lock()
		defer mu.Unlock()
		records[dns.Fqdn(name)] = text
	}
}

// serveAPI runs a whole server without a datapath and answers the SDK's
// configuration for the operator's account.
func serveAPI(t *testing.T, change func(*Config)) (region string, endpoint *string, keys aws.CredentialsProvider, client *http.Client) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ps") // short, for the sockets' names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg := defaultConfig()
	cfg.DataDir, cfg.Datapath, cfg.Listen = dir, "none", "127.0.0.1:0"
	change(&cfg)
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	p := paths{cfg.DataDir}
	if err := p.makeDirs(-1, -1); err != nil {
		t.Fatal(err)
	}
	var l listeners
	if l.api, err = net.Listen("tcp", cfg.Listen); err != nil {
		t.Fatal(err)
	}
	if l.admin, err = net.Listen("unix", p.adminSocket()); err != nil {
		t.Fatal(err)
	}
	if cfg.HostsListen != "" {
		if l.hosts, err = net.Listen("tcp", cfg.HostsListen); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	ready := make(chan struct{})
	wg.Go(func() {
		if err := runServer(ctx, cfg, l, slog.New(slog.DiscardHandler), sync.OnceFunc(func() { close(ready) })); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	select {
	case <-ready:
	case <-time.After(30 * time.Second):
		t.Fatal("the server is not ready after 30 s")
	}
	k, err := operatorKey(nil, p.operator())
	if err != nil {
		t.Fatal(err)
	}
	// Without a proxy, whatever the environment says.
	c := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(c.CloseIdleConnections)
	return cfg.Region, aws.String("http://" + l.api.Addr().String()), credentials.NewStaticCredentialsProvider(k.ID, k.Secret, ""), c
}

func TestServerFindsTheRecordOfAPrivateName(t *testing.T) {
	t.Parallel()
	upstream, publish := zoneOnLoopback(t)
	region, endpoint, keys, client := serveAPI(t, func(c *Config) { c.DNSUpstreams = []string{upstream} })
	ctx := t.Context()
	c := ec2.New(ec2.Options{Region: region, BaseEndpoint: endpoint, Credentials: keys, HTTPClient: client})
	e := elb.New(elb.Options{Region: region, BaseEndpoint: endpoint, Credentials: keys, HTTPClient: client})
	v, err := c.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: v.Vpc.VpcId, CidrBlock: aws.String("10.0.1.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	lb, err := e.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String("web"), Type: elbtypes.LoadBalancerTypeEnumNetwork,
		Scheme: elbtypes.LoadBalancerSchemeEnumInternal, Subnets: []string{*s.Subnet.SubnetId}})
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.CreateVpcEndpointServiceConfiguration(ctx, &ec2.CreateVpcEndpointServiceConfigurationInput{
		NetworkLoadBalancerArns: []string{*lb.LoadBalancers[0].LoadBalancerArn}, PrivateDnsName: aws.String("api.example.com"),
	})
	if err != nil {
		t.Fatal(err)
	}
	id, name := made.ServiceConfiguration.ServiceId, made.ServiceConfiguration.PrivateDnsNameConfiguration
	verify := func(want types.DnsNameState) {
		t.Helper()
		if _, err := c.StartVpcEndpointServicePrivateDnsVerification(ctx, &ec2.StartVpcEndpointServicePrivateDnsVerificationInput{ServiceId: id}); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(20 * time.Second)
		for {
			out, err := c.DescribeVpcEndpointServiceConfigurations(ctx, &ec2.DescribeVpcEndpointServiceConfigurationsInput{ServiceIds: []string{*id}})
			if err != nil {
				t.Fatal(err)
			}
			got := out.ServiceConfigurations[0].PrivateDnsNameConfiguration.State
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the name is %s after 20 s, want %s", got, want)
			}
			time.Sleep(20 * time.Millisecond) // sleep: a client can only poll
		}
	}
	verify(types.DnsNameStateFailed)
	publish(*name.Name+".example.com", *name.Value)
	verify(types.DnsNameStateVerified)
}

// Who became a host, and who tried to, is in the audit log as what made the
// token is.
func TestJoiningIsAudited(t *testing.T) {
	t.Parallel()
	var dir string
	serveAPI(t, func(c *Config) { dir, c.DNSUpstreams, c.HostsListen = c.DataDir, []string{"none"}, "127.0.0.1:0" })
	cl := admin.NewClient(paths{dir}.adminSocket())
	t.Cleanup(func() { cl.Close() })
	info, err := cl.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	j, err := cl.AddHost(t.Context(), admin.NewHost{ID: "host-b"})
	if err != nil {
		t.Fatal(err)
	}
	token := hostsync.Token{Host: j.Host, Secret: j.Secret, CA: info.Fingerprint}
	for _, ok := range []bool{true, false} { // the token is good once
		if _, err := hostsync.Join(t.Context(), joinURL(info.HostsListen), token); (err == nil) != ok {
			t.Fatal(err)
		}
	}
	// Lines are written behind the calls.
	var b []byte
	for end := time.Now().Add(10 * time.Second); bytes.Count(b, []byte(`"JoinHost"`)) < 2 || !bytes.HasSuffix(b, []byte("\n")); time.Sleep(5 * time.Millisecond) {
		if b, err = os.ReadFile(info.AuditLog); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("the audit log has %s", b)
		}
	}
	var got []audit.Record
	for line := range strings.Lines(string(b)) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.Action == "JoinHost" {
			got = append(got, r)
		}
	}
	if len(got) != 2 || got[0].Failed() || got[0].Status != 200 || got[1].ErrorCode != string(vpc.Denied) || got[1].Status != 403 {
		t.Fatalf("the audit log has %+v", got)
	}
	for _, r := range got {
		if r.Parameters["id"] != "host-b" || !strings.HasPrefix(r.Source, "127.0.0.1:") || !r.Write {
			t.Errorf("%+v", r)
		}
	}
	if strings.Contains(string(b), j.Secret) {
		t.Error("the audit log holds the secret")
	}
}
