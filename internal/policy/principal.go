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
	arns     []principalARN
	src      []string // as written, for explanations
}

// parsePrincipals reads "*" or an object of principal types.
func (p *parser) parsePrincipals(field string, n *node) *principals {
	out := &principals{}
	if n.kind == kindString {
		if n.text != "*" {
			p.fail(field, n, `%s is not a principal, write "*" or an object such as {"AWS": "123456789012"}`, quote(n.text))
		}
		out.any, out.src = true, []string{"*"}
		return out
	}
	if n.kind != kindObject {
		p.fail(field, n, `must be "*" or an object, not %s`, n.kind)
		return out
	}
	if len(n.members) == 0 {
		p.fail(field, n, "names nobody, write at least one principal")
	}
	for i := range n.members {
		m := &n.members[i]
		names, err := stringList(&m.value)
		if err != nil {
			p.fail(field, &m.value, "%s: %w", quote(m.name), err)
		}
		for _, name := range names {
			switch m.name {
			case "AWS":
				err = out.addAWS(name.text)
			case "Service", "Federated", "CanonicalUser":
				// Valid, and never the caller of an endpoint: see the package comment.
				if name.text == "" || name.text != "*" && strings.ContainsAny(name.text, "*?") {
					err = fmt.Errorf("%s is not a principal, wildcards within a name are not supported", quote(name.text))
				}
			default:
				err = fmt.Errorf("unknown principal type, use AWS, Service, Federated or CanonicalUser")
			}
			if err != nil {
				p.fail(field, name, "%s: %w", quote(m.name), err)
				err = nil
			}
			out.src = append(out.src, name.text)
		}
	}
	return out
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
		p.arns = append(p.arns, a)
	}
	return nil
}

// grant is how an element comes to speak of a caller. The order counts: the
// later ones are the more direct.
type grant int8

const (
	grantNone    grant = iota
	grantAccount       // it names the caller's account, which may pass it on
	grantRole          // it names the role of which the caller is a session
	grantDirect        // it names the caller, or everybody
)

// match is how p speaks of the request's principal.
func (p *principals) match(e *evaluation) grant {
	if p.any {
		return grantDirect
	}
	r := &e.request
	if r.Principal == "" {
		return grantNone
	}
	e.readCaller()
	best := grantNone
	account := r.Account
	if account == "" {
		account = e.caller.account // "" for a caller that has no ARN
	}
	for _, want := range p.accounts {
		if want != account {
			continue
		}
		switch {
		case e.caller.resource == "root":
			return grantDirect
		case !r.GatewayEndpoint:
			best = grantAccount
		}
	}
	for i := range p.arns {
		switch want := &p.arns[i]; {
		case want.text == r.Principal:
			return grantDirect
		case isSessionOf(&e.caller, want):
			best = grantRole
		}
	}
	return best
}

// readCaller parses the request's principal, once.
func (e *evaluation) readCaller() {
	if !e.callerRead {
		e.caller, _ = parsePrincipalARN(e.request.Principal)
		e.callerRead = true
	}
}

// principalARN is arn:PARTITION:SERVICE::ACCOUNT:RESOURCE of IAM or STS.
type principalARN struct {
	text, partition, service, account, resource string
}

func parsePrincipalARN(s string) (principalARN, bool) {
	var none principalARN
	rest, ok := strings.CutPrefix(s, "arn:")
	if !ok {
		return none, false
	}
	partition, rest, _ := strings.Cut(rest, ":")
	service, rest, _ := strings.Cut(rest, ":")
	region, rest, _ := strings.Cut(rest, ":")
	account, resource, ok := strings.Cut(rest, ":")
	if !ok || partition == "" || region != "" || !isAccountID(account) {
		return none, false
	}
	a := principalARN{s, partition, service, account, resource}
	kind, name, _ := strings.Cut(resource, "/")
	switch {
	case service == "iam" && kind == "root":
		ok = resource == "root"
	case service == "iam" && (kind == "user" || kind == "role"),
		service == "sts" && (kind == "assumed-role" || kind == "federated-user"):
		ok = name != ""
	default:
		ok = false
	}
	if !ok {
		return none, false
	}
	return a, true
}

// isSessionOf reports whether caller is a session of the role want.
// A session's ARN leaves out the role's path; role names are unique in an
// account whatever the path, so the last component decides.
func isSessionOf(caller, want *principalARN) bool {
	if want.service != "iam" || caller.service != "sts" ||
		want.partition != caller.partition || want.account != caller.account {
		return false
	}
	path, isRole := strings.CutPrefix(want.resource, "role/")
	session, isSession := strings.CutPrefix(caller.resource, "assumed-role/")
	name, _, _ := strings.Cut(session, "/")
	return isRole && isSession && name != "" && name == path[strings.LastIndexByte(path, '/')+1:]
}

// PrincipalOf is what a caller's ARN says of it: the aws:PrincipalArn of its
// requests, which for a session is its role's ARN without the path, and its
// account.
func PrincipalOf(arn string) (principalArn, account string, ok bool) {
	a, ok := parsePrincipalARN(arn)
	if !ok {
		return "", "", false
	}
	if session, found := strings.CutPrefix(a.resource, "assumed-role/"); found {
		name, _, _ := strings.Cut(session, "/")
		return "arn:" + a.partition + ":iam::" + a.account + ":role/" + name, a.account, true
	}
	return arn, a.account, true
}

func isAccountID(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}
