// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/http"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/vpc"
)

func (h *handler) listServices(*http.Request) (any, error) {
	v := h.c.View()
	out := []Service{}
	for s := range vpc.All[vpc.CatalogueService](v) {
		out = append(out, h.service(v, s))
	}
	return out, nil
}

func (h *handler) addServices(r *http.Request) (any, error) {
	in, err := read[NewServices](r)
	if err != nil {
		return nil, err
	}
	made, err := h.c.AddServices(r.Context(), in.Services, in.Replace)
	if err != nil {
		return nil, err
	}
	v := h.c.View()
	out := []Service{}
	for _, s := range made {
		out = append(out, h.service(v, s))
	}
	return out, nil
}

func (h *handler) removeService(r *http.Request) (any, error) {
	return nil, h.c.RemoveService(r.Context(), r.PathValue("name"))
}

// service is a service as it is answered, without its key.
func (h *handler) service(v vpc.View, s *vpc.CatalogueService) Service {
	out := Service{
		Name: s.Name, ServiceName: s.ServiceName, ID: s.ID, Types: s.Types, Protocol: s.Protocol,
		Prefixes: append(append([]netip.Prefix{}, s.Prefixes...), s.Prefixes6...), PrefixLists: append([]vpc.PrefixListID{}, s.Lists()...),
		Addresses: append([]netip.Addr{}, s.Addresses...), PublicNames: append([]string{}, s.PublicNames...), PrivateNames: []string{},
		Backends: []ServiceBackend{}, HealthCheck: s.HealthCheck, Certificate: "postern", PolicySupported: s.PolicySupported, From: "configuration",
	}
	if slices.Contains(s.Types, vpc.InterfaceEndpoint) {
		out.PrivateNames = vpc.PrivateNames(nil, s)
	}
	if s.TLSCertificate != "" {
		out.Certificate = "operator"
	}
	if s.Added {
		out.From = "command"
	}
	for _, b := range s.Backends {
		out.Backends = append(out.Backends, ServiceBackend{URL: b, Hosts: h.c.Hosts.BackendHealth(s.Name, b)})
	}
	for range vpc.By[vpc.Endpoint](v, vpc.IndexServiceName, s.ServiceName) {
		out.Endpoints++
	}
	return out
}
