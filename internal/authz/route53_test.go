// SPDX-License-Identifier: Apache-2.0

package authz_test

import (
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/authz"
	"postern.dev/postern/internal/vpc"
)

func TestRoute53CallsAreJudgedOnTheZone(t *testing.T) {
	const zone, batch = "arn:aws:route53:::hostedzone/", "ChangeBatch.Changes.Change."
	v := world("", "")
	v.Put(&vpc.HostedZone{ID: "Z1", Owner: us, Name: "example.com", Tags: vpc.Tags{"team": "red"}})
	v.Put(&vpc.HostedZone{ID: "Z2", Owner: them, Name: "example.com", Tags: vpc.Tags{"team": "red"}})
	for _, c := range []struct {
		action   string
		params   []string
		resource string
		keys     string // of the resource
	}{
		{"ListHostedZones", nil, "*", ""},
		{"CreateHostedZone", []string{"Name", "a", "VPC.VPCId", own, "VPC.VPCRegion", "us-east-1"}, "*", "route53:VPCs=VPCId=" + own + ",VPCRegion=us-east-1"},
		{"GetHostedZone", []string{"Id", "Z1"}, zone + "Z1", "aws:ResourceTag/team=red route53:ResourceTag/team=red"},
		{"GetHostedZone", []string{"Id", "/hostedzone/Z1"}, zone + "Z1", "aws:ResourceTag/team=red route53:ResourceTag/team=red"},
		{"DeleteHostedZone", []string{"Id", "Z2"}, zone + "Z2", ""},
		{"DeleteHostedZone", []string{"Id", "Z3"}, zone + "Z3", ""},
		{"GetChange", []string{"Id", "C1"}, "arn:aws:route53:::change/C1", ""},
		{"AssociateVPCWithHostedZone", []string{"HostedZoneId", "Z2", "VPC.VPCId", own}, zone + "Z2", "route53:VPCs=VPCId=" + own + ",VPCRegion=us-east-1"},
		{"ListHostedZonesByVPC", []string{"vpcid", own, "vpcregion", "us-east-1"}, "*", "route53:VPCs=VPCId=" + own + ",VPCRegion=us-east-1"},
		{"ChangeTagsForResource", []string{"ResourceType", "hostedzone", "ResourceId", "Z3", "AddTags.Tag.1.Key", "a", "AddTags.Tag.1.Value", "1", "RemoveTagKeys.Key.1", "b"}, zone + "Z3", "aws:RequestTag/a=1 aws:TagKeys=a,b"},
		{"ChangeResourceRecordSets", []string{
			"HostedZoneId", "Z3", batch + "1.Action", "CREATE", batch + "1.ResourceRecordSet.Name", "WWW*.Example.com.", batch + "1.ResourceRecordSet.Type", "A",
			batch + "2.Action", "UPSERT", batch + "2.ResourceRecordSet.Name", "a.example.com", batch + "2.ResourceRecordSet.Type", "A",
		}, zone + "Z3", `route53:ChangeResourceRecordSetsActions=CREATE,UPSERT route53:ChangeResourceRecordSetsNormalizedRecordNames=www\052.example.com,a.example.com route53:ChangeResourceRecordSetsRecordTypes=A`},
	} {
		r := request("route53", c.action, c.params...)
		if got, want := authz.Checks(v, ann, r), []string{"route53:" + c.action + " " + c.resource}; !slices.Equal(got, want) {
			t.Errorf("%s %v: %v, want %v", c.action, c.params, got, want)
		}
		if got := strings.Join(authz.Keys(v, ann, r, c.resource), " "); got != c.keys {
			t.Errorf("%s %v: keys\n%s, want\n%s", c.action, c.params, got, c.keys)
		}
	}
	if got := authz.Checks(v, ann, request("route53", "ListTagsForResources", "ResourceType", "hostedzone", "ResourceIds.ResourceId.1", "Z1", "ResourceIds.ResourceId.2", "Z2")); !slices.Equal(got, []string{
		"route53:ListTagsForResources " + zone + "Z1", "route53:ListTagsForResources " + zone + "Z2",
	}) {
		t.Errorf("the tags of two: %v", got)
	}
}

// What a policy can say of records: who may change names below one, and how.
func TestPoliciesNarrowWhichRecordsMayChange(t *testing.T) {
	const batch = "ChangeBatch.Changes.Change."
	allow := doc(`"Effect":"Allow","Action":"route53:ChangeResourceRecordSets","Resource":"arn:aws:route53:::hostedzone/Z1","Condition":{
		"ForAllValues:StringLike":{"route53:ChangeResourceRecordSetsNormalizedRecordNames":["*.dev.example.com"]},
		"ForAllValues:StringEquals":{"route53:ChangeResourceRecordSetsRecordTypes":["A","TXT"],"route53:ChangeResourceRecordSetsActions":["UPSERT"]}}`)
	change := func(zone string, parts ...string) error {
		p := []string{"HostedZoneId", zone}
		for i, x := range parts {
			n := batch + string(rune('1'+i)) + "."
			f := strings.Fields(x)
			p = append(p, n+"Action", f[0], n+"ResourceRecordSet.Name", f[1], n+"ResourceRecordSet.Type", f[2])
		}
		return authz.Authorize(world(allow, ""), ann, request("route53", "ChangeResourceRecordSets", p...))
	}
	if err := change("Z1", "UPSERT a.DEV.example.com. A", "UPSERT b.dev.example.com TXT"); err != nil {
		t.Error(err)
	}
	for _, bad := range []struct {
		zone  string
		parts []string
	}{
		{"Z2", []string{"UPSERT a.dev.example.com A"}},
		{"Z1", []string{"UPSERT a.dev.example.com A", "UPSERT a.example.com A"}},
		{"Z1", []string{"UPSERT a.dev.example.com MX"}},
		{"Z1", []string{"DELETE a.dev.example.com A"}},
	} {
		if err := change(bad.zone, bad.parts...); err == nil {
			t.Errorf("%v is allowed", bad)
		}
	}
}
