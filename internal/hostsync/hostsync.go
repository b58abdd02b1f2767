// SPDX-License-Identifier: Apache-2.0

// Package hostsync is the stream between the server and a host's agent, both
// ends: desired state down, status up.
//
// Down: GET /v1/hosts/{host}/desired?base=REVISION answers JSON lines, each a
// Message, for as long as the connection lasts. The first one is whole unless
// base is the revision the server would have to send anyway; then come
// changes. An agent that cannot apply a change connects again without a base
// and gets the whole: a lost message costs nothing.
//
// Up: POST /v1/hosts/{host}/status carries one Report. It may be sent twice
// or lost; the next one says the same and more.
//
// It is plain HTTP with JSON: a unix socket on one machine, mutual TLS across
// machines, curl to look at either. An empty Message now and then says that the
// server is still there.
//
// Across machines a host is who its certificate says (Remote). A machine becomes
// a host with a Token, which the operator gives it, by POST /v1/join; from then
// on it renews its certificate by itself.
package hostsync

import (
	"maps"
	"net/netip"
	"net/url"
	"strings"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// Message is one line of the stream; the fields that are set say what it
// brings.
type Message struct {
	Whole    *desired.Host  `json:"whole,omitempty"`
	Change   *desired.Delta `json:"change,omitempty"`
	Settings *Settings      `json:"settings,omitempty"`
}

// Settings are what an agent needs that is no tenant's: the installation's
// own configuration.
type Settings struct {
	Region string `json:"region"`
	// Upstreams are resolvers ("192.0.2.53:53") for names we do not know.
	// None means that such names are refused.
	Upstreams []string `json:"upstreams"`
	// DNSRate is how many questions a second an interface may ask the resolver;
	// 0 is the usual number.
	DNSRate int `json:"dnsRate,omitempty"`
	// DNSHostTargets are addresses of hosts that forward rules may lead to.
	DNSHostTargets []netip.Addr `json:"dnsHostTargets,omitempty"`
	// Backends are the URLs of the backends this installation starts itself,
	// by catalogue service.
	Backends map[string]string `json:"backends,omitempty"`
	// Questions are the sockets, unix:/path, at which those backends answer what
	// policies need to know of a resource.
	Questions map[string]string `json:"questions,omitempty"`
	// Self is the URL of the server's own API, "" where it cannot be reached.
	Self string `json:"self,omitempty"`
	// Certificates are the edge's, by catalogue service: what the service's
	// public names are answered with over TLS.
	Certificates map[string]Certificate `json:"certificates,omitempty"`
	// CA is the certificate workloads trust, PEM.
	CA string `json:"ca"`
	// IdentityKey signs what backends are told of who a request comes from, PEM;
	// "" if no service's backend is told so.
	IdentityKey string `json:"identityKey,omitempty"`
}

// Elsewhere are the settings for a host on another machine than the server's:
// a backend that is reached by a socket or a loopback address of the server's is
// out of reach there.
func (s Settings) Elsewhere() Settings {
	s.Backends = maps.Clone(s.Backends)
	maps.DeleteFunc(s.Backends, func(_, backend string) bool { return strings.HasPrefix(backend, "unix:") })
	s.Questions = nil
	if u, err := url.Parse(s.Self); err == nil {
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && a.IsLoopback() {
			s.Self = ""
		}
	}
	return s
}

// Certificate is a leaf with its key, PEM.
type Certificate struct {
	Chain string `json:"chain"`
	Key   string `json:"key"`
}

// Report is what a host says of itself.
type Report struct {
	Host vpc.HostID `json:"host"`
	// Applied is the revision whose desired state the host holds, apart from
	// the objects in Errors.
	Applied vpc.Revision `json:"applied"`
	// Named is the revision whose names its resolver answers with; one that
	// is down answers with none, and Named stays what it was.
	Named  vpc.Revision      `json:"named"`
	Errors map[string]string `json:"errors,omitempty"`
	// Backends are those of catalogue services that the host's edge checks, by
	// service and URL, and whether they are healthy.
	Backends map[string]map[string]bool `json:"backends,omitempty"`
	// Health are the targets whose health changed since the last report that
	// was answered, and now and then all that are known.
	Health []Health `json:"health,omitempty"`
}

// Health is one target's result from one node.
type Health struct {
	Group       vpc.ARN `json:"group"`
	TargetID    string  `json:"targetId"`
	TargetPort  int     `json:"targetPort"`
	Zone        string  `json:"zone"` // the node's
	Healthy     bool    `json:"healthy"`
	Reason      string  `json:"reason,omitempty"`
	Description string  `json:"description,omitempty"`
}
