// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"time"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// JoinTime is how long a machine may take to join with a token.
const JoinTime = time.Hour

// AddHost registers a machine that is to run workloads, and answers the secret
// with which it joins, once and within JoinTime. The caller must be the operator.
func (c *Control) AddHost(ctx context.Context, caller Caller, h vpc.Host) (secret string, err error) {
	switch {
	case !vpc.ValidHostID(h.ID):
		return "", vpc.Errorf(vpc.Invalid, "host", string(h.ID), "%q is not a host's name: want at most %d lower-case letters, digits, '-', '_' and '.'", h.ID, vpc.MaxHostID)
	case h.Underlay.IsValid() && !vpc.ValidUnderlay(h.Underlay):
		return "", vpc.Errorf(vpc.Invalid, "underlay", h.Underlay.String(), "%s is not the IPv4 address of one machine", h.Underlay)
	}
	secret = rand.Text()
	err = c.update(ctx, caller, func(tx *store.Tx) error {
		if err := c.operatorsHosts(caller); err != nil {
			return err
		}
		if _, exists := vpc.Get[vpc.Host](tx, h.ID); exists {
			return vpc.Errorf(vpc.Duplicate, string(vpc.KindHost), string(h.ID), "host %s exists already", h.ID)
		}
		if h.Zone != "" && !slices.ContainsFunc(RegionOf(tx).Zones, func(z vpc.Zone) bool { return z.Name == h.Zone }) {
			return vpc.Errorf(vpc.Invalid, "zone", h.Zone, "there is no zone %s", h.Zone)
		}
		for o := range vpc.All[vpc.Host](tx) {
			if h.Underlay.IsValid() && o.Underlay == h.Underlay {
				return vpc.Errorf(vpc.Conflict, "underlay", h.Underlay.String(), "%s is the underlay address of host %s", h.Underlay, o.ID)
			}
		}
		tx.Put(c.joinable(&vpc.Host{ID: h.ID, Zone: h.Zone, Underlay: h.Underlay}, secret))
		return nil
	})
	return secret, err
}

// NewJoinSecret lets a machine become a host that was added before, in the
// place of the one that did: a secret that was lost or too late, or a new
// machine. The one that joined before is the host until then.
func (c *Control) NewJoinSecret(ctx context.Context, caller Caller, id vpc.HostID) (secret string, err error) {
	secret = rand.Text()
	err = c.update(ctx, caller, func(tx *store.Tx) error {
		h, err := c.remoteHost(tx, caller, id)
		if err != nil {
			return err
		}
		tx.Put(c.joinable(vpc.Edit(h), secret))
		return nil
	})
	return secret, err
}

func (c *Control) joinable(h *vpc.Host, secret string) *vpc.Host {
	sum := sha256.Sum256([]byte(secret))
	h.Join, h.JoinBefore = sum[:], c.Now().Add(JoinTime)
	return h
}

// JoinHost makes the machine with a public key, named by its hash, the host
// that the secret was made for. Nobody needs to be anybody to call it.
func (c *Control) JoinHost(ctx context.Context, id vpc.HostID, secret string, key []byte) (*vpc.Host, error) {
	sum := sha256.Sum256([]byte(secret))
	var out *vpc.Host
	err := c.update(ctx, installation, func(tx *store.Tx) error {
		h, ok := vpc.Get[vpc.Host](tx, id)
		// One answer to all: what hosts there are is not for everybody.
		if !ok || len(h.Join) == 0 || subtle.ConstantTimeCompare(h.Join, sum[:]) != 1 || !c.Now().Before(h.JoinBefore) {
			return vpc.Errorf(vpc.Denied, "token", "", "the token is not valid, was used, or is older than an hour; `postern host token` makes a new one")
		}
		out = vpc.Edit(h)
		out.Join, out.JoinBefore, out.PublicKey = nil, time.Time{}, bytes.Clone(key)
		tx.Put(out)
		return nil
	})
	return out, err
}

// IsHost reports whether the machine with a public key is a host.
func IsHost(v vpc.View, id vpc.HostID, key []byte) bool {
	h, ok := vpc.Get[vpc.Host](v, id)
	return ok && len(h.PublicKey) > 0 && bytes.Equal(h.PublicKey, key)
}

// RemoveHost forgets a host: its machine is not let in any longer. A host that
// something is attached to stays, unless it is gone for good, which the caller
// says by gone: then its instances can only be terminated. The caller must be
// the operator.
func (c *Control) RemoveHost(ctx context.Context, caller Caller, id vpc.HostID, gone bool) error {
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		h, err := c.remoteHost(tx, caller, id)
		if err != nil {
			return err
		}
		if !gone {
			for n := range vpc.By[vpc.NetworkInterface](tx, vpc.IndexHost, id) {
				return vpc.Errorf(vpc.InUse, string(vpc.KindHost), string(id), "network interface %s is on host %s: terminate its instance or detach it first", n.ID, id)
			}
		}
		tx.Delete(h)
		return nil
	})
	if err == nil {
		c.Hosts.Forget(id)
	}
	return err
}

func (c *Control) operatorsHosts(caller Caller) error {
	if !caller.Operator {
		return vpc.Errorf(vpc.Denied, string(vpc.KindHost), "", "only the operator adds and removes hosts")
	}
	return nil
}

// remoteHost is a host that joined, or may, from another machine.
func (c *Control) remoteHost(v vpc.View, caller Caller, id vpc.HostID) (*vpc.Host, error) {
	if err := c.operatorsHosts(caller); err != nil {
		return nil, err
	}
	h, ok := vpc.Get[vpc.Host](v, id)
	switch {
	case !ok:
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindHost), string(id), "host %s does not exist; `postern host list` shows those that do", id)
	case id == c.LocalHost:
		return nil, vpc.Errorf(vpc.NotPermitted, string(vpc.KindHost), string(id), "host %s is the server's own machine: it comes and goes with the server's configuration", id)
	}
	return h, nil
}

// hostFor chooses the host of a new instance in a zone: of the hosts of that
// zone, else of those of every zone, one that is connected before others and
// then the one with the fewest interfaces. Without any host it is the server's
// own machine, or nobody's where that has no datapath.
func (c *Control) hostFor(tx *store.Tx, zone string) (vpc.HostID, error) {
	status, _ := c.Hosts.Status()
	var best *vpc.Host
	var score [4]int
	some := false
	for h := range vpc.All[vpc.Host](tx) {
		if len(h.PublicKey) == 0 && h.ID != c.LocalHost {
			continue // no machine has joined as this one
		}
		some = true
		if h.Zone != "" && h.Zone != zone {
			continue
		}
		used := 0
		for range vpc.By[vpc.NetworkInterface](tx, vpc.IndexHost, h.ID) {
			used++
		}
		s := [4]int{least(h.Zone == zone), least(status[h.ID].Live), used, least(h.ID == c.LocalHost)}
		if best == nil || slices.Compare(s[:], score[:]) < 0 {
			best, score = h, s
		}
	}
	switch {
	case !some:
		return c.LocalHost, nil
	case best == nil:
		return "", vpc.Errorf(vpc.NoCapacity, string(vpc.KindHost), zone, "There is no host in the Availability Zone %s that could run the instance.", zone)
	}
	return best.ID, nil
}

// least is 0 for what comes first.
func least(first bool) int {
	if first {
		return 0
	}
	return 1
}

// onHost checks that what is in a zone can be on a host, and keeps the host from
// being removed meanwhile.
func (c *Control) onHost(tx *store.Tx, id vpc.HostID, zone string) error {
	h, ok := vpc.Get[vpc.Host](tx, id)
	switch {
	case !ok && id == c.LocalHost:
		return nil
	case !ok:
		return NotFound(vpc.KindHost, string(id))
	case h.Zone != "" && h.Zone != zone:
		return vpc.Errorf(vpc.Invalid, "host", string(id), "host %s is in zone %s, not in %s", id, h.Zone, zone)
	}
	tx.Touch(h)
	return nil
}
