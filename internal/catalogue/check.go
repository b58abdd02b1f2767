// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern.dev/postern/internal/vpc"
)

// Problem is something in an entry that cannot stay as it is.
type Problem struct {
	Entry int    `json:"entry"` // its index
	Name  string `json:"name"`  // its name, which may be the problem
	Field string `json:"field"` // prefixes[1], tls.privateKey; "" for the entry as a whole
	Text  string `json:"text"`
}

// Problems are all that were found; as an error they are a line each.
type Problems []Problem

func (p Problems) Error() string {
	var out []string
	for _, o := range p {
		at := fmt.Sprintf("service %.64q", o.Name)
		if o.Field != "" {
			at += ", " + o.Field
		}
		out = append(out, at+": "+o.Text)
	}
	return strings.Join(out, "\n")
}

// Place is what entries have to fit in.
type Place struct {
	Region string
	Now    time.Time
	// Others are the services there are already.
	Others []*vpc.CatalogueService
	// Signs says that there is a key to sign with what backends are told.
	Signs bool
	// Reserved are blocks that no service may have.
	Reserved []Reserved
}

// Reserved is a block, and what it is used for: "publicPool".
type Reserved struct {
	Prefix netip.Prefix
	What   string
}

// neverPublic are addresses that nobody outside of a VPC can have: nothing is sent to
// them, or the machine or the VPC itself answers.
var neverPublic = func() []Reserved {
	var out []Reserved
	for _, p := range []struct{ prefix, what string }{
		{"0.0.0.0/8", "addresses of no machine"}, {"127.0.0.0/8", "a machine's own addresses"}, {"169.254.0.0/16", "what a VPC reserves for itself"},
		{"224.0.0.0/4", "multicast"}, {"240.0.0.0/4", "addresses that are not used"},
		{"::/8", "addresses of no machine"}, {"64:ff9b::/96", "IPv4 in IPv6"}, {"fd00:ec2::/32", "what a VPC reserves for itself"},
		{"fd70:6f73:7465:726e::/64", "the host's end of the uplink"}, {"fe80::/10", "link-local addresses"}, {"ff00::/8", "multicast"},
	} {
		out = append(out, Reserved{netip.MustParsePrefix(p.prefix), p.what})
	}
	return out
}()

// Bounds of an entry.
const (
	maxEntries  = 256
	maxPrefixes = 256
	maxNames    = 64
	maxBackends = 64
)

var (
	shortName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
	dnsName   = regexp.MustCompile(`^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// Check makes services of entries. A problem in any of them is Problems, with all
// there are.
func Check(entries []Entry, at Place) ([]*vpc.CatalogueService, error) {
	var problems Problems
	var out []*vpc.CatalogueService
	if len(entries) > maxEntries {
		return nil, Problems{{Entry: maxEntries, Name: entries[maxEntries].Name, Text: fmt.Sprintf("there are %d entries, more than %d", len(entries), maxEntries)}}
	}
	for i, e := range entries {
		r := &reader{entry: e.complete(at.Region), at: at}
		r.bad = func(field, format string, args ...any) {
			problems = append(problems, Problem{Entry: i, Name: e.Name, Field: field, Text: fmt.Sprintf(format, args...)})
		}
		s := r.service()
		for _, o := range slices.Concat(at.Others, out) {
			problems = append(problems, conflicts(i, s, o)...)
		}
		out = append(out, s)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return out, nil
}

// Conflicts are the problems that a service has beside others; Entry is 0.
func Conflicts(s *vpc.CatalogueService, others []*vpc.CatalogueService) Problems {
	var out Problems
	for _, o := range others {
		out = append(out, conflicts(0, s, o)...)
	}
	return out
}

// conflicts compares what was understood of a service with another one.
func conflicts(entry int, s, other *vpc.CatalogueService) Problems {
	var out Problems
	bad := func(field, format string, args ...any) {
		out = append(out, Problem{Entry: entry, Name: s.Name, Field: field, Text: fmt.Sprintf(format, args...)})
	}
	if s.Name != "" && s.Name == other.Name {
		bad("name", "there is a service %s already", s.Name)
		return out
	}
	for _, f := range []struct {
		name        string
		own, theirs []netip.Prefix
	}{{"prefixes", s.Prefixes, other.Prefixes}, {"prefixes6", s.Prefixes6, other.Prefixes6}} {
		for i, p := range f.own {
			if j := slices.IndexFunc(f.theirs, p.Overlaps); j >= 0 && p.IsValid() {
				bad(fmt.Sprintf("%s[%d]", f.name, i), "%s overlaps %s of service %s", p, f.theirs[j], other.Name)
			}
		}
	}
	for i, n := range s.PublicNames {
		for _, o := range other.PublicNames {
			switch {
			case n == o:
				bad(fmt.Sprintf("publicNames[%d]", i), "service %s has the name %s already", other.Name, n)
			case covers(n, o):
				bad(fmt.Sprintf("publicNames[%d]", i), "%s covers %s of service %s", n, o, other.Name)
			case covers(o, n):
				bad(fmt.Sprintf("publicNames[%d]", i), "%s of service %s covers %s", o, other.Name, n)
			}
		}
	}
	return out
}

// covers reports whether a wildcard holds another name.
func covers(wild, name string) bool {
	base, ok := strings.CutPrefix(wild, "*")
	return ok && strings.HasSuffix(name, base) && name != wild
}

// reader makes a service of one entry.
type reader struct {
	entry Entry
	at    Place
	bad   func(field, format string, args ...any)
}

func (r *reader) service() *vpc.CatalogueService {
	e := &r.entry
	s := &vpc.CatalogueService{
		Name: e.Name, ServiceName: "com.amazonaws." + r.at.Region + "." + e.Name,
		ID:       vpc.ServiceID(vpc.StableID(vpc.PrefixService, r.at.Region+"/"+e.Name)),
		Protocol: e.Protocol, PolicySupported: *e.PolicySupported,
	}
	if !shortName.MatchString(e.Name) {
		r.bad("name", "%.64q is no short name: 1 to 63 lower-case letters, digits, dots and hyphens", e.Name)
	}
	if _, ok := awsNames[e.Protocol]; !ok {
		r.bad("protocol", "%.64q: want one of %s", e.Protocol, strings.Join(Protocols(), ", "))
	}
	for i, t := range e.Types {
		switch t := vpc.EndpointType(t); {
		case t != vpc.GatewayEndpoint && t != vpc.InterfaceEndpoint:
			r.bad(index("types", i), "%.64q: want Gateway or Interface", t)
		case slices.Contains(s.Types, t):
			r.bad(index("types", i), "%s is there twice", t)
		default:
			s.Types = append(s.Types, t)
		}
	}
	r.addresses(s)
	s.PublicNames = r.names("publicNames", e.PublicNames)
	s.PrivateNames = r.names("privateNames", e.PrivateNames)
	switch {
	case len(e.PublicNames) > 0 && len(e.Addresses) == 0:
		r.bad("publicNames", "public names need addresses that they resolve to; the names of interface endpoints alone are privateNames")
	case len(e.PublicNames) == 0 && len(e.Addresses) > 0:
		r.bad("addresses", "addresses need publicNames that resolve to them")
	case len(e.PublicNames) == 0 && len(e.PrivateNames) == 0:
		r.bad("", "needs privateNames, or publicNames with addresses")
	}
	r.backends(s)
	r.identity(s)
	r.health(s)
	r.tls(s)
	return s
}

func (r *reader) identity(s *vpc.CatalogueService) {
	switch r.entry.Identity {
	case "", "none":
	case string(vpc.IdentityProxy):
		s.Identity = vpc.IdentityProxy
	case string(vpc.IdentityHeader):
		s.Identity = vpc.IdentityHeader
		if !r.at.Signs {
			r.bad("identity", "header needs a key to sign with: set identityKeyFile in the configuration")
		}
	default:
		r.bad("identity", "%.64q: want none, proxy or header", r.entry.Identity)
	}
}

func index(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

func (r *reader) addresses(s *vpc.CatalogueService) {
	e := &r.entry
	s.Prefixes = r.prefixes("prefixes", e.Prefixes, false)
	s.Prefixes6 = r.prefixes("prefixes6", e.Prefixes6, true)
	four, six := false, false
	for i, text := range e.Addresses {
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil || a.Zone() != "":
			r.bad(index("addresses", i), "%.64q is no address", text)
			continue
		case !slices.ContainsFunc(slices.Concat(s.Prefixes, s.Prefixes6), func(p netip.Prefix) bool { return p.Contains(a) }):
			r.bad(index("addresses", i), "%s is not inside the prefixes", a)
		case slices.Contains(s.Addresses, a):
			r.bad(index("addresses", i), "%s is there twice", a)
		}
		four, six = four || a.Is4(), six || a.Is6()
		s.Addresses = append(s.Addresses, a)
	}
	if len(e.Addresses) > maxPrefixes {
		r.bad("addresses", "there are %d, more than %d", len(e.Addresses), maxPrefixes)
	}
	if slices.Contains(s.Types, vpc.GatewayEndpoint) {
		if len(e.Prefixes) == 0 {
			r.bad("prefixes", "a service with gateway endpoints needs IPv4 prefixes, which they route")
		}
		s.PrefixList = vpc.PrefixListID(vpc.StableID(vpc.PrefixManagedList, r.at.Region+"/"+e.Name))
		if len(e.Prefixes6) > 0 {
			s.PrefixList6 = vpc.PrefixListID(vpc.StableID(vpc.PrefixManagedList, r.at.Region+"/ipv6/"+e.Name))
		}
	}
	if len(e.Prefixes) > 0 && !four {
		r.bad("addresses", "IPv4 addresses must not be empty: the service's names resolve to them")
	}
	if len(e.Prefixes6) > 0 && !six {
		r.bad("prefixes6", "prefixes6 need IPv6 addresses inside them, which the service's names resolve to")
	}
}

func (r *reader) prefixes(field string, list []string, six bool) []netip.Prefix {
	if len(list) > maxPrefixes {
		r.bad(field, "there are %d, more than %d", len(list), maxPrefixes)
		return nil
	}
	var out []netip.Prefix
	for i, text := range list {
		p, err := netip.ParsePrefix(text)
		switch {
		case err != nil || p != p.Masked() || p.Bits() == 0 || p.Addr().Is4In6() || p.Addr().Is4() == six:
			want := "an IPv4 network such as 198.51.100.0/24"
			if six {
				want = "an IPv6 network such as 2001:db8:ff53::/48"
			}
			r.bad(index(field, i), "%.64q: want %s", text, want)
			out = append(out, netip.Prefix{}) // so that the others keep their places
			continue
		}
		if j := slices.IndexFunc(out, p.Overlaps); j >= 0 {
			r.bad(index(field, i), "%s overlaps %s of the same service", p, out[j])
		}
		for _, n := range slices.Concat(neverPublic, r.at.Reserved) {
			if n.Prefix.Overlaps(p) {
				r.bad(index(field, i), "%s overlaps %s, %s", p, n.Prefix, n.What)
			}
		}
		out = append(out, p)
	}
	return out
}

func (r *reader) names(field string, list []string) []string {
	if len(list) > maxNames {
		r.bad(field, "there are %d, more than %d", len(list), maxNames)
		return nil
	}
	var out []string
	for i, n := range list {
		n = vpc.CanonicalName(n)
		switch {
		case len(n) > 253 || !dnsName.MatchString(n):
			r.bad(index(field, i), "%.64q is no DNS name of two or more labels; a wildcard is its first", n)
		case slices.Contains(out, n):
			r.bad(index(field, i), "%s is there twice", n)
		}
		out = append(out, n)
	}
	return out
}

func (r *reader) backends(s *vpc.CatalogueService) {
	e := &r.entry
	field := func(i int) string { return index("backends", i) }
	if e.Backend != "" {
		if len(e.Backends) > 0 {
			r.bad("backend", "give backend or backends, not both")
		}
		e.Backends = []string{e.Backend}
		field = func(int) string { return "backend" }
	}
	switch {
	case len(e.Backends) == 0 && (s.Name != "s3" || s.Protocol != "s3"):
		r.bad("", "needs a backend: only the service s3 comes with one")
	case len(e.Backends) > maxBackends:
		r.bad("backends", "there are %d, more than %d", len(e.Backends), maxBackends)
		return
	}
	for i, b := range e.Backends {
		why := badBackend(b)
		switch {
		case b == vpc.BackendSelf && !slices.Contains(ownAPI, s.Protocol):
			why = "Postern's own API speaks " + strings.Join(ownAPI, ", ") + " only"
		case (b == vpc.BackendSelf || strings.HasPrefix(b, "unix:")) && len(e.Backends) > 1:
			why = "it cannot be one of several"
		case slices.Contains(e.Backends[:i], b):
			why = "it is there twice"
		}
		if why != "" {
			r.bad(field(i), "%.128q: %s", b, why)
		}
	}
	s.Backends = slices.Clone(e.Backends)
}

// badBackend says what is wrong with the URL of a backend, "" if nothing is.
func badBackend(raw string) string {
	if raw == vpc.BackendSelf {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "want http://host:port, https://host:port or self"
	}
	if u.Scheme == "unix" {
		if u.Host != "" || !path.IsAbs(u.Path) || u.RawQuery != "" || u.Fragment != "" {
			return "want unix: and the absolute path of a socket"
		}
		return ""
	}
	port, _ := strconv.Atoi(u.Port())
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "want http://host:port, https://host:port or self"
	case u.Hostname() == "":
		return "it names no host"
	case u.User != nil:
		return "a name or password is not sent to a backend"
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && (port < 1 || port > 65535):
		return "the port is 1 to 65535"
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "a path or query is not possible: requests keep their own"
	}
	return ""
}

func (r *reader) health(s *vpc.CatalogueService) {
	h := r.entry.HealthCheck
	if h != nil {
		if h.Path != "" {
			if u, err := url.ParseRequestURI(h.Path); err != nil || !strings.HasPrefix(h.Path, "/") || u.Host != "" || len(h.Path) > 1024 {
				r.bad("healthCheck.path", "%.64q is no path, such as /health", h.Path)
			}
		}
		for _, n := range []struct {
			field string
			n     int
			most  int
		}{{"intervalSeconds", h.IntervalSeconds, 300}, {"timeoutSeconds", h.TimeoutSeconds, 60}, {"healthyThreshold", h.HealthyThreshold, 10}, {"unhealthyThreshold", h.UnhealthyThreshold, 10}} {
			if n.n < 0 || n.n > n.most {
				r.bad("healthCheck."+n.field, "%d: want 1 to %d", n.n, n.most)
			}
		}
		if len(s.Backends) == 0 || s.Backends[0] == vpc.BackendSelf {
			r.bad("healthCheck", "what Postern runs itself is not checked: leave it out")
		}
	}
	if s.HealthCheck = r.entry.check(); s.HealthCheck != nil && s.HealthCheck.Timeout > s.HealthCheck.Interval {
		r.bad("healthCheck.timeoutSeconds", "%d is more than the interval, %d", s.HealthCheck.Timeout, s.HealthCheck.Interval)
	}
}

func (r *reader) tls(s *vpc.CatalogueService) {
	t := r.entry.TLS
	if t == nil {
		return
	}
	s.TLSCertificate, s.TLSKey, s.BackendCA = t.Certificate, t.PrivateKey, t.BackendCA
	switch {
	case len(t.Certificate) > maxPEM || len(t.PrivateKey) > maxPEM || len(t.BackendCA) > maxPEM:
		r.bad("tls", "a file is larger than %d KiB", maxPEM>>10)
		return
	case t.Certificate == "" && t.PrivateKey != "":
		r.bad("tls.privateKey", "a key needs its certificate")
	case t.Certificate != "" && t.PrivateKey == "":
		r.bad("tls.certificate", "a certificate needs its key")
	case t.Certificate != "":
		r.certificate(s)
	}
	if t.BackendCA == "" {
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(t.BackendCA)) {
		r.bad("tls.backendCa", "there is no certificate in PEM in it")
	}
	if !slices.ContainsFunc(s.Backends, func(b string) bool { return strings.HasPrefix(b, "https:") }) {
		r.bad("tls.backendCa", "no backend is https, so it would not be asked")
	}
}

// certificate checks that workloads would believe the operator's certificate.
func (r *reader) certificate(s *vpc.CatalogueService) {
	pair, err := tls.X509KeyPair([]byte(s.TLSCertificate), []byte(s.TLSKey))
	if err != nil {
		r.bad("tls.certificate", "%v", err)
		return
	}
	leaf := pair.Leaf
	if r.at.Now.Before(leaf.NotBefore) || r.at.Now.After(leaf.NotAfter) {
		r.bad("tls.certificate", "it is valid from %s to %s", leaf.NotBefore.UTC().Format(time.DateTime), leaf.NotAfter.UTC().Format(time.DateTime))
	}
	for _, n := range s.Names() {
		host := n
		if base, ok := strings.CutPrefix(n, "*"); ok {
			host = "any" + base
		}
		if leaf.VerifyHostname(host) != nil {
			r.bad("tls.certificate", "it does not cover the service's name %s", n)
		}
	}
}
