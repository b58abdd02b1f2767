// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

const (
	epTopic  = "arn:aws:sns:us-east-1:222222222222:one"
	epTopic2 = "arn:aws:sns:us-east-1:222222222222:two"
)

// someTopics takes everything for the two topics above and knows no other.
type someTopics struct{}

func (someTopics) Check(_ context.Context, a vpc.AccountID, t vpc.ARN) error {
	if t == epTopic || t == epTopic2 {
		return nil
	}
	return control.NoSuchTopic(a, t)
}

func (someTopics) Deliver(context.Context, control.Delivery) error { return nil }

// notifiedAPI is the API with topics, a service of the provider's and the
// consumer's endpoint to it.
func notifiedAPI(t *testing.T) (a *endpointAPI, service, endpoint string) {
	t.Helper()
	a = newEndpointAPI(t)
	a.c.Topics = someTopics{}
	ctx := context.Background()
	s, err := a.c.CreateService(ctx, controltest.Provider, control.CreateServiceInput{Balancers: []vpc.ARN{epNLB}, AcceptanceRequired: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.c.ModifyPermissions(ctx, controltest.Provider, control.ModifyPermissionsInput{ID: s.ID, Add: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	e, err := a.c.CreateEndpoint(ctx, controltest.Consumer, control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, VPC: vpc.VPCID(a.vpc), ServiceName: s.Name})
	if err != nil {
		t.Fatal(err)
	}
	return a, string(s.ID), string(e.ID)
}

func TestConnectionNotificationsThroughTheSDK(t *testing.T) {
	t.Parallel()
	a, service, endpoint := notifiedAPI(t)
	ctx := context.Background()
	provider, consumer := a.client(controltest.Provider), a.client(controltest.Consumer)
	made, err := provider.CreateVpcEndpointConnectionNotification(ctx, &sdk.CreateVpcEndpointConnectionNotificationInput{
		ServiceId: &service, ConnectionNotificationArn: aws.String(epTopic), ConnectionEvents: []string{"Reject", "Connect"}, ClientToken: aws.String("t"),
	})
	if err != nil {
		t.Fatal(err)
	}
	n := made.ConnectionNotification
	id := aws.ToString(n.ConnectionNotificationId)
	if !vpc.ValidID("vpce-nfn", id) || aws.ToString(n.ServiceId) != service || n.VpcEndpointId != nil || aws.ToString(n.ConnectionNotificationArn) != epTopic ||
		n.ConnectionNotificationType != types.ConnectionNotificationTypeTopic || n.ConnectionNotificationState != types.ConnectionNotificationStateEnabled ||
		!slices.Equal(n.ConnectionEvents, []string{"Connect", "Reject"}) || aws.ToString(n.ServiceRegion) != "us-east-1" || aws.ToString(made.ClientToken) != "t" {
		t.Errorf("made %+v", n)
	}
	own, err := consumer.CreateVpcEndpointConnectionNotification(ctx, &sdk.CreateVpcEndpointConnectionNotificationInput{
		VpcEndpointId: &endpoint, ConnectionNotificationArn: aws.String(epTopic2), ConnectionEvents: []string{"Delete"},
	})
	if err != nil || aws.ToString(own.ConnectionNotification.VpcEndpointId) != endpoint || own.ConnectionNotification.ServiceId != nil {
		t.Fatalf("%+v %v", own, err)
	}
	if _, err := a.c.Store.Update(ctx, func(tx *store.Tx) error {
		n, _ := vpc.Get[vpc.ConnectionNotification](tx, id)
		n = vpc.Edit(n)
		n.State = vpc.NotificationDisabled
		tx.Put(n)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mod, err := provider.ModifyVpcEndpointConnectionNotification(ctx, &sdk.ModifyVpcEndpointConnectionNotificationInput{
		ConnectionNotificationId: &id, ConnectionNotificationArn: aws.String(epTopic2), ConnectionEvents: []string{"Accept"},
	})
	if err != nil || !aws.ToBool(mod.ReturnValue) {
		t.Fatalf("%+v %v", mod, err)
	}
	got, err := provider.DescribeVpcEndpointConnectionNotifications(ctx, &sdk.DescribeVpcEndpointConnectionNotificationsInput{ConnectionNotificationId: &id})
	if err != nil || len(got.ConnectionNotificationSet) != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	if n := got.ConnectionNotificationSet[0]; aws.ToString(n.ConnectionNotificationArn) != epTopic2 || !slices.Equal(n.ConnectionEvents, []string{"Accept"}) || n.ConnectionNotificationState != types.ConnectionNotificationStateEnabled {
		t.Errorf("after the change: %+v", n)
	}
	del, err := provider.DeleteVpcEndpointConnectionNotifications(ctx, &sdk.DeleteVpcEndpointConnectionNotificationsInput{
		ConnectionNotificationIds: []string{id, *own.ConnectionNotification.ConnectionNotificationId},
	})
	if err != nil || len(del.Unsuccessful) != 1 || *del.Unsuccessful[0].ResourceId != *own.ConnectionNotification.ConnectionNotificationId ||
		*del.Unsuccessful[0].Error.Code != "InvalidConnectionNotification" {
		t.Errorf("deleted %+v %v", del, err)
	}
	_, err = provider.DescribeVpcEndpointConnectionNotifications(ctx, &sdk.DescribeVpcEndpointConnectionNotificationsInput{ConnectionNotificationId: &id})
	if code(err) != "InvalidConnectionNotification" {
		t.Errorf("a deleted one: %v", err)
	}
}

func TestConnectionNotificationsAreFilteredAndPaged(t *testing.T) {
	t.Parallel()
	a, service, endpoint := notifiedAPI(t)
	ctx := context.Background()
	provider := a.client(controltest.Provider)
	var ids []string
	for i := range 5 {
		topic := epTopic
		if i == 0 {
			topic = epTopic2
		}
		made, err := provider.CreateVpcEndpointConnectionNotification(ctx, &sdk.CreateVpcEndpointConnectionNotificationInput{
			ServiceId: &service, ConnectionNotificationArn: &topic, ConnectionEvents: []string{"Connect"},
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, *made.ConnectionNotification.ConnectionNotificationId)
	}
	if _, err := a.c.CreateNotification(ctx, controltest.Consumer, control.CreateNotificationInput{Endpoint: vpc.EndpointID(endpoint), Topic: epTopic, Events: vpc.ConnectionEvents}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, value string
		want        int
	}{
		{"connection-notification-arn", epTopic, 4}, {"connection-notification-arn", "*:two", 1},
		{"connection-notification-id", ids[3], 1}, {"connection-notification-id", "vpce-nfn-00000000000000000", 0},
		{"connection-notification-state", "Enabled", 5}, {"connection-notification-state", "Disabled", 0},
		{"connection-notification-type", "Topic", 5}, {"connection-notification-type", "Queue", 0},
		{"service-id", service, 5}, {"service-id", "vpce-svc-00000000000000000", 0},
		{"vpc-endpoint-id", endpoint, 0},
	} {
		got, err := provider.DescribeVpcEndpointConnectionNotifications(ctx, &sdk.DescribeVpcEndpointConnectionNotificationsInput{
			Filters: []types.Filter{{Name: &c.name, Values: []string{c.value}}},
		})
		if err != nil || len(got.ConnectionNotificationSet) != c.want {
			t.Errorf("%s %s: %d, %v, want %d", c.name, c.value, len(got.ConnectionNotificationSet), err, c.want)
		}
	}
	_, err := provider.DescribeVpcEndpointConnectionNotifications(ctx, &sdk.DescribeVpcEndpointConnectionNotificationsInput{
		Filters: []types.Filter{{Name: aws.String("tag-key"), Values: []string{"x"}}},
	})
	if code(err) != "InvalidParameterValue" {
		t.Errorf("an unknown filter: %v", err)
	}
	var paged []string
	pages := sdk.NewDescribeVpcEndpointConnectionNotificationsPaginator(provider, &sdk.DescribeVpcEndpointConnectionNotificationsInput{MaxResults: aws.Int32(2)})
	n := 0
	for ; pages.HasMorePages(); n++ {
		p, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.ConnectionNotificationSet {
			paged = append(paged, *c.ConnectionNotificationId)
		}
	}
	slices.Sort(ids)
	if n != 3 || !slices.Equal(paged, ids) {
		t.Errorf("%d pages with %q, want 3 with %q", n, paged, ids)
	}
}

func TestConnectionNotificationErrors(t *testing.T) {
	t.Parallel()
	a, service, endpoint := notifiedAPI(t)
	for name, c := range map[string]struct {
		pairs []string
		code  string
		says  string
	}{
		"dry run":           {[]string{"Create", "ServiceId", service, "ConnectionNotificationArn", epTopic, "ConnectionEvents.1", "Accept", "DryRun", "true"}, "DryRunOperation", ""},
		"dry run, no topic": {[]string{"Create", "ServiceId", service, "ConnectionNotificationArn", epTopic + "x", "ConnectionEvents.1", "Accept", "DryRun", "true"}, "InvalidParameter", ""},
		"topic unknown":     {[]string{"Create", "ServiceId", service, "ConnectionNotificationArn", epTopic + "x", "ConnectionEvents.1", "Accept"}, "InvalidParameter", epTopic + "x"},
		"not a topic":       {[]string{"Create", "ServiceId", service, "ConnectionNotificationArn", "one", "ConnectionEvents.1", "Accept"}, "InvalidParameter", "&#39;one&#39;"},
		"unknown event":     {[]string{"Create", "ServiceId", service, "ConnectionNotificationArn", epTopic, "ConnectionEvents.1", "Expire"}, "InvalidParameter", "Expire"},
		"no events":         {[]string{"Create", "ServiceId", service, "ConnectionNotificationArn", epTopic}, "MissingParameter", "ConnectionEvents"},
		"no ARN":            {[]string{"Create", "ServiceId", service, "ConnectionEvents.1", "Accept"}, "MissingParameter", "ConnectionNotificationArn"},
		"nothing to watch":  {[]string{"Create", "ConnectionNotificationArn", epTopic, "ConnectionEvents.1", "Accept"}, "MissingParameter", "ServiceId"},
		"both":              {[]string{"Create", "ServiceId", service, "VpcEndpointId", endpoint, "ConnectionNotificationArn", epTopic, "ConnectionEvents.1", "Accept"}, "InvalidParameterCombination", ""},
		"malformed service": {[]string{"Create", "ServiceId", "svc", "ConnectionNotificationArn", epTopic, "ConnectionEvents.1", "Accept"}, "InvalidVpcEndpointServiceIdId.Malformed", ""},
		"unknown service":   {[]string{"Create", "ServiceId", "vpce-svc-00000000000000000", "ConnectionNotificationArn", epTopic, "ConnectionEvents.1", "Accept"}, "InvalidVpcEndpointServiceId.NotFound", ""},
		"another's":         {[]string{"Create", "VpcEndpointId", endpoint, "ConnectionNotificationArn", epTopic, "ConnectionEvents.1", "Accept"}, "InvalidVpcEndpointId.NotFound", endpoint},
		"unknown parameter": {[]string{"Create", "ServiceId", service, "ConnectionNotificationArn", epTopic, "ConnectionEvents.1", "Accept", "TopicArn", "x"}, "UnknownParameter", "TopicArn"},
		"modify unknown":    {[]string{"Modify", "ConnectionNotificationId", "vpce-nfn-00000000000000000"}, "InvalidConnectionNotification", "vpce-nfn-00000000000000000"},
		"modify malformed":  {[]string{"Modify", "ConnectionNotificationId", "vpce-0"}, "InvalidConnectionNotification", "vpce-0"},
	} {
		status, body := a.call(controltest.Provider, form(c.pairs[0]+"VpcEndpointConnectionNotification", c.pairs[1:]...))
		if status == 200 || !strings.Contains(body, "<Code>"+c.code+"</Code>") || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s, want %s: %s", name, status, body, c.code, c.says)
		}
	}
	status, body := a.call(controltest.Provider, form("DescribeVpcEndpointConnectionNotifications"))
	if status != 200 || strings.Contains(body, "vpce-nfn-") {
		t.Errorf("left behind: %d %s", status, body)
	}
	status, body = a.call(controltest.Provider, form("DeleteVpcEndpointConnectionNotifications", "ConnectionNotificationId.1", "nfn"))
	if status != 400 || !strings.Contains(body, "<Code>InvalidConnectionNotification</Code>") {
		t.Errorf("delete malformed: %d %s", status, body)
	}
}
