// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"net/netip"
	"slices"
	"strings"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateManagedPrefixList", true, createManagedPrefixList)
	register("ModifyManagedPrefixList", true, modifyManagedPrefixList)
	register("RestoreManagedPrefixListVersion", true, restoreManagedPrefixListVersion)
	register("DeleteManagedPrefixList", true, deleteManagedPrefixList)
	register("DescribeManagedPrefixLists", false, describeManagedPrefixLists)
	register("GetManagedPrefixListEntries", false, getManagedPrefixListEntries)
	register("GetManagedPrefixListAssociations", false, getManagedPrefixListAssociations)
}

// Bounds of MaxResults of the actions of managed lists.
const (
	minListPage, maxListPage = 1, 100
	minUserPage, maxUserPage = 5, 255
)

// ManagedPrefixListOutput is the output of the actions that change one list.
type ManagedPrefixListOutput struct {
	PrefixList ManagedPrefixList `xml:"prefixList"`
}

// ManagedPrefixList is <ManagedPrefixList>. A list that AWS would own shows
// neither a version nor a size.
type ManagedPrefixList struct {
	ID            string `xml:"prefixListId"`
	AddressFamily string `xml:"addressFamily"`
	State         string `xml:"state"`
	ARN           string `xml:"prefixListArn"`
	Name          string `xml:"prefixListName"`
	MaxEntries    *int   `xml:"maxEntries"`
	Version       *int64 `xml:"version"`
	Tags          []Tag  `xml:"tagSet>item"`
	OwnerID       string `xml:"ownerId"`
}

// ListEntry is one block of a list, in and out.
type ListEntry struct {
	CIDR        string `query:"Cidr,required" xml:"cidr"`
	Description string `query:"Description" xml:"description,omitempty"`
}

// ListRemoval names a block to remove.
type ListRemoval struct {
	CIDR string `query:"Cidr,required"`
}

// CreateManagedPrefixListInput is the input of CreateManagedPrefixList.
type CreateManagedPrefixListInput struct {
	DryRun
	Name              string             `query:"PrefixListName,required"`
	Entries           []ListEntry        `query:"Entry"`
	MaxEntries        int32              `query:"MaxEntries,required"`
	TagSpecifications []TagSpecification `query:"TagSpecification"`
	AddressFamily     string             `query:"AddressFamily,required"`
	ClientToken       string             `query:"ClientToken"`
}

func createManagedPrefixList(call *Call, in *CreateManagedPrefixListInput) (*ManagedPrefixListOutput, error) {
	tags, err := tagsFor(in.TagSpecifications, "prefix-list")
	if err != nil {
		return nil, err
	}
	if in.AddressFamily != "IPv4" && in.AddressFamily != "IPv6" {
		return nil, vpc.Errorf(vpc.Invalid, "AddressFamily", in.AddressFamily, "Value (%.64s) for parameter addressFamily is invalid. Use IPv4 or IPv6.", in.AddressFamily)
	}
	entries, err := listEntries(in.Entries)
	if err != nil {
		return nil, err
	}
	l, err := call.Control.CreatePrefixList(call.Context, call.Caller, control.CreatePrefixListInput{
		Name: in.Name, IPv6: in.AddressFamily == "IPv6", MaxEntries: int(in.MaxEntries), Entries: entries,
		Tags: tags["prefix-list"], Token: in.ClientToken,
	})
	if err != nil {
		return nil, err
	}
	return listOutput(call, l), nil
}

// ModifyManagedPrefixListInput is the input of ModifyManagedPrefixList.
type ModifyManagedPrefixListInput struct {
	DryRun
	ID             string           `query:"PrefixListId,required"`
	CurrentVersion *int64           `query:"CurrentVersion"`
	Name           *string          `query:"PrefixListName"`
	AddEntries     []ListEntry      `query:"AddEntry"`
	RemoveEntries  []ListRemoval    `query:"RemoveEntry"`
	MaxEntries     *int32           `query:"MaxEntries"`
	_              awsquery.Refused `query:"IpamPrefixListResolverSyncEnabled,refuse,unless=false"`
}

func modifyManagedPrefixList(call *Call, in *ModifyManagedPrefixListInput) (*ManagedPrefixListOutput, error) {
	c := control.ModifyPrefixListInput{ID: vpc.PrefixListID(in.ID), CurrentVersion: in.CurrentVersion, Name: in.Name}
	if err := checkID(vpc.KindPrefixList, vpc.PrefixManagedList, in.ID); err != nil {
		return nil, err
	}
	if in.MaxEntries != nil {
		n := int(*in.MaxEntries)
		c.MaxEntries = &n
	}
	var err error
	if c.Add, err = listEntries(in.AddEntries); err != nil {
		return nil, err
	}
	for _, r := range in.RemoveEntries {
		p, err := listCIDR(r.CIDR)
		if err != nil {
			return nil, err
		}
		c.Remove = append(c.Remove, p)
	}
	l, err := call.Control.ModifyPrefixList(call.Context, call.Caller, c)
	if err != nil {
		return nil, err
	}
	return listOutput(call, l), nil
}

func listEntries(list []ListEntry) ([]vpc.ListEntry, error) {
	var out []vpc.ListEntry
	for _, e := range list {
		p, err := listCIDR(e.CIDR)
		if err != nil {
			return nil, err
		}
		out = append(out, vpc.ListEntry{CIDR: p, Description: e.Description})
	}
	return out, nil
}

func listCIDR(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, vpc.Errorf(vpc.Invalid, "Entry.Cidr", s, "Value (%.64s) for parameter Cidr is invalid. This is not a valid CIDR block.", s)
	}
	return p, nil
}

// RestoreManagedPrefixListVersionInput is the input of RestoreManagedPrefixListVersion.
type RestoreManagedPrefixListVersionInput struct {
	DryRun
	ID              string `query:"PrefixListId,required"`
	PreviousVersion int64  `query:"PreviousVersion,required"`
	CurrentVersion  int64  `query:"CurrentVersion,required"`
}

func restoreManagedPrefixListVersion(call *Call, in *RestoreManagedPrefixListVersionInput) (*ManagedPrefixListOutput, error) {
	if err := checkID(vpc.KindPrefixList, vpc.PrefixManagedList, in.ID); err != nil {
		return nil, err
	}
	l, err := call.Control.RestorePrefixList(call.Context, call.Caller, vpc.PrefixListID(in.ID), in.PreviousVersion, in.CurrentVersion)
	if err != nil {
		return nil, err
	}
	return listOutput(call, l), nil
}

// DeleteManagedPrefixListInput is the input of DeleteManagedPrefixList.
type DeleteManagedPrefixListInput struct {
	DryRun
	ID string `query:"PrefixListId,required"`
}

func deleteManagedPrefixList(call *Call, in *DeleteManagedPrefixListInput) (*ManagedPrefixListOutput, error) {
	if err := checkID(vpc.KindPrefixList, vpc.PrefixManagedList, in.ID); err != nil {
		return nil, err
	}
	l, err := call.Control.DeletePrefixList(call.Context, call.Caller, vpc.PrefixListID(in.ID))
	if err != nil {
		return nil, err
	}
	out := listOutput(call, l)
	out.PrefixList.State = "delete-complete"
	return out, nil
}

func listOutput(call *Call, l *vpc.PrefixList) *ManagedPrefixListOutput {
	return &ManagedPrefixListOutput{renderPrefixList(call, call.View(), prefixList{customer: l})}
}

func renderPrefixList(call *Call, v vpc.View, l prefixList) ManagedPrefixList {
	owner, v6 := vpc.AccountID("aws"), false
	out := ManagedPrefixList{ID: l.Key(), Name: l.name(), OwnerID: l.owner(), Tags: tagList(l.tags()), AddressFamily: "IPv4", State: "create-complete"}
	if c := l.customer; c != nil {
		owner, v6 = c.Owner, c.IPv6
		out.MaxEntries, out.Version, out.State = &c.MaxEntries, &c.Version, call.Control.ListState(v, c)
	} else {
		v6 = l.id == l.catalogue.PrefixList6
	}
	if v6 {
		out.AddressFamily = "IPv6"
	}
	out.ARN = control.RegionOf(v).ARN("ec2", owner, "prefix-list/"+l.Key())
	return out
}

// DescribeManagedPrefixListsInput is the input of DescribeManagedPrefixLists.
type DescribeManagedPrefixListsInput DescribePrefixListsInput

// DescribeManagedPrefixListsOutput is the output of DescribeManagedPrefixLists.
type DescribeManagedPrefixListsOutput struct {
	PrefixLists []ManagedPrefixList `xml:"prefixListSet>item"`
	NextToken   string              `xml:"nextToken,omitempty"`
}

func describeManagedPrefixLists(call *Call, in *DescribeManagedPrefixListsInput) (*DescribeManagedPrefixListsOutput, error) {
	if err := in.Page.within(minListPage, maxListPage); err != nil {
		return nil, err
	}
	v := call.View()
	list, next, err := describe(call, v, managedPrefixListResource, in.IDs, in.Filters, in.Page, findManagedList(call, v), managedLists(call, v))
	if err != nil {
		return nil, err
	}
	out := &DescribeManagedPrefixListsOutput{NextToken: next}
	for _, l := range list {
		out.PrefixLists = append(out.PrefixLists, renderPrefixList(call, v, l))
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

func getManagedPrefixListEntries(call *Call, in *GetManagedPrefixListEntriesInput) (*GetManagedPrefixListEntriesOutput, error) {
	if err := in.Page.within(minListPage, maxListPage); err != nil {
		return nil, err
	}
	entries, err := entriesOf(call, in)
	if err != nil {
		return nil, err
	}
	// Pages continue in the order of the texts.
	slices.SortFunc(entries, func(a, b ListEntry) int { return strings.Compare(a.CIDR, b.CIDR) })
	out := &GetManagedPrefixListEntriesOutput{}
	out.Entries, out.NextToken, err = paginate(entries, in.Page, func(e ListEntry) string { return e.CIDR })
	return out, err
}

func entriesOf(call *Call, in *GetManagedPrefixListEntriesInput) ([]ListEntry, error) {
	if err := checkID(vpc.KindPrefixList, vpc.PrefixManagedList, in.ID); err != nil {
		return nil, err
	}
	v := call.View()
	l, err := findManagedList(call, v)(in.ID)
	if err != nil {
		return nil, err
	}
	var out []ListEntry
	if l.catalogue != nil {
		if in.TargetVersion != nil && *in.TargetVersion != 1 {
			return nil, vpc.Errorf(vpc.Invalid, "TargetVersion", in.ID, "The specified value for version is not valid. The prefix list %s has no version %d (TargetVersion).", in.ID, *in.TargetVersion)
		}
		for _, p := range l.prefixes() {
			out = append(out, ListEntry{CIDR: p.String()})
		}
		return out, nil
	}
	number := l.customer.Version
	if in.TargetVersion != nil {
		number = *in.TargetVersion
	}
	n, err := control.ListVersion(v, l.customer, "TargetVersion", number)
	if err != nil {
		return nil, err
	}
	for _, e := range n.Entries {
		out = append(out, ListEntry{e.CIDR.String(), e.Description})
	}
	return out, nil
}

// GetManagedPrefixListAssociationsInput is the input of GetManagedPrefixListAssociations.
type GetManagedPrefixListAssociationsInput struct {
	DryRun
	Page
	ID string `query:"PrefixListId,required"`
}

// GetManagedPrefixListAssociationsOutput is the output of GetManagedPrefixListAssociations.
type GetManagedPrefixListAssociationsOutput struct {
	Associations []PrefixListAssociation `xml:"prefixListAssociationSet>item"`
	NextToken    string                  `xml:"nextToken,omitempty"`
}

// PrefixListAssociation is what refers to a list.
type PrefixListAssociation struct {
	ResourceID    string `xml:"resourceId"`
	ResourceOwner string `xml:"resourceOwner"`
}

func getManagedPrefixListAssociations(call *Call, in *GetManagedPrefixListAssociationsInput) (*GetManagedPrefixListAssociationsOutput, error) {
	if err := checkID(vpc.KindPrefixList, vpc.PrefixManagedList, in.ID); err != nil {
		return nil, err
	}
	if err := in.Page.within(minUserPage, maxUserPage); err != nil {
		return nil, err
	}
	v := call.View()
	if _, err := findManagedList(call, v)(in.ID); err != nil {
		return nil, err
	}
	users, next, err := paginate(control.ListUsers(v, call.Caller, vpc.PrefixListID(in.ID)), in.Page, func(u control.ListUser) string { return u.ID })
	if err != nil {
		return nil, err
	}
	out := &GetManagedPrefixListAssociationsOutput{NextToken: next}
	for _, u := range users {
		out.Associations = append(out.Associations, PrefixListAssociation{u.ID, string(u.Owner)})
	}
	return out, nil
}
