// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// standIn is a backend for services that do not come with Postern: it answers
// what clients take for success, and notes what it was asked. As a registry it keeps
// what is pushed.
type standIn struct {
	mu      sync.Mutex
	got     map[string]int    // by operation
	stored  map[string][]byte // a registry's blobs and manifests, by path
	uploads map[string][]byte // what has come of unfinished ones
	hold    chan struct{}     // a request for /v2/app/tags/list waits for its end
	held    chan struct{}     // told of one that waits
}

const registryToken = "AWS:registry-token"

func newStandIn(t *testing.T) (*standIn, string) {
	s := &standIn{got: map[string]int{}, stored: map[string][]byte{}, uploads: map[string][]byte{}, hold: make(chan struct{}), held: make(chan struct{}, 1)}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if strings.HasPrefix(r.URL.Path, "/v2/") {
		s.registry(w, r, body)
		return
	}
	_, op, isJSON := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if !isJSON {
		form := string(body)
		_, op, _ = strings.Cut("&"+form, "&Action=")
		op, _, _ = strings.Cut(op, "&")
	}
	s.note(op)
	switch {
	case op == "GetAuthorizationToken":
		fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":%q,"expiresAt":4102444800,"proxyEndpoint":"https://registry"}]}`, base64.StdEncoding.EncodeToString([]byte(registryToken)))
	case isJSON:
		io.WriteString(w, "{}")
	default:
		fmt.Fprintf(w, `<%[1]sResponse><%[1]sResult/><ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></%[1]sResponse>`, op)
	}
}

func (s *standIn) note(op string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[op]++
}

func (s *standIn) count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[op]
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// registry speaks as much of OCI distribution as a push and a pull need.
func (s *standIn) registry(w http.ResponseWriter, r *http.Request, body []byte) {
	if r.URL.Path == "/v2/app/tags/list" {
		s.held <- struct{}{}
		<-s.hold
		io.WriteString(w, `{"name":"app","tags":["v1"]}`)
		return
	}
	if r.Header.Get("Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(registryToken)) {
		w.Header().Set("Www-Authenticate", `Basic realm="https://registry/",service="ecr.amazonaws.com"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[r.Method+" "+r.URL.Path]++
	path, upload := r.URL.Path, strings.Contains(r.URL.Path, "/blobs/uploads/")
	created := func(place string, content []byte) {
		w.Header().Set("Location", place)
		w.Header().Set("Docker-Content-Digest", digestOf(content))
		w.WriteHeader(http.StatusCreated)
	}
	blob := "/v2/app/blobs/" + r.URL.Query().Get("digest")
	switch {
	case path == "/v2/":
	case upload && r.Method == "POST" && r.URL.Query().Get("digest") != "":
		s.stored[blob] = body
		created(blob, body)
	case upload && r.Method == "POST":
		w.Header().Set("Location", path+"u-1?_state=s.0")
		w.WriteHeader(http.StatusAccepted)
	case upload && r.Method == "PATCH":
		s.uploads[path] = append(s.uploads[path], body...)
		w.Header().Set("Location", path+"?_state=s.1")
		w.Header().Set("Range", fmt.Sprintf("0-%d", len(s.uploads[path])-1))
		w.WriteHeader(http.StatusAccepted)
	case upload && r.Method == "PUT":
		whole := append(s.uploads[path], body...)
		if digestOf(whole) != r.URL.Query().Get("digest") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.stored[blob] = whole
		created(blob, whole)
	case r.Method == "PUT":
		s.stored[path] = body
		created(path, body)
	case s.stored[path] == nil:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Docker-Content-Digest", digestOf(s.stored[path]))
		w.Write(s.stored[path]) // nothing of it for HEAD
	}
}

// pushAndPull is a registry's client inside a workload: it pushes an image in
// chunks, pulls it and compares, and prints what the registry says when the image
// is to be deleted.
func pushAndPull(base, token string) error {
	c := &http.Client{Timeout: 20 * time.Second}
	send := func(want int, method, where string, body []byte) (*http.Response, []byte, error) {
		if strings.HasPrefix(where, "/") {
			where = base + where
		}
		r, err := http.NewRequest(method, where, bytes.NewReader(body))
		if err != nil {
			return nil, nil, err
		}
		if token != "" {
			r.Header.Set("Authorization", "Basic "+token)
		}
		resp, err := c.Do(r)
		if err != nil {
			return nil, nil, err
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != want {
			err = fmt.Errorf("%s %s: %s, want %d: %s", method, where, resp.Status, want, got)
		}
		return resp, got, err
	}
	good := token
	token = ""
	resp, _, err := send(401, "GET", "/v2/", nil)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(resp.Header.Get("Www-Authenticate"), "Basic ") {
		return fmt.Errorf("nobody says how to get a token: %v", resp.Header)
	}
	token = good
	if _, _, err := send(200, "GET", "/v2/", nil); err != nil {
		return err
	}
	layer, config := bytes.Repeat([]byte("a layer "), 100_000), []byte(`{"architecture":"amd64","os":"linux"}`)
	resp, _, err = send(202, "POST", "/v2/app/blobs/uploads/", nil)
	for _, chunk := range [][]byte{layer[:500_000], layer[500_000:]} {
		if err != nil {
			return err
		}
		resp, _, err = send(202, "PATCH", resp.Header.Get("Location"), chunk)
	}
	if err != nil {
		return err
	}
	if _, _, err := send(201, "PUT", resp.Header.Get("Location")+"&digest="+digestOf(layer), nil); err != nil {
		return err
	}
	if _, _, err := send(201, "POST", "/v2/app/blobs/uploads/?digest="+digestOf(config), config); err != nil {
		return err
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"config":{"digest":%q},"layers":[{"digest":%q}]}`, digestOf(config), digestOf(layer))
	if _, _, err := send(201, "PUT", "/v2/app/manifests/v1", manifest); err != nil {
		return err
	}
	if _, _, err := send(200, "HEAD", "/v2/app/blobs/"+digestOf(layer), nil); err != nil {
		return err
	}
	for where, want := range map[string][]byte{"manifests/v1": manifest, "blobs/" + digestOf(config): config, "blobs/" + digestOf(layer): layer} {
		if _, got, err := send(200, "GET", "/v2/app/"+where, nil); err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("%s: %d bytes pulled, want %d: %w", where, len(got), len(want), err)
		}
	}
	_, denial, err := send(403, "DELETE", "/v2/app/manifests/"+digestOf(manifest), nil)
	fmt.Printf("%s\n", denial)
	return err
}

// request is what `postern requests` shows of one.
type request struct {
	Endpoint, Service, Action, Resource, Decision, Reason string
	Status                                                int
}

// freeAddr is an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Each service that is not S3 is reached at its own name through an endpoint, by
// AWS's client, as the endpoint's policy says.
func TestEveryServiceIsReachedAtItsOwnName(t *testing.T) {
	needRoot(t)
	awscli, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("needs aws-cli, whose requests these are")
	}
	ctx := context.Background()
	backend, url := newStandIn(t)
	api := freeAddr(t)
	hosts := map[string]string{
		"dynamodb": "dynamodb", "sns": "sns", "sqs": "sqs", "logs": "logs", "sts": "sts", "ec2": "ec2",
		"elasticloadbalancing": "elasticloadbalancing", "ecr.api": "api.ecr", "ecr.dkr": "dkr.ecr",
	}
	var config strings.Builder
	config.WriteString("services:\n")
	number := 0
	for name, host := range hosts {
		number++
		kinds, to, below := "[Interface]", url, ""
		switch name {
		case "dynamodb":
			kinds = "[Gateway, Interface]"
		case "ec2", "sts", "elasticloadbalancing":
			to = "http://" + api // Postern's own
		case "ecr.dkr":
			below = fmt.Sprintf(`, "*.%s.us-east-1.amazonaws.com"`, host)
		}
		fmt.Fprintf(&config, "- {name: %s, protocol: %[1]s, types: %s, backend: %q, prefixes: [203.0.113.%d/32], addresses: [203.0.113.%[4]d], publicNames: [%s.us-east-1.amazonaws.com%s]}\n",
			name, kinds, to, number, host, below)
	}
	file := filepath.Join(t.TempDir(), "postern.yaml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	i := newInstall(t, "--config", file, "--listen", api)
	a := i.account("consumer")
	n, gated := i.network(a), i.networkOf(a, "10.9.0.0/16", false)
	got(a.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &n.vpc, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}})).or(t)
	arn := func(service, rest string) string { return "arn:aws:" + service + ":us-east-1:" + a.id + ":" + rest }
	balancer := arn("elasticloadbalancing", "loadbalancer/net/web/0123456789abcdef")
	// Version 1 of aws-cli would go to SQS's old name, which has no private DNS on AWS either.
	const own = " --endpoint-url https://sqs.us-east-1.amazonaws.com"
	// One thing that is allowed and one that is not, and what they are to the policy.
	cases := []struct {
		service          string
		allowed          string // the command's words
		action, resource string
		denied           string
		refused, on      string // action and resource
		code             string // of the denial
	}{
		{"dynamodb", "dynamodb get-item --table-name T --key {\"k\":{\"S\":\"1\"}}", "dynamodb:GetItem", arn("dynamodb", "table/T"),
			"dynamodb delete-table --table-name T", "dynamodb:DeleteTable", arn("dynamodb", "table/T"), "AccessDeniedException"},
		{"sns", "sns list-topics", "sns:ListTopics", "*",
			"sns publish --message x --topic-arn " + arn("sns", "t"), "sns:Publish", arn("sns", "t"), "AuthorizationError"},
		{"sqs", "sqs list-queues" + own, "sqs:ListQueues", "*",
			"sqs send-message --message-body x --queue-url https://sqs.us-east-1.amazonaws.com/" + a.id + "/q" + own, "sqs:SendMessage", arn("sqs", "q"), "AccessDeniedException"},
		{"logs", "logs describe-log-groups", "logs:DescribeLogGroups", "",
			"logs delete-log-group --log-group-name g", "logs:DeleteLogGroup", arn("logs", "log-group:g:log-stream:"), "AccessDeniedException"},
		{"sts", "sts get-caller-identity", "sts:GetCallerIdentity", "*",
			"sts assume-role --role-session-name session --role-arn arn:aws:iam::" + a.id + ":role/r", "sts:AssumeRole", "arn:aws:iam::" + a.id + ":role/r", "AccessDenied"},
		{"ec2", "ec2 describe-vpcs", "ec2:DescribeVpcs", "*",
			"ec2 delete-vpc --vpc-id " + gated.vpc, "ec2:DeleteVpc", arn("ec2", "vpc/"+gated.vpc), "UnauthorizedOperation"},
		{"elasticloadbalancing", "elbv2 describe-load-balancers", "elasticloadbalancing:DescribeLoadBalancers", "*",
			"elbv2 delete-load-balancer --load-balancer-arn " + balancer, "elasticloadbalancing:DeleteLoadBalancer", balancer, "AccessDenied"},
		{"ecr.api", "ecr get-authorization-token", "ecr:GetAuthorizationToken", "*",
			"ecr delete-repository --repository-name app", "ecr:DeleteRepository", arn("ecr", "repository/app"), "AccessDeniedException"},
	}
	allow := func(actions ...string) *string {
		doc, err := json.Marshal(map[string]any{"Statement": []any{map[string]any{"Effect": "Allow", "Principal": "*", "Action": actions, "Resource": "*"}}})
		if err != nil {
			t.Fatal(err)
		}
		return aws.String(string(doc))
	}
	endpoints := map[string]string{} // ids by service
	connect := func(service string, actions ...string) (addr string) {
		e := got(a.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &n.vpc, ServiceName: aws.String("com.amazonaws.us-east-1." + service), VpcEndpointType: types.VpcEndpointTypeInterface,
			SubnetIds: []string{n.subnet}, SecurityGroupIds: []string{n.group}, PrivateDnsEnabled: aws.Bool(true), PolicyDocument: allow(actions...)})).or(t).VpcEndpoint
		endpoints[service] = *e.VpcEndpointId
		addr, _ = n.addrs(e.NetworkInterfaceIds[0])
		return addr
	}
	for _, c := range cases {
		connect(c.service, c.action)
	}
	registryAddr := connect("ecr.dkr", "ecr:GetAuthorizationToken", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage",
		"ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage", "ecr:ListImages")
	gateway := *got(a.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &gated.vpc, ServiceName: aws.String("com.amazonaws.us-east-1.dynamodb"), VpcEndpointType: types.VpcEndpointTypeGateway,
		RouteTableIds: []string{gated.table("")}, PolicyDocument: allow("dynamodb:GetItem")})).or(t).VpcEndpoint.VpcEndpointId
	client, _ := n.instance()
	behind, _ := gated.instance()
	eventually(t, "the endpoints are available", 15*time.Second, func() bool {
		for _, id := range endpoints {
			if n.state(id) != "available" {
				return false
			}
		}
		return n.state(gateway) == "available"
	})

	// call runs AWS's client with nothing but what it needs.
	call := func(instance, words string) (string, error) {
		cmd := i.postern()
		cmd.Args = append([]string{program, "exec", "--data-dir", i.dir, instance, "--", "/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "HOME=/nonexistent",
			"AWS_ACCESS_KEY_ID=" + a.key, "AWS_SECRET_ACCESS_KEY=" + a.secret, "AWS_DEFAULT_REGION=us-east-1", "AWS_STS_REGIONAL_ENDPOINTS=regional", "AWS_EC2_METADATA_DISABLED=true",
			"AWS_CA_BUNDLE=" + filepath.Join(i.dir, "public", "workload-ca.pem"), "AWS_MAX_ATTEMPTS=1", "AWS_PAGER=",
			awscli, "--output", "json", "--cli-connect-timeout", "10"}, strings.Fields(words)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	var wg sync.WaitGroup
	limit := make(chan struct{}, 4)
	try := func(instance, service, allowed, denied, refused, code string) {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			if out, err := call(instance, allowed); err != nil {
				t.Errorf("%s: %v: %s", allowed, err, out)
			}
			want := "no VPC endpoint policy allows the " + refused + " action"
			if out, err := call(instance, denied); err == nil || !strings.Contains(out, "("+code+")") || !strings.Contains(out, want) {
				t.Errorf("%s: %v: %s; want %s, %q", denied, err, out, code, want)
			}
		})
	}
	for _, c := range cases {
		try(client, c.service, c.allowed, c.denied, c.refused, c.code)
	}
	try(behind, "dynamodb", cases[0].allowed, cases[0].denied, cases[0].refused, cases[0].code)
	wg.Wait()
	for op, want := range map[string]int{"GetItem": 2, "ListTopics": 1, "ListQueues": 1, "DescribeLogGroups": 1, "GetAuthorizationToken": 1,
		"DeleteTable": 0, "Publish": 0, "SendMessage": 0, "DeleteLogGroup": 0, "DeleteRepository": 0} {
		if got := backend.count(op); got != want {
			t.Errorf("%s came to the backend %d times, want %d", op, got, want)
		}
	}

	registry := a.id + ".dkr.ecr.us-east-1.amazonaws.com"
	out, err := i.exec(client, "registry", "https://"+registry, base64.StdEncoding.EncodeToString([]byte(registryToken))).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"code":"DENIED"`) || !strings.Contains(string(out), "no VPC endpoint policy allows the ecr:BatchDeleteImage action") {
		t.Errorf("push and pull: %v: %s", err, out)
	}

	// What was asked is on record, with what it is to policies.
	var seen []request
	for line := range strings.Lines(i.must("requests", "--json", "--limit", "0")) {
		var r request
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		seen = append(seen, r)
	}
	recorded := func(endpoint, action, resource, decision string) {
		t.Helper()
		for _, r := range seen {
			if r.Endpoint == endpoint && r.Action == action && r.Decision == decision && (resource == "" && r.Resource != "" || r.Resource == resource) && (r.Status == 200) != (decision == "deny") {
				return
			}
		}
		t.Errorf("no record through %s that %s on %s: %s; there are %d others", endpoint, action, resource, decision, len(seen))
	}
	for _, c := range cases {
		recorded(endpoints[c.service], c.action, c.resource, "allow")
		recorded(endpoints[c.service], c.refused, c.on, "deny")
	}
	recorded(gateway, "dynamodb:GetItem", arn("dynamodb", "table/T"), "allow")
	recorded(gateway, "dynamodb:DeleteTable", arn("dynamodb", "table/T"), "deny")
	recorded(endpoints["ecr.dkr"], "ecr:BatchGetImage", arn("ecr", "repository/app"), "allow")
	recorded(endpoints["ecr.dkr"], "ecr:BatchDeleteImage", arn("ecr", "repository/app"), "deny")

	// After the death of one edge the next takes over its sockets.
	list := "http://" + registry + "/v2/"
	if err := syscall.Kill(children(t, i.cmd.Process.Pid)["edge"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if out, err := i.exec(client, "get", list, "tcp4", registryAddr+":80").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "401 ") {
		t.Errorf("after the edge's death: %v: %s", err, out)
	}
	// What is on its way when the server is stopped is answered.
	cmd := i.exec(client, "get", list+"app/tags/list", "tcp4", registryAddr+":80")
	var answer bytes.Buffer
	cmd.Stdout = &answer
	i.background(cmd)
	<-backend.held
	i.cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, "the edge takes no more requests", 10*time.Second, func() bool { return strings.Contains(i.log.String(), "msg=\"the edge takes no more requests") })
	close(backend.hold)
	if err := cmd.Wait(); err != nil || !strings.HasPrefix(answer.String(), "200 OK") {
		t.Errorf("what was on its way: %v: %s", err, answer.String())
	}
	<-i.exited
}
