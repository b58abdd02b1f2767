// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"net/http"
	"slices"

	"postern.dev/postern/internal/vpc"
)

func (h *handler) listHosts(*http.Request) (any, error) { return h.hosts(h.c.View()), nil }

// hosts are all that are registered or connected, by name.
func (h *handler) hosts(v vpc.View) []Host {
	known := map[vpc.HostID]Host{}
	for o := range vpc.All[vpc.Host](v) {
		local := o.ID == h.c.LocalHost
		known[o.ID] = Host{ID: o.ID, Zone: o.Zone, Underlay: o.Underlay, Local: local, Joined: local || len(o.PublicKey) > 0}
	}
	reported, _ := h.c.Hosts.Status()
	for id, s := range reported {
		k := known[id]
		k.ID, k.Live, k.Applied, k.Errors, k.Seen = id, s.Live, s.Applied, s.Errors, s.Seen
		known[id] = k
	}
	out := []Host{}
	for _, k := range known {
		for range vpc.By[vpc.NetworkInterface](v, vpc.IndexHost, k.ID) {
			k.Interfaces++
		}
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b Host) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func (h *handler) addHost(r *http.Request) (any, error) {
	in, err := read[NewHost](r)
	if err != nil {
		return nil, err
	}
	secret, err := h.c.AddHost(r.Context(), operator, vpc.Host{ID: in.ID, Zone: in.Zone, Underlay: in.Underlay})
	if err != nil {
		return nil, err
	}
	return h.joining(in.ID, secret), nil
}

func (h *handler) newHostToken(r *http.Request) (any, error) {
	id := vpc.HostID(r.PathValue("name"))
	secret, err := h.c.NewJoinSecret(r.Context(), operator, id)
	if err != nil {
		return nil, err
	}
	return h.joining(id, secret), nil
}

func (h *handler) joining(id vpc.HostID, secret string) Joining {
	out := Joining{Host: id, Secret: secret}
	if o, ok := vpc.Get[vpc.Host](h.c.View(), id); ok {
		out.Before = o.JoinBefore
	}
	return out
}

func (h *handler) removeHost(r *http.Request) (any, error) {
	return nil, h.c.RemoveHost(r.Context(), operator, vpc.HostID(r.PathValue("name")), r.URL.Query().Get("gone") == "true")
}
