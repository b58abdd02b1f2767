// SPDX-License-Identifier: Apache-2.0

package hostsync

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"postern.dev/postern/internal/pki"
	"postern.dev/postern/internal/vpc"
)

// Token is what the operator gives a machine that is to become a host: which
// one, the secret that lets it, and the fingerprint of the authority whose server
// it may tell the secret.
type Token struct {
	Host   vpc.HostID
	Secret string
	CA     string // see pki.Authority.Fingerprint
}

// String is the token as people carry it: HOST/SECRET/FINGERPRINT.
func (t Token) String() string { return string(t.Host) + "/" + t.Secret + "/" + t.CA }

// ParseToken reads what String wrote.
func ParseToken(s string) (Token, error) {
	p := strings.Split(strings.TrimSpace(s), "/")
	if len(p) != 3 || !vpc.ValidHostID(vpc.HostID(p[0])) || p[1] == "" || len(p[2]) != 64 || strings.Trim(p[2], "0123456789abcdef") != "" {
		return Token{}, errors.New("this is no token: want HOST/SECRET/FINGERPRINT as `postern host add` printed it")
	}
	return Token{vpc.HostID(p[0]), p[1], p[2]}, nil
}

// CheckServer reads the URL of a server.
func CheckServer(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return fmt.Errorf("server %q: want a URL such as https://192.0.2.1:8421", s)
	}
	return nil
}

// joining asks to become a host.
type joining struct {
	Host    vpc.HostID `json:"host"`
	Secret  string     `json:"secret"`
	Request string     `json:"request"` // for a certificate, PEM
}

// renewing asks for another certificate for the same key.
type renewing struct {
	Request string `json:"request"`
}

// joined is the answer to both.
type joined struct {
	Certificate string     `json:"certificate"` // PEM
	CA          string     `json:"ca"`          // PEM
	Underlay    netip.Addr `json:"underlay,omitzero"`
}

// Identity is what makes a machine a host.
type Identity struct {
	Host vpc.HostID `json:"host"`
	// Underlay is the host's address among hosts; invalid when it has none.
	Underlay netip.Addr `json:"underlay,omitzero"`
	CA       string     `json:"ca"`          // PEM, as the others
	Chain    string     `json:"certificate"` // of the host
	Key      string     `json:"key"`         // that never leaves the machine

	mu   sync.Mutex
	pair *tls.Certificate // of Chain and Key; guarded by mu
}

// certificate is the current one.
func (id *Identity) certificate() (*tls.Certificate, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.pair == nil {
		p, err := tls.X509KeyPair([]byte(id.Chain), []byte(id.Key))
		if err != nil {
			return nil, fmt.Errorf("the host's certificate and key: %w", err)
		}
		id.pair = &p
	}
	return id.pair, nil
}

// Until is when the certificate is too old.
func (id *Identity) Until() (time.Time, error) {
	p, err := id.certificate()
	if err != nil {
		return time.Time{}, err
	}
	return p.Leaf.NotAfter, nil
}

// take takes what the server answered, if it is for this host and its key.
func (id *Identity) take(j joined) error {
	pair, err := tls.X509KeyPair([]byte(j.Certificate), []byte(id.Key))
	if err != nil {
		return fmt.Errorf("the server's certificate for this host: %w", err)
	}
	if host, _ := pki.HostOf(pair.Leaf); vpc.HostID(host) != id.Host {
		return fmt.Errorf("the server gave a certificate for host %q, not %q", host, id.Host)
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	id.Chain, id.pair = j.Certificate, &pair
	return nil
}

// Join makes this machine the host that a token is for.
func Join(ctx context.Context, server string, t Token) (*Identity, error) {
	key, err := pki.NewHostKey()
	if err != nil {
		return nil, err
	}
	request, err := pki.Request(key)
	if err != nil {
		return nil, err
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: pki.JoinTLS(t.CA), DisableKeepAlives: true}, Timeout: Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	j, err := ask(ctx, c, strings.TrimSuffix(server, "/")+"/v1/join", joining{t.Host, t.Secret, string(request)})
	if err != nil {
		return nil, fmt.Errorf("join %s as host %s: %w", server, t.Host, err)
	}
	if pki.FingerprintOf([]byte(j.CA)) != t.CA {
		return nil, fmt.Errorf("join %s: %w", server, pki.ErrOtherAuthority)
	}
	id := &Identity{Host: t.Host, Underlay: j.Underlay, CA: j.CA, Key: string(key)}
	return id, id.take(j)
}

// renewPause is how long after a failure a renewal is tried again.
const renewPause = time.Minute

// KeepCertificate renews the certificate of an identity when two thirds of its
// life are over, and lets save keep it, until ctx ends.
func (c *Client) KeepCertificate(ctx context.Context, id *Identity, save func(*Identity) error) error {
	for {
		p, err := id.certificate()
		if err != nil {
			return err
		}
		life := p.Leaf.NotAfter.Sub(p.Leaf.NotBefore)
		wait := time.NewTimer(time.Until(p.Leaf.NotBefore.Add(2 * life / 3)))
		for renewed := false; !renewed; {
			select {
			case <-ctx.Done():
				wait.Stop()
				return ctx.Err()
			case <-wait.C:
			}
			if err := c.renew(ctx, id, save); err != nil {
				c.log.Warn("the host's certificate was not renewed, trying again", "until", p.Leaf.NotAfter, "error", err)
				wait.Reset(renewPause)
				continue
			}
			renewed = true
		}
	}
}

func (c *Client) renew(ctx context.Context, id *Identity, save func(*Identity) error) error {
	request, err := pki.Request([]byte(id.Key))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	j, err := ask(ctx, c.http, fmt.Sprintf("%s/v1/hosts/%s/certificate", c.base, c.host), renewing{string(request)})
	if err != nil {
		return err
	}
	if err := id.take(j); err != nil {
		return err
	}
	return save(id)
}

// maxAnswer bounds what a server may answer.
const maxAnswer = 256 << 10

// ask posts a question for a certificate.
func ask(ctx context.Context, c *http.Client, to string, question any) (joined, error) {
	b, err := json.Marshal(question)
	if err != nil {
		return joined{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(b))
	if err != nil {
		return joined{}, err
	}
	res, err := c.Do(req)
	if err != nil {
		return joined{}, err
	}
	defer res.Body.Close()
	if b, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer)); err != nil {
		return joined{}, err
	}
	if res.StatusCode != http.StatusOK {
		return joined{}, fmt.Errorf("the server answered %s: %.1024s", res.Status, bytes.TrimSpace(b))
	}
	var j joined
	if err := json.Unmarshal(b, &j); err != nil {
		return joined{}, fmt.Errorf("the server's answer is not understood: %w", err)
	}
	return j, nil
}
