// SPDX-License-Identifier: Apache-2.0

package hostsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"postern.dev/postern/internal/pki"
	"postern.dev/postern/internal/vpc"
)

// Remote is the server's door for hosts on other machines, to be served with
// pki.Authority.ServerTLS.
type Remote struct {
	Server    *Server
	Authority *pki.Authority
	// IsHost reports whether the machine with a public key, named by its hash,
	// is a host. It is asked for every call and for as long as a stream lasts.
	IsHost func(host vpc.HostID, key []byte) bool
	// Join makes the machine with a public key the host that a secret is for.
	Join func(ctx context.Context, host vpc.HostID, secret string, key []byte) (*vpc.Host, error)
	// Asked is told of every try to join, for no host if it names none: from
	// which address and when, and how it is answered.
	Asked func(host vpc.HostID, from string, at time.Time, status int, err error)
	Now   func() time.Time
	// Life of certificates; zero is pki.HostLife.
	Life time.Duration
}

// maxRequest bounds a request for a certificate.
const maxRequest = 16 << 10

// Handler serves hosts, and machines that want to become one.
func (m *Remote) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/join", m.join)
	mux.HandleFunc("POST /v1/hosts/{host}/certificate", m.renew)
	mux.Handle("/v1/hosts/", m.Server.handler(func(r *http.Request) error { return m.genuine(r, r.PathValue("host")) }))
	return mux
}

// genuine is an error unless a request comes from the host that it names.
func (m *Remote) genuine(r *http.Request, host string) error {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return errors.New("a host shows a certificate; `postern agent --join` gets one")
	}
	c := r.TLS.PeerCertificates[0]
	switch name, ok := pki.HostOf(c); {
	case !ok || name != host:
		return fmt.Errorf("the certificate is host %q's, not host %q's", name, host)
	case !m.Now().Before(c.NotAfter):
		return fmt.Errorf("the certificate of host %s is too old", host)
	case !m.IsHost(vpc.HostID(host), pki.KeyHash(c)):
		return fmt.Errorf("this machine is not host %s, or not any longer: `postern host list` shows what there is", host)
	}
	return nil
}

// requestTime bounds how long a request may take to come: anybody may send one.
const requestTime = 10 * time.Second

// readRequest decodes a body that is bounded in size and time.
func readRequest(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(requestTime)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return false
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(v); err != nil {
		http.Error(w, "the request does not decode: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func (m *Remote) join(w http.ResponseWriter, r *http.Request) {
	var in joining
	at := m.Now()
	unfit := func(host vpc.HostID, err *vpc.Error) {
		m.Asked(host, r.RemoteAddr, at, http.StatusBadRequest, err)
	}
	if !readRequest(w, r, &in) {
		unfit("", vpc.Errorf(vpc.Invalid, "request", "", "the request could not be read"))
		return
	}
	if !vpc.ValidHostID(in.Host) {
		unfit("", vpc.Errorf(vpc.Invalid, "host", "", "the host's name is none"))
		http.Error(w, "this is no host's name", http.StatusBadRequest)
		return
	}
	chain, key, err := m.sign(in.Request, string(in.Host))
	if err != nil {
		unfit(in.Host, vpc.Errorf(vpc.Invalid, "request", "", "the request for a certificate is none: %.200s", err))
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// The certificate is worth nothing until its key is the host's.
	status := http.StatusOK
	h, err := m.Join(r.Context(), in.Host, in.Secret, key)
	if err != nil {
		status = http.StatusInternalServerError
		if e := (*vpc.Error)(nil); errors.As(err, &e) {
			status = http.StatusForbidden
		}
	}
	m.Asked(in.Host, r.RemoteAddr, at, status, err)
	if err != nil {
		m.Server.Log.Warn("a machine may not join", "host", in.Host, "from", r.RemoteAddr, "error", err)
		http.Error(w, err.Error(), status)
		return
	}
	m.Server.Log.Info("a machine has joined", "host", in.Host, "from", r.RemoteAddr)
	m.answer(w, joined{Certificate: string(chain), CA: string(m.Authority.PEM), Underlay: h.Underlay})
}

func (m *Remote) renew(w http.ResponseWriter, r *http.Request) {
	host := r.PathValue("host")
	if err := m.genuine(r, host); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	var in renewing
	if !readRequest(w, r, &in) {
		return
	}
	chain, key, err := m.sign(in.Request, host)
	if err == nil && !m.IsHost(vpc.HostID(host), key) {
		err = errors.New("a certificate is renewed for the key it was made for; join again with another one")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.answer(w, joined{Certificate: string(chain), CA: string(m.Authority.PEM)})
}

func (m *Remote) sign(request, host string) (chain, key []byte, err error) {
	return m.Authority.Host([]byte(request), host, m.Now(), or(m.Life, pki.HostLife))
}

func (m *Remote) answer(w http.ResponseWriter, j joined) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := json.NewEncoder(w).Encode(j); err != nil {
		m.Server.Log.Warn("a certificate was not delivered", "error", err)
	}
}
