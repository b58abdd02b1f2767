// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
)

// parseCertificate reads a chain and its key.
func parseCertificate(service string, c Certificate) (*tls.Certificate, error) {
	cert, err := tls.X509KeyPair([]byte(c.CertPEM), []byte(c.KeyPEM))
	if err != nil {
		return nil, fmt.Errorf("certificate of service %s: %w", service, err)
	}
	return &cert, nil // Leaf is set since Go 1.23
}

// certificateFor is the certificate for a TLS client of an endpoint: its
// service's, if that covers the name asked for. A client that names nobody gets
// it too and decides for itself.
func (s *Server) certificateFor(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, ok := hello.Conn.(*conn)
	if !ok {
		return nil, fmt.Errorf("connection of unknown origin")
	}
	ep := s.state.Load().endpoint(c.id)
	if ep == nil {
		return nil, fmt.Errorf("the endpoint is gone")
	}
	cert := ep.service.cert
	if cert == nil {
		return nil, fmt.Errorf("service %s has no certificate", ep.service.Name)
	}
	name := strings.TrimSuffix(hello.ServerName, ".")
	if name == "" || net.ParseIP(name) != nil {
		return cert, nil
	}
	// A wildcard covers one label; a bucket with dots in its name has more, and
	// its client, told not to check the name, must still get an answer.
	if _, ok := hostLabel(name, ep.service.PublicNames, ep.ID, ep.service.Name, s.state.Load().region); ok {
		return cert, nil
	}
	if err := cert.Leaf.VerifyHostname(name); err != nil {
		return nil, fmt.Errorf("service %s does not answer to this name", ep.service.Name)
	}
	return cert, nil
}
