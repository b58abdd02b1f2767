// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strings"
)

// remedy says what would make an Allow statement that did not apply allow the
// request. It names a change to the statement only if that is all it takes.
func (p *Policy) remedy(e *evaluation, index int, o outcome) string {
	s := &p.statements[index]
	name := statementName(index, s.sid)
	switch o.stage {
	case failedCondition:
		var unmet []string
		for i := range s.conditions {
			if c := &s.conditions[i]; !c.match(e) {
				unmet = append(unmet, fmt.Sprintf("%s %s %s", c.key, c.spelling, quoteList(c.src)))
			}
		}
		return name + " allows it with " + strings.Join(unmet, " and ")
	case failedAction:
		if o := s.match(e); o.stage == applies && !s.notAction {
			return "add Action " + quote(e.request.Action) + " to " + name
		}
	case failedResource:
		if !s.notResource && s.matchPrincipal(e) != grantNone && s.unmet(e) < 0 {
			return "add Resource " + quote(escaped(e.request.Resource)) + " to " + name
		}
	}
	return newStatement(&e.request)
}

// newStatement names what a further statement has to allow.
func newStatement(r *Request) string {
	resource := r.Resource
	if resource != "*" {
		resource = escaped(resource)
	}
	who := ""
	if r.Principal != "" {
		who = " for " + quote(r.Principal)
	}
	return fmt.Sprintf("add an Allow statement with Action %s and Resource %s%s", quote(r.Action), quote(resource), who)
}
