// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"strings"

	"postern.dev/postern/internal/vpc"
)

// resolver makes the check of a Route 53 Resolver call: on the endpoint or the
// rule that it names or makes, or on all of the kind that it lists. A rule's
// endpoint and VPC are only where it applies, as in AWS's service authorization
// reference.
func (b *builder) resolver() {
	context := keys{}
	b.requestTags("Tags.member.", context)
	b.tagKeys(context)
	get := b.r.Params.Get
	endpoint := strings.Contains(b.r.Action, "ResolverEndpoint")
	switch arn, id := get("ResourceArn"), get("ResolverEndpointId"); {
	case arn != "":
		b.resolverObject(arn, arn[strings.LastIndexByte(arn, '/')+1:], context)
	case endpoint && id != "":
		b.resolverObject(b.resolverARN(vpc.KindResolverEndpoint, id), id, context)
	case endpoint: // makes one, or lists them
		b.add(b.resolverARN(vpc.KindResolverEndpoint, "*"), context)
	case get("ResolverRuleId") != "":
		id := get("ResolverRuleId")
		b.resolverObject(b.resolverARN(vpc.KindResolverRule, id), id, context)
	case get("ResolverRuleAssociationId") != "":
		id := "*"
		if a, ok := vpc.Get[vpc.ResolverAssociation](b.v, get("ResolverRuleAssociationId")); ok && a.Owner == b.p.Account {
			id = string(a.Rule)
		}
		b.resolverObject(b.resolverARN(vpc.KindResolverRule, id), id, context)
	case b.r.Action == "ListResolverRuleAssociations":
		b.add("*", context)
	default:
		b.add(b.resolverARN(vpc.KindResolverRule, "*"), context)
	}
}

func (b *builder) resolverARN(kind vpc.Kind, id string) string {
	return b.arn(Resolver, string(kind)+"/"+id)
}

// resolverObject checks an endpoint or a rule with the tags it has.
func (b *builder) resolverObject(arn, id string, context keys) {
	for _, kind := range []vpc.Kind{vpc.KindResolverEndpoint, vpc.KindResolverRule} {
		if o := b.object(resourceType{kind: kind}, id); o != nil && arn == b.resolverARN(kind, id) {
			resourceTags(Resolver, tagsOf(o, b.p.Account), context)
		}
	}
	b.add(arn, context)
}
