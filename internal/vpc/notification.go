// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"fmt"
	"slices"
	"time"
)

// Kinds of connection notifications.
const (
	KindNotification Kind = "connection-notification"
	KindNotice       Kind = "connection-notice"
)

// NotificationID is vpce-nfn-...
type NotificationID string

// PrefixNotification is the prefix of a NotificationID.
const PrefixNotification = "vpce-nfn"

// ConnectionEvent is what can happen to the connection of an endpoint.
type ConnectionEvent string

// Connection events, in AWS's words. A request for acceptance that grows too
// old has none.
const (
	EventConnect ConnectionEvent = "Connect" // a consumer made the endpoint
	EventAccept  ConnectionEvent = "Accept"  // the provider agreed, or needs not to be asked
	EventReject  ConnectionEvent = "Reject"  // the provider turned it down
	EventDelete  ConnectionEvent = "Delete"  // the consumer deletes it
)

// ConnectionEvents are all there are.
var ConnectionEvents = []ConnectionEvent{EventConnect, EventAccept, EventReject, EventDelete}

// NotificationState says whether events are sent.
type NotificationState string

// Notification states.
const (
	NotificationEnabled NotificationState = "Enabled"
	// NotificationDisabled: the topic refused; nothing is kept for it until
	// its owner modifies the notification.
	NotificationDisabled NotificationState = "Disabled"
)

// ConnectionNotification sends the events of one endpoint, or of all endpoints
// of one service, to a topic. Exactly one of Service and Endpoint is set.
type ConnectionNotification struct {
	ID       NotificationID    `json:"id"`
	Owner    AccountID         `json:"owner"`
	Service  ServiceID         `json:"service,omitempty"`
	Endpoint EndpointID        `json:"endpoint,omitempty"`
	Topic    ARN               `json:"topic"`
	Events   []ConnectionEvent `json:"events"` // each once, in the order of ConnectionEvents
	State    NotificationState `json:"state"`
	// Reason is why it is Disabled.
	Reason string `json:"reason,omitempty"`
	// Lost counts the events that will never be delivered: those that waited
	// when too many did, and those that waited when the topic refused.
	Lost int64 `json:"lost,omitempty"`
	// Closing is when its service or endpoint went, while notices still
	// waited: it is gone for its owner, and goes with the last of them.
	Closing time.Time `json:"closing,omitzero"`
	Created time.Time `json:"created"`
}

// IndexNotification finds the notices of a notification. A notification is
// found by IndexService or IndexEndpoint.
const IndexNotification = "notification"

// Wants reports whether an event is to be sent.
func (n *ConnectionNotification) Wants(e ConnectionEvent) bool {
	return n.State == NotificationEnabled && n.Closing.IsZero() && slices.Contains(n.Events, e)
}

func (*ConnectionNotification) Kind() Kind    { return KindNotification }
func (n *ConnectionNotification) Key() string { return string(n.ID) }
func (n *ConnectionNotification) Index(add func(index, value string)) {
	add(IndexOwner, string(n.Owner))
	if n.Service != "" {
		add(IndexService, string(n.Service))
	}
	if n.Endpoint != "" {
		add(IndexEndpoint, string(n.Endpoint))
	}
}
func (n *ConnectionNotification) Refs(add func(Kind, string)) {
	if !n.Closing.IsZero() {
		return
	}
	if n.Service != "" {
		add(KindService, string(n.Service))
	}
	if n.Endpoint != "" {
		add(KindEndpoint, string(n.Endpoint))
	}
}
func (n *ConnectionNotification) Claims(add func(string)) {}

// OwnerID is the account it belongs to.
func (n *ConnectionNotification) OwnerID() AccountID { return n.Owner }

// Notice is one event on its way to one notification's topic. It is written
// with the change it tells of and removed when the topic has it. It holds all
// that is sent, since it may outlive the endpoint, the service and the
// notification.
//
// The notices of one notification about one endpoint are a stream: they are
// delivered in the order of Sequence, each after the one before it is gone.
type Notice struct {
	// ID is the same in every attempt to deliver the notice, a UUID.
	ID            string          `json:"id"`
	Notification  NotificationID  `json:"notification"`
	Owner         AccountID       `json:"owner"` // the notification's
	Topic         ARN             `json:"topic"`
	Event         ConnectionEvent `json:"event"`
	Endpoint      EndpointID      `json:"endpoint"`
	EndpointOwner AccountID       `json:"endpointOwner"`
	Service       ServiceID       `json:"service,omitempty"`
	ServiceName   string          `json:"serviceName"`
	// Sequence counts the events of the endpoint, from 1.
	Sequence int64     `json:"sequence"`
	Time     time.Time `json:"time"` // of the event

	// Attempts failed so far, the last one because of LastError. No other is
	// made before Next.
	Attempts  int       `json:"attempts,omitempty"`
	LastError string    `json:"lastError,omitempty"`
	Next      time.Time `json:"next,omitzero"`
	// Claimant is the process that delivers it now. The claim ends by itself.
	Claimant string    `json:"claimant,omitempty"`
	Claimed  time.Time `json:"claimed,omitzero"` // until when
}

// Stream names the notices among which order is kept.
func (n *Notice) Stream() string { return string(n.Notification) + "/" + string(n.Endpoint) }

func (*Notice) Kind() Kind { return KindNotice }

// Key sorts the notices of a stream by Sequence.
func (n *Notice) Key() string { return fmt.Sprintf("%s/%019d", n.Stream(), n.Sequence) }
func (n *Notice) Index(add func(index, value string)) {
	add(IndexNotification, string(n.Notification))
}
func (n *Notice) Refs(add func(Kind, string)) {}
func (n *Notice) Claims(add func(string))     {}

// OwnerID is the account whose notification it belongs to.
func (n *Notice) OwnerID() AccountID { return n.Owner }

func init() {
	register[ConnectionNotification]()
	register[Notice]()
}
