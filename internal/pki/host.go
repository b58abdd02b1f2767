// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// HostLife is how long a host's certificate is good. It is renewed after two
// thirds of it, so a host may be away for a month.
const HostLife = 90 * 24 * time.Hour

// ServerName is what the server calls itself to hosts, whatever address they
// reach it by. No service of a catalogue has such a name.
const ServerName = "server.postern.internal"

// Fingerprint is the SHA-256 of the root certificate in hexadecimal digits: who
// has it knows the authority.
func (a *Authority) Fingerprint() string { return fingerprint(a.cert.Raw) }

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// hostURI is a host's name in its certificate.
func hostURI(host string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: "postern", Path: "/host/" + host}
}

// HostOf is the host that a certificate is for. Whether it is genuine is for
// the handshake to say.
func HostOf(c *x509.Certificate) (host string, ok bool) {
	if len(c.URIs) != 1 {
		return "", false
	}
	host, ok = strings.CutPrefix(c.URIs[0].String(), "spiffe://postern/host/")
	return host, ok && host != "" && !strings.ContainsAny(host, "/?#%")
}

// KeyHash names a certificate's public key: it stays the same when the
// certificate is renewed.
func KeyHash(c *x509.Certificate) []byte {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return sum[:]
}

// NewHostKey makes the key of a host, which never leaves it, as PEM.
func NewHostKey() ([]byte, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a host's key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, err
	}
	return encode("EC PRIVATE KEY", der), nil
}

// Request asks for a certificate for a host's key, both PEM. The name is the
// server's to give.
func Request(keyPEM []byte) ([]byte, error) {
	b, _ := pem.Decode(keyPEM)
	if b == nil {
		return nil, errors.New("the host's key is not PEM")
	}
	k, err := x509.ParseECPrivateKey(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the host's key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k)
	if err != nil {
		return nil, fmt.Errorf("ask for a certificate: %w", err)
	}
	return encode("CERTIFICATE REQUEST", der), nil
}

// Host makes the certificate of a host for the key in a request, both PEM. It
// is good to be a client with, and nothing else.
func (a *Authority) Host(request []byte, host string, now time.Time, life time.Duration) (chain []byte, key []byte, err error) {
	b, _ := pem.Decode(request)
	if b == nil {
		return nil, nil, errors.New("the request for a certificate is not PEM")
	}
	r, err := x509.ParseCertificateRequest(b.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("read the request for a certificate: %w", err)
	}
	pub, ok := r.PublicKey.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, nil, errors.New("a host's key is one of the curve P-256")
	}
	if err := r.CheckSignature(); err != nil {
		return nil, nil, fmt.Errorf("the request for a certificate is not signed with its key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "host " + host},
		URIs:         []*url.URL{hostURI(host)},
		NotBefore:    now.Add(-skew),
		NotAfter:     now.Add(life),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, pub, a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of host %s: %w", host, err)
	}
	sum := sha256.Sum256(r.RawSubjectPublicKeyInfo)
	return encode("CERTIFICATE", der), sum[:], nil
}

// ServerTLS is what the server speaks to hosts with. A client that shows a
// certificate must have it from this authority; one may come without to join.
func (a *Authority) ServerTLS(now time.Time) (*tls.Config, error) {
	chain, key, err := a.Leaf([]string{ServerName}, now)
	if err != nil {
		return nil, err
	}
	// With the root: a machine that joins knows only its fingerprint.
	pair, err := tls.X509KeyPair(append(chain, a.PEM...), key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.VerifyClientCertIfGiven,
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
	}, nil
}

// HostTLS is what a host speaks to the server with: it wants the server of the
// authority, and shows the certificate that current answers.
func HostTLS(ca []byte, current func() (*tls.Certificate, error)) (*tls.Config, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("the authority's certificate is not PEM")
	}
	return &tls.Config{
		RootCAs: roots, ServerName: ServerName, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return current() },
	}, nil
}

// ErrOtherAuthority says that a server is of another authority than the one
// that was named.
var ErrOtherAuthority = errors.New("the server is not the one that was named: its certificate authority has another fingerprint")

// JoinTLS is what a machine speaks to the server with before it is a host: all
// it knows is the fingerprint of the authority. Nothing is sent to a server that
// cannot prove to be of it.
func JoinTLS(fingerprintOf string) *tls.Config {
	return &tls.Config{
		ServerName: ServerName, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
		// The chain is verified below, to the root that has the fingerprint.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			for _, c := range cs.PeerCertificates {
				if fingerprint(c.Raw) != fingerprintOf {
					continue
				}
				roots := x509.NewCertPool()
				roots.AddCert(c)
				_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: ServerName, Roots: roots})
				return err
			}
			return ErrOtherAuthority
		},
	}
}

// FingerprintOf is the fingerprint of a certificate that is PEM, "" of what is not.
func FingerprintOf(certPEM []byte) string {
	b, _ := pem.Decode(certPEM)
	if b == nil {
		return ""
	}
	return fingerprint(b.Bytes)
}
