// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

// list makes a prefix list of the consumer with IPv4 entries.
func (a *netAPI) list(name string, size int, cidrs ...string) string {
	a.t.Helper()
	pairs := []string{"PrefixListName", name, "MaxEntries", fmt.Sprint(size), "AddressFamily", "IPv4"}
	for i, c := range cidrs {
		pairs = append(pairs, fmt.Sprintf("Entry.%d.Cidr", i+1), c)
	}
	return a.do("CreateManagedPrefixList", pairs...).one("prefixList/prefixListId")
}

func (a *netAPI) entries(id string, pairs ...string) []string {
	a.t.Helper()
	return a.do("GetManagedPrefixListEntries", append([]string{"PrefixListId", id}, pairs...)...).all("entrySet/item/cidr")
}

func TestManagedPrefixListThroughTheSDK(t *testing.T) {
	t.Parallel()
	a := newEndpointAPI(t)
	ctx := context.Background()
	me := a.client(controltest.Consumer)
	in := &sdk.CreateManagedPrefixListInput{ // the SDK fills the client token
		PrefixListName: aws.String("offices"), MaxEntries: aws.Int32(5), AddressFamily: aws.String("IPv4"),
		Entries:           []types.AddPrefixListEntry{{Cidr: aws.String("10.2.0.0/16"), Description: aws.String("two")}, {Cidr: aws.String("10.1.0.0/16")}},
		TagSpecifications: []types.TagSpecification{{ResourceType: "prefix-list", Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("x")}}}},
	}
	made, err := me.CreateManagedPrefixList(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	l := made.PrefixList
	id := l.PrefixListId
	if l.State != types.PrefixListStateCreateComplete || *l.Version != 1 || *l.MaxEntries != 5 || *l.AddressFamily != "IPv4" || *l.OwnerId != "111111111111" ||
		*l.PrefixListArn != "arn:aws:ec2:us-east-1:111111111111:prefix-list/"+*id || len(l.Tags) != 1 || *l.PrefixListName != "offices" {
		t.Errorf("made %+v", l)
	}
	mod, err := me.ModifyManagedPrefixList(ctx, &sdk.ModifyManagedPrefixListInput{
		PrefixListId: id, CurrentVersion: aws.Int64(1), PrefixListName: aws.String("branches"),
		AddEntries: []types.AddPrefixListEntry{{Cidr: aws.String("10.3.0.0/16")}}, RemoveEntries: []types.RemovePrefixListEntry{{Cidr: aws.String("10.1.0.0/16")}},
	})
	if err != nil || *mod.PrefixList.Version != 2 || mod.PrefixList.State != types.PrefixListStateModifyComplete || *mod.PrefixList.PrefixListName != "branches" {
		t.Fatalf("modified %+v %v", mod, err)
	}
	res, err := me.RestoreManagedPrefixListVersion(ctx, &sdk.RestoreManagedPrefixListVersionInput{PrefixListId: id, PreviousVersion: aws.Int64(1), CurrentVersion: aws.Int64(2)})
	if err != nil || *res.PrefixList.Version != 3 || res.PrefixList.State != types.PrefixListStateRestoreComplete {
		t.Fatalf("restored %+v %v", res, err)
	}
	for version, want := range map[int64][]string{1: {"10.1.0.0/16", "10.2.0.0/16"}, 2: {"10.2.0.0/16", "10.3.0.0/16"}, 3: {"10.1.0.0/16", "10.2.0.0/16"}} {
		var got []string
		pages := sdk.NewGetManagedPrefixListEntriesPaginator(me, &sdk.GetManagedPrefixListEntriesInput{PrefixListId: id, TargetVersion: &version, MaxResults: aws.Int32(1)})
		for pages.HasMorePages() {
			p, err := pages.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, aws.ToString(p.Entries[0].Cidr))
		}
		if !slices.Equal(got, want) {
			t.Errorf("version %d holds %q, want %q", version, got, want)
		}
	}
	found, err := me.DescribeManagedPrefixLists(ctx, &sdk.DescribeManagedPrefixListsInput{Filters: []types.Filter{{Name: aws.String("owner-id"), Values: []string{"111111111111"}}}})
	if err != nil || len(found.PrefixLists) != 1 || *found.PrefixLists[0].Version != 3 {
		t.Errorf("described %+v %v", found, err)
	}
	del, err := me.DeleteManagedPrefixList(ctx, &sdk.DeleteManagedPrefixListInput{PrefixListId: id})
	if err != nil || del.PrefixList.State != types.PrefixListStateDeleteComplete {
		t.Errorf("deleted %+v %v", del, err)
	}
	_, err = me.DescribeManagedPrefixLists(ctx, &sdk.DescribeManagedPrefixListsInput{PrefixListIds: []string{*id}})
	if code(err) != "InvalidPrefixListID.NotFound" {
		t.Errorf("after deletion: %v", err)
	}
	for range vpc.All[vpc.PrefixListVersion](a.c.View()) {
		t.Error("a version outlived its list")
	}
}

func TestManagedPrefixListTokenMakesOneList(t *testing.T) {
	a := newNetAPI(t)
	with := func(name string) []string {
		return []string{"PrefixListName", name, "MaxEntries", "2", "AddressFamily", "IPv4", "ClientToken", strings.Repeat("t", 255)}
	}
	one := a.do("CreateManagedPrefixList", with("a")...).one("prefixList/prefixListId")
	equal(t, "the list of the same token", a.do("CreateManagedPrefixList", with("a")...).one("prefixList/prefixListId"), one)
	a.refused("IdempotentParameterMismatch", "CreateManagedPrefixList", with("b")...)
	a.refused("InvalidParameterValue", "CreateManagedPrefixList", "PrefixListName", "x", "MaxEntries", "1", "AddressFamily", "IPv4", "ClientToken", strings.Repeat("t", 256))
}

func TestManagedPrefixListRefusals(t *testing.T) {
	a := newNetAPI(t)
	create := func(pairs ...string) []string {
		base := map[string]string{"PrefixListName": "n", "MaxEntries": "2", "AddressFamily": "IPv4"}
		for i := 0; i < len(pairs); i += 2 {
			base[pairs[i]] = pairs[i+1]
		}
		var out []string
		for k, v := range base {
			if v != "-" {
				out = append(out, k, v)
			}
		}
		return out
	}
	id := a.list("mine", 3, "10.1.0.0/16", "10.2.0.0/16")
	modify := func(pairs ...string) []string { return append([]string{"PrefixListId", id}, pairs...) }
	var many, manyGone []string
	for i := range 101 {
		many = append(many, fmt.Sprintf("Entry.%d.Cidr", i+1), fmt.Sprintf("10.3.%d.0/24", i))
		manyGone = append(manyGone, fmt.Sprintf("RemoveEntry.%d.Cidr", i+1), fmt.Sprintf("10.3.%d.0/24", i))
	}
	const theirs = "pl-00000000000000bad"
	for _, tc := range []struct {
		action, code string
		pairs        []string
		names        []string // what the message must name
	}{
		{"CreateManagedPrefixList", "MissingParameter", create("PrefixListName", "-"), []string{"PrefixListName"}},
		{"CreateManagedPrefixList", "MissingParameter", create("MaxEntries", "-"), []string{"MaxEntries"}},
		{"CreateManagedPrefixList", "MissingParameter", create("AddressFamily", "-"), []string{"AddressFamily"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create("AddressFamily", "ipv4"), []string{"addressFamily", "ipv4"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create("MaxEntries", "0"), []string{"maxEntries", "0"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create("MaxEntries", "1001"), []string{"maxEntries", "1001"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create("PrefixListName", "com.amazonaws.us-east-1.s3"), []string{"prefixListName", "com.amazonaws.us-east-1.s3"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create("PrefixListName", strings.Repeat("n", 256)), []string{"prefixListName", "255"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create("Entry.1.Cidr", "10.0.0.1/8"), []string{"Cidr", "10.0.0.1/8"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create("Entry.1.Cidr", "10.0.0.1"), []string{"Cidr", "10.0.0.1"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create("Entry.1.Cidr", "2001:db8::/32"), []string{"Cidr", "2001:db8::/32"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create("AddressFamily", "IPv6", "Entry.1.Cidr", "10.0.0.0/8"), []string{"Cidr", "10.0.0.0/8"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create("AddressFamily", "IPv6", "Entry.1.Cidr", "::ffff:10.0.0.0/104"), []string{"Cidr", "10.0.0.0"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create("Entry.1.Cidr", "10.0.0.0/8", "Entry.2.Cidr", "10.0.0.0/8"), []string{"Cidr", "10.0.0.0/8"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create("Entry.1.Cidr", "10.0.0.0/8", "Entry.1.Description", strings.Repeat("d", 256)), []string{"description", "10.0.0.0/8"}},
		{"CreateManagedPrefixList", "PrefixListMaxEntriesExceeded", create("MaxEntries", "1", "Entry.1.Cidr", "10.0.0.0/8", "Entry.2.Cidr", "11.0.0.0/8"), []string{"MaxEntries", "1", "2"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create(append(many, "MaxEntries", "1000")...), []string{"100", "101"}},
		{"CreateManagedPrefixList", "InvalidParameterValue", create("TagSpecification.1.ResourceType", "vpc"), []string{"vpc"}},
		{"CreateManagedPrefixList", "DryRunOperation", create("DryRun", "true"), nil},
		{"ModifyManagedPrefixList", "InvalidPrefixListID.NotFound", []string{"PrefixListId", theirs, "PrefixListName", "x"}, []string{theirs}},
		{"ModifyManagedPrefixList", "InvalidPrefixListId.Malformed", []string{"PrefixListId", "pl-x"}, []string{"pl-x"}},
		{"ModifyManagedPrefixList", "OperationNotPermitted", []string{"PrefixListId", netList, "PrefixListName", "x"}, []string{netList}},
		{"ModifyManagedPrefixList", "InvalidPrefixListModification", modify(), []string{id}},
		{"ModifyManagedPrefixList", "InvalidPrefixListModification", modify("PrefixListName", "mine"), []string{id}},
		{"ModifyManagedPrefixList", "InvalidPrefixListModification", modify("MaxEntries", "3"), []string{id}},
		{"ModifyManagedPrefixList", "InvalidPrefixListModification", modify("CurrentVersion", "1", "AddEntry.1.Cidr", "10.1.0.0/16"), []string{"10.1.0.0/16", "already exists"}},
		{"ModifyManagedPrefixList", "InvalidPrefixListModification", modify("CurrentVersion", "1", "RemoveEntry.1.Cidr", "10.9.0.0/16"), []string{"10.9.0.0/16", "does not exist."}},
		{"ModifyManagedPrefixList", "PrefixListVersionMismatch", modify("CurrentVersion", "2", "AddEntry.1.Cidr", "10.3.0.0/16"), []string{"CurrentVersion", "2", "version 1"}},
		{"ModifyManagedPrefixList", "InvalidParameterCombination", modify("MaxEntries", "9", "AddEntry.1.Cidr", "10.3.0.0/16"), []string{"MaxEntries", "9"}},
		{"ModifyManagedPrefixList", "InvalidParameterValue", modify("AddEntry.1.Cidr", "10.1.0.0/16", "RemoveEntry.1.Cidr", "10.1.0.0/16"), []string{"10.1.0.0/16", "both"}},
		{"ModifyManagedPrefixList", "InvalidParameterValue", modify("RemoveEntry.1.Cidr", "10.1.0.0/16", "RemoveEntry.2.Cidr", "10.1.0.0/16"), []string{"RemoveEntry.Cidr", "10.1.0.0/16"}},
		{"ModifyManagedPrefixList", "InvalidParameterValue", modify(manyGone...), []string{"100", "101"}},
		{"ModifyManagedPrefixList", "InvalidParameterValue", modify("MaxEntries", "1001"), []string{"maxEntries", "1001"}},
		{"ModifyManagedPrefixList", "PrefixListMaxEntriesExceeded", modify("MaxEntries", "1"), []string{"MaxEntries", "1", id}},
		{"ModifyManagedPrefixList", "PrefixListMaxEntriesExceeded", modify("AddEntry.1.Cidr", "10.3.0.0/16", "AddEntry.2.Cidr", "10.4.0.0/16"), []string{"MaxEntries", "3", "4"}},
		{"ModifyManagedPrefixList", "UnsupportedOperation", modify("IpamPrefixListResolverSyncEnabled", "true"), []string{"IpamPrefixListResolverSyncEnabled"}},
		{"RestoreManagedPrefixListVersion", "InvalidParameterValue", modify("CurrentVersion", "1", "PreviousVersion", "7"), []string{"PreviousVersion", "7"}},
		{"RestoreManagedPrefixListVersion", "InvalidParameterValue", modify("CurrentVersion", "1", "PreviousVersion", "-1"), []string{"PreviousVersion", "-1"}},
		{"RestoreManagedPrefixListVersion", "PrefixListVersionMismatch", modify("CurrentVersion", "3", "PreviousVersion", "1"), []string{"CurrentVersion", "3"}},
		{"RestoreManagedPrefixListVersion", "InvalidPrefixListModification", modify("CurrentVersion", "1", "PreviousVersion", "1"), []string{"PreviousVersion", "1"}},
		{"RestoreManagedPrefixListVersion", "MissingParameter", modify("CurrentVersion", "1"), []string{"PreviousVersion"}},
		{"DeleteManagedPrefixList", "OperationNotPermitted", []string{"PrefixListId", netList}, []string{netList}},
		{"DeleteManagedPrefixList", "InvalidPrefixListID.NotFound", []string{"PrefixListId", theirs}, []string{theirs}},
		{"GetManagedPrefixListEntries", "InvalidParameterValue", modify("TargetVersion", "2"), []string{"TargetVersion", "2"}},
		{"GetManagedPrefixListEntries", "InvalidParameterValue", modify("MaxResults", "101"), []string{"maxResults", "101"}},
		{"GetManagedPrefixListEntries", "InvalidParameterValue", modify("MaxResults", "0"), []string{"maxResults", "0"}},
		{"GetManagedPrefixListAssociations", "InvalidParameterValue", modify("MaxResults", "4"), []string{"maxResults", "4"}},
		{"GetManagedPrefixListAssociations", "InvalidParameterValue", modify("MaxResults", "256"), []string{"maxResults", "256"}},
		{"GetManagedPrefixListAssociations", "InvalidPrefixListID.NotFound", []string{"PrefixListId", theirs}, []string{theirs}},
		{"DescribeManagedPrefixLists", "InvalidParameterValue", []string{"MaxResults", "101"}, []string{"maxResults", "101"}},
		{"DescribeManagedPrefixLists", "InvalidParameterValue", []string{"Filter.1.Name", "nope", "Filter.1.Value.1", "x"}, []string{"nope"}},
		{"DescribePrefixLists", "InvalidPrefixListID.NotFound", []string{"PrefixListId.1", id}, []string{id}}, // shows AWS's lists only
	} {
		msg := a.refused(tc.code, tc.action, tc.pairs...)
		for _, n := range tc.names {
			if !strings.Contains(msg, n) {
				t.Errorf("%s %q: the message %q does not name %q", tc.action, tc.pairs, msg, n)
			}
		}
	}
	for _, action := range []string{"ModifyManagedPrefixList", "DeleteManagedPrefixList", "GetManagedPrefixListEntries", "GetManagedPrefixListAssociations"} {
		a.refusedAs(controltest.Provider, "InvalidPrefixListID.NotFound", action, "PrefixListId", id)
	}
	a.refusedAs(controltest.Provider, "InvalidPrefixListID.NotFound", "CreateTags", "ResourceId.1", id, "Tag.1.Key", "k")
	equalLists(t, "another's lists", a.as(controltest.Provider, "DescribeManagedPrefixLists").all("prefixListSet/item/prefixListId"), []string{netList})
}

func TestManagedPrefixListVersionsAndNames(t *testing.T) {
	a := newNetAPI(t)
	id := a.list("a", 2, "10.0.0.0/8")
	version := func() string {
		return a.do("DescribeManagedPrefixLists", "PrefixListId.1", id).one("prefixListSet/item/version")
	}
	a.do("ModifyManagedPrefixList", "PrefixListId", id, "PrefixListName", "b")
	a.do("ModifyManagedPrefixList", "PrefixListId", id, "MaxEntries", "9")
	equal(t, "the version after a new name and size", version(), "1")
	a.do("ModifyManagedPrefixList", "PrefixListId", id, "RemoveEntry.1.Cidr", "10.0.0.0/8")
	equal(t, "the version after a change of entries", version(), "2")
	equalLists(t, "the entries", a.entries(id), nil)
	equalLists(t, "the old entries", a.entries(id, "TargetVersion", "1"), []string{"10.0.0.0/8"})

	a.do("CreateTags", "ResourceId.1", id, "Tag.1.Key", "team", "Tag.1.Value", "net")
	equalLists(t, "by tag", a.do("DescribeManagedPrefixLists", "Filter.1.Name", "tag:team", "Filter.1.Value.1", "n*").all("prefixListSet/item/prefixListId"), []string{id})
	equal(t, "the tag's type", a.do("DescribeTags", "Filter.1.Name", "resource-id", "Filter.1.Value.1", id).one("tagSet/item/resourceType"), "prefix-list")
	a.do("DeleteTags", "ResourceId.1", id)
	equalLists(t, "by tag", a.do("DescribeManagedPrefixLists", "Filter.1.Name", "tag-key", "Filter.1.Value.1", "team").all("prefixListSet/item/prefixListId"), nil)

	v6 := a.do("CreateManagedPrefixList", "PrefixListName", "six", "MaxEntries", "3", "AddressFamily", "IPv6", "Entry.1.Cidr", "2001:db8::/32").one("prefixList/prefixListId")
	equalLists(t, "IPv6 entries", a.entries(v6), []string{"2001:db8::/32"})
	equal(t, "the family", a.do("DescribeManagedPrefixLists", "PrefixListId.1", v6).one("prefixListSet/item/addressFamily"), "IPv6")

	d := a.do("DescribeManagedPrefixLists", "PrefixListId.1", netList)
	equal(t, "AWS's list's owner", d.one("prefixListSet/item/ownerId"), "AWS")
	equalLists(t, "AWS's list's version and size", append(d.all("prefixListSet/item/version"), d.all("prefixListSet/item/maxEntries")...), nil)
}

func TestManagedPrefixListReferences(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s, table, g := a.subnet(v, "10.0.1.0/24"), a.do("CreateRouteTable", "VpcId", v).one("routeTable/routeTableId"), a.group(v, "g")
	n := a.eni(s)
	id := a.list("refs", 20, "192.0.2.0/24")
	authorize := func(list, port string) []string {
		return []string{"GroupId", g, "IpPermissions.1.IpProtocol", "tcp", "IpPermissions.1.FromPort", port, "IpPermissions.1.ToPort", port, "IpPermissions.1.PrefixListIds.1.PrefixListId", list}
	}
	a.do("AuthorizeSecurityGroupIngress", authorize(id, "80")...)
	a.do("CreateRoute", "RouteTableId", table, "DestinationPrefixListId", id, "NetworkInterfaceId", n)
	equalLists(t, "the users", a.do("GetManagedPrefixListAssociations", "PrefixListId", id).all("prefixListAssociationSet/item/resourceId"), []string{table, g})
	equalLists(t, "the users' owners", a.do("GetManagedPrefixListAssociations", "PrefixListId", id).all("prefixListAssociationSet/item/resourceOwner"), []string{"111111111111", "111111111111"})
	equalLists(t, "the routes", a.do("DescribeRouteTables", "RouteTableId.1", table).all("routeTableSet/item/routeSet/item/destinationPrefixListId"), []string{id})

	// A reference costs the list's size: 60 rules and 50 routes are allowed.
	a.do("AuthorizeSecurityGroupIngress", authorize(id, "81")...)
	a.do("AuthorizeSecurityGroupIngress", authorize(id, "82")...)
	a.refused("RulesPerSecurityGroupLimitExceeded", "AuthorizeSecurityGroupIngress", authorize(id, "83")...)
	a.refused("RulesPerSecurityGroupLimitExceeded", "ModifyManagedPrefixList", "PrefixListId", id, "MaxEntries", "21")
	two := a.list("more", 31)
	a.refused("RouteLimitExceeded", "CreateRoute", "RouteTableId", table, "DestinationPrefixListId", two, "NetworkInterfaceId", n)
	a.do("ModifyManagedPrefixList", "PrefixListId", two, "MaxEntries", "30")
	a.do("CreateRoute", "RouteTableId", table, "DestinationPrefixListId", two, "NetworkInterfaceId", n)
	a.refused("RouteLimitExceeded", "ModifyManagedPrefixList", "PrefixListId", two, "MaxEntries", "31")
	a.refused("RouteAlreadyExists", "CreateRoute", "RouteTableId", table, "DestinationPrefixListId", two, "NetworkInterfaceId", n)
	a.do("ModifyManagedPrefixList", "PrefixListId", id, "MaxEntries", "1") // less is always borne

	a.refused("DependencyViolation", "DeleteManagedPrefixList", "PrefixListId", id)
	for _, port := range []string{"80", "81", "82"} {
		a.do("RevokeSecurityGroupIngress", authorize(id, port)...)
	}
	a.refused("DependencyViolation", "DeleteManagedPrefixList", "PrefixListId", id)
	a.do("DeleteRoute", "RouteTableId", table, "DestinationPrefixListId", id)
	a.do("DeleteManagedPrefixList", "PrefixListId", id)
	a.refused("InvalidPrefixListID.NotFound", "CreateRoute", "RouteTableId", table, "DestinationPrefixListId", id, "NetworkInterfaceId", n)

	theirs := a.as(controltest.Provider, "CreateManagedPrefixList", "PrefixListName", "t", "MaxEntries", "1", "AddressFamily", "IPv4").one("prefixList/prefixListId")
	a.refused("InvalidPrefixListID.NotFound", "AuthorizeSecurityGroupIngress", authorize(theirs, "90")...)
	a.refused("InvalidPrefixListID.NotFound", "CreateRoute", "RouteTableId", table, "DestinationPrefixListId", theirs, "NetworkInterfaceId", n)
}

func TestManagedPrefixListIsInProgressUntilEveryHostHasIt(t *testing.T) {
	a := newNetAPI(t)
	id := a.list("slow", 5)
	a.c.Hosts.Report(control.HostStatus{Host: "h", Applied: a.c.View().Revision(), Seen: a.c.Now()})
	state := func() string {
		return a.do("DescribeManagedPrefixLists", "PrefixListId.1", id).one("prefixListSet/item/state")
	}
	equal(t, "the state", state(), "create-complete")
	equal(t, "the answer's state", a.do("ModifyManagedPrefixList", "PrefixListId", id, "AddEntry.1.Cidr", "10.0.0.0/8").one("prefixList/state"), "modify-in-progress")
	a.refused("IncorrectState", "ModifyManagedPrefixList", "PrefixListId", id, "AddEntry.1.Cidr", "11.0.0.0/8")
	a.refused("IncorrectState", "RestoreManagedPrefixListVersion", "PrefixListId", id, "PreviousVersion", "1", "CurrentVersion", "2")
	a.c.Hosts.Report(control.HostStatus{Host: "h", Applied: a.c.View().Revision(), Seen: a.c.Now()})
	equal(t, "the state", state(), "modify-complete")
}
