// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"fmt"
	"testing"

	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

// taggables makes one resource of every type that can have tags, id to type.
func (a *netAPI) taggables() map[string]string {
	a.t.Helper()
	v := a.vpc("10.0.0.0/16")
	s := a.subnet(v, "10.0.1.0/24")
	g := a.group(v, "web")
	a.put(
		&vpc.Instance{ID: "i-00000000000000001", Owner: "111111111111", VPC: vpc.VPCID(v), Subnet: vpc.SubnetID(s), State: vpc.InstanceRunning},
		&vpc.Endpoint{ID: "vpce-00000000000000001", Owner: "111111111111", VPC: vpc.VPCID(v), Type: vpc.GatewayEndpoint, State: vpc.EndpointAvailable},
		&vpc.EndpointService{ID: "vpce-svc-00000000000000001", Owner: "111111111111", Permissions: []vpc.Permission{{ID: "vpce-svc-perm-00000000000000001", Principal: "*"}}},
	)
	return map[string]string{
		v: "vpc", s: "subnet", g: "security-group",
		a.do("DescribeSecurityGroupRules", "Filter.1.Name", "group-id", "Filter.1.Value.1", g).one("securityGroupRuleSet/item/securityGroupRuleId"): "security-group-rule",
		a.do("CreateRouteTable", "VpcId", v).one("routeTable/routeTableId"):                                                                         "route-table",
		a.do("CreateNetworkAcl", "VpcId", v).one("networkAcl/networkAclId"):                                                                         "network-acl",
		a.eni(s):              "network-interface",
		"i-00000000000000001": "instance", "vpce-00000000000000001": "vpc-endpoint", "vpce-svc-00000000000000001": "vpc-endpoint-service",
		"vpce-svc-perm-00000000000000001": "vpc-endpoint-service-permission",
	}
}

func TestTagsOfEveryKind(t *testing.T) {
	a := newNetAPI(t)
	controltest.HandMade(a.c) // an endpoint and a service without their parts
	all := a.taggables()
	var ids []string
	for id := range all {
		ids = append(ids, fmt.Sprintf("ResourceId.%d", len(ids)/2+1), id)
	}
	a.do("CreateTags", append(ids, "Tag.1.Key", "team", "Tag.1.Value", "red", "Tag.2.Key", "empty", "Tag.2.Value", "")...)
	for id, kind := range all {
		d := a.do("DescribeTags", "Filter.1.Name", "resource-id", "Filter.1.Value.1", id)
		equalLists(t, "the keys of "+id, d.all("tagSet/item/key"), []string{"empty", "team"})
		equalLists(t, "the type of "+id, d.all("tagSet/item/resourceType"), []string{kind, kind})
	}
	equal(t, "tags by key", len(a.do("DescribeTags", "Filter.1.Name", "key", "Filter.1.Value.1", "team", "Filter.2.Name", "value", "Filter.2.Value.1", "r?d").all("tagSet/item")), len(all))
	equal(t, "tags by tag:", len(a.do("DescribeTags", "Filter.1.Name", "tag:team", "Filter.1.Value.1", "red").all("tagSet/item")), len(all))
	equalLists(t, "what another account sees", a.as(controltest.Provider, "DescribeTags").all("tagSet/item"), nil)

	// A value that differs keeps the tag; an empty one is a value; none deletes.
	a.do("DeleteTags", append(ids, "Tag.1.Key", "team", "Tag.1.Value", "blue", "Tag.2.Key", "empty", "Tag.2.Value", "")...)
	equal(t, "the tags left", len(a.do("DescribeTags").all("tagSet/item")), len(all))
	a.do("DeleteTags", append(ids, "Tag.1.Key", "team", "Tag.2.Key", "never-there")...)
	equal(t, "the tags left", len(a.do("DescribeTags").all("tagSet/item")), 0)
	a.do("CreateTags", "ResourceId.1", ids[1], "Tag.1.Key", "a", "Tag.2.Key", "b")
	a.do("DeleteTags", "ResourceId.1", ids[1])
	equal(t, "the tags left", len(a.do("DescribeTags").all("tagSet/item")), 0)

	for id := range all {
		_, tree := a.serve(controltest.Provider, "CreateTags", []string{"ResourceId.1", id, "Tag.1.Key", "k"})
		_, absent := a.serve(controltest.Provider, "CreateTags", []string{"ResourceId.1", id[:len(id)-17] + "0ffffffffffffffff", "Tag.1.Key", "k"})
		got, want := tree.one("Errors/Error/Code"), absent.one("Errors/Error/Code")
		if got != want || got == "" {
			t.Errorf("tagging another account's %s answers %q, one that does not exist %q", id, got, want)
		}
	}
}

func TestTagErrors(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	for _, id := range []string{"nonsense", "x-00000000000000001", "vpc-", "-", "subnet-0000000000000000", "arn:aws:ec2:us-east-1:111111111111:vpc/" + v} {
		a.refused("InvalidID", "CreateTags", "ResourceId.1", id, "Tag.1.Key", "k")
	}
	// One unknown id: the others are not tagged.
	a.refused("InvalidSubnetID.NotFound", "CreateTags", "ResourceId.1", v, "ResourceId.2", "subnet-00000000000000001", "Tag.1.Key", "k")
	a.refused("UnsupportedOperation", "CreateTags", "ResourceId.1", netList, "Tag.1.Key", "k")
	a.refused("UnsupportedOperation", "DeleteTags", "ResourceId.1", "dopt-00000000000000001", "Tag.1.Key", "k")
	equal(t, "the text", a.refused("InvalidParameterValue", "CreateTags", "ResourceId.1", v, "Tag.1.Key", "AWS:x"), "Tag keys starting with 'aws:' are reserved for internal use")
	a.refused("InvalidParameterValue", "DeleteTags", "ResourceId.1", v, "Tag.1.Key", "aws:x")
	a.refused("InvalidParameterValue", "CreateTags", "ResourceId.1", v, "Tag.1.Key", "k", "Tag.2.Key", "k")
	a.refused("MissingParameter", "CreateTags", "ResourceId.1", v)
	var fifty []string
	for i := range 50 {
		fifty = append(fifty, fmt.Sprintf("Tag.%d.Key", i+1), fmt.Sprint(i))
	}
	a.do("CreateTags", append(fifty, "ResourceId.1", v)...)
	a.refused("TagLimitExceeded", "CreateTags", "ResourceId.1", v, "Tag.1.Key", "more")
	a.do("CreateTags", "ResourceId.1", v, "Tag.1.Key", "49", "Tag.1.Value", "changed")
	equal(t, "the page", len(a.do("DescribeTags", "MaxResults", "20").all("tagSet/item")), 20)
}
