// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// AWS's limits on prefix lists.
const (
	maxListEntries  = 1000 // of a list
	maxListChanges  = 100  // additions, and removals, of a call
	maxListName     = 255
	maxListVersions = 1000 // kept
	maxListToken    = 255
)

// maxListHistory bounds the old versions of one list in bytes: the oldest go
// first, as they do when there are too many. The current version and the one
// before it always stay.
const maxListHistory = 512 << 10

// CreatePrefixListInput are the parameters of CreateManagedPrefixList.
type CreatePrefixListInput struct {
	Name       string
	IPv6       bool
	MaxEntries int
	Entries    []vpc.ListEntry
	Tags       vpc.Tags
	Token      string `json:"-"`
}

// CreatePrefixList makes a list at version 1.
func (c *Control) CreatePrefixList(ctx context.Context, caller Caller, in CreatePrefixListInput) (*vpc.PrefixList, error) {
	if err := checkTokenOf(maxListToken, in.Token); err != nil {
		return nil, err
	}
	if err := checkListName(in.Name); err != nil {
		return nil, err
	}
	if err := checkListSize(in.MaxEntries); err != nil {
		return nil, err
	}
	if err := checkListChanges(in.IPv6, in.Entries, nil); err != nil {
		return nil, err
	}
	var made *vpc.PrefixList
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		if id, err := remembered(tx, caller, "CreateManagedPrefixList", in.Token, in); err != nil {
			return err
		} else if id != "" {
			made, err = Owned[vpc.PrefixList](tx, caller, vpc.PrefixListID(id))
			return err
		}
		// The quota counts a set: writing the account makes racing calls conflict.
		if a, ok := vpc.Get[vpc.Account](tx, caller.Account); ok {
			tx.Touch(a)
		}
		if tx.Count(vpc.KindPrefixList, vpc.IndexOwner, string(caller.Account), all) >= c.Quotas.PrefixLists {
			return vpc.Errorf(vpc.Limit, string(vpc.KindPrefixList), "", "The maximum number of prefix lists, %d, has been reached", c.Quotas.PrefixLists)
		}
		id, err := c.newID(vpc.PrefixManagedList)
		if err != nil {
			return err
		}
		made = &vpc.PrefixList{
			ID: vpc.PrefixListID(id), Owner: caller.Account, Name: in.Name, IPv6: in.IPv6, MaxEntries: in.MaxEntries,
			Change: vpc.ListCreated, Created: c.Now(), Tags: in.Tags,
		}
		if err := putListVersion(tx, made, in.Entries); err != nil {
			return err
		}
		c.remember(tx, caller, "CreateManagedPrefixList", in.Token, in, id)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// ModifyPrefixListInput are the parameters of ModifyManagedPrefixList. Nil
// pointers are parameters that were not sent.
type ModifyPrefixListInput struct {
	ID             vpc.PrefixListID
	CurrentVersion *int64
	Name           *string
	MaxEntries     *int
	Add            []vpc.ListEntry
	Remove         []netip.Prefix
}

// ModifyPrefixList changes entries, which makes a new version that every
// reference has from then on; or the size; or the name, beside either.
func (c *Control) ModifyPrefixList(ctx context.Context, caller Caller, in ModifyPrefixListInput) (*vpc.PrefixList, error) {
	entries := len(in.Add)+len(in.Remove) > 0
	if entries && in.MaxEntries != nil {
		return nil, vpc.Errorf(vpc.Combination, "MaxEntries", "", "You cannot modify the entries and the maximum entries (MaxEntries %d) for the prefix list in the same request.", *in.MaxEntries)
	}
	if in.Name != nil {
		if err := checkListName(*in.Name); err != nil {
			return nil, err
		}
	}
	if in.MaxEntries != nil {
		if err := checkListSize(*in.MaxEntries); err != nil {
			return nil, err
		}
	}
	var out *vpc.PrefixList
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		l, err := c.listToChange(tx, caller, in.ID, in.CurrentVersion)
		if err != nil {
			return err
		}
		if err := checkListChanges(l.IPv6, in.Add, in.Remove); err != nil {
			return err
		}
		changed := false
		if in.Name != nil && *in.Name != l.Name {
			l.Name, changed = *in.Name, true
		}
		if in.MaxEntries != nil && *in.MaxEntries != l.MaxEntries {
			changed = true
			if err := c.resizeList(tx, l, *in.MaxEntries); err != nil {
				return err
			}
		}
		out = l
		if entries {
			next, err := changedEntries(l, vpc.ListEntries(tx, l), in.Add, in.Remove)
			if err != nil {
				return err
			}
			l.Change = vpc.ListModified
			return putListVersion(tx, l, next)
		}
		if !changed {
			return badModification("The request changes nothing of the prefix list %s", l.ID)
		}
		tx.Put(l)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// RestorePrefixList makes a new version with the entries of an old one.
func (c *Control) RestorePrefixList(ctx context.Context, caller Caller, id vpc.PrefixListID, previous, current int64) (*vpc.PrefixList, error) {
	var out *vpc.PrefixList
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		l, err := c.listToChange(tx, caller, id, &current)
		if err != nil {
			return err
		}
		if previous == l.Version {
			return badModification("The version %d (PreviousVersion) of the prefix list %s is the current one", previous, id)
		}
		old, err := ListVersion(tx, l, "PreviousVersion", previous)
		if err != nil {
			return err
		}
		l.Change = vpc.ListRestored
		out = l
		return putListVersion(tx, l, old.Entries)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeletePrefixList removes a list that nothing refers to, with all its
// versions, and answers it as it was.
func (c *Control) DeletePrefixList(ctx context.Context, caller Caller, id vpc.PrefixListID) (*vpc.PrefixList, error) {
	var out *vpc.PrefixList
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		l, err := ownList(tx, caller, id)
		if err != nil {
			return err
		}
		for v := range vpc.By[vpc.PrefixListVersion](tx, vpc.IndexPrefixList, id) {
			tx.Delete(v)
		}
		tx.Delete(l)
		out = l
		return nil
	})
	if err != nil {
		return nil, dependent(err, "The prefix list '%s' is referenced by a security group or a route table and cannot be deleted.", string(id))
	}
	return out, nil
}

// ListVersion finds a kept version of a list; parameter named the number.
func ListVersion(v vpc.View, l *vpc.PrefixList, parameter string, number int64) (*vpc.PrefixListVersion, error) {
	if number >= 1 {
		if n, ok := vpc.Get[vpc.PrefixListVersion](v, vpc.ListVersionKey(l.ID, number)); ok {
			return n, nil
		}
	}
	return nil, vpc.Errorf(vpc.Invalid, parameter, string(l.ID), "The specified value for version is not valid. The prefix list %s has no version %d (%s).", l.ID, number, parameter)
}

// ListState is a list's state on the wire: a change is complete when every
// live host has applied it.
func (c *Control) ListState(v vpc.View, l *vpc.PrefixList) string {
	if c.listApplied(v, l) {
		return string(l.Change) + "-complete"
	}
	return string(l.Change) + "-in-progress"
}

func (c *Control) listApplied(v vpc.View, l *vpc.PrefixList) bool {
	ok, _ := c.Hosts.AppliedByAll(v.Changed(vpc.KindPrefixListVersion, vpc.ListVersionKey(l.ID, l.Version)))
	return ok
}

// ListUser is something that refers to a prefix list.
type ListUser struct {
	ID    string
	Owner vpc.AccountID
}

// ListUsers are the caller's security groups and route tables that refer to a
// list, by id.
func ListUsers(v vpc.View, caller Caller, id vpc.PrefixListID) []ListUser {
	var out []ListUser
	add := func(user string, owner vpc.AccountID) {
		if owner == caller.Account {
			out = append(out, ListUser{user, owner})
		}
	}
	for t := range vpc.By[vpc.RouteTable](v, vpc.IndexPrefixList, id) {
		add(string(t.ID), t.Owner)
	}
	for g := range vpc.By[vpc.SecurityGroup](v, vpc.IndexPrefixList, id) {
		add(string(g.ID), g.Owner)
	}
	return out
}

// referList checks that the caller may refer to a list and answers the account or
// the catalogue service that it belongs to. Writing the list, and reading the
// service by its key, makes the reference conflict with a change at the same moment.
func referList(tx *store.Tx, caller Caller, id vpc.PrefixListID) (owner vpc.AccountID, service string, err error) {
	if s, ok := vpc.First[vpc.CatalogueService](tx, vpc.IndexPrefixList, id); ok {
		if s, ok = vpc.Get[vpc.CatalogueService](tx, s.Name); ok {
			return "", s.Name, nil
		}
	}
	l, err := Owned[vpc.PrefixList](tx, caller, id)
	if err != nil {
		return "", "", err
	}
	tx.Touch(l)
	return l.Owner, "", nil
}

// listCost is what a reference to a list counts, and for which family: one to a
// customer's list as many as it may have entries.
func listCost(v vpc.View, id vpc.PrefixListID) (n int, ipv6 bool) {
	if l, ok := vpc.Get[vpc.PrefixList](v, id); ok {
		return l.MaxEntries, l.IPv6
	}
	s, ok := vpc.First[vpc.CatalogueService](v, vpc.IndexPrefixList, id)
	return 1, ok && id == s.PrefixList6
}

func catalogueList(v vpc.View, id vpc.PrefixListID) bool {
	_, ok := vpc.First[vpc.CatalogueService](v, vpc.IndexPrefixList, id)
	return ok
}

// ownList finds a list the caller may change.
func ownList(tx *store.Tx, caller Caller, id vpc.PrefixListID) (*vpc.PrefixList, error) {
	if catalogueList(tx, id) {
		return nil, vpc.Errorf(vpc.NotPermitted, string(vpc.KindPrefixList), string(id), "The prefix list %s is managed by AWS and cannot be changed", id)
	}
	return Owned[vpc.PrefixList](tx, caller, id)
}

// listToChange is a copy of a list that is at the version the caller means, if
// it names one, and whose last change is complete.
func (c *Control) listToChange(tx *store.Tx, caller Caller, id vpc.PrefixListID, current *int64) (*vpc.PrefixList, error) {
	l, err := ownList(tx, caller, id)
	if err != nil {
		return nil, err
	}
	if current != nil && *current != l.Version {
		return nil, vpc.Errorf(vpc.WrongState, "prefix-list-version", string(id), "The prefix list has the incorrect version number. %s is at version %d, not %d (CurrentVersion).", id, l.Version, *current)
	}
	if !c.listApplied(tx, l) {
		return nil, vpc.Errorf(vpc.WrongState, string(vpc.KindPrefixList), string(id), "The prefix list %s is in the state %s, which does not allow this", id, c.ListState(tx, l))
	}
	return vpc.Edit(l), nil
}

// resizeList changes what references cost, if everything that refers to the
// list can bear it.
func (c *Control) resizeList(tx *store.Tx, l *vpc.PrefixList, size int) error {
	if n := len(vpc.ListEntries(tx, l)); n > size {
		return tooManyEntries(l.ID, n, size)
	}
	l.MaxEntries = size
	tx.Put(vpc.Edit(l)) // for the counts below; the caller's Put is the last
	for _, u := range slices.Collect(vpc.By[vpc.SecurityGroup](tx, vpc.IndexPrefixList, l.ID)) {
		if g, ok := vpc.Get[vpc.SecurityGroup](tx, u.ID); ok {
			if err := c.checkRuleCount(tx, g); err != nil {
				return err
			}
		}
	}
	for _, u := range slices.Collect(vpc.By[vpc.RouteTable](tx, vpc.IndexPrefixList, l.ID)) {
		if t, ok := vpc.Get[vpc.RouteTable](tx, u.ID); ok {
			if err := c.checkRouteCount(tx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// putListVersion writes the list with its next version, and drops versions
// that there is no more room for.
func putListVersion(tx *store.Tx, l *vpc.PrefixList, entries []vpc.ListEntry) error {
	if len(entries) > l.MaxEntries {
		return tooManyEntries(l.ID, len(entries), l.MaxEntries)
	}
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b vpc.ListEntry) int {
		if n := a.CIDR.Addr().Compare(b.CIDR.Addr()); n != 0 {
			return n
		}
		return a.CIDR.Bits() - b.CIDR.Bits()
	})
	l.Version++
	next := &vpc.PrefixListVersion{List: l.ID, Number: l.Version, Entries: entries}
	tx.Put(l)
	tx.Put(next)
	kept := slices.Collect(vpc.By[vpc.PrefixListVersion](tx, vpc.IndexPrefixList, l.ID)) // by number
	size := 0
	for i, v := range slices.Backward(kept) {
		size += listSize(v)
		if n := len(kept) - i; n > maxListVersions || n > 2 && size > maxListHistory {
			tx.Delete(v)
		}
	}
	return nil
}

// listSize is about what a version takes in the store.
func listSize(v *vpc.PrefixListVersion) int {
	n := 100
	for _, e := range v.Entries {
		n += 40 + len(e.Description)
	}
	return n
}

// changedEntries is a list's entries after a change.
func changedEntries(l *vpc.PrefixList, have, add []vpc.ListEntry, remove []netip.Prefix) ([]vpc.ListEntry, error) {
	by := map[netip.Prefix]vpc.ListEntry{}
	for _, e := range have {
		by[e.CIDR] = e
	}
	for _, p := range remove {
		if _, ok := by[p]; !ok {
			return nil, badModification("An entry with the CIDR (%s) in the prefix list %s does not exist.", p, l.ID)
		}
		delete(by, p)
	}
	for _, e := range add {
		if old, ok := by[e.CIDR]; ok {
			return nil, badModification("An entry with the CIDR (%s) and description (%s) already exists.", old.CIDR, old.Description)
		}
		by[e.CIDR] = e
	}
	out := make([]vpc.ListEntry, 0, len(by))
	for _, e := range by {
		out = append(out, e)
	}
	return out, nil
}

func badModification(format string, args ...any) error {
	return vpc.Errorf(vpc.Invalid, "prefix-list-modification", "", format, args...)
}

func tooManyEntries(id vpc.PrefixListID, n, limit int) error {
	if id == "" {
		return vpc.Errorf(vpc.Limit, "prefix-list-entries", "", "The %d entries (Entry) exceed the maximum of the prefix list, %d (MaxEntries)", n, limit)
	}
	return vpc.Errorf(vpc.Limit, "prefix-list-entries", string(id), "The %d entries of the prefix list %s exceed its maximum, %d (MaxEntries)", n, id, limit)
}

func checkListName(name string) error {
	bad := func(why string) error {
		return vpc.Errorf(vpc.Invalid, "PrefixListName", name, "Value (%.80s) for parameter prefixListName is invalid. %s", name, why)
	}
	switch {
	case name == "":
		return bad("The name must not be empty.")
	case utf8.RuneCountInString(name) > maxListName || !utf8.ValidString(name):
		return bad("The name must have at most 255 characters.")
	case strings.HasPrefix(strings.ToLower(name), "com.amazonaws"):
		return bad("The name cannot start with com.amazonaws.")
	}
	return nil
}

func checkListSize(n int) error {
	if n < 1 || n > maxListEntries {
		return vpc.Errorf(vpc.Invalid, "MaxEntries", "", "Value (%d) for parameter maxEntries is invalid. Expecting a value between 1 and %d.", n, maxListEntries)
	}
	return nil
}

// checkListChanges refuses entries that no list can have and changes that no
// call can make.
func checkListChanges(ipv6 bool, add []vpc.ListEntry, remove []netip.Prefix) error {
	if len(add) > maxListChanges || len(remove) > maxListChanges {
		return vpc.Errorf(vpc.Invalid, "Entry", "", "The request cannot contain more than %d entry additions or removals, not %d and %d", maxListChanges, len(add), len(remove))
	}
	seen := map[netip.Prefix]bool{}
	for _, p := range remove {
		if err := checkListCIDR(ipv6, "RemoveEntry.Cidr", p); err != nil {
			return err
		}
		if seen[p] {
			return twice("RemoveEntry.Cidr", p)
		}
		seen[p] = true
	}
	added := map[netip.Prefix]bool{}
	for _, e := range add {
		if err := checkListCIDR(ipv6, "Entry.Cidr", e.CIDR); err != nil {
			return err
		}
		switch {
		case added[e.CIDR]:
			return twice("Entry.Cidr", e.CIDR)
		case seen[e.CIDR]:
			return vpc.Errorf(vpc.Invalid, "Entry.Cidr", e.CIDR.String(), "Request cannot contain Cidr %s in both AddPrefixListEntries and RemovePrefixListEntries", e.CIDR)
		case utf8.RuneCountInString(e.Description) > 255 || !utf8.ValidString(e.Description):
			return vpc.Errorf(vpc.Invalid, "Entry.Description", "", "Value (%.80s) for parameter description of the entry %s is invalid. It must have at most 255 characters.", e.Description, e.CIDR)
		}
		added[e.CIDR] = true
	}
	return nil
}

func twice(parameter string, p netip.Prefix) error {
	return vpc.Errorf(vpc.Invalid, parameter, p.String(), "The CIDR %s (%s) is in the request more than once", p, parameter)
}

func checkListCIDR(ipv6 bool, parameter string, p netip.Prefix) error {
	family := "IPv4"
	if ipv6 {
		family = "IPv6"
	}
	switch {
	case !p.IsValid() || p.Addr().Is6() != ipv6 || p.Addr().Is4In6():
		return vpc.Errorf(vpc.Invalid, parameter, p.String(), "The CIDR %s (%s) is no %s block, which is the address family of the prefix list", p, parameter, family)
	case p != p.Masked():
		return vpc.Errorf(vpc.Invalid, parameter, p.String(), "The CIDR %s (%s) is not canonical: write %s", p, parameter, p.Masked())
	}
	return nil
}
