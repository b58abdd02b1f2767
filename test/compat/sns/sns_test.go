// SPDX-License-Identifier: Apache-2.0

// Package sns shows connection notifications against an SNS-compatible server
// that we did not write: fauxqs, from npm. Everything is asked over the wire,
// Postern with the EC2 SDK, the server with the SNS SDK, and what arrives is
// read from a queue that is subscribed to the topic.
package sns

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"postern.dev/postern/internal/api"
	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/notify"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/test/compat"
)

const (
	secret = "a-secret-of-every-client"
	region = "us-east-1"
	nlb    = "arn:aws:elasticloadbalancing:us-east-1:222222222222:loadbalancer/net/one/0000000000000001"
)

// startServer runs the server on loopback until the test ends.
func startServer(t *testing.T) (url string) {
	t.Helper()
	dir := compat.NPM(t, "sns", "package.json", "package-lock.json", "server.mjs", ".npmrc")
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, "server.mjs")
	cmd.Dir, cmd.Env, cmd.Stderr = dir, []string{"PATH=/usr/bin:/bin"}, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		kill := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
		defer kill.Stop()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	port, perr := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || perr != nil {
		t.Fatalf("the server did not say its port: %q, %v", line, err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", port)
}

// queue is an SQS queue on the same server.
type queue struct {
	t           *testing.T
	server, url string
}

func newQueue(t *testing.T, server, name string) *queue {
	q := &queue{t: t, server: server}
	var made struct{ QueueUrl string }
	q.call("CreateQueue", map[string]any{"QueueName": name}, &made)
	q.url = made.QueueUrl
	return q
}

// call makes one request of SQS's JSON protocol.
func (q *queue) call(action string, in, out any) {
	q.t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		q.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(q.t.Context(), http.MethodPost, q.server, bytes.NewReader(b))
	if err != nil {
		q.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "AmazonSQS."+action)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/"+region+"/sqs/aws4_request, SignedHeaders=host, Signature=0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		q.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		q.t.Fatalf("%s: %d %s %v", action, res.StatusCode, body, err)
	}
	if err := json.Unmarshal(body, out); err != nil {
		q.t.Fatal(err)
	}
}

// told is one message as its receiver reads it.
type told struct {
	topic, subject string
	control.Delivery
}

// receive waits for the next n messages, in the order in which they came.
func (q *queue) receive(n int) []told {
	q.t.Helper()
	var out []told
	for deadline := time.Now().Add(20 * time.Second); len(out) < n; {
		if time.Now().After(deadline) {
			q.t.Fatalf("%d of %d messages came: %+v", len(out), n, out)
		}
		var got struct {
			Messages []struct{ Body, ReceiptHandle string }
		}
		// One at a time, since a batch has no order.
		q.call("ReceiveMessage", map[string]any{"QueueUrl": q.url, "MaxNumberOfMessages": 1, "WaitTimeSeconds": 1}, &got)
		for _, m := range got.Messages {
			var e struct{ Type, TopicArn, Subject, Message string }
			if err := json.Unmarshal([]byte(m.Body), &e); err != nil || e.Type != "Notification" {
				q.t.Fatalf("%v: %s", err, m.Body)
			}
			d := told{topic: e.TopicArn, subject: e.Subject}
			if err := json.Unmarshal([]byte(e.Message), &d.Delivery); err != nil {
				q.t.Fatal(err)
			}
			out = append(out, d)
			q.call("DeleteMessage", map[string]any{"QueueUrl": q.url, "ReceiptHandle": m.ReceiptHandle}, &struct{}{})
		}
	}
	return out
}

// postern serves the API, without a datapath, with a consumer's VPC and a
// provider's load balancer, and sends notifications to the server at url.
func postern(t *testing.T, url string) (consumer, provider *ec2.Client) {
	t.Helper()
	c, _ := controltest.New(t)
	controltest.HandMade(c) // a load balancer without its parts
	log := slog.New(slog.DiscardHandler)
	topics, err := notify.New([]notify.Rule{{
		ARN: "arn:aws:sns:us-east-1:000000000000:*", Accounts: []string{"*"}, Type: notify.SNS, URL: url, AccessKey: "AKIATEST", SecretKey: secret,
	}}, log, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	c.Topics, c.Now = topics, time.Now
	_, err = c.Store.Update(t.Context(), func(tx *store.Tx) error {
		for _, a := range []control.Caller{controltest.Consumer, controltest.Provider} {
			tx.Put(&vpc.Account{ID: a.Account, Name: a.Name, Keys: []vpc.AccessKey{{ID: "AKIA" + a.Name + "00000000", Secret: secret}}})
		}
		network := vpc.VPCID("vpc-0000000000000000f")
		subnet := vpc.SubnetID("subnet-0000000000000000f")
		tx.Put(&vpc.VPC{ID: network, Owner: controltest.Provider.Account, VNI: 0x2000})
		tx.Put(&vpc.Subnet{ID: subnet, Owner: controltest.Provider.Account, VPC: network, CIDR: netip.MustParsePrefix("10.0.1.0/24"), Zone: "us-east-1a"})
		tx.Put(&vpc.LoadBalancer{ARN: nlb, Owner: controltest.Provider.Account, Name: "one", VPC: network, Active: true,
			Nodes: []vpc.BalancerNode{{Zone: "us-east-1a", Subnet: subnet, Addr: netip.MustParseAddr("10.0.1.9")}}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(api.New(c, log))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { c.RunEndpointLifecycle(ctx) })
	wg.Go(func() { c.RunNotifications(ctx) })
	t.Cleanup(func() { s.Close(); cancel(); wg.Wait() })
	client := func(a control.Caller) *ec2.Client {
		return ec2.New(ec2.Options{
			Region: region, HTTPClient: apitest.Client(), BaseEndpoint: &s.URL, RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider("AKIA"+a.Name+"00000000", secret, ""),
		})
	}
	return client(controltest.Consumer), client(controltest.Provider)
}

func TestNotificationsArriveAtAnSNSCompatibleServer(t *testing.T) {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s, for the SNS-compatible server: scripts/deps.sh installs it", program)
		}
	}
	ctx := t.Context()
	url := startServer(t)
	server := sns.New(sns.Options{
		Region: region, HTTPClient: apitest.Client(), BaseEndpoint: &url, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", secret, ""),
	})
	consumer, provider := postern(t, url)

	network, err := consumer.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	service, err := provider.CreateVpcEndpointServiceConfiguration(ctx, &ec2.CreateVpcEndpointServiceConfigurationInput{NetworkLoadBalancerArns: []string{nlb}})
	if err != nil {
		t.Fatal(err)
	}
	id := service.ServiceConfiguration.ServiceId
	if _, err := provider.ModifyVpcEndpointServicePermissions(ctx, &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: id, AddAllowedPrincipals: []string{"*"}}); err != nil {
		t.Fatal(err)
	}

	// The topic has to exist.
	notification := &ec2.CreateVpcEndpointConnectionNotificationInput{
		ServiceId: id, ConnectionNotificationArn: aws.String("arn:aws:sns:us-east-1:000000000000:connections"), ConnectionEvents: []string{"Connect", "Accept", "Reject", "Delete"},
	}
	if _, err := provider.CreateVpcEndpointConnectionNotification(ctx, notification); codeOf(err) != "InvalidParameter" || !strings.Contains(err.Error(), "does not exist") {
		t.Fatalf("a topic that is not there: %v", err)
	}
	topic := func(name string, attributes map[string]string) *string {
		t.Helper()
		made, err := server.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name, Attributes: attributes})
		if err != nil {
			t.Fatal(err)
		}
		queueName := "q-" + name
		q := newQueue(t, url, queueName)
		queues[name] = q
		if _, err := server.Subscribe(ctx, &sns.SubscribeInput{TopicArn: made.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:000000000000:" + queueName)}); err != nil {
			t.Fatal(err)
		}
		return made.TopicArn
	}
	connections := topic("connections", nil)
	made, err := provider.CreateVpcEndpointConnectionNotification(ctx, notification)
	if err != nil {
		t.Fatal(err)
	}
	nfn := made.ConnectionNotification.ConnectionNotificationId

	endpoint := func() *string {
		t.Helper()
		e, err := consumer.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
			VpcEndpointType: types.VpcEndpointTypeInterface, VpcId: network.Vpc.VpcId, ServiceName: service.ServiceConfiguration.ServiceName,
		})
		if err != nil {
			t.Fatal(err)
		}
		return e.VpcEndpoint.VpcEndpointId
	}
	e := endpoint()
	if out, err := provider.AcceptVpcEndpointConnections(ctx, &ec2.AcceptVpcEndpointConnectionsInput{ServiceId: id, VpcEndpointIds: []string{*e}}); err != nil || len(out.Unsuccessful) > 0 {
		t.Fatal(out, err)
	}
	if out, err := provider.RejectVpcEndpointConnections(ctx, &ec2.RejectVpcEndpointConnectionsInput{ServiceId: id, VpcEndpointIds: []string{*e}}); err != nil || len(out.Unsuccessful) > 0 {
		t.Fatal(out, err)
	}
	if out, err := consumer.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*e}}); err != nil || len(out.Unsuccessful) > 0 {
		t.Fatal(out, err)
	}
	ids := map[string]bool{}
	for i, got := range queues["connections"].receive(4) {
		want := told{topic: *connections, subject: "VPC endpoint " + *e + ": " + string(vpc.ConnectionEvents[i]), Delivery: control.Delivery{
			MessageID: got.MessageID, Time: got.Time, Event: vpc.ConnectionEvents[i], Region: region, Notification: vpc.NotificationID(*nfn),
			Endpoint: vpc.EndpointID(*e), EndpointOwner: controltest.Consumer.Account, Service: vpc.ServiceID(*id),
			ServiceName: *service.ServiceConfiguration.ServiceName, Sequence: int64(i + 1),
		}}
		if got != want || time.Since(got.Time) > time.Minute {
			t.Errorf("message %d is %+v, want %+v", i+1, got, want)
		}
		ids[got.MessageID] = true
	}
	if len(ids) != 4 {
		t.Errorf("4 messages have %d ids", len(ids))
	}

	// A topic that goes away disables the notification, which a modification
	// enables again.
	if _, err := server.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: connections}); err != nil {
		t.Fatal(err)
	}
	endpoint()
	state := func() types.ConnectionNotificationState {
		t.Helper()
		out, err := provider.DescribeVpcEndpointConnectionNotifications(ctx, &ec2.DescribeVpcEndpointConnectionNotificationsInput{ConnectionNotificationId: nfn})
		if err != nil {
			t.Fatal(err)
		}
		return out.ConnectionNotificationSet[0].ConnectionNotificationState
	}
	for deadline := time.Now().Add(20 * time.Second); state() != types.ConnectionNotificationStateDisabled; {
		if time.Now().After(deadline) {
			t.Fatal("the notification is not disabled although its topic is gone")
		}
		// sleep: there is nothing to wait for over the wire.
		time.Sleep(20 * time.Millisecond)
	}
	fifo := topic("ordered.fifo", map[string]string{"FifoTopic": "true"})
	if _, err := provider.ModifyVpcEndpointConnectionNotification(ctx, &ec2.ModifyVpcEndpointConnectionNotificationInput{ConnectionNotificationId: nfn, ConnectionNotificationArn: fifo}); err != nil {
		t.Fatal(err)
	}
	if s := state(); s != types.ConnectionNotificationStateEnabled {
		t.Errorf("after the modification it is %s", s)
	}
	e = endpoint()
	if out, err := provider.RejectVpcEndpointConnections(ctx, &ec2.RejectVpcEndpointConnectionsInput{ServiceId: id, VpcEndpointIds: []string{*e}}); err != nil || len(out.Unsuccessful) > 0 {
		t.Fatal(out, err)
	}
	if got := queues["ordered.fifo"].receive(2); got[0].Event != vpc.EventConnect || got[1].Event != vpc.EventReject || got[1].Endpoint != vpc.EndpointID(*e) || got[0].topic != *fifo {
		t.Errorf("the FIFO topic got %+v", got)
	}
}

// queues are the queues behind the test's topics, by the topic's name.
var queues = map[string]*queue{}

// codeOf is the AWS code of an SDK error.
func codeOf(err error) string {
	var e interface{ ErrorCode() string }
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}
