// SPDX-License-Identifier: Apache-2.0

package vpc

import "slices"

func (c *checker) notification(n *ConnectionNotification) {
	c.must((n.Service == "") != (n.Endpoint == ""), n, "it is of service %q and endpoint %q, must be of one", n.Service, n.Endpoint)
	if s, ok := Get[EndpointService](c.v, n.Service); ok {
		c.must(s.Owner == n.Owner, n, "its service belongs to account %s", s.Owner)
	}
	if e, ok := Get[Endpoint](c.v, n.Endpoint); ok {
		c.must(e.Owner == n.Owner, n, "its endpoint belongs to account %s", e.Owner)
		c.must(e.Type == InterfaceEndpoint, n, "its endpoint is of type %s", e.Type)
	}
	c.must(n.Topic != "", n, "it has no topic")
	c.must(len(n.Events) > 0, n, "it asks for no event")
	for _, e := range n.Events {
		c.must(slices.Contains(ConnectionEvents, e), n, "it asks for the event %q", e)
	}
	unique(c, n, "event", n.Events)
	c.must(n.State == NotificationEnabled || n.State == NotificationDisabled, n, "it has the state %q", n.State)
	c.must((n.State == NotificationDisabled) == (n.Reason != ""), n, "it is %s for the reason %q", n.State, n.Reason)
	c.must(n.Lost >= 0, n, "it has lost %d notices", n.Lost)
}

// notice may outlive everything that it names.
func (c *checker) notice(n *Notice) {
	c.must(n.ID != "", n, "its message has no id")
	c.must(slices.Contains(ConnectionEvents, n.Event), n, "it tells of the event %q", n.Event)
	c.must(n.Sequence > 0, n, "it is number %d", n.Sequence)
	if e, ok := Get[Endpoint](c.v, n.Endpoint); ok {
		c.must(n.Sequence <= e.Events, n, "it is number %d of %d events", n.Sequence, e.Events)
		c.must(n.EndpointOwner == e.Owner, n, "its endpoint belongs to account %s", e.Owner)
	}
	if t, ok := Get[ConnectionNotification](c.v, n.Notification); ok {
		c.must(t.Owner == n.Owner, n, "its notification belongs to account %s", t.Owner)
	}
	c.must((n.Claimant == "") == n.Claimed.IsZero(), n, "it is claimed by %q until %s", n.Claimant, n.Claimed)
}
