// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"testing"
)

// One letter a policy: a allows, d denies, n says nothing, - is not there.
func TestPoliciesTogether(t *testing.T) {
	identity := func(letter byte) *Policy {
		effect, action := "Allow", "s3:*"
		switch letter {
		case '-':
			return nil
		case 'd':
			effect = "Deny"
		case 'n':
			action = "sqs:*"
		}
		p, err := ParseOptions([]byte(fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":%q,"Action":%q,"Resource":"*"}}`, effect, action)), Options{Identity: true})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	resource := func(principal string, letter byte) *Policy {
		effect, action := "Allow", "s3:*"
		switch letter {
		case '-':
			return nil
		case 'd':
			effect = "Deny"
		case 'n':
			action = "sqs:*"
		}
		return mustParse(t, fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":%q,"Principal":%s,"Action":%q,"Resource":"*"}}`, effect, principal, action))
	}
	const (
		all     = `"*"`
		account = `{"AWS":"123456789012"}`
		user    = `{"AWS":"` + ann + `"}`
		theRole = `{"AWS":"` + role + `"}`
		itself  = `{"AWS":"` + session + `"}`
	)
	for _, c := range []struct {
		who      string
		policies string // endpoint, identity, boundary, session, resource
		names    string // whom the resource policy names
		cross    bool
		allowed  bool
		explicit bool
		decided  Kind
	}{
		{ann, "aa---", all, false, true, false, IdentityPolicy},
		{ann, "-a---", all, false, true, false, IdentityPolicy},
		{ann, "na---", all, false, false, false, EndpointPolicy},
		{ann, "na--a", all, false, false, false, EndpointPolicy},
		{ann, "da--a", all, false, false, true, EndpointPolicy},
		{ann, "ad--a", all, false, false, true, IdentityPolicy},
		{ann, "aad-a", all, false, false, true, Boundary},
		{ann, "aa-da", all, false, false, true, SessionPolicy},
		{ann, "aa--d", all, false, false, true, ResourcePolicy},
		{ann, "aa--d", theRole, false, true, false, IdentityPolicy},
		{ann, "a----", all, false, false, false, IdentityPolicy},
		{ann, "an--n", all, false, false, false, IdentityPolicy},
		{ann, "an--a", all, false, true, false, ResourcePolicy},
		{ann, "a---a", user, false, true, false, ResourcePolicy},
		{ann, "an--a", account, false, false, false, IdentityPolicy},
		{ann, "aa--a", account, false, true, false, IdentityPolicy},
		// Boundaries and session policies narrow identity policies ...
		{ann, "aaa--", all, false, true, false, IdentityPolicy},
		{ann, "aan--", all, false, false, false, Boundary},
		{session, "aa-n-", all, false, false, false, SessionPolicy},
		{session, "aaaa-", all, false, true, false, IdentityPolicy},
		// ... and of resource policies those that name the role.
		{ann, "ann-a", user, false, true, false, ResourcePolicy},
		{session, "annna", itself, false, true, false, ResourcePolicy},
		{session, "annna", all, false, true, false, ResourcePolicy},
		{session, "annna", theRole, false, false, false, Boundary},
		{session, "an-na", theRole, false, false, false, SessionPolicy},
		{session, "anaaa", theRole, false, true, false, ResourcePolicy},
		// Across accounts both sides have to allow.
		{ann, "aa--a", all, true, true, false, ResourcePolicy},
		{ann, "aa--a", account, true, true, false, ResourcePolicy},
		{ann, "aa---", all, true, false, false, ResourcePolicy},
		{ann, "aa--n", all, true, false, false, ResourcePolicy},
		{ann, "an--a", user, true, false, false, IdentityPolicy},
		{ann, "aan-a", user, true, false, false, Boundary},
		{session, "aa-na", itself, true, false, false, SessionPolicy},
		{ann, "na--a", all, true, false, false, EndpointPolicy},
		// The root user, and nobody.
		{root, "a----", all, false, true, false, IdentityPolicy},
		{root, "a----", all, true, false, false, ResourcePolicy},
		{root, "a---a", account, true, true, false, ResourcePolicy},
		{root, "a---d", account, false, false, true, ResourcePolicy},
		{"", "a---a", all, false, true, false, ResourcePolicy},
		{"", "a---a", account, false, false, false, ResourcePolicy},
		{"", "a----", all, false, false, false, ResourcePolicy},
		{"", "n---a", all, false, false, false, EndpointPolicy},
	} {
		s := Set{Endpoint: resource(all, c.policies[0]), Boundary: identity(c.policies[2]), Resource: resource(c.names, c.policies[4])}
		if c.policies[1] != '-' {
			s.Identity = []*Policy{identity('n'), identity(c.policies[1])}
		}
		if c.policies[3] != '-' {
			s.Session = []*Policy{identity(c.policies[3])}
		}
		if c.cross {
			s.ResourceAccount = "210987654321"
		}
		got := s.Evaluate(Request{Principal: c.who, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k"})
		if got.Allowed != c.allowed || got.Explicit != c.explicit || got.Policy != c.decided {
			t.Errorf("%s by %q, resource policy for %s, cross account %v: %+v", c.policies, c.who, c.names, c.cross, got)
		}
		if got.Reason == "" || got.Missing != (got.Statement < 0 && !got.Allowed) {
			t.Errorf("%s: %+v", c.policies, got)
		}
		if got.Policy == IdentityPolicy && (got.Explicit || got.Statement >= 0 && got.Allowed) && got.Index != 1 {
			t.Errorf("%s: the policy that decided is number %d", c.policies, got.Index)
		}
	}
}
