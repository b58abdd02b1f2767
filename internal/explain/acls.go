// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"slices"

	"postern.dev/postern/internal/vpc"
)

// inOrder are the entries of one direction by number.
func inOrder(all []vpc.ACLEntry, out bool) []vpc.ACLEntry {
	var es []vpc.ACLEntry
	for _, e := range all {
		if e.Egress == out {
			es = append(es, e)
		}
	}
	slices.SortStableFunc(es, func(a, b vpc.ACLEntry) int { return a.Number - b.Number })
	return es
}

// aclAllows asks a subnet's network ACL: the first entry that matches decides,
// and none denies. The peer is the source of what comes in, the destination of
// what goes out.
func (j *journey) aclAllows(s *subnet, d direction, q sought) bool {
	entries := s.in
	if d == egress {
		entries = s.out
	}
	for _, e := range entries {
		if e.CIDR.Contains(q.peer) && covers(e.Protocol, e.From, e.To, q.proto, q.number, q.code) {
			verb := "denied"
			if e.Allow {
				verb = "allowed"
			}
			j.step("network ACL %s of %s: %s by entry %d", d, s.ID, verb, e.Number)
			return e.Allow
		}
	}
	j.step("network ACL %s of %s: denied, no entry matches", d, s.ID)
	return false
}

// cross asks the ACLs between two subnets, which do not judge what stays in
// one. A nil subnet is no subnet: the other end is outside of the VPC.
func (j *journey) cross(from, to *subnet, out, in sought) (Outcome, bool) {
	if from != nil && to != nil && from.ID == to.ID {
		j.step("network ACLs: it stays in %s", from.ID)
		return Outcome{}, true
	}
	if from != nil && !j.aclAllows(from, egress, out) {
		return j.drop("acl-out"), false
	}
	if to != nil && !j.aclAllows(to, ingress, in) {
		return j.drop("acl-in"), false
	}
	return Outcome{}, true
}
