// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"maps"
	"strings"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// resolverService is the service in the ARNs of the resolver's objects.
const resolverService = "route53resolver"

// ResolverARN is the ARN of an endpoint or a rule.
func ResolverARN(r *vpc.Region, owner vpc.AccountID, kind vpc.Kind, id string) string {
	return r.ARN(resolverService, owner, string(kind)+"/"+id)
}

// ResolverTags are the tags of the endpoint or rule of the caller's account
// with an ARN.
func ResolverTags(v vpc.View, caller Caller, arn string) (vpc.Tags, error) {
	_, tags, err := resolverTagged(v, caller, arn)
	if err != nil {
		return nil, err
	}
	return *tags, nil
}

// resolverTagged finds what an ARN names: a copy to change, and its tags in it.
func resolverTagged(v vpc.View, caller Caller, arn string) (vpc.Object, *vpc.Tags, error) {
	if !strings.HasPrefix(arn, "arn:") {
		return nil, nil, vpc.Errorf(vpc.Invalid, "ResourceArn", arn, "'%s' is not a valid ARN", arn)
	}
	if strings.HasSuffix(arn, "/"+string(vpc.InternetResolverRule)) {
		return nil, nil, vpc.Errorf(vpc.NotPermitted, "ResourceArn", arn, "Cannot tag Auto Defined Rule")
	}
	id := arn[strings.LastIndexByte(arn, '/')+1:]
	region := RegionOf(v)
	switch arn {
	case ResolverARN(region, caller.Account, vpc.KindResolverEndpoint, id):
		e, err := OwnedResolverEndpoint(v, caller, vpc.ResolverEndpointID(id))
		return editedOf(e, err, func(e *vpc.ResolverEndpoint) *vpc.Tags { return &e.Tags })
	case ResolverARN(region, caller.Account, vpc.KindResolverRule, id):
		r, err := OwnedResolverRule(v, caller, vpc.ResolverRuleID(id))
		return editedOf(r, err, func(r *vpc.ResolverRule) *vpc.Tags { return &r.Tags })
	}
	return nil, nil, vpc.Errorf(vpc.NotFound, string(vpc.KindResolverRule), arn, "Resource '%s' does not exist.", arn)
}

// TagResolver adds tags to an endpoint or a rule, or overwrites them.
func (c *Control) TagResolver(ctx context.Context, caller Caller, arn string, tags vpc.Tags) error {
	if err := CheckTags(tags); err != nil {
		return err
	}
	return c.retagResolver(ctx, caller, arn, func(t vpc.Tags) error {
		maps.Copy(t, tags)
		return CheckTags(t)
	})
}

// UntagResolver removes tags from an endpoint or a rule. A tag that is not
// there is no error.
func (c *Control) UntagResolver(ctx context.Context, caller Caller, arn string, keys []string) error {
	return c.retagResolver(ctx, caller, arn, func(t vpc.Tags) error {
		for _, k := range keys {
			delete(t, k)
		}
		return nil
	})
}

func (c *Control) retagResolver(ctx context.Context, caller Caller, arn string, change func(vpc.Tags) error) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		o, tags, err := resolverTagged(tx, caller, arn)
		if err != nil {
			return err
		}
		if *tags == nil {
			*tags = vpc.Tags{}
		}
		if err := change(*tags); err != nil {
			return err
		}
		tx.Put(o)
		return nil
	})
}
