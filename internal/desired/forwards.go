// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"slices"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// forwards are the resolver rules of a VPC, by domain.
func (b *builder) forwards(v *vpc.VPC) []Forward {
	var out []Forward
	for a := range vpc.By[vpc.ResolverAssociation](b.v, vpc.IndexVPC, v.ID) {
		if r, ok := vpc.Get[vpc.ResolverRule](b.v, a.Rule); ok {
			out = append(out, Forward{Domain: r.Domain, Targets: r.Targets})
		}
	}
	slices.SortFunc(out, func(a, c Forward) int { return strings.Compare(a.Domain, c.Domain) })
	return out
}
