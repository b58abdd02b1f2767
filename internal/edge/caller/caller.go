// SPDX-License-Identifier: Apache-2.0

// Package caller tells a service's backend who a request comes from: in a header of
// the PROXY protocol at the head of a connection, or in a signed header of each
// request.
//
// # Words
//
// A caller is the client of a connection as the datapath knows it. The text of a
// request is what is signed: the identity, and which request it goes with.
//
// # Promises
//
// Everything here is pure. A signed header is good for one method, host and
// request line, and for Lifetime: a backend that is shown it again, or another
// service that is, can tell.
package caller

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Lifetime is how long after it was made a signed header is good.
const Lifetime = time.Minute

// Caller is who a request comes from. The ids are AWS's, "" for one that is not
// known.
type Caller struct {
	Endpoint, VPC string
	Account       string // the endpoint's owner
	Interface     string // the client's
	Client        netip.AddrPort
}

// Request is what a signed header goes with.
type Request struct {
	Service string // the catalogue's short name
	ID      string
	Method  string
	Host    string // as the client sent it
	URI     string // of the request line
}

// Value is the header's value: fields "name=value" with semicolons between them,
// the last one the signature of all before it, a newline, the method, a newline,
// the host, a newline and the request's URI.
func Value(key ed25519.PrivateKey, c Caller, r Request, now time.Time) string {
	v := fmt.Sprintf("v=1;service=%s;endpoint=%s;vpc=%s;account=%s;interface=%s;client=%s;request=%s;time=%d;expires=%d",
		r.Service, c.Endpoint, c.VPC, c.Account, c.Interface, c.Client, r.ID, now.Unix(), now.Add(Lifetime).Unix())
	text := v + "\n" + r.Method + "\n" + r.Host + "\n" + r.URI
	return v + ";signature=" + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

// ParseKey reads an Ed25519 private key, PKCS #8 in PEM, as openssl genpkey makes it.
func ParseKey(text []byte) (ed25519.PrivateKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
		return nil, errors.New("want one block PRIVATE KEY in PEM, as 'openssl genpkey -algorithm ed25519' writes it")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the private key: %w", err)
	}
	k, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("want an Ed25519 key, as 'openssl genpkey -algorithm ed25519' makes it")
	}
	return k, nil
}

// proxySignature begins every header of version 2.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// The PROXY protocol's numbers that are used here, and AWS's type of a TLV whose
// first byte says what follows.
const (
	proxyV2      = 0x21 // version 2, the connection is somebody else's
	proxyV2Local = 0x20 // version 2, it is the sender's own
	tcp4, tcp6   = 0x11, 0x21
	tlvAWS       = 0xea
	awsVpce      = 0x01 // an endpoint's id
)

// ProxyLocal is the PROXY protocol's header, version 2, for a connection that is the
// sender's own, such as a health check's: nobody is behind it.
func ProxyLocal() []byte { return append([]byte(proxySignature), proxyV2Local, 0, 0, 0) }

// Proxy is the PROXY protocol's header, version 2, for a connection of a
// client's to server through an endpoint, whose id is in a TLV as from AWS's load
// balancers.
func Proxy(client, server netip.AddrPort, endpoint string) []byte {
	from, to := client.Addr().Unmap(), server.Addr().Unmap()
	h := append([]byte(proxySignature), proxyV2)
	if from.Is4() && to.Is4() {
		h = append(h, tcp4, 0, 0)
		h = append(append(h, from.AsSlice()...), to.AsSlice()...)
	} else {
		a, b := from.As16(), to.As16() // an IPv4 address is mapped into IPv6
		h = append(h, tcp6, 0, 0)
		h = append(append(h, a[:]...), b[:]...)
	}
	h = binary.BigEndian.AppendUint16(h, client.Port())
	h = binary.BigEndian.AppendUint16(h, server.Port())
	h = append(h, tlvAWS)
	h = binary.BigEndian.AppendUint16(h, uint16(1+len(endpoint)))
	h = append(append(h, awsVpce), endpoint...)
	binary.BigEndian.PutUint16(h[14:], uint16(len(h)-16))
	return h
}
