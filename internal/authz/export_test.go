// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"slices"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// Checks lists a request's checks as "action resource", in order.
func Checks(v vpc.View, p Principal, r Request) []string {
	var out []string
	list, err := checks(v, p, r)
	if err != nil {
		return []string{err.Error()}
	}
	for _, c := range list {
		out = append(out, c.action+" "+c.resource)
	}
	return out
}

// Keys lists the condition keys of a request's checks of a resource, as key=value.
func Keys(v vpc.View, p Principal, r Request, resource string) []string {
	var out []string
	list, _ := checks(v, p, r)
	for _, c := range list {
		for k, values := range c.context {
			if c.resource == resource {
				out = append(out, k+"="+strings.Join(values, ","))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// HasType reports whether an id's prefix has a row.
func HasType(prefix string) bool { _, ok := resourceTypes[prefix]; return ok }

// Parsed is the number of parsed documents that are kept.
func Parsed() int {
	parsed.mu.Lock()
	defer parsed.mu.Unlock()
	return len(parsed.byText)
}
