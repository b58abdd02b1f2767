// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"

	"postern.dev/postern/internal/catalogue"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// OperatorName is the name of the account the operator's own key belongs to.
const OperatorName = "operator"

// Seed brings what surrounds the resources to the configuration: the region,
// the operator's account and key, the catalogue and, if host is not nil, the
// host. It runs at every start of a server and writes only what differs.
//
// A region keeps its name and domain for life, since ARNs and DNS names hold
// them, and a zone its name while there are subnets in it. A catalogue entry
// keeps its ids; one that is no longer configured goes when no endpoint and no
// rule uses it. Entries that AddServices made stay.
//
// Servers of one store should have the same configuration. Where their entries
// differ, those of the server that started last count, on all of them.
func (c *Control) Seed(ctx context.Context, region vpc.Region, catalogue []vpc.CatalogueService, host *vpc.Host, operator vpc.AccessKey) error {
	if region.Name == "" || region.Domain == "" || len(region.Zones) == 0 {
		return errors.New("the region needs a name, a domain and at least one zone")
	}
	if err := checkAccessKey(operator); err != nil {
		return fmt.Errorf("operator's key: %w", err)
	}
	_, err := c.commit(ctx, installation, func(tx *store.Tx) error {
		if err := c.seedRegion(tx, region); err != nil {
			return err
		}
		if err := c.seedOperator(tx, operator); err != nil {
			return err
		}
		if err := c.seedCatalogue(tx, catalogue); err != nil {
			return err
		}
		if host == nil {
			return nil
		}
		return seedHost(tx, host)
	})
	return err
}

// seedHost makes the server's own machine a host, unless another one has its
// name or its address.
func seedHost(tx *store.Tx, own *vpc.Host) error {
	for h := range vpc.All[vpc.Host](tx) {
		if len(h.PublicKey) == 0 && len(h.Join) == 0 {
			continue // the server's own, perhaps under a name that it had before
		}
		if h.ID == own.ID {
			return fmt.Errorf("%s is the name of this machine and of a host that joins from another one: change this machine's host name, or remove that host first with `postern host remove`", own.ID)
		}
		if own.Underlay.IsValid() && h.Underlay == own.Underlay {
			return fmt.Errorf("underlay %s is the address of host %s: configure the one that this machine has", own.Underlay, h.ID)
		}
	}
	putIfDifferent(tx, &vpc.Host{ID: own.ID, Zone: own.Zone, Underlay: own.Underlay})
	return nil
}

// putIfDifferent writes o unless the store has the same.
func putIfDifferent(tx *store.Tx, o vpc.Object) {
	if old, ok := tx.Object(o.Kind(), o.Key()); !ok || !reflect.DeepEqual(old, o) {
		tx.Put(o)
	}
}

func (c *Control) seedRegion(tx *store.Tx, r vpc.Region) error {
	r.Zones = slices.Clone(r.Zones)
	old, ok := vpc.Get[vpc.Region](tx, vpc.RegionKey)
	if ok {
		if old.Name != r.Name {
			return fmt.Errorf("the store holds region %q and the configuration names %q: a region cannot be renamed; start with an empty store or configure %q", old.Name, r.Name, old.Name)
		}
		if old.Domain != r.Domain {
			return fmt.Errorf("the store's endpoint domain is %q and the configuration names %q: it cannot change once names exist; start with an empty store or configure %q", old.Domain, r.Domain, old.Domain)
		}
		for _, z := range old.Zones {
			if slices.Contains(r.Zones, z) {
				continue
			}
			for s := range vpc.All[vpc.Subnet](tx) {
				if s.Zone == z.Name {
					return fmt.Errorf("zone %s (%s) is no longer configured but subnet %s is in it; delete its subnets first", z.Name, z.ID, s.ID)
				}
			}
		}
		if r.DHCPOptions == "" {
			r.DHCPOptions = old.DHCPOptions
		}
	}
	if r.DHCPOptions == "" {
		id, err := c.newID(vpc.PrefixDHCPOptions)
		if err != nil {
			return err
		}
		r.DHCPOptions = id
	}
	putIfDifferent(tx, &r)
	return nil
}

func (c *Control) seedOperator(tx *store.Tx, key vpc.AccessKey) error {
	keys := []vpc.AccessKey{key}
	for a := range vpc.By[vpc.Account](tx, vpc.IndexName, OperatorName) {
		a, ok := vpc.Get[vpc.Account](tx, a.ID)
		if ok && a.Operator && slices.Equal(a.Keys, keys) {
			return nil
		}
		for other := range vpc.By[vpc.Account](tx, vpc.IndexKey, key.ID) {
			if other.ID != a.ID {
				return fmt.Errorf("the operator's access key %s already belongs to account %q", key.ID, other.Name)
			}
		}
		a = vpc.Edit(a)
		a.Operator, a.Keys = true, keys
		tx.Put(a)
		return nil
	}
	a, err := c.newAccount(tx, OperatorName, &key)
	if err != nil {
		return err
	}
	a = vpc.Edit(a)
	a.Operator = true
	tx.Put(a)
	return nil
}

// seedCatalogue brings the catalogue to the configuration. What was added while a
// server ran stays, unless the configuration has one of that name.
func (c *Control) seedCatalogue(tx *store.Tx, configured []vpc.CatalogueService) error {
	names := map[string]bool{}
	for i := range configured {
		s := vpc.Edit(&configured[i])
		if s.Name == "" || s.ServiceName == "" {
			return errors.New("a catalogue service needs a name and a service name")
		}
		if names[s.Name] {
			return fmt.Errorf("catalogue service %s is configured twice", s.Name)
		}
		names[s.Name] = true
	}
	var added []*vpc.CatalogueService
	for s := range vpc.All[vpc.CatalogueService](tx) {
		switch {
		case names[s.Name]:
			continue
		case s.Added:
			added = append(added, s)
			continue
		}
		if by := catalogueUser(tx, s); by != "" {
			c.Log.Warn("catalogue service is no longer configured but stays while it is used", "service", s.Name, "by", by)
			continue
		}
		tx.Delete(s)
	}
	for i := range configured {
		if err := c.putService(tx, vpc.Edit(&configured[i])); err != nil {
			return err
		}
		if p := catalogue.Conflicts(&configured[i], added); len(p) > 0 {
			return fmt.Errorf("the configuration does not fit what was added with `postern service add`: %w", p)
		}
	}
	return nil
}

// putService writes a catalogue service, with the ids that it has or had, unless
// something that is there needs it as it was.
func (c *Control) putService(tx *store.Tx, s *vpc.CatalogueService) error {
	old, exists := vpc.Get[vpc.CatalogueService](tx, s.Name)
	if exists {
		if s.ID == "" {
			s.ID = old.ID
		}
		if s.PrefixList == "" {
			s.PrefixList = old.PrefixList
		}
		if s.PrefixList6 == "" && len(s.Prefixes6) > 0 {
			s.PrefixList6 = old.PrefixList6
		}
	}
	if s.ID == "" {
		id, err := c.newID(vpc.PrefixService)
		if err != nil {
			return err
		}
		s.ID = vpc.ServiceID(id)
	}
	if slices.Contains(s.Types, vpc.GatewayEndpoint) {
		if err := c.giveLists(s); err != nil {
			return err
		}
	}
	inUse := func(by, format string, args ...any) error {
		return vpc.Errorf(vpc.InUse, string(vpc.KindCatalogue), s.Name, "catalogue service %s cannot %s while %s uses it", s.Name, fmt.Sprintf(format, args...), by)
	}
	if exists && (old.ServiceName != s.ServiceName || old.PrefixList != s.PrefixList) {
		if by := catalogueUser(tx, old); by != "" {
			return inUse(by, "change its service name or prefix list")
		}
	}
	if exists && (old.PrefixList6 != "" && old.PrefixList6 != s.PrefixList6 || len(s.Prefixes6) == 0) {
		if by := catalogueUser6(tx, old); by != "" {
			return inUse(by, "lose or change its IPv6 prefixes' list")
		}
	}
	if exists {
		// One that another server makes at this moment is not looked at here.
		tx.Alone(old)
	}
	for e := range vpc.By[vpc.Endpoint](tx, vpc.IndexServiceName, s.ServiceName) {
		switch {
		case !slices.Contains(s.Types, e.Type):
			return inUse("endpoint "+string(e.ID), "lose the type %s", e.Type)
		case e.Policy != "" && !s.PolicySupported:
			return inUse("endpoint "+string(e.ID)+" with a policy", "stop to support policies")
		}
	}
	putIfDifferent(tx, s)
	return nil
}

// giveLists gives a catalogue service the prefix lists it needs and has no id for.
func (c *Control) giveLists(s *vpc.CatalogueService) error {
	need := []*vpc.PrefixListID{&s.PrefixList}
	if len(s.Prefixes6) > 0 {
		need = append(need, &s.PrefixList6)
	}
	for _, list := range need {
		if *list != "" {
			continue
		}
		id, err := c.newID(vpc.PrefixManagedList)
		if err != nil {
			return err
		}
		*list = vpc.PrefixListID(id)
	}
	return nil
}

// catalogueUser names something that uses a catalogue service, "" if nothing does.
func catalogueUser(v vpc.View, s *vpc.CatalogueService) string {
	for by := range catalogueUsers(v, s) {
		return by
	}
	return ""
}

// catalogueUsers names everything that uses a catalogue service.
func catalogueUsers(v vpc.View, s *vpc.CatalogueService) iter.Seq[string] {
	return func(yield func(string) bool) {
		for e := range vpc.By[vpc.Endpoint](v, vpc.IndexServiceName, s.ServiceName) {
			if !yield("endpoint " + string(e.ID)) {
				return
			}
		}
		for _, list := range s.Lists() {
			for g := range vpc.By[vpc.SecurityGroup](v, vpc.IndexPrefixList, list) {
				if !yield("security group " + string(g.ID)) {
					return
				}
			}
		}
	}
}

// catalogueUser6 names something that uses a catalogue service's IPv6, "" if
// nothing does.
func catalogueUser6(v vpc.View, s *vpc.CatalogueService) string {
	for e := range vpc.By[vpc.Endpoint](v, vpc.IndexServiceName, s.ServiceName) {
		if e.HasIPv6() {
			return "endpoint " + string(e.ID)
		}
	}
	if s.PrefixList6 == "" {
		return ""
	}
	for g := range vpc.By[vpc.SecurityGroup](v, vpc.IndexPrefixList, s.PrefixList6) {
		return "security group " + string(g.ID)
	}
	return ""
}
