// SPDX-License-Identifier: Apache-2.0

package pki_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern.dev/postern/internal/pki"
)

func TestLeafIsTrustedForItsNamesOnly(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	a, err := pki.Open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pki.Open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.PEM, again.PEM) {
		t.Fatal("the authority changed when it was opened again")
	}
	if st, err := os.Stat(filepath.Join(dir, "ca.key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("ca.key: mode %v, %v; want 0600", st.Mode(), err)
	}
	chain, key, err := again.Leaf([]string{"s3.us-east-1.amazonaws.com", "*.s3.us-east-1.amazonaws.com"}, now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.PEM)
	for name, ok := range map[string]bool{
		"s3.us-east-1.amazonaws.com":        true,
		"bucket.s3.us-east-1.amazonaws.com": true,
		"s3.eu-west-1.amazonaws.com":        false,
	} {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now})
		if (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
