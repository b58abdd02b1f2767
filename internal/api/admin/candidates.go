// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/http"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func candidateOf(e *vpc.Endpoint) Candidate {
	return Candidate{Endpoint: e.ID, Owner: e.Owner, Set: e.CandidateSet, Policy: e.Candidate}
}

func (h *handler) getCandidate(r *http.Request) (any, error) {
	id := vpc.EndpointID(r.PathValue("id"))
	e, ok := vpc.Get[vpc.Endpoint](h.c.View(), id)
	if !ok {
		return nil, noEndpoint(id)
	}
	if e.Candidate == "" {
		return nil, control.NoCandidate(id)
	}
	return candidateOf(e), nil
}

func (h *handler) setCandidate(r *http.Request) (any, error) {
	in, err := read[NewCandidate](r)
	if err != nil {
		return nil, err
	}
	e, err := h.c.SetCandidate(r.Context(), vpc.EndpointID(r.PathValue("id")), in.Policy)
	if err != nil {
		return nil, err
	}
	return candidateOf(e), nil
}

func (h *handler) removeCandidate(r *http.Request) (any, error) {
	return nil, h.c.RemoveCandidate(r.Context(), vpc.EndpointID(r.PathValue("id")))
}

func noEndpoint(id vpc.EndpointID) error {
	return vpc.Errorf(vpc.NotFound, string(vpc.KindEndpoint), string(id), "The Vpc Endpoint Id '%.64s' does not exist", id)
}
