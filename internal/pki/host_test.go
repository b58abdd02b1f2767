// SPDX-License-Identifier: Apache-2.0

package pki_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"postern.dev/postern/internal/pki"
)

func open(t *testing.T) *pki.Authority {
	t.Helper()
	a, err := pki.Open(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// hostPair is a host's certificate with its key.
func hostPair(t *testing.T, a *pki.Authority, host string, now time.Time) tls.Certificate {
	t.Helper()
	key, err := pki.NewHostKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	chain, hash, err := a.Host(csr, host, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := pki.HostOf(pair.Leaf); !ok || got != host || !bytes.Equal(pki.KeyHash(pair.Leaf), hash) {
		t.Errorf("the certificate is of %q, its key %x, want %q and %x", got, pki.KeyHash(pair.Leaf), host, hash)
	}
	return pair
}

// shake lets a client and a server speak, and answers what the server saw.
func shake(t *testing.T, server, client *tls.Config) (peer *x509.Certificate, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			seen <- err
			return
		}
		defer c.Close()
		s := tls.Server(c, server)
		if err = s.Handshake(); err == nil {
			if p := s.ConnectionState().PeerCertificates; len(p) > 0 {
				peer = p[0]
			}
			_, err = s.Write([]byte("x"))
		}
		seen <- err
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
		c.Close()
	}
	return peer, errors.Join(err, <-seen)
}

func TestHostsAndServerKnowEachOther(t *testing.T) {
	a, other, now := open(t), open(t), time.Now()
	server, err := a.ServerTLS(now)
	if err != nil {
		t.Fatal(err)
	}
	client := func(ca *pki.Authority, pair tls.Certificate) *tls.Config {
		cfg, err := pki.HostTLS(ca.PEM, func() (*tls.Certificate, error) { return &pair, nil })
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	mine := hostPair(t, a, "h2", now)
	peer, err := shake(t, server, client(a, mine))
	if err != nil || peer == nil {
		t.Fatalf("%v %v", peer, err)
	}
	if got, ok := pki.HostOf(peer); !ok || got != "h2" {
		t.Errorf("the server sees %q", got)
	}
	for what, cfg := range map[string]*tls.Config{
		"a certificate of another authority": client(a, hostPair(t, other, "h2", now)),
		"one that is too old":                client(a, hostPair(t, a, "h2", now.Add(-2*time.Hour))),
		"a host that wants another server":   client(other, mine),
	} {
		if _, err := shake(t, server, cfg); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	// What the edge of every host has is no server's, and no host's.
	chain, key, err := a.Leaf([]string{"s3.us-east-1.amazonaws.com"}, now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, server, client(a, leaf)); err == nil {
		t.Error("a service's certificate is taken for a host's")
	}
	root, _ := pem.Decode(a.PEM)
	leaf.Certificate = append(leaf.Certificate, root.Bytes)
	fake := server.Clone()
	fake.Certificates = []tls.Certificate{leaf}
	if _, err := shake(t, fake, client(a, mine)); err == nil {
		t.Error("a service's certificate is taken for the server's")
	}
	if _, err := shake(t, fake, pki.JoinTLS(a.Fingerprint())); err == nil {
		t.Error("a service's certificate is taken for the server's by a machine that joins")
	}
}

func TestAMachineJoinsOnlyTheServerItWasTold(t *testing.T) {
	a, other := open(t), open(t)
	server, err := a.ServerTLS(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if peer, err := shake(t, server, pki.JoinTLS(a.Fingerprint())); err != nil || peer != nil {
		t.Errorf("%v %v", peer, err)
	}
	if _, err := shake(t, server, pki.JoinTLS(other.Fingerprint())); !errors.Is(err, pki.ErrOtherAuthority) {
		t.Errorf("another server: %v", err)
	}
	// Who has seen the root can show it, but not be of it.
	forged, err := other.ServerTLS(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b, _ := pem.Decode(a.PEM)
	forged.Certificates[0].Certificate = append(forged.Certificates[0].Certificate[:1:1], b.Bytes)
	if _, err := shake(t, forged, pki.JoinTLS(a.Fingerprint())); err == nil {
		t.Error("a server that shows another's root is believed")
	}
	if got := pki.FingerprintOf(a.PEM); got != a.Fingerprint() || len(got) != 64 {
		t.Errorf("fingerprint %q, want %q", got, a.Fingerprint())
	}
}

func TestRequestsThatAreNoneAreRefused(t *testing.T) {
	a := open(t)
	key, _ := pki.NewHostKey()
	csr, err := pki.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(csr)
	block.Bytes[len(block.Bytes)-1] ^= 1
	broken := pem.EncodeToMemory(block)
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k)
	if err != nil {
		t.Fatal(err)
	}
	for what, r := range map[string][]byte{
		"nothing": nil, "no request": []byte("-----BEGIN X-----\n-----END X-----\n"), "one that is not signed": broken,
		"one for another kind of key": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
	} {
		if _, _, err := a.Host(r, "h2", time.Now(), time.Hour); err == nil {
			t.Errorf("%s: a certificate", what)
		}
	}
}
