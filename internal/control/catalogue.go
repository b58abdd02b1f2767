// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"postern.dev/postern/internal/catalogue"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// AddServices adds entries to the catalogue, all of them or none. With replace, one
// that was added before takes the new form, as far as the endpoints to it allow. The
// entries' files have been read. What is wrong with entries is catalogue.Problems.
func (c *Control) AddServices(ctx context.Context, entries []catalogue.Entry, replace bool) ([]*vpc.CatalogueService, error) {
	if len(entries) == 0 {
		return nil, vpc.Errorf(vpc.Missing, string(vpc.KindCatalogue), "", "there is no entry to add")
	}
	var out []*vpc.CatalogueService
	err := c.update(ctx, installation, func(tx *store.Tx) error {
		region := RegionOf(tx)
		// Two servers that add at a time must see one another's entries.
		tx.Touch(region)
		at := catalogue.Place{Region: region.Name, Now: c.Now(), Signs: c.SignsIdentity, Reserved: c.reserved(tx)}
		named := map[string]bool{}
		for _, e := range entries {
			named[e.Name] = true
		}
		for s := range vpc.All[vpc.CatalogueService](tx) {
			if named[s.Name] && !s.Added {
				return ofConfiguration(s.Name)
			}
			if !named[s.Name] || !replace {
				at.Others = append(at.Others, s)
			}
		}
		var err error
		if out, err = catalogue.Check(entries, at); err != nil {
			return err
		}
		for _, s := range out {
			s.Added = true
			if err := c.putService(tx, s); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// maxUsersNamed bounds how much of what uses a service is named.
const maxUsersNamed = 10

// RemoveService takes out of the catalogue what AddServices added, when nothing uses
// it.
func (c *Control) RemoveService(ctx context.Context, name string) error {
	return c.update(ctx, installation, func(tx *store.Tx) error {
		s, ok := vpc.Get[vpc.CatalogueService](tx, name)
		switch {
		case !ok:
			return vpc.Errorf(vpc.NotFound, string(vpc.KindCatalogue), name, "service %.64q does not exist; `postern service list` shows those that do", name)
		case !s.Added:
			return ofConfiguration(name)
		}
		var users []string
		n := 0
		for by := range catalogueUsers(tx, s) {
			if n++; n <= maxUsersNamed {
				users = append(users, by)
			}
		}
		if n > 0 {
			text := strings.Join(users, ", ")
			if n > len(users) {
				text += fmt.Sprintf(" and %d more", n-len(users))
			}
			return vpc.Errorf(vpc.InUse, string(vpc.KindCatalogue), name, "service %s is used by %s", name, text)
		}
		tx.Delete(s)
		return nil
	})
}

// ofConfiguration refuses to change what the configuration says.
func ofConfiguration(name string) error {
	return vpc.Errorf(vpc.NotPermitted, string(vpc.KindCatalogue), name,
		"service %.64s is in the configuration that the server was started with: change it there and start the server again", name)
}

// reserved are the blocks that no service may have: the pools, and where hosts are.
func (c *Control) reserved(v vpc.View) []catalogue.Reserved {
	var out []catalogue.Reserved
	for _, p := range c.PublicPool {
		out = append(out, catalogue.Reserved{Prefix: p, What: "the publicPool"})
	}
	for _, p := range c.IPv6Pool {
		out = append(out, catalogue.Reserved{Prefix: p, What: "the ipv6Pool"})
	}
	for h := range vpc.All[vpc.Host](v) {
		if h.Underlay.IsValid() {
			out = append(out, catalogue.Reserved{Prefix: netip.PrefixFrom(h.Underlay, h.Underlay.BitLen()), What: "the underlay of host " + string(h.ID)})
		}
	}
	return out
}
