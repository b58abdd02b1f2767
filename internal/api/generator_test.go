// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"postern.dev/postern/internal/api"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/vpc"
)

// operation is one action with its parameters as the input struct has them.
type operation struct {
	service, name string
	dialect       awsquery.Dialect
	params        []awsquery.Param
}

func operations(t testing.TB) []operation {
	t.Helper()
	var out []operation
	for _, s := range api.Services() {
		for _, name := range s.Actions {
			p, err := awsquery.Describe(s.Dialect, s.Input(name))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, operation{s.Name, name, s.Dialect, p})
		}
	}
	return out
}

// generator makes requests: some that a client could send, with ids of things
// that exist, and some that only an attacker would.
type generator struct {
	*rand.Rand
	ops    []operation
	view   func() vpc.View
	tokens []string      // page tokens that were answered
	owner  vpc.AccountID // whose ids are chosen; "" for anybody's
	focus  vpc.VPCID     // whose parts are chosen; "" for any's
	dishes []func() draft
}

// draft is a request in the making: pairs in the order in which they are sent.
type draft struct {
	op    operation
	pairs [][2]string
}

func (g *generator) one(list ...string) string { return list[g.IntN(len(list))] }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

// next makes a request.
func (g *generator) next() request {
	q := request{signer: &signers[g.IntN(len(signers))]}
	if g.owner = q.signer.caller.Account; g.chance(15) {
		g.owner = ""
	}
	var d draft
	if g.chance(50) {
		d = g.cook()
	} else {
		d.op = g.pick()
		d.fill(g)
	}
	q.service = d.op.service
	if g.chance(25) {
		d.spoil(g)
	}
	body := d.encode(g)
	switch n := g.IntN(100); {
	case n < 3:
		q.signer = nil
	case n < 5:
		q.signer = &signer{q.signer.caller, vpc.AccessKey{ID: q.signer.key.ID, Secret: "another"}}
	case n < 6:
		q.service = g.one("ec2", "sts", "elasticloadbalancing", "iam", "")
	}
	switch n := g.IntN(100); {
	case n < 70:
		q.body = body
	case n < 80 && len(body) < 20_000:
		q.method, q.query = "GET", body
	case n < 85 && len(body) < 20_000:
		at := strings.IndexByte(body, '&')
		if at < 0 {
			at = len(body)
		}
		q.query, q.body = body[:at], strings.TrimPrefix(body[at:], "&")
	case n < 95:
		q.body = body
	default:
		q.body = g.garbage(body)
		if g.chance(20) {
			q.method = g.one("PUT", "DELETE", "HEAD", "PATCH")
		}
	}
	if g.chance(2) {
		q.path = g.one("/x", "//", "/%2e", "/a b", "/ä")
	}
	return q
}

// pick prefers what makes things, so that there are some.
func (g *generator) pick() operation {
	for range 3 {
		op := g.ops[g.IntN(len(g.ops))]
		switch {
		case strings.HasPrefix(op.name, "Delete"), strings.HasPrefix(op.name, "Terminate"):
			if g.chance(20) {
				return op
			}
		case strings.HasPrefix(op.name, "Describe"):
			if g.chance(50) {
				return op
			}
		default:
			return op
		}
	}
	return g.ops[g.IntN(len(g.ops))]
}

// fill gives the draft parameters: required ones nearly always.
func (d *draft) fill(g *generator) {
	chance := []int{0, 10, 25, 60}[g.IntN(4)]
	if g.chance(1) {
		chance = 100
	}
	for _, p := range d.op.params {
		if p.Kind == awsquery.Structure {
			continue
		}
		nested := strings.Contains(p.Name, ".N.") || strings.Contains(p.Name, ".entry.")
		switch {
		case p.Mode == awsquery.IsRefused:
			if !g.chance(1) {
				continue
			}
		case p.Required && !nested:
			if g.chance(3) {
				continue
			}
		case !g.chance(chance):
			continue
		}
		times := 1
		if strings.Contains(p.Name, ".N") {
			times = 1 + g.IntN(2)
		}
		for i := range times {
			name := p.Name
			for strings.Contains(name, "N") {
				before, after, ok := cutIndex(name)
				if !ok {
					break
				}
				name = before + strconv.Itoa(1+i) + after
			}
			d.pairs = append(d.pairs, [2]string{name, g.value(d.op, p)})
		}
	}
}

// cutIndex splits a name at its first index N.
func cutIndex(name string) (before, after string, ok bool) {
	pieces := strings.Split(name, ".")
	for i, p := range pieces {
		if p == "N" {
			before = strings.Join(pieces[:i], ".") + "."
			if i < len(pieces)-1 {
				after = "." + strings.Join(pieces[i+1:], ".")
			}
			return before, after, true
		}
	}
	return "", "", false
}

// spoil makes a draft what no client would send.
func (d *draft) spoil(g *generator) {
	add := func(name, value string) { d.pairs = append(d.pairs, [2]string{name, value}) }
	switch g.IntN(14) {
	case 0, 1, 2, 3: // another value
		if len(d.pairs) > 0 {
			d.pairs[g.IntN(len(d.pairs))][1] = g.junk()
		}
	case 4: // another name
		if len(d.pairs) > 0 {
			d.pairs[g.IntN(len(d.pairs))][0] = g.junk()
		}
	case 5: // twice
		if len(d.pairs) > 0 {
			d.pairs = append(d.pairs, d.pairs[g.IntN(len(d.pairs))])
		}
	case 6: // deeper than there is anything
		if len(d.pairs) > 0 {
			add(d.pairs[0][0]+strings.Repeat(g.one(".1", ".member", ".entry.1.key"), 1+g.IntN(6)), "x")
		}
	case 7: // holes, and indices that are none
		if p := d.list(g); p != "" {
			for _, i := range []string{"2000", "7", "0", "-1", "01", "99999999999999999999", "x"}[g.IntN(5):] {
				add(p+i, g.junk())
			}
		}
	case 8: // a long list
		if p := d.list(g); p != "" {
			ids := append(g.pool(""), "")
			for i := range 100 + g.IntN(1900) {
				add(p+strconv.Itoa(i+1), ids[g.IntN(len(ids))])
			}
		}
	case 9: // an empty list, and a structure that is a value
		if p := d.list(g); p != "" {
			add(strings.TrimSuffix(strings.TrimSuffix(p, "."), ".member"), g.one("", "x"))
		}
	case 10: // filters
		ids := append(g.pool(""), "")
		for i := range 1 + g.IntN(50) {
			f := fmt.Sprintf("Filter.%d.", i+1)
			add(f+"Name", g.filter())
			for k := range 1 + g.IntN(8) {
				add(f+"Value."+strconv.Itoa(k+1), g.one(ids[g.IntN(len(ids))], "*", "?", strings.Repeat("*a", 1+g.IntN(40)), `\*`, "", g.junk()))
			}
		}
	case 11: // very long
		if len(d.pairs) > 0 {
			d.pairs[g.IntN(len(d.pairs))][1] = strings.Repeat(g.one("a", "ä", "<", "&", "\x00", "0", "*"), 1+g.IntN(200_000))
		}
	case 12:
		add("Version", g.junk())
	case 13:
		add("DryRun", g.one("true", "true", "false", "yes"))
	}
}

// list is the name of a list of the action, with the dot before the index.
func (d *draft) list(g *generator) string {
	var names []string
	for _, p := range d.op.params {
		if strings.HasSuffix(p.Name, ".N") && p.Mode != awsquery.IsRefused && strings.Count(p.Name, ".N") == 1 {
			names = append(names, strings.TrimSuffix(p.Name, "N"))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return names[g.IntN(len(names))]
}

// encode writes the pairs as a form, in any order.
func (d *draft) encode(g *generator) string {
	pairs := slices.Clone(d.pairs)
	g.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	action := d.op.name
	if g.chance(1) {
		action = g.junk()
	}
	b := []string{"Action=" + url.QueryEscape(action), "Version=" + versions[d.op.service]}
	for _, p := range pairs {
		value := url.QueryEscape(p[1])
		if g.chance(10) {
			value = strings.ReplaceAll(value, "+", "%20")
		}
		b = append(b, url.QueryEscape(p[0])+"="+value)
	}
	return strings.Join(b, "&")
}

// garbage is a body that is hardly a form.
func (g *generator) garbage(body string) string {
	b := []byte(body)
	switch g.IntN(6) {
	case 0:
		for range 1 + g.IntN(8) {
			if len(b) > 0 {
				b[g.IntN(len(b))] = byte(g.IntN(256))
			}
		}
	case 1:
		b = b[:g.IntN(len(b)+1)]
	case 2:
		b = append(b, "&%zz=%&=&&;&x"...)
	case 3:
		b = append(b, "&Name=%ff%fe&Tag.1.Key=%00"...)
	case 4:
		b = []byte(strings.Repeat("a=b&", g.IntN(10_000)))
	case 5:
		b = make([]byte, g.IntN(2000))
		for i := range b {
			b[i] = byte(g.IntN(256))
		}
	}
	return string(b)
}

// junk is a value that fits nowhere.
func (g *generator) junk() string {
	switch g.IntN(12) {
	case 0:
		return ""
	case 1:
		return g.one("<![CDATA[", "]]>", "&amp;&lt;", "<!DOCTYPE x [<!ENTITY a 'b'>]>&a;", "\"'><script>", "</item></Response>")
	case 2:
		return g.one("\x00", "\x01\x08\x0b\x1f", "\u2028\u2029", "\ufffe\uffff", "\u202e", "a\r\nb", "\t", "\U0010ffff")
	case 3:
		return g.one("-1", "0", "65536", "2147483647", "2147483648", "-9223372036854775808", "9223372036854775808", "1e9", "0x10", "NaN", "007", "+5", "1.5")
	case 4:
		return g.one("true", "false", "TRUE", "null", "nil", "undefined")
	case 5:
		return g.one("*", "%s%n%d", "../../etc/passwd", "$(id)", "; drop table", "{{7*7}}")
	case 6:
		return g.one("0.0.0.0/0", "::/0", "10.0.0.0/33", "10.0.0.1/16", "256.0.0.0/8", "10.0.0.0/-1", "::ffff:10.0.0.0/112", "fe80::1%eth0", "10.0.0.0/016")
	case 7:
		return strings.Repeat(g.one("x", "ß", "漢"), g.IntN(1000))
	case 8:
		prefix := g.one("vpc", "subnet", "sg", "eni", "vpce", "vpce-svc", "rtb", "acl", "i", "sgr", "pl", "aclassoc", "rtbassoc")
		return prefix + "-" + g.one("00000000000000000", "0123456789ABCDEF0", "1", "", "ffffffff", "zzzzzzzz", "0123456789abcdef01")
	case 9:
		return "arn:aws:elasticloadbalancing:us-east-1:" + g.one("111111111111", "", "x") + ":" + g.one("loadbalancer/net/x/0", "targetgroup/x", "listener/", "rule/x", "")
	case 10:
		if g.chance(20) {
			return g.id("", "")
		}
	}
	b := make([]rune, g.IntN(20))
	for i := range b {
		b[i] = rune(g.IntN(0x250))
	}
	return string(b)
}

// filter is the name of a filter.
func (g *generator) filter() string {
	return g.one("vpc-id", "subnet-id", "state", "tag:Name", "tag-key", "tag:", "owner-id", "group-name", "vpc-endpoint-id", "service-name", "vpc-endpoint-state",
		"cidr", "cidr-block", "availability-zone", "association.main", "route.destination-cidr-block", "entry.cidr", "ip-permission.cidr", "instance-id",
		"instance-state-name", "network-interface-id", "addresses.private-ip-address", "is-default", "default", "resource-id", "resource-type", "key", "value", g.junk())
}

// value is one for a parameter: mostly one that could be meant.
func (g *generator) value(op operation, p awsquery.Param) string {
	if g.chance(4) {
		return g.junk()
	}
	if len(p.Enum) > 0 {
		return g.one(p.Enum...)
	}
	switch p.Kind {
	case "boolean":
		return g.one("true", "false")
	case "integer", "long", "double":
		return g.one("1", "1", "2", "5", "10", "80", "100", "443", "1000", "0", "-1", "65535", "32766", strconv.Itoa(g.IntN(70000)))
	case "timestamp":
		return g.one("2026-01-02T03:04:05Z", "1767323045", "2026-13-01T00:00:00Z")
	case "blob":
		return base64.StdEncoding.EncodeToString([]byte(g.junk()))
	}
	return g.text(op, p.Name)
}

// text is a value for a parameter of type string, by its name.
func (g *generator) text(op operation, name string) string {
	lower := strings.ToLower(name)
	has := func(s string) bool { return strings.Contains(lower, s) }
	switch {
	case strings.HasSuffix(lower, "filter.n.name"):
		return g.filter()
	case has("tagspecification") && strings.HasSuffix(lower, "resourcetype"):
		return g.one("vpc", "subnet", "route-table", "security-group", "network-acl", "network-interface", "instance", "vpc-endpoint", "vpc-endpoint-service", "security-group-rule")
	case strings.HasSuffix(lower, "key"):
		return g.one("Name", "a", "b", "aws:x", "", "k<&>\"'", "ключ")
	case strings.HasSuffix(lower, "clienttoken"):
		return g.one("t1", "t2", "t3", "t"+strconv.Itoa(g.IntN(1000)))
	case strings.HasSuffix(lower, "nexttoken"), strings.HasSuffix(lower, "marker"):
		if len(g.tokens) > 0 && g.chance(70) {
			return g.tokens[g.IntN(len(g.tokens))]
		}
		return g.junk()
	case has("policydocument"):
		return g.policy()
	case has("principal"):
		return g.one("*", "arn:aws:iam::111111111111:root", "arn:aws:iam::333333333333:root", "arn:aws:iam::222222222222:user/x", "arn:aws:iam::1:root")
	case has("privatednsname"):
		return g.one("svc.example.com", "*.example.com", "a.b", "UPPER.example", "x")
	case has("cidr"):
		return g.one(fmt.Sprintf("10.%d.0.0/16", g.IntN(3)), fmt.Sprintf("10.%d.%d.0/24", g.IntN(3), g.IntN(4)), fmt.Sprintf("10.0.%d.%d/28", g.IntN(4), 16*g.IntN(16)), "0.0.0.0/0", "192.0.2.0/24", "2001:db8::/32")
	case has("zoneid"):
		return g.one("use1-az1", "use1-az2", "use1-az9")
	case has("zone"):
		return g.one("us-east-1a", "us-east-1b", "us-east-1c", "us-east-1z", "all")
	case has("ipaddress"), has("ipv4address"):
		return fmt.Sprintf("10.%d.%d.%d", g.IntN(3), g.IntN(4), g.IntN(256))
	case has("servicename"):
		return g.id("servicename", "")
	case has("protocol"):
		return g.one("tcp", "udp", "icmp", "6", "-1", "TCP", "UDP", "TCP_UDP", "HTTP")
	case has("imageid"):
		return "ami-12345678"
	case strings.HasSuffix(lower, "attribute"):
		return g.one("enableDnsSupport", "enableDnsHostnames", "description", "groupSet", "instanceType", "userData", "sourceDestCheck", "attachment")
	case has("healthcheckpath"):
		return g.one("/", "/health", "x")
	case has("healthcheckport"):
		return g.one("traffic-port", "80", "0")
	case has("matcher"):
		return g.one("200", "200-399", "x")
	case strings.HasSuffix(lower, "type") && op.service == "elasticloadbalancing":
		return g.one("network", "forward", "ip", "instance")
	case has("scheme"):
		return g.one("internal", "internet-facing")
	case has("name") && !has("group"):
		return g.one("a", "b", "web", "n"+strconv.Itoa(g.IntN(10)), "n"+strconv.Itoa(g.IntN(1000)))
	case strings.HasSuffix(lower, "groupname"):
		return g.one("web", "db", "default", "g"+strconv.Itoa(g.IntN(20)))
	case has("description"):
		return g.one("text", "", "x <&> y")
	case strings.HasSuffix(lower, "value"):
		return g.one("true", "false", "x", "0", "300", g.id("", ""))
	}
	for _, k := range []struct{ part, kind string }{
		{"vpcendpointid", vpc.PrefixEndpoint}, {"serviceid", vpc.PrefixService}, {"subnet", vpc.PrefixSubnet}, {"routetable", vpc.PrefixRouteTable},
		{"securitygroupruleid", vpc.PrefixRule}, {"securitygroup", vpc.PrefixGroup}, {"group", vpc.PrefixGroup}, {"networkaclid", vpc.PrefixACL},
		{"networkinterface", vpc.PrefixInterface}, {"instanceid", vpc.PrefixInstance}, {"vpcid", vpc.PrefixVPC}, {"loadbalancer", "loadbalancer/"},
		{"targetgroup", "targetgroup/"}, {"listener", "listener/"}, {"prefixlist", vpc.PrefixManagedList}, {"associationid", "assoc"},
		{"resourcearn", "arn:"}, {"targets", ""},
	} {
		if has(k.part) {
			if strings.HasPrefix(k.part, "target") && op.service == "elasticloadbalancing" && strings.HasSuffix(lower, ".id") {
				return g.one(fmt.Sprintf("10.%d.%d.%d", g.IntN(3), g.IntN(4), g.IntN(256)), g.id(vpc.PrefixInstance, ""))
			}
			return g.id(k.kind, "x")
		}
	}
	return g.id("", "x")
}

func (g *generator) policy() string {
	if g.chance(10) { // up to a megabyte, encoded
		one := `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`
		return `{"Statement":[` + strings.Repeat(one+",", g.IntN(7_000)) + one + `]}`
	}
	return g.one(
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`,
		`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":{"AWS":"*"},"Action":["s3:Get*","s3:+ä<&>"],"Resource":"arn:aws:s3:::b/*","Condition":{"StringLike":{"aws:SourceVpc":"vpc-*"}}}}`,
		strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 20_000), `{"Statement":[]}`, `null`, `"x"`, "{", g.junk(),
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"`+strings.Repeat("*?", 2000)+`","Resource":"*"}]}`)
}

// id is an id of something that exists: of a kind (its prefix, or a part of
// its ARN), or of any when kind is empty. Without one it is otherwise's.
func (g *generator) id(kind, otherwise string) string {
	all := g.pool(kind)
	if len(all) == 0 || g.chance(2) {
		return otherwise
	}
	return all[g.IntN(len(all))]
}

// pool are the ids that id chooses from. It looks at every object: what needs
// many ids asks for it once.
func (g *generator) pool(kind string) []string {
	var all []string
	add := func(s string) {
		if kind == "" || strings.HasPrefix(s, kind+"-") && vpc.ValidID(kind, s) || strings.Contains(kind, "/") && strings.Contains(s, kind) ||
			kind == "assoc" && strings.Contains(s, "assoc-") || kind == "arn:" && strings.HasPrefix(s, "arn:") {
			all = append(all, s)
		}
	}
	v := g.view()
	for _, k := range []vpc.Kind{
		vpc.KindVPC, vpc.KindSubnet, vpc.KindInterface, vpc.KindInstance, vpc.KindEndpoint, vpc.KindBalancer, vpc.KindTargetGroup,
		vpc.KindListener, vpc.KindRouteTable, vpc.KindACL, vpc.KindGroup, vpc.KindService, vpc.KindEgressOnly,
		vpc.KindResolverEndpoint, vpc.KindResolverRule, vpc.KindResolverAssociation,
	} {
		for o := range v.Objects(k) {
			if g.owner != "" && o.(vpc.OwnedObject).OwnerID() != g.owner {
				continue
			}
			if in := vpcOf(o); g.focus != "" && in != "" && in != g.focus {
				continue
			}
			for _, id := range idsIn(o) {
				add(id)
			}
		}
	}
	for s := range vpc.All[vpc.EndpointService](v) {
		if kind == "servicename" {
			all = append(all, s.Name)
		}
	}
	for s := range vpc.All[vpc.CatalogueService](v) {
		add(string(s.PrefixList))
		if kind == "servicename" {
			all = append(all, s.ServiceName, s.ServiceName)
		}
	}
	return all
}

// idsIn are the ids of an object and of its parts.
func idsIn(o vpc.Object) []string {
	out := []string{o.Key()}
	switch o := o.(type) {
	case *vpc.VPC:
		for _, a := range slices.Concat(o.CIDRs, o.IPv6) {
			out = append(out, a.ID)
		}
	case *vpc.Subnet:
		if o.HasIPv6() {
			out = append(out, o.IPv6.ID)
		}
	case *vpc.RouteTable:
		if o.Main != "" {
			out = append(out, o.Main)
		}
		for _, a := range o.Associations {
			out = append(out, a.ID)
		}
	case *vpc.NetworkACL:
		for _, a := range o.Associations {
			out = append(out, a.ID)
		}
	case *vpc.SecurityGroup:
		for _, r := range o.Rules {
			out = append(out, string(r.ID))
		}
	case *vpc.NetworkInterface:
		if o.Attachment != nil {
			out = append(out, o.Attachment.ID)
		}
	case *vpc.EndpointService:
		for _, p := range o.Permissions {
			out = append(out, p.ID)
		}
	}
	return out
}
