// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"iter"
	"net/netip"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("DescribePrefixLists", false, describePrefixLists)
}

// prefixList is a list of either kind: a customer's, or the one of a catalogue
// service that id names. Those belong to everybody's view.
type prefixList struct {
	catalogue *vpc.CatalogueService
	id        vpc.PrefixListID
	customer  *vpc.PrefixList
}

func (prefixList) Kind() vpc.Kind              { return vpc.KindPrefixList }
func (prefixList) Index(func(string, string))  {}
func (prefixList) Refs(func(vpc.Kind, string)) {}
func (prefixList) Claims(func(string))         {}

// Key is the list's id.
func (l prefixList) Key() string {
	if l.customer != nil {
		return string(l.customer.ID)
	}
	return string(l.id)
}

func (l prefixList) name() string {
	if l.customer != nil {
		return l.customer.Name
	}
	name, _ := l.catalogue.List(l.id)
	return name
}

// prefixes are those of a catalogue service's list.
func (l prefixList) prefixes() []netip.Prefix {
	_, prefixes := l.catalogue.List(l.id)
	return prefixes
}

func (l prefixList) owner() string {
	if l.customer != nil {
		return string(l.customer.Owner)
	}
	return "AWS"
}

func (l prefixList) tags() vpc.Tags {
	if l.customer != nil {
		return l.customer.Tags
	}
	return nil
}

func catalogueLists(v vpc.View) iter.Seq[prefixList] {
	return func(yield func(prefixList) bool) {
		for s := range vpc.All[vpc.CatalogueService](v) {
			for _, id := range s.Lists() {
				if !yield(prefixList{catalogue: s, id: id}) {
					return
				}
			}
		}
	}
}

// managedLists are the catalogue's lists and the caller's own.
func managedLists(call *Call, v vpc.View) iter.Seq[prefixList] {
	return func(yield func(prefixList) bool) {
		for l := range catalogueLists(v) {
			if !yield(l) {
				return
			}
		}
		for l := range vpc.By[vpc.PrefixList](v, vpc.IndexOwner, call.Caller.Account) {
			if !yield(prefixList{customer: l}) {
				return
			}
		}
	}
}

func findCatalogueList(v vpc.View) func(id string) (prefixList, error) {
	return func(id string) (prefixList, error) {
		s, ok := vpc.First[vpc.CatalogueService](v, vpc.IndexPrefixList, id)
		if !ok {
			return prefixList{}, control.NotFound(vpc.KindPrefixList, id)
		}
		return prefixList{catalogue: s, id: vpc.PrefixListID(id)}, nil
	}
}

func findManagedList(call *Call, v vpc.View) func(id string) (prefixList, error) {
	return func(id string) (prefixList, error) {
		if l, err := findCatalogueList(v)(id); err == nil {
			return l, nil
		}
		l, err := control.Owned[vpc.PrefixList](v, call.Caller, vpc.PrefixListID(id))
		return prefixList{customer: l}, err
	}
}

var prefixListResource = resource[prefixList]{
	prefix: vpc.PrefixManagedList,
	filters: filterSet[prefixList]{
		"prefix-list-id":   one(prefixList.Key),
		"prefix-list-name": one(prefixList.name),
	},
}

var managedPrefixListResource = resource[prefixList]{
	prefix: vpc.PrefixManagedList,
	tags:   prefixList.tags,
	filters: filterSet[prefixList]{
		"prefix-list-id":   prefixListResource.filters["prefix-list-id"],
		"prefix-list-name": prefixListResource.filters["prefix-list-name"],
		"owner-id":         one(prefixList.owner),
	},
}

// DescribePrefixListsInput is the input of DescribePrefixLists.
type DescribePrefixListsInput struct {
	DryRun
	Page
	IDs     []string `query:"PrefixListId"`
	Filters []Filter `query:"Filter"`
}

// DescribePrefixListsOutput is the output of DescribePrefixLists.
type DescribePrefixListsOutput struct {
	PrefixLists []PrefixList `xml:"prefixListSet>item"`
	NextToken   string       `xml:"nextToken,omitempty"`
}

// PrefixList is one list with its blocks.
type PrefixList struct {
	ID    string   `xml:"prefixListId"`
	Name  string   `xml:"prefixListName"`
	CIDRs []string `xml:"cidrSet>item"`
}

func describePrefixLists(call *Call, in *DescribePrefixListsInput) (*DescribePrefixListsOutput, error) {
	v := call.View()
	list, next, err := describe(call, v, prefixListResource, in.IDs, in.Filters, in.Page, findCatalogueList(v), catalogueLists(v))
	if err != nil {
		return nil, err
	}
	out := &DescribePrefixListsOutput{NextToken: next}
	for _, l := range list {
		x := PrefixList{ID: l.Key(), Name: l.name()}
		for _, p := range l.prefixes() {
			x.CIDRs = append(x.CIDRs, p.String())
		}
		out.PrefixLists = append(out.PrefixLists, x)
	}
	return out, nil
}
