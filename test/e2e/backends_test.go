// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// calls sends requests one after the other, each over a connection of its own, and
// prints how many had which answer: status, Retry-After and body. headers are of
// the form name:value.
func calls(url string, n int, headers ...string) error {
	c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answers := map[string]int{}
	for range n {
		r, err := http.NewRequest("POST", url, strings.NewReader("{}"))
		if err != nil {
			return err
		}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ":")
			r.Header.Set(name, value)
		}
		res, err := c.Do(r)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			return err
		}
		answers[strings.Join(strings.Fields(fmt.Sprint(res.StatusCode, " ", res.Header.Get("Retry-After"), " ", string(body))), " ")]++
	}
	for _, a := range slices.Sorted(maps.Keys(answers)) {
		fmt.Println(answers[a], a)
	}
	return nil
}

// tell sends a request with a header that only the edge may send, and prints one's
// own address and the answer.
func tell(url string) error {
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return err
	}
	r.Header["postern-identity"] = []string{"v=1;service=forged"}
	r = r.WithContext(httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		fmt.Println(i.Conn.LocalAddr())
	}}))
	res, err := (&http.Client{Timeout: 5 * time.Second}).Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		fmt.Println(res.Status)
	}
	_, err = io.Copy(os.Stdout, io.LimitReader(res.Body, 4096))
	return err
}

// own asks Postern's own API with AWS's SDK as it comes: at AWS's names.
func own(key, secret, vpc string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	signer := credentials.NewStaticCredentialsProvider(key, secret, "")
	e := ec2.New(ec2.Options{Region: "us-east-1", Credentials: signer, RetryMaxAttempts: 1})
	who, err := sts.New(sts.Options{Region: "us-east-1", Credentials: signer, RetryMaxAttempts: 1}).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return err
	}
	fmt.Println("account", *who.Account)
	balancers, err := elb.New(elb.Options{Region: "us-east-1", Credentials: signer, RetryMaxAttempts: 1}).DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{})
	if err != nil {
		return err
	}
	fmt.Println("balancers", len(balancers.LoadBalancers))
	made, err := e.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: aws.String("10.0.77.0/24")})
	if err != nil {
		return err
	}
	found, err := e.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{*made.Subnet.SubnetId}})
	if err != nil {
		return err
	}
	fmt.Println("subnet", *found.Subnets[0].CidrBlock)
	_, err = e.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: made.Subnet.SubnetId})
	fmt.Println("denied", err)
	return nil
}

// peek is a listener each of whose connections begins with a header of the PROXY
// protocol.
type peek struct{ net.Listener }

// peeked is a connection whose header has been read.
type peeked struct {
	net.Conn
	said string
}

func (l peek) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		said, err := proxyHeader(c)
		if err != nil {
			c.Close()
			continue
		}
		c.SetReadDeadline(time.Time{})
		return peeked{c, said}, nil
	}
}

type saidKey struct{}

// backend serves on a loopback port until the test ends.
func backend(t *testing.T, l net.Listener, h http.HandlerFunc) {
	srv := &http.Server{Handler: h, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		if p, ok := c.(peeked); ok {
			ctx = context.WithValue(ctx, saidKey{}, p.said)
		}
		return ctx
	}}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
}

func loopback(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// identified reads Postern-Identity as docs/operations.md has a backend do it: who
// calls, if public's owner has signed that for this request.
func identified(public ed25519.PublicKey, service string, r *http.Request) (map[string]string, error) {
	values := r.Header.Values("Postern-Identity")
	if len(values) != 1 {
		return nil, fmt.Errorf("%d of Postern-Identity", len(values))
	}
	signed, signature, _ := strings.Cut(values[0], ";signature=")
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !ed25519.Verify(public, []byte(signed+"\n"+r.Method+"\n"+r.Host+"\n"+r.RequestURI), sig) {
		return nil, errors.New("the signature is another's, or another request's")
	}
	id := map[string]string{}
	for field := range strings.SplitSeq(signed, ";") {
		name, value, _ := strings.Cut(field, "=")
		id[name] = value
	}
	if until, err := strconv.ParseInt(id["expires"], 10, 64); err != nil || time.Now().Unix() > until || id["v"] != "1" || id["service"] != service {
		return nil, fmt.Errorf("too late, or for another service: %v", id)
	}
	return id, nil
}

// interfaceEndpoint makes an interface endpoint with private DNS to a service of the
// catalogue; "" is the default policy.
func (n *network) interfaceEndpoint(service, policy string) (id string) {
	n.i.t.Helper()
	in := &ec2.CreateVpcEndpointInput{VpcId: &n.vpc, ServiceName: aws.String("com.amazonaws.us-east-1." + service), VpcEndpointType: types.VpcEndpointTypeInterface,
		SubnetIds: []string{n.subnet}, SecurityGroupIds: []string{n.group}, PrivateDnsEnabled: aws.Bool(true)}
	if policy != "" {
		in.PolicyDocument = &policy
	}
	return *got(n.acct.ec2.CreateVpcEndpoint(context.Background(), in)).or(n.i.t).VpcEndpoint.VpcEndpointId
}

// become waits until endpoints are available.
func (n *network) become(endpoints ...string) {
	n.i.t.Helper()
	eventually(n.i.t, "the endpoints are available", 15*time.Second, func() bool {
		return !slices.ContainsFunc(endpoints, func(id string) bool { return n.state(id) != "available" })
	})
}

func (n *network) hostnames() {
	n.i.t.Helper()
	got(n.acct.ec2.ModifyVpcAttribute(context.Background(), &ec2.ModifyVpcAttributeInput{VpcId: &n.vpc, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}})).or(n.i.t)
}

// A backend learns from the edge, and from nobody else, through which endpoint and
// from which address of which VPC a request comes.
func TestABackendIsToldWhoCalls(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "identity.pem")
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	headed, signed := loopback(t, "127.0.0.1:0"), loopback(t, "127.0.0.1:0")
	backend(t, peek{headed}, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Context().Value(saidKey{}))
	})
	backend(t, signed, func(w http.ResponseWriter, r *http.Request) {
		service := "sns"
		if strings.HasPrefix(r.Host, "s3.") {
			service = "s3"
		}
		id, err := identified(public, service, r)
		if err != nil {
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, id["client"], id["endpoint"], id["vpc"], id["account"], id["interface"], id["request"])
	})
	file := filepath.Join(dir, "postern.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `identityKeyFile: %s
services:
- {name: sqs, backend: "http://%s", identity: proxy}
- {name: sns, backend: "http://%s", identity: header}
- {name: s3, backend: "http://%[3]s", identity: header, prefixes: [203.0.113.0/24], addresses: [203.0.113.10]}
`, key, headed.Addr(), signed.Addr()), 0o600); err != nil {
		t.Fatal(err)
	}
	i := newInstall(t, "--config", file)
	a := i.account("consumer")
	n := i.network(a)
	n.hostnames()
	proxied := n.interfaceEndpoint("sqs", "")
	told := n.interfaceEndpoint("sns", "")
	gateway := *got(a.ec2.CreateVpcEndpoint(context.Background(), &ec2.CreateVpcEndpointInput{VpcId: &n.vpc, ServiceName: aws.String("com.amazonaws.us-east-1.s3"),
		VpcEndpointType: types.VpcEndpointTypeGateway, RouteTableIds: []string{n.table("")}})).or(t).VpcEndpoint.VpcEndpointId
	client := n.launch(n.subnet, n.group)
	eni := *got(a.ec2.DescribeInstances(context.Background(), &ec2.DescribeInstancesInput{InstanceIds: []string{client.id}})).or(t).Reservations[0].Instances[0].NetworkInterfaces[0].NetworkInterfaceId
	n.become(proxied, told, gateway)

	ask := func(url string) (self string, answer []string) {
		t.Helper()
		out, err := i.exec(client.id, "tell", url).CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[0], client.addr+":") {
			t.Fatalf("%s: %v: %s", url, err, out)
		}
		return lines[0], strings.Fields(lines[1])
	}
	own := *got(a.ec2.DescribeVpcEndpoints(context.Background(), &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{told}})).or(t).VpcEndpoints[0].DnsEntries[0].DnsName
	for _, scheme := range []string{"http", "https"} {
		port := map[string]string{"http": ":80", "https": ":443"}[scheme]
		if self, answer := ask(scheme + "://sqs.us-east-1.amazonaws.com/?Action=ListQueues"); len(answer) != 3 || answer[0] != self || !strings.HasSuffix(answer[1], port) || answer[2] != proxied {
			t.Errorf("%s: a backend is told by connection that %s calls %s", scheme, self, answer)
		}
		for url, endpoint := range map[string]string{
			scheme + "://" + own + "/?Action=ListTopics":                                    told,
			scheme + "://sns.us-east-1.amazonaws.com/?Action=ListTopics&x=%2f+%41":          told,
			scheme + "://s3.us-east-1.amazonaws.com/data/a%20b%2Fc/%C3%BC+?versionId=%61&x": gateway,
		} {
			self, answer := ask(url)
			if want := []string{self, endpoint, n.vpc, a.id, eni}; len(answer) != 6 || !slices.Equal(answer[:5], want) {
				t.Errorf("%s: a backend is told %q, want %q", url, answer, want)
				continue
			}
			if !strings.Contains(i.must("requests", "--json", "--limit", "0"), `"requestId":"`+answer[5]+`"`) {
				t.Errorf("%s: there is no record of the request %s", url, answer[5])
			}
		}
	}
}

// moody is a backend that dies, hangs and comes back.
type moody struct {
	t          *testing.T
	name, addr string
	srv        *http.Server

	mu   sync.Mutex
	hang chan struct{} // closed to go on; nil for one that answers; guarded by mu
}

func newMoody(t *testing.T, name string) *moody {
	m := &moody{t: t, name: name, addr: "127.0.0.1:0"}
	m.live()
	t.Cleanup(func() { m.answer(); m.die() })
	return m
}

// live listens, at the same port as before.
func (m *moody) live() {
	l := loopback(m.t, m.addr)
	m.addr = l.Addr().String()
	m.srv = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		hang := m.hang
		m.mu.Unlock()
		if hang != nil {
			<-hang
		}
		io.WriteString(w, m.name)
	})}
	go m.srv.Serve(l)
}

// die refuses connections from now on, and ends those there are.
func (m *moody) die() { m.srv.Close() }

// silence takes requests and answers none.
func (m *moody) silence() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hang = make(chan struct{})
}

// answer answers everything again, what came in between too.
func (m *moody) answer() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hang != nil {
		close(m.hang)
		m.hang = nil
	}
}

// Of several backends those that answer get the requests, and when none does the
// service says so in its own words.
func TestRequestsGoToTheBackendsThatAnswer(t *testing.T) {
	needRoot(t)
	i := newInstall(t)
	list := []*moody{newMoody(t, "one"), newMoody(t, "two"), newMoody(t, "three")}
	one, two, three := list[0], list[1], list[2]
	file := filepath.Join(t.TempDir(), "sqs.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "services:\n- name: sqs\n  backends: [http://%s, http://%s, http://%s]\n  healthCheck: {path: /health, intervalSeconds: 1, timeoutSeconds: 1}\n",
		one.addr, two.addr, three.addr), 0o600); err != nil {
		t.Fatal(err)
	}
	i.must("service", "add", file)
	n := i.network(i.account("consumer"))
	n.hostnames()
	endpoint := n.interfaceEndpoint("sqs", "")
	client, _ := n.instance()
	n.become(endpoint)

	healthy := func(want ...*moody) {
		t.Helper()
		eventually(t, fmt.Sprintf("healthy are %d", len(want)), 20*time.Second, func() bool {
			var services []struct {
				Name     string
				Backends []struct {
					URL   string
					Hosts map[string]string
				}
			}
			if err := json.Unmarshal([]byte(i.must("service", "list", "--json")), &services); err != nil {
				t.Fatal(err)
			}
			for _, s := range services {
				for _, b := range s.Backends {
					state := "unhealthy"
					if slices.ContainsFunc(want, func(m *moody) bool { return b.URL == "http://"+m.addr }) {
						state = "healthy"
					}
					if s.Name == "sqs" && (len(b.Hosts) != 1 || slices.Collect(maps.Values(b.Hosts))[0] != state) {
						return false
					}
				}
			}
			return true
		})
	}
	// answered wants all of some requests to be answered, by these backends and each
	// of them.
	answered := func(by ...*moody) {
		t.Helper()
		const calls = 12
		out, err := i.exec(client, "calls", "http://sqs.us-east-1.amazonaws.com/?Action=ListQueues", strconv.Itoa(calls)).CombinedOutput()
		sum, from := 0, map[string]bool{}
		for line := range strings.Lines(string(out)) {
			n, who, _ := strings.Cut(strings.TrimSpace(line), " 200 ")
			count, _ := strconv.Atoi(n)
			sum += count
			from[who] = true
		}
		want := map[string]bool{}
		for _, m := range by {
			want[m.name] = true
		}
		if err != nil || sum != calls || !maps.Equal(from, want) {
			t.Errorf("%d requests: %v, %s; want answers of each of %v", calls, err, out, want)
		}
	}
	healthy(list...)
	answered(list...)
	one.die() // nobody has to find out first
	answered(two, three)
	healthy(two, three)
	answered(two, three)
	two.silence()
	healthy(three)
	answered(three)
	three.die()
	healthy()
	for target, want := range map[string]string{
		"":                     `503 1 <?xml version="1.0" encoding="UTF-8"?> <ErrorResponse><Error><Type>Receiver</Type><Code>ServiceUnavailable</Code>`,
		"AmazonSQS.ListQueues": `503 1 {"__type":"ServiceUnavailableException"`,
	} {
		url, more := "http://sqs.us-east-1.amazonaws.com/", []string{"X-Amz-Target:" + target}
		if target == "" {
			url, more = url+"?Action=ListQueues", nil
		}
		out, err := i.exec(client, "calls", append([]string{url, "1"}, more...)...).CombinedOutput()
		if err != nil || !bytes.HasPrefix(out, []byte("1 "+want)) {
			t.Errorf("with no backend, %q: %v, %s; want %s", target, err, out, want)
		}
	}
	one.live()
	healthy(one)
	answered(one)
	two.answer()
	three.live()
	healthy(list...)
	answered(list...)
}

// A workload calls Postern's own API privately, at the API's own names, with AWS's
// SDK as it comes, and may do there what the endpoint's policy lets it.
func TestTheOwnAPIIsReachedPrivately(t *testing.T) {
	needRoot(t)
	i, ctx := newInstall(t), context.Background()
	i.must("service", "add", "../../examples/services/postern.yaml")
	a := i.account("consumer")
	n := i.network(a)
	n.hostnames()
	client, _ := n.instance()
	if out, err := i.exec(client, "own", a.key, a.secret, n.vpc).CombinedOutput(); err == nil {
		t.Errorf("without an endpoint the API is reached: %s", out)
	}
	endpoint := n.interfaceEndpoint("ec2", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},
		{"Sid":"KeepSubnets","Effect":"Deny","Principal":"*","Action":"ec2:DeleteSubnet","Resource":"*"}]}`)
	others := []string{endpoint}
	for _, service := range []string{"sts", "elasticloadbalancing"} {
		others = append(others, n.interfaceEndpoint(service, ""))
	}
	n.become(others...)
	out, err := i.exec(client, "own", a.key, a.secret, n.vpc).CombinedOutput()
	said, denial, _ := strings.Cut(string(out), "denied ")
	if want := "account " + a.id + "\nbalancers 0\nsubnet 10.0.77.0/24\n"; err != nil || said != want {
		t.Fatalf("the API says %v: %s; want %s", err, out, want)
	}
	if !strings.Contains(denial, "UnauthorizedOperation") || !strings.Contains(denial, "with an explicit deny in a VPC endpoint policy") {
		t.Errorf("DeleteSubnet: %s", denial)
	}
	// It is the endpoint that forbids it, and nothing else.
	left := got(a.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: []types.Filter{{Name: aws.String("cidr-block"), Values: []string{"10.0.77.0/24"}}}})).or(t).Subnets
	if len(left) != 1 {
		t.Fatalf("%d subnets are left", len(left))
	}
	got(a.ec2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: left[0].SubnetId})).or(t)
}
