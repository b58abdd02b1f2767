// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

func TestEveryChangeOfAConnectionIsToldInOrder(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	f.live()
	f.courier()
	s := f.service(true, "")
	n := f.notify(controltest.Provider, control.CreateNotificationInput{Service: s.ID})
	e := f.toService(s)
	own := f.notify(controltest.Consumer, control.CreateNotificationInput{Endpoint: e.ID, Topic: topicTwo})
	f.accept(s, e)
	f.reject(s, e)
	f.accept(s, e)
	f.remove(e)
	var provider, consumer []control.Delivery
	for _, d := range to.await(t, 9) {
		if d.Topic == topicOne {
			provider = append(provider, d)
		} else {
			consumer = append(consumer, d)
		}
	}
	if got, want := told(provider), []string{"Connect 1", "Accept 2", "Reject 3", "Accept 4", "Delete 5"}; !slices.Equal(got, want) {
		t.Errorf("the provider was told %q, want %q", got, want)
	}
	if got, want := told(consumer), []string{"Accept 2", "Reject 3", "Accept 4", "Delete 5"}; !slices.Equal(got, want) {
		t.Errorf("the consumer was told %q, want %q", got, want)
	}
	ids := map[string]bool{}
	for _, d := range slices.Concat(provider, consumer) {
		ids[d.MessageID] = true
	}
	if len(ids) != 9 {
		t.Errorf("9 messages have %d ids", len(ids))
	}
	d := provider[1]
	d.MessageID = ""
	if want := (control.Delivery{
		Topic: topicOne, Account: controltest.Provider.Account, Event: vpc.EventAccept, Time: f.clock.Now(), Region: "us-east-1",
		Notification: n.ID, Endpoint: e.ID, EndpointOwner: controltest.Consumer.Account, Service: s.ID, ServiceName: s.Name, Sequence: 2,
	}); d != want {
		t.Errorf("delivered %+v, want %+v", d, want)
	}
	f.await("the end of the endpoint's notification", func(v vpc.View) bool {
		_, ok := vpc.Get[vpc.ConnectionNotification](v, own.ID)
		return !ok
	})
	f.notification(n.ID) // the service's stays
}

func TestAProviderWhoNeedNotBeAskedHasAccepted(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	f.live()
	f.courier()
	s := f.service(false, "")
	f.notify(controltest.Provider, control.CreateNotificationInput{Service: s.ID})
	f.toService(s)
	if got := told(to.await(t, 2)); !slices.Equal(got, []string{"Connect 1", "Accept 2"}) {
		t.Errorf("told %q", got)
	}
}

// What did not happen, or has no event in AWS, is not told.
func TestNothingIsToldThatDidNotHappen(t *testing.T) {
	t.Parallel()
	f, _ := newNotifying(t)
	s := f.service(true, "")
	n := f.notify(controltest.Provider, control.CreateNotificationInput{Service: s.ID})
	dry := controltest.Consumer
	dry.DryRun = true
	_, err := f.CreateEndpoint(f.ctx, dry, control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, VPC: f.vpc, ServiceName: s.Name})
	if control.KindOf(err) != vpc.DryRun {
		t.Fatal(err)
	}
	_, err = f.CreateEndpoint(f.ctx, controltest.Consumer, control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, VPC: f.vpc, ServiceName: s.Name, Subnets: []vpc.SubnetID{foreign}})
	if control.KindOf(err) != vpc.NotFound {
		t.Fatal(err)
	}
	if w := f.waiting(n.ID); len(w) != 0 {
		t.Fatalf("%d notices of what failed", len(w))
	}
	late := f.toService(s)
	f.clock.Advance(8 * 24 * time.Hour)
	f.live()
	f.awaitState(late.ID, vpc.EndpointExpired)
	failed, err := f.AcceptConnections(f.ctx, controltest.Provider, s.ID, []vpc.EndpointID{late.ID})
	if err != nil || len(failed) != 1 {
		t.Fatal(err, failed)
	}
	other := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s3Name})
	f.remove(other)
	f.remove(late)
	f.awaitGone(late.ID)
	failed, err = f.DeleteEndpoints(f.ctx, controltest.Consumer, []vpc.EndpointID{late.ID})
	if err != nil || len(failed) != 1 {
		t.Fatal(err, failed)
	}
	var got []string
	for _, w := range f.waiting(n.ID) {
		got = append(got, fmt.Sprintf("%s %s %d", w.Event, w.Endpoint, w.Sequence))
	}
	if want := []string{"Connect " + string(late.ID) + " 1", "Delete " + string(late.ID) + " 2"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestOnlyWhatANotificationAsksForIsSent(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	f.live()
	f.courier()
	s := f.service(true, "")
	n := f.notify(controltest.Provider, control.CreateNotificationInput{Service: s.ID, Events: []vpc.ConnectionEvent{vpc.EventReject, vpc.EventDelete, vpc.EventReject}})
	if !slices.Equal(n.Events, []vpc.ConnectionEvent{vpc.EventReject, vpc.EventDelete}) {
		t.Errorf("events %q", n.Events)
	}
	e := f.toService(s)
	f.accept(s, e)
	f.reject(s, e)
	f.remove(e)
	if got := told(to.await(t, 2)); !slices.Equal(got, []string{"Reject 3", "Delete 4"}) {
		t.Errorf("told %q", got)
	}
}

func TestCreateNotificationRefuses(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	f.live()
	s := f.service(true, "")
	e := f.toService(s)
	gateway := f.create(control.CreateEndpointInput{ServiceName: s3Name})
	all := vpc.ConnectionEvents
	to.check = func(a vpc.AccountID, t vpc.ARN) error {
		if t == topicTwo {
			return control.NoSuchTopic(a, t)
		}
		return nil
	}
	for name, c := range map[string]struct {
		caller   control.Caller
		in       control.CreateNotificationInput
		kind     vpc.ErrorKind
		resource string
	}{
		"nothing to watch":    {controltest.Provider, control.CreateNotificationInput{Topic: topicOne, Events: all}, vpc.Missing, "ServiceId"},
		"both":                {controltest.Provider, control.CreateNotificationInput{Service: s.ID, Endpoint: e.ID, Topic: topicOne, Events: all}, vpc.Combination, "ServiceId"},
		"another's service":   {controltest.Consumer, control.CreateNotificationInput{Service: s.ID, Topic: topicOne, Events: all}, vpc.NotFound, string(vpc.KindService)},
		"another's endpoint":  {controltest.Provider, control.CreateNotificationInput{Endpoint: e.ID, Topic: topicOne, Events: all}, vpc.NotFound, string(vpc.KindEndpoint)},
		"a gateway endpoint":  {controltest.Consumer, control.CreateNotificationInput{Endpoint: gateway.ID, Topic: topicOne, Events: all}, vpc.Invalid, "endpoint-parameter"},
		"no events":           {controltest.Provider, control.CreateNotificationInput{Service: s.ID, Topic: topicOne}, vpc.Missing, "ConnectionEvents"},
		"an unknown event":    {controltest.Provider, control.CreateNotificationInput{Service: s.ID, Topic: topicOne, Events: []vpc.ConnectionEvent{"connect"}}, vpc.Invalid, "endpoint-parameter"},
		"no topic's ARN":      {controltest.Provider, control.CreateNotificationInput{Service: s.ID, Topic: "arn:aws:sqs:us-east-1:222222222222:one", Events: all}, vpc.Invalid, "endpoint-parameter"},
		"a topic not allowed": {controltest.Provider, control.CreateNotificationInput{Service: s.ID, Topic: topicTwo, Events: all}, vpc.Invalid, "endpoint-parameter"},
		"a token too long":    {controltest.Provider, control.CreateNotificationInput{Service: s.ID, Topic: topicOne, Events: all, ClientToken: string(make([]byte, 65))}, vpc.Invalid, "ClientToken"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.CreateNotification(f.ctx, c.caller, c.in)
			fails(t, err, c.kind, c.resource)
		})
	}
	if n := len(slices.Collect(vpc.All[vpc.ConnectionNotification](f.View()))); n != 0 {
		t.Errorf("%d notifications were left behind", n)
	}
	if got := slices.Compact(to.checked); !slices.Equal(got, []vpc.ARN{topicTwo}) {
		t.Errorf("topics asked for what cannot be: %q", got)
	}
}

func TestNotificationsAreBounded(t *testing.T) {
	t.Parallel()
	f, _ := newNotifying(t)
	f.Quotas.Notifications = 11
	s := f.service(true, "")
	in := control.CreateNotificationInput{Service: s.ID, Topic: topicOne, Events: vpc.ConnectionEvents}
	for range 10 {
		f.notify(controltest.Provider, in)
	}
	_, err := f.CreateNotification(f.ctx, controltest.Provider, in)
	fails(t, err, vpc.Limit, string(vpc.KindNotification))
	second, err := f.CreateService(f.ctx, controltest.Provider, control.CreateServiceInput{Balancers: []vpc.ARN{nlbTwo}})
	if err != nil {
		t.Fatal(err)
	}
	in.Service = second.ID
	f.notify(controltest.Provider, in)
	_, err = f.CreateNotification(f.ctx, controltest.Provider, in)
	fails(t, err, vpc.Limit, string(vpc.KindNotification))
}

func TestARepeatedNotificationIsTheSame(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	s := f.service(true, "")
	in := control.CreateNotificationInput{Service: s.ID, ClientToken: "one"}
	first := f.notify(controltest.Provider, in)
	to.check = func(vpc.AccountID, vpc.ARN) error { return vpc.Errorf(vpc.Unavailable, "topic", "", "down") }
	if again := f.notify(controltest.Provider, in); again.ID != first.ID {
		t.Errorf("the same call made %s and %s", first.ID, again.ID)
	}
	to.check = nil
	in.Topic, in.Events = topicTwo, vpc.ConnectionEvents
	_, err := f.CreateNotification(f.ctx, controltest.Provider, in)
	fails(t, err, vpc.TokenMismatch, "ClientToken")
}

func TestModifyNotificationChangesWhatIsGivenOnly(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	s := f.service(true, "")
	n := f.notify(controltest.Provider, control.CreateNotificationInput{Service: s.ID})
	modify := func(caller control.Caller, in control.ModifyNotificationInput) error {
		return f.ModifyNotification(f.ctx, caller, in)
	}
	if err := modify(controltest.Provider, control.ModifyNotificationInput{ID: n.ID, Events: []vpc.ConnectionEvent{vpc.EventAccept}}); err != nil {
		t.Fatal(err)
	}
	if n = f.notification(n.ID); n.Topic != topicOne || !slices.Equal(n.Events, []vpc.ConnectionEvent{vpc.EventAccept}) {
		t.Errorf("after a change of events: %+v", n)
	}
	e := f.toService(s)
	f.live()
	f.accept(s, e)
	if err := modify(controltest.Provider, control.ModifyNotificationInput{ID: n.ID, Topic: topicTwo}); err != nil {
		t.Fatal(err)
	}
	if n = f.notification(n.ID); n.Topic != topicTwo || !slices.Equal(n.Events, []vpc.ConnectionEvent{vpc.EventAccept}) {
		t.Errorf("after a change of topic: %+v", n)
	}
	f.courier()
	if d := to.await(t, 1); d[0].Topic != topicTwo || d[0].Event != vpc.EventAccept {
		t.Errorf("what waited went to %+v", d)
	}
	fails(t, modify(controltest.Consumer, control.ModifyNotificationInput{ID: n.ID}), vpc.NotFound, string(vpc.KindNotification))
	fails(t, modify(controltest.Provider, control.ModifyNotificationInput{ID: "vpce-nfn-00000000000000000"}), vpc.NotFound, string(vpc.KindNotification))
	fails(t, modify(controltest.Provider, control.ModifyNotificationInput{ID: n.ID, Topic: "topic"}), vpc.Invalid, "endpoint-parameter")
	fails(t, modify(controltest.Provider, control.ModifyNotificationInput{ID: n.ID, Events: []vpc.ConnectionEvent{"Connected"}}), vpc.Invalid, "endpoint-parameter")
	to.check = func(a vpc.AccountID, t vpc.ARN) error { return control.NoSuchTopic(a, t) }
	fails(t, modify(controltest.Provider, control.ModifyNotificationInput{ID: n.ID}), vpc.Invalid, "endpoint-parameter")
}

func TestDeletedNotificationsSendNothingMore(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	s := f.service(true, "")
	n := f.notify(controltest.Provider, control.CreateNotificationInput{Service: s.ID})
	keep := f.notify(controltest.Provider, control.CreateNotificationInput{Service: s.ID, Topic: topicTwo})
	f.toService(s)
	failed, err := f.DeleteNotifications(f.ctx, controltest.Consumer, []vpc.NotificationID{n.ID})
	if err != nil || len(failed) != 1 {
		t.Fatal(err, failed)
	}
	fails(t, failed[0].Err, vpc.NotFound, string(vpc.KindNotification))
	failed, err = f.DeleteNotifications(f.ctx, controltest.Provider, []vpc.NotificationID{"vpce-nfn-00000000000000000", n.ID, n.ID})
	if err != nil || len(failed) != 1 || failed[0].ID != "vpce-nfn-00000000000000000" {
		t.Fatal(err, failed)
	}
	f.courier()
	f.await("the end of what waits", func(vpc.View) bool { return len(f.waiting(n.ID))+len(f.waiting(keep.ID)) == 0 })
	if got := to.await(t, 1); len(got) != 1 || got[0].Topic != topicTwo {
		t.Errorf("sent %+v", got)
	}
}

// The last event goes out although what it tells of is gone.
func TestNotificationsEndAfterTheLastEvent(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	f.live()
	s := f.service(true, "")
	n := f.notify(controltest.Provider, control.CreateNotificationInput{Service: s.ID, Events: []vpc.ConnectionEvent{vpc.EventDelete}})
	idle := f.notify(controltest.Provider, control.CreateNotificationInput{Service: s.ID, Events: []vpc.ConnectionEvent{vpc.EventReject}})
	e := f.toService(s)
	f.remove(e)
	f.awaitGone(e.ID)
	failed, err := f.DeleteServices(f.ctx, controltest.Provider, []vpc.ServiceID{s.ID})
	if err != nil || len(failed) > 0 {
		t.Fatal(err, failed)
	}
	if _, ok := vpc.Get[vpc.ConnectionNotification](f.View(), idle.ID); ok {
		t.Error("a notification with nothing to send outlived its service")
	}
	if list := slices.Collect(control.Notifications(f.View(), controltest.Provider)); len(list) != 0 {
		t.Errorf("its owner still sees %v", list)
	}
	_, err = control.OwnedNotification(f.View(), controltest.Provider, n.ID)
	fails(t, err, vpc.NotFound, string(vpc.KindNotification))
	f.courier()
	if got := told(to.await(t, 1)); !slices.Equal(got, []string{"Delete 2"}) {
		t.Errorf("told %q", got)
	}
	f.await("the end of the notification", func(v vpc.View) bool {
		_, ok := vpc.Get[vpc.ConnectionNotification](v, n.ID)
		return !ok
	})
}
