// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("DescribePrefixLists", false, describePrefixLists)
	register("DescribeManagedPrefixLists", false, describeManagedPrefixLists)
	register("GetManagedPrefixListEntries", false, getManagedPrefixListEntries)
}

// prefixList is a catalogue service seen as the prefix list it has. The
// catalogue's lists are the only ones and belong to every account's view.
type prefixList struct{ *vpc.CatalogueService }

func (prefixList) Kind() vpc.Kind { return "prefix-list" }

// Key is the list's id.
func (l prefixList) Key() string { return string(l.PrefixList) }

func prefixLists(v vpc.View) iter.Seq[prefixList] {
	return func(yield func(prefixList) bool) {
		for s := range vpc.All[vpc.CatalogueService](v) {
			if s.PrefixList != "" && !yield(prefixList{s}) {
				return
			}
		}
	}
}

func findPrefixList(v vpc.View) func(id string) (prefixList, error) {
	return func(id string) (prefixList, error) {
		s, ok := vpc.First[vpc.CatalogueService](v, "prefix-list", id)
		if !ok {
			return prefixList{}, vpc.Errorf(vpc.NotFound, "prefix-list", id, "The prefix list ID '%s' does not exist", id)
		}
		return prefixList{s}, nil
	}
}

var prefixListResource = resource[prefixList]{
	prefix: vpc.PrefixManagedList,
	filters: filterSet[prefixList]{
		"prefix-list-id":   one(func(l prefixList) vpc.PrefixListID { return l.PrefixList }),
		"prefix-list-name": one(func(l prefixList) string { return l.ServiceName }),
	},
}

var managedPrefixListResource = resource[prefixList]{
	prefix: vpc.PrefixManagedList,
	filters: filterSet[prefixList]{
		"prefix-list-id":   prefixListResource.filters["prefix-list-id"],
		"prefix-list-name": prefixListResource.filters["prefix-list-name"],
		"owner-id":         always[prefixList]("AWS"),
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
	v := call.view()
	list, next, err := describe(call, v, prefixListResource, in.IDs, in.Filters, in.Page, findPrefixList(v), prefixLists(v))
	if err != nil {
		return nil, err
	}
	out := &DescribePrefixListsOutput{NextToken: next}
	for _, l := range list {
		x := PrefixList{ID: l.Key(), Name: l.ServiceName}
		for _, p := range l.Prefixes {
			x.CIDRs = append(x.CIDRs, p.String())
		}
		out.PrefixLists = append(out.PrefixLists, x)
	}
	return out, nil
}

// DescribeManagedPrefixListsInput is the input of DescribeManagedPrefixLists.
type DescribeManagedPrefixListsInput DescribePrefixListsInput

// DescribeManagedPrefixListsOutput is the output of DescribeManagedPrefixLists.
type DescribeManagedPrefixListsOutput struct {
	PrefixLists []ManagedPrefixList `xml:"prefixListSet>item"`
	NextToken   string              `xml:"nextToken,omitempty"`
}

// ManagedPrefixList is <ManagedPrefixList> of a list that AWS would own, which
// shows neither a version nor a size.
type ManagedPrefixList struct {
	ID            string `xml:"prefixListId"`
	ARN           string `xml:"prefixListArn"`
	Name          string `xml:"prefixListName"`
	AddressFamily string `xml:"addressFamily"`
	State         string `xml:"state"`
	OwnerID       string `xml:"ownerId"`
	Tags          []Tag  `xml:"tagSet>item"`
}

func describeManagedPrefixLists(call *Call, in *DescribeManagedPrefixListsInput) (*DescribeManagedPrefixListsOutput, error) {
	v := call.view()
	list, next, err := describe(call, v, managedPrefixListResource, in.IDs, in.Filters, in.Page, findPrefixList(v), prefixLists(v))
	if err != nil {
		return nil, err
	}
	out := &DescribeManagedPrefixListsOutput{NextToken: next}
	for _, l := range list {
		x := ManagedPrefixList{
			ID: l.Key(), Name: l.ServiceName, AddressFamily: "IPv4", State: "create-complete", OwnerID: "AWS",
			ARN: control.RegionOf(v).ARN("ec2", "aws", "prefix-list/"+l.Key()),
		}
		if len(l.Prefixes) > 0 && l.Prefixes[0].Addr().Is6() {
			x.AddressFamily = "IPv6"
		}
		out.PrefixLists = append(out.PrefixLists, x)
	}
	return out, nil
}

// GetManagedPrefixListEntriesInput is the input of GetManagedPrefixListEntries.
type GetManagedPrefixListEntriesInput struct {
	DryRun
	Page
	ID string `query:"PrefixListId,required"`
	// The catalogue's lists have no other version than the first.
	TargetVersion *int64 `query:"TargetVersion"`
}

// GetManagedPrefixListEntriesOutput is the output of GetManagedPrefixListEntries.
type GetManagedPrefixListEntriesOutput struct {
	Entries   []ListEntry `xml:"entrySet>item"`
	NextToken string      `xml:"nextToken,omitempty"`
}

// ListEntry is one block of a list.
type ListEntry struct {
	CIDR        string `xml:"cidr"`
	Description string `xml:"description,omitempty"`
}

func getManagedPrefixListEntries(call *Call, in *GetManagedPrefixListEntriesInput) (*GetManagedPrefixListEntriesOutput, error) {
	if err := checkID("prefix-list", vpc.PrefixManagedList, in.ID); err != nil {
		return nil, err
	}
	l, err := findPrefixList(call.view())(in.ID)
	if err != nil {
		return nil, err
	}
	if in.TargetVersion != nil && *in.TargetVersion != 1 {
		return nil, vpc.Errorf(vpc.Invalid, "targetVersion", in.ID, "The prefix list %s has no version %d", in.ID, *in.TargetVersion)
	}
	sorted := append([]netip.Prefix(nil), l.Prefixes...)
	sortByText(sorted)
	page, next, err := paginate(sorted, in.Page, netip.Prefix.String)
	if err != nil {
		return nil, err
	}
	out := &GetManagedPrefixListEntriesOutput{NextToken: next}
	for _, p := range page {
		out.Entries = append(out.Entries, ListEntry{CIDR: p.String()})
	}
	return out, nil
}

// sortByText sorts blocks as their texts, the order in which pages continue.
func sortByText(list []netip.Prefix) {
	slices.SortFunc(list, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
}
