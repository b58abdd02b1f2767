// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"fmt"
	"net/netip"
	"time"
)

// Kinds of customers' prefix lists. The lists of catalogue services are part
// of the services and no objects of their own.
const (
	KindPrefixList        Kind = "prefix-list"
	KindPrefixListVersion Kind = "prefix-list-version"
)

// IndexPrefixList finds what refers to a list by its PrefixListID: security
// groups, route tables, and the catalogue service or the versions that make it up.
const IndexPrefixList = "prefix-list"

// ListChange is what a prefix list's last change was; on the wire it is
// followed by -in-progress or -complete.
type ListChange string

// Changes of prefix lists.
const (
	ListCreated  ListChange = "create"
	ListModified ListChange = "modify"
	ListRestored ListChange = "restore"
)

// PrefixList is a customer's named set of CIDR blocks. Its entries are in its
// current PrefixListVersion.
type PrefixList struct {
	ID    PrefixListID `json:"id"`
	Owner AccountID    `json:"owner"`
	Name  string       `json:"name"`
	IPv6  bool         `json:"ipv6,omitempty"`
	// MaxEntries is what a reference to the list costs of a quota, whatever
	// number of entries there is.
	MaxEntries int `json:"maxEntries"`
	// Version is the current version's number, from 1.
	Version int64      `json:"version"`
	Change  ListChange `json:"change"`
	Created time.Time  `json:"created"`
	Tags    Tags       `json:"tags,omitempty"`
}

func (*PrefixList) Kind() Kind                            { return KindPrefixList }
func (l *PrefixList) Key() string                         { return string(l.ID) }
func (l *PrefixList) Index(add func(index, value string)) { add(IndexOwner, string(l.Owner)) }
func (l *PrefixList) Refs(add func(Kind, string))         {}
func (l *PrefixList) Claims(add func(string))             {}

// OwnerID is the account it belongs to.
func (l *PrefixList) OwnerID() AccountID { return l.Owner }

// ListEntry is one block of a list.
type ListEntry struct {
	CIDR        netip.Prefix `json:"cidr"` // canonical
	Description string       `json:"description,omitempty"`
}

// PrefixListVersion is what a list held from one change to the next. It is
// written once.
type PrefixListVersion struct {
	List    PrefixListID `json:"list"`
	Number  int64        `json:"number"`
	Entries []ListEntry  `json:"entries"` // sorted by address and length
}

// ListVersionKey is the key of a version; keys sort by number.
func ListVersionKey(list PrefixListID, number int64) string {
	return fmt.Sprintf("%s/%012d", list, number)
}

func (*PrefixListVersion) Kind() Kind    { return KindPrefixListVersion }
func (v *PrefixListVersion) Key() string { return ListVersionKey(v.List, v.Number) }
func (v *PrefixListVersion) Index(add func(index, value string)) {
	add(IndexPrefixList, string(v.List))
}
func (v *PrefixListVersion) Refs(add func(Kind, string)) { add(KindPrefixList, string(v.List)) }
func (v *PrefixListVersion) Claims(add func(string))     {}

// ListEntries are the current entries of a customer's list.
func ListEntries(v View, l *PrefixList) []ListEntry {
	if n, ok := Get[PrefixListVersion](v, ListVersionKey(l.ID, l.Version)); ok {
		return n.Entries
	}
	return nil
}

func init() {
	register[PrefixList]()
	register[PrefixListVersion]()
}
