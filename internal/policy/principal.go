// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strings"
)

// principals is a parsed Principal or NotPrincipal element.
type principals struct {
	any      bool     // "*" or {"AWS": "*"}: everybody, also unsigned requests
	accounts []string // account ids, also those written as a root ARN
	arns     []string // users, roles and sessions, compared exactly
	src      []string // as written, for explanations
}

// parsePrincipals reads "*" or an object of principal types.
func parsePrincipals(n *node) (*principals, error) {
	if n.kind == kindString {
		if n.text != "*" {
			return nil, fmt.Errorf(`%s is not a principal, write "*" or an object such as {"AWS": "123456789012"}`, quote(n.text))
		}
		return &principals{any: true, src: []string{"*"}}, nil
	}
	if n.kind != kindObject {
		return nil, fmt.Errorf(`must be "*" or an object, not %s`, n.kind)
	}
	if len(n.members) == 0 {
		return nil, fmt.Errorf("names nobody, write at least one principal")
	}
	p := &principals{}
	for _, m := range n.members {
		names, err := stringList(&m.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", quote(m.name), err)
		}
		for _, name := range names {
			switch m.name {
			case "AWS":
				err = p.addAWS(name)
			case "Service", "Federated", "CanonicalUser":
				// Valid, and never the caller of an endpoint: see the package comment.
				if name == "" || name != "*" && strings.ContainsAny(name, "*?") {
					err = fmt.Errorf("%s is not a principal, wildcards within a name are not supported", quote(name))
				}
			default:
				err = fmt.Errorf("unknown principal type, use AWS, Service, Federated or CanonicalUser")
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", quote(m.name), err)
			}
			p.src = append(p.src, name)
		}
	}
	return p, nil
}

func (p *principals) addAWS(name string) error {
	if name == "*" {
		p.any = true
		return nil
	}
	if isAccountID(name) {
		p.accounts = append(p.accounts, name)
		return nil
	}
	a, ok := parsePrincipalARN(name)
	if !ok || strings.ContainsAny(name, "*?") {
		return fmt.Errorf(`%s is not "*", a 12-digit account id or the ARN of a root user, user, role or session without wildcards`, quote(name))
	}
	if a.resource == "root" {
		p.accounts = append(p.accounts, a.account)
	} else {
		p.arns = append(p.arns, name)
	}
	return nil
}

// match reports whether the request's principal is one of p.
func (p *principals) match(r *Request) bool {
	if p.any {
		return true
	}
	if r.Principal == "" {
		return false
	}
	caller, ok := parsePrincipalARN(r.Principal)
	account := r.Account
	if account == "" && ok {
		account = caller.account
	}
	for _, want := range p.accounts {
		if want == account && (!r.GatewayEndpoint || ok && caller.resource == "root") {
			return true
		}
	}
	for _, want := range p.arns {
		if want == r.Principal || ok && isSessionOf(caller, want) {
			return true
		}
	}
	return false
}

// principalARN is arn:PARTITION:SERVICE::ACCOUNT:RESOURCE of IAM or STS.
type principalARN struct {
	partition, service, account, resource string
}

func parsePrincipalARN(s string) (principalARN, bool) {
	f := strings.SplitN(s, ":", arnParts)
	if len(f) != arnParts || f[0] != "arn" || f[1] == "" || f[3] != "" || !isAccountID(f[4]) {
		return principalARN{}, false
	}
	a := principalARN{f[1], f[2], f[4], f[5]}
	kind, name, _ := strings.Cut(a.resource, "/")
	switch a.service + " " + kind {
	case "iam root":
		return a, a.resource == "root"
	case "iam user", "iam role", "sts assumed-role", "sts federated-user":
		return a, name != ""
	}
	return principalARN{}, false
}

// isSessionOf reports whether caller is a session of the role with ARN role.
// A session's ARN leaves out the role's path; role names are unique in an
// account whatever the path, so the last component decides.
func isSessionOf(caller principalARN, role string) bool {
	want, ok := parsePrincipalARN(role)
	if !ok || want.service != "iam" || caller.service != "sts" ||
		want.partition != caller.partition || want.account != caller.account {
		return false
	}
	path, isRole := strings.CutPrefix(want.resource, "role/")
	session, isSession := strings.CutPrefix(caller.resource, "assumed-role/")
	name, _, _ := strings.Cut(session, "/")
	return isRole && isSession && name != "" && name == path[strings.LastIndexByte(path, '/')+1:]
}

func isAccountID(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}
