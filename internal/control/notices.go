// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"io"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// maxWaiting bounds the notices that wait for one notification. Beyond it the
// oldest is given up: a topic that nobody mends must not fill the store, and
// the newest events are the ones that still matter. Lost counts them.
const maxWaiting = 500

// announce counts an event of an endpoint and writes a notice for every
// notification that wants it. e is the caller's own copy, which the caller
// writes in the same transaction: so no event is lost, and none told that did
// not happen.
func (c *Control) announce(tx *store.Tx, e *vpc.Endpoint, event vpc.ConnectionEvent) error {
	e.Events++
	var to []*vpc.ConnectionNotification
	if e.Service != "" {
		for n := range vpc.By[vpc.ConnectionNotification](tx, vpc.IndexService, e.Service) {
			to = append(to, n)
		}
	}
	for n := range vpc.By[vpc.ConnectionNotification](tx, vpc.IndexEndpoint, e.ID) {
		to = append(to, n)
	}
	for _, n := range to {
		// By its key again: only that makes the commit depend on it.
		n, ok := vpc.Get[vpc.ConnectionNotification](tx, n.ID)
		if !ok || !n.Wants(event) {
			continue
		}
		id, err := c.newMessageID()
		if err != nil {
			return err
		}
		makeRoom(tx, n)
		tx.Put(&vpc.Notice{
			ID: id, Notification: n.ID, Owner: n.Owner, Topic: n.Topic, Event: event,
			Endpoint: e.ID, EndpointOwner: e.Owner, Service: e.Service, ServiceName: e.ServiceName,
			Sequence: e.Events, Time: c.Now(),
		})
	}
	return nil
}

// announceNew announces an endpoint that is being made. A provider who need
// not be asked has agreed.
func (c *Control) announceNew(tx *store.Tx, e *vpc.Endpoint) error {
	if err := c.announce(tx, e, vpc.EventConnect); err != nil {
		return err
	}
	if e.State == vpc.EndpointPendingAcceptance {
		return nil
	}
	return c.announce(tx, e, vpc.EventAccept)
}

// makeRoom gives up the oldest notice of a notification that has too many.
// One that is being delivered stays: its stream must not go on beside it.
func makeRoom(tx *store.Tx, n *vpc.ConnectionNotification) {
	waiting := 0
	var oldest *vpc.Notice
	for o := range vpc.By[vpc.Notice](tx, vpc.IndexNotification, n.ID) {
		waiting++
		if o.Claimant == "" && (oldest == nil || o.Time.Before(oldest.Time)) {
			oldest = o
		}
	}
	if waiting < maxWaiting || oldest == nil {
		return
	}
	tx.Delete(oldest)
	n = vpc.Edit(n)
	n.Lost++
	tx.Put(n)
}

// closeNotifications ends the notifications of a service or endpoint that
// goes, each when what waits for it is delivered.
func (c *Control) closeNotifications(tx *store.Tx, index, id string) {
	for n := range vpc.By[vpc.ConnectionNotification](tx, index, id) {
		n, ok := vpc.Get[vpc.ConnectionNotification](tx, n.ID)
		if !ok || !n.Closing.IsZero() {
			continue
		}
		if _, waits := vpc.First[vpc.Notice](tx, vpc.IndexNotification, n.ID); !waits {
			tx.Delete(n)
			continue
		}
		n = vpc.Edit(n)
		n.Closing = c.Now()
		tx.Put(n)
	}
}

// newMessageID makes a random UUID.
func (c *Control) newMessageID() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(c.Random, b[:]); err != nil {
		return "", fmt.Errorf("read random bytes for a message id: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
