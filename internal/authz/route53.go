// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"slices"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// route53 makes the check of a Route 53 call: on the hosted zone it is about.
// ARNs of the service have neither region nor account.
func (b *builder) route53() {
	context := keys{}
	get := b.r.Params.Get
	const arn = "arn:aws:route53:::"
	if v := get("VPC.VPCId"); v != "" {
		region := get("VPC.VPCRegion")
		if region == "" {
			region = b.r.Region
		}
		context.set("route53:VPCs", "VPCId="+v+",VPCRegion="+region)
	}
	switch b.r.Action {
	case "GetChange":
		b.add(arn+"change/"+bareID(get("Id")), context)
		return
	case "ListTagsForResources":
		for _, name := range b.names {
			if strings.HasPrefix(name, "ResourceIds.ResourceId.") {
				b.zone(get(name), keys{})
			}
		}
		if len(b.out) == 0 {
			b.add("*", context)
		}
		return
	case "ListHostedZonesByVPC":
		context.set("route53:VPCs", "VPCId="+get("vpcid")+",VPCRegion="+get("vpcregion"))
		b.add("*", context)
		return
	case "ChangeResourceRecordSets":
		b.recordKeys(context)
	case "ChangeTagsForResource":
		b.requestTags("AddTags.Tag.", context)
		for _, name := range b.names {
			if strings.HasPrefix(name, "RemoveTagKeys.Key.") {
				context["aws:TagKeys"] = append(context["aws:TagKeys"], get(name))
			}
		}
	}
	for _, label := range []string{"Id", "HostedZoneId", "ResourceId"} {
		if id := get(label); id != "" {
			b.zone(id, context)
			return
		}
	}
	b.add("*", context)
}

// zone adds a check of a hosted zone, with the tags of one that is the caller's.
func (b *builder) zone(id string, context keys) {
	id = bareID(id)
	if z, ok := vpc.Get[vpc.HostedZone](b.v, id); ok && z.Owner == b.p.Account {
		resourceTags(Route53, z.Tags, context)
	}
	b.add("arn:aws:route53:::hostedzone/"+id, context)
}

// bareID is an id without what answers have before it.
func bareID(id string) string {
	id = strings.TrimPrefix(id, "/")
	return strings.TrimPrefix(strings.TrimPrefix(id, "hostedzone/"), "change/")
}

// recordKeys adds the condition keys of a batch of changes: the names, types
// and actions in it. A name is lower case, with escape codes, without the dot
// at its end.
func (b *builder) recordKeys(context keys) {
	const prefix = "route53:ChangeResourceRecordSets"
	add := func(key, value string) {
		if !slices.Contains(context[prefix+key], value) {
			context[prefix+key] = append(context[prefix+key], value)
		}
	}
	for _, name := range b.names {
		if !strings.HasPrefix(name, "ChangeBatch.Changes.Change.") {
			continue
		}
		value := b.r.Params.Get(name)
		switch {
		case strings.HasSuffix(name, ".ResourceRecordSet.Name"):
			if read, err := vpc.ParseDomainName(value); err == nil {
				value = read
			}
			add("NormalizedRecordNames", value)
		case strings.HasSuffix(name, ".ResourceRecordSet.Type"):
			add("RecordTypes", value)
		case strings.HasSuffix(name, ".Action"):
			add("Actions", value)
		}
	}
}
