// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/http"

	"postern.dev/postern/internal/vpc"
)

// maxNotices bounds what is listed of one notification.
const maxNotices = 100

func (h *handler) notifications(*http.Request) (any, error) {
	v := h.c.View()
	out := []Notification{}
	for n := range vpc.All[vpc.ConnectionNotification](v) {
		r := Notification{
			ID: n.ID, Owner: n.Owner, Account: callerFor(v, n.Owner).Name, Service: n.Service, Endpoint: n.Endpoint,
			Topic: n.Topic, Events: n.Events, State: n.State, Reason: n.Reason, Lost: n.Lost,
			Closing: !n.Closing.IsZero(), Notices: []Notice{},
		}
		for o := range vpc.By[vpc.Notice](v, vpc.IndexNotification, n.ID) {
			if r.Waiting++; r.Waiting > maxNotices {
				continue
			}
			r.Notices = append(r.Notices, Notice{
				MessageID: o.ID, Event: o.Event, Endpoint: o.Endpoint, Sequence: o.Sequence, Time: o.Time,
				Attempts: o.Attempts, LastError: o.LastError, Next: o.Next, UnderWay: o.Claimant != "",
			})
		}
		out = append(out, r)
	}
	return out, nil
}
