// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"iter"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// maxPerConnection bounds the notifications of one service or endpoint. A
// change of an endpoint writes a notice for each in one transaction.
const maxPerConnection = 10

// CreateNotificationInput are the parameters of
// CreateVpcEndpointConnectionNotification. Exactly one of Service and Endpoint
// is set.
type CreateNotificationInput struct {
	Service     vpc.ServiceID
	Endpoint    vpc.EndpointID
	Topic       vpc.ARN
	Events      []vpc.ConnectionEvent
	ClientToken string
}

// CreateNotification has the events of the caller's service, or of the
// caller's interface endpoint, sent to a topic from now on. The topic is asked
// whether it can be published to.
func (c *Control) CreateNotification(ctx context.Context, caller Caller, in CreateNotificationInput) (*vpc.ConnectionNotification, error) {
	const action = "CreateVpcEndpointConnectionNotification"
	token := in.ClientToken
	in.ClientToken = ""
	if err := checkToken(token); err != nil {
		return nil, err
	}
	switch {
	case in.Service != "" && in.Endpoint != "":
		return nil, vpc.Errorf(vpc.Combination, "ServiceId", "", "The parameters ServiceId and VpcEndpointId cannot be used together")
	case in.Service == "" && in.Endpoint == "":
		return nil, vpc.Errorf(vpc.Missing, "ServiceId", "", "The request must contain the parameter ServiceId or VpcEndpointId")
	}
	var err error
	if in.Events, err = checkEvents(in.Events); err != nil {
		return nil, err
	}
	if err := checkTopicARN(in.Topic); err != nil {
		return nil, err
	}
	// A topic is asked outside of the transaction, and neither for what cannot
	// be nor for what has been done.
	v := c.Store.Snapshot()
	if err := notifiable(v, caller, in); err != nil {
		return nil, err
	}
	if _, done := vpc.Get[vpc.ClientToken](v, vpc.TokenKey(caller.Account, action, token)); token == "" || !done {
		if err := c.Topics.Check(ctx, caller.Account, in.Topic); err != nil {
			return nil, err
		}
	}
	var made *vpc.ConnectionNotification
	err = c.update(ctx, caller, func(tx *store.Tx) error {
		if id, err := remembered(tx, caller, action, token, in); err != nil {
			return err
		} else if id != "" {
			made, err = OwnedNotification(tx, caller, vpc.NotificationID(id))
			return err
		}
		if err := notifiable(tx, caller, in); err != nil {
			return err
		}
		if err := c.checkNotificationQuota(tx, caller, in); err != nil {
			return err
		}
		id, err := c.newID(vpc.PrefixNotification)
		if err != nil {
			return err
		}
		made = &vpc.ConnectionNotification{
			ID: vpc.NotificationID(id), Owner: caller.Account, Service: in.Service, Endpoint: in.Endpoint,
			Topic: in.Topic, Events: in.Events, State: vpc.NotificationEnabled, Created: c.Now(),
		}
		tx.Put(made)
		c.remember(tx, caller, action, token, in, id)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// notifiable refuses a service or endpoint that is not the caller's or has no
// connection events.
func notifiable(v vpc.View, caller Caller, in CreateNotificationInput) error {
	if in.Service != "" {
		_, err := OwnedService(v, caller, in.Service)
		return err
	}
	e, err := OwnedEndpoint(v, caller, in.Endpoint)
	if err != nil {
		return err
	}
	if e.Type != vpc.InterfaceEndpoint {
		return badEndpoint("The VPC endpoint %s is of type %s: connection notifications are for interface endpoints", e.ID, e.Type)
	}
	if e.State == vpc.EndpointDeleting {
		return vpc.Errorf(vpc.WrongState, string(vpc.KindEndpoint), string(e.ID), "The Vpc Endpoint '%s' is in the state %s, which does not allow this", e.ID, e.State)
	}
	return nil
}

func (c *Control) checkNotificationQuota(tx *store.Tx, caller Caller, in CreateNotificationInput) error {
	// The quota counts a set: writing the account makes racing calls conflict.
	if a, ok := vpc.Get[vpc.Account](tx, caller.Account); ok {
		tx.Touch(a)
	}
	all, same := 0, 0
	for n := range vpc.By[vpc.ConnectionNotification](tx, vpc.IndexOwner, caller.Account) {
		all++
		if n.Service == in.Service && n.Endpoint == in.Endpoint {
			same++
		}
	}
	if same >= maxPerConnection {
		return vpc.Errorf(vpc.Limit, string(vpc.KindNotification), "", "The maximum number of connection notifications for %s%s, %d, has been reached", in.Service, in.Endpoint, maxPerConnection)
	}
	if all >= c.Quotas.Notifications {
		return vpc.Errorf(vpc.Limit, string(vpc.KindNotification), "", "The maximum number of connection notifications per region, %d, has been reached", c.Quotas.Notifications)
	}
	return nil
}

// ModifyNotificationInput are the parameters of
// ModifyVpcEndpointConnectionNotification. What is empty stays as it is.
type ModifyNotificationInput struct {
	ID     vpc.NotificationID
	Topic  vpc.ARN
	Events []vpc.ConnectionEvent
}

// ModifyNotification changes the topic or the events, and enables the
// notification if it is Disabled: so its topic is asked in any case. What
// waits goes to the new topic.
func (c *Control) ModifyNotification(ctx context.Context, caller Caller, in ModifyNotificationInput) error {
	old, err := OwnedNotification(c.View(), caller, in.ID)
	if err != nil {
		return err
	}
	if len(in.Events) > 0 {
		if in.Events, err = checkEvents(in.Events); err != nil {
			return err
		}
	}
	topic := old.Topic
	if in.Topic != "" {
		if err := checkTopicARN(in.Topic); err != nil {
			return err
		}
		topic = in.Topic
	}
	if err := c.Topics.Check(ctx, caller.Account, topic); err != nil {
		return err
	}
	return c.update(ctx, caller, func(tx *store.Tx) error {
		n, err := OwnedNotification(tx, caller, in.ID)
		if err != nil {
			return err
		}
		n = vpc.Edit(n)
		n.Topic, n.State, n.Reason = topic, vpc.NotificationEnabled, ""
		if len(in.Events) > 0 {
			n.Events = in.Events
		}
		tx.Put(n)
		return nil
	})
}

// DeleteNotifications deletes notifications. What waits to be sent for them
// is not sent any more.
func (c *Control) DeleteNotifications(ctx context.Context, caller Caller, ids []vpc.NotificationID) ([]ItemError, error) {
	ids = unique(ids)
	var failed []ItemError
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		failed = nil
		for _, id := range ids {
			n, err := OwnedNotification(tx, caller, id)
			if err != nil {
				failed = append(failed, ItemError{string(id), err})
				continue
			}
			tx.Delete(n) // its notices go with RunNotifications
		}
		return nil
	})
	return failed, err
}

// Notifications yields the caller's notifications.
func Notifications(v vpc.View, caller Caller) iter.Seq[*vpc.ConnectionNotification] {
	return func(yield func(*vpc.ConnectionNotification) bool) {
		for n := range vpc.By[vpc.ConnectionNotification](v, vpc.IndexOwner, caller.Account) {
			if n.Closing.IsZero() && !yield(n) {
				return
			}
		}
	}
}

// OwnedNotification is Owned for a notification that its owner still sees.
func OwnedNotification(v vpc.View, caller Caller, id vpc.NotificationID) (*vpc.ConnectionNotification, error) {
	n, err := Owned[vpc.ConnectionNotification](v, caller, id)
	if err != nil || !n.Closing.IsZero() {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindNotification), string(id), "The connection notification ID '%s' does not exist", id)
	}
	return n, nil
}

// checkEvents refuses unknown events, and answers the others in order.
func checkEvents(events []vpc.ConnectionEvent) ([]vpc.ConnectionEvent, error) {
	for _, e := range events {
		if !slices.Contains(vpc.ConnectionEvents, e) {
			return nil, badEndpoint("'%.64s' is not a connection event: ConnectionEvents has Connect, Accept, Reject and Delete", e)
		}
	}
	var out []vpc.ConnectionEvent
	for _, e := range vpc.ConnectionEvents {
		if slices.Contains(events, e) {
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		return nil, vpc.Errorf(vpc.Missing, "ConnectionEvents", "", "The request must contain the parameter ConnectionEvents")
	}
	return out, nil
}
