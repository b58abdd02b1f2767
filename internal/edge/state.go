// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge/caller"
	"postern.dev/postern/internal/edge/dynamodb"
	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/vpc"
)

// state is a compiled Config. It is immutable; requests take the one there is
// when they begin.
type state struct {
	region     string
	endpoints  map[uint64]*endpoint // by vpc.Num of their ids
	services   map[string]*service
	interfaces map[uint64]Interface
	vpcs       map[vpc.VNI]vpc.VPCID
	vpcOwners  map[vpc.VNI]vpc.AccountID
	keys       map[string]vpc.AccountID
	users      map[string]*user
}

// user is a user with the policies parsed.
type user struct {
	desired.User
	policies []*policy.Policy
	wants    wants
	badText  string // why a policy is unreadable: then nothing is allowed
}

// endpoint is an endpoint with its policies parsed.
type endpoint struct {
	desired.Endpoint
	service *service
	document
	candidate *document // nil if there is none; it only goes into records
}

// service is a catalogue service with its backend and certificate ready.
type service struct {
	desired.Service
	protocol protocol
	schemas  *dynamodb.Schemas // of a service that speaks dynamodb
	pool     *pool
	asked    *backend // answers questions; nil if nobody does
	cert     *tls.Certificate
	certIn   Certificate
	key      ed25519.PrivateKey // signs identities; nil if the backend is told none so
}

// endpoint is the one a connection came through, nil if it is gone or if it is
// not of the client's VPC, which the datapath never lets happen.
func (s *state) endpoint(id Identity) *endpoint {
	ep := s.endpoints[id.Endpoint]
	if ep == nil || ep.VNI != id.VNI {
		return nil
	}
	return ep
}

// account is whose an access key is, "" if it is nobody's.
func (s *state) account(keyID string) vpc.AccountID {
	_, account, _ := s.principal(keyID)
	return account
}

// principal is the caller's ARN and account by the access key claimed; both are
// empty for an unsigned request or a key nobody has. u is set for a user's key.
func (s *state) principal(keyID string) (arn string, account vpc.AccountID, u *user) {
	if u = s.users[keyID]; u != nil && keyID != "" {
		return u.ARN, u.Account, u
	}
	account = s.keys[keyID]
	if keyID == "" || account == "" {
		return "", "", nil
	}
	return account.RootARN(), account, nil
}

// compile makes a state, taking over from the old one what did not change.
func compile(c Config, old *state, backends *backends, health func(), log *slog.Logger) *state {
	s := &state{
		region: c.Region, endpoints: map[uint64]*endpoint{}, services: map[string]*service{}, interfaces: c.Interfaces,
		vpcs: map[vpc.VNI]vpc.VPCID{}, vpcOwners: map[vpc.VNI]vpc.AccountID{}, keys: c.Keys,
		users: map[string]*user{},
	}
	for id, in := range c.Users {
		s.users[id] = compileUser(in, old.users[id])
	}
	for vni, v := range c.VPCs {
		s.vpcs[vni], s.vpcOwners[vni] = v.ID, v.Owner
	}
	var key ed25519.PrivateKey
	if c.IdentityKey != "" {
		var err error
		if key, err = caller.ParseKey([]byte(c.IdentityKey)); err != nil {
			log.Error("services whose backends are told who calls are not served", "error", err)
		}
	}
	used := map[backendKey]bool{}
	for name, in := range c.Services {
		svc := &service{Service: in, certIn: c.Certificates[name], protocol: protocols[in.Protocol]}
		if in.Identity == vpc.IdentityHeader {
			svc.key = key
		}
		if svc.protocol.read == nil {
			log.Error("the protocol of a service is not served here", "service", name, "protocol", in.Protocol)
		}
		before := old.services[name]
		var was *pool
		if before != nil {
			was = before.pool
		}
		svc.pool = newPool(poolSpec{in.Backends, in.HealthCheck, in.BackendCA, in.Identity}, was, backends, health, log.With("service", name))
		for _, m := range svc.pool.members {
			used[m.key] = true
		}
		if where := c.Questions[name]; where != "" {
			var err error
			if svc.asked, err = backends.get(where, ""); err != nil {
				log.Error("policies that ask a backend deny what they ask about", "service", name, "error", err)
			} else {
				used[svc.asked.key] = true
			}
		}
		if before != nil && slices.Equal(before.Backends, svc.Backends) && before.Protocol == svc.Protocol {
			svc.schemas = before.schemas
		} else {
			svc.schemas = &dynamodb.Schemas{}
		}
		switch {
		case svc.certIn.CertPEM == "":
		case before != nil && before.certIn == svc.certIn:
			svc.cert = before.cert
		default:
			cert, err := parseCertificate(name, svc.certIn)
			if err != nil {
				log.Error("no TLS for a service", "error", err)
			}
			svc.cert = cert
		}
		s.services[name] = svc
	}
	for id, in := range c.Endpoints {
		svc := s.services[in.Service]
		if svc == nil {
			continue // a customer's service: its packets never come here
		}
		ep := &endpoint{Endpoint: in, service: svc}
		num := vpc.Num(id)
		var was document
		var wasCandidate *document
		if before := old.endpoints[num]; before != nil {
			was, wasCandidate = before.document, before.candidate
		}
		if ep.document = compileDocument(in.Policy, &was); ep.policy == nil && was.badText != ep.badText {
			log.Error("endpoint policy is unreadable, every request is denied", "endpoint", id, "error", ep.badText)
		}
		if in.Candidate != "" {
			d := compileDocument(in.Candidate, wasCandidate)
			ep.candidate = &d
		}
		s.endpoints[num] = ep
	}
	for name, before := range old.services {
		if now := s.services[name]; now == nil || now.pool != before.pool {
			before.pool.close()
		}
	}
	backends.keep(used)
	return s
}

// compileDocument parses an endpoint policy, unless it is the one of before.
func compileDocument(text string, before *document) document {
	if before != nil && before.text == text && (before.policy != nil || before.badText != "") {
		return *before
	}
	d := document{text: text}
	if text == "" {
		_, d.policy = policy.Default()
		return d
	}
	p, err := policy.Parse([]byte(text))
	if err != nil {
		d.badText = "the endpoint policy is unreadable: " + err.Error()
		return d
	}
	d.policy, d.wants = p, wantsOf(p)
	return d
}

// compileUser parses a user's policies, unless they are those of before.
func compileUser(in desired.User, before *user) *user {
	u := &user{User: in}
	if before != nil && slices.Equal(before.Policies, in.Policies) {
		u.policies, u.wants, u.badText = before.policies, before.wants, before.badText
		return u
	}
	for _, doc := range in.Policies {
		p, err := policy.ParseOptions([]byte(doc), policy.Options{Identity: true})
		if err != nil {
			u.badText = "an identity-based policy of " + in.ARN + " is unreadable: " + err.Error()
			continue
		}
		u.policies, u.wants = append(u.policies, p), u.wants.or(wantsOf(p))
	}
	return u
}

// backend is where a service's requests go.
type backend struct {
	key          backendKey
	scheme, host string
	local        bool // a socket of this machine
	transport    *http.Transport
}

// backendKey is what makes backends the same: where, and whom the certificate has
// to be from.
type backendKey struct{ url, ca string }

// backends keeps one backend, with its idle connections, for each key. It is
// used by one goroutine at a time.
type backends struct {
	byKey map[backendKey]*backend
}

// Times for a backend. Completing a large upload can take S3 minutes before it
// answers.
const (
	backendDial     = 5 * time.Second
	backendAnswer   = 10 * time.Minute
	backendContinue = 5 * time.Second
	backendIdle     = 90 * time.Second
)

// get makes or finds a backend: http://host:port, https://host:port or unix:/path.
// ca is PEM, "" for the system's roots.
func (b *backends) get(raw, ca string) (*backend, error) {
	key := backendKey{raw, ca}
	if have := b.byKey[key]; have != nil {
		return have, nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("backend %q: %w", raw, err)
	}
	d := &net.Dialer{Timeout: backendDial}
	out := &backend{key: key, scheme: u.Scheme, host: u.Host}
	t := &http.Transport{
		DialContext:           d.DialContext,
		TLSHandshakeTimeout:   backendDial,
		DisableCompression:    true, // nothing may change what the client asked for
		MaxIdleConns:          256,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       backendIdle,
		ResponseHeaderTimeout: backendAnswer,
		ExpectContinueTimeout: backendContinue,
		Protocols:             http1(),
	}
	if ca != "" {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, fmt.Errorf("backend %q: there is no certificate in its authority's PEM", raw)
		}
	}
	switch {
	case u.Scheme == "unix" && u.Path != "" && u.Host == "":
		path := u.Path
		out.scheme, out.host, out.local = "http", "backend", true
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) }
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && (u.Path == "" || u.Path == "/") && u.RawQuery == "":
	default:
		return nil, fmt.Errorf("backend %q: write http://host:port, https://host:port or unix:/path", raw)
	}
	out.transport = t
	if b.byKey == nil {
		b.byKey = map[backendKey]*backend{}
	}
	b.byKey[key] = out
	return out, nil
}

// keep forgets all backends but these. Requests on their way end in peace.
func (b *backends) keep(used map[backendKey]bool) {
	for key, have := range b.byKey {
		if !used[key] {
			delete(b.byKey, key)
			have.transport.CloseIdleConnections()
		}
	}
}

// http1 is the version spoken to backends, and without TLS: it is what all of
// them speak.
func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}
