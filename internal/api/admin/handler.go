// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// maxBody bounds what is asked: entries of the catalogue with their certificates.
const maxBody = 1 << 20

// Config is what the handler needs.
type Config struct {
	Control *control.Control
	Info    func() Info
	// Audit gets a record of every call; nil for none.
	Audit func(*audit.Record)
}

// Handler answers the operator. Serve it on a socket only the operator opens.
func Handler(cfg Config) http.Handler {
	h := &handler{cfg.Control, cfg.Info}
	mux := http.NewServeMux()
	route := func(pattern, action string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			rec := begin(r, action)
			answer, err := f(r)
			status := h.write(w, r, answer, err)
			if cfg.Audit != nil {
				cfg.Audit(rec.end(answer, err, status))
			}
		})
	}
	route("GET /v1/info", "GetInfo", h.getInfo)
	route("GET /v1/accounts", "ListAccounts", h.listAccounts)
	route("POST /v1/accounts", "CreateAccount", h.createAccount)
	route("GET /v1/accounts/{name}", "GetAccount", h.getAccount)
	route("GET /v1/accounts/{name}/users/{user}", "GetUser", h.getUser)
	route("GET /v1/domains", "ListDomains", h.listDomains)
	route("POST /v1/domains", "VerifyDomain", h.verifyDomain)
	route("DELETE /v1/domains", "UnverifyDomain", h.unverifyDomain)
	route("GET /v1/workloads/{id}", "GetWorkload", h.getWorkload)
	route("POST /v1/run", "RunInstance", h.run)
	route("POST /v1/terminate", "TerminateInstance", h.terminate)
	route("POST /v1/attach", "AttachWorkload", h.attach)
	route("POST /v1/detach", "DetachWorkload", h.detach)
	route("GET /v1/hosts", "ListHosts", h.listHosts)
	route("POST /v1/hosts", "AddHost", h.addHost)
	route("POST /v1/hosts/{name}/token", "CreateHostToken", h.newHostToken)
	route("DELETE /v1/hosts/{name}", "RemoveHost", h.removeHost)
	route("GET /v1/status", "GetStatus", h.status)
	route("GET /v1/names", "GetNames", h.names)
	route("GET /v1/endpoints/{id}/candidate", "GetCandidatePolicy", h.getCandidate)
	route("PUT /v1/endpoints/{id}/candidate", "SetCandidatePolicy", h.setCandidate)
	route("DELETE /v1/endpoints/{id}/candidate", "RemoveCandidatePolicy", h.removeCandidate)
	route("GET /v1/notifications", "ListNotifications", h.notifications)
	route("GET /v1/services", "ListServices", h.listServices)
	route("POST /v1/services", "AddServices", h.addServices)
	route("DELETE /v1/services/{name}", "RemoveService", h.removeService)
	route("/", "", func(r *http.Request) (any, error) {
		return nil, vpc.Errorf(vpc.NotFound, "path", "", "this server has no %s %.64s; is the command of another version?", r.Method, r.URL.Path)
	})
	return mux
}

type handler struct {
	c    *control.Control
	info func() Info
}

func (h *handler) getInfo(*http.Request) (any, error) {
	i := h.info()
	if i.Host == "" {
		i.Host = h.c.LocalHost
	}
	return i, nil
}

// write sends an answer, or the error in its place, and says with which status.
func (h *handler) write(w http.ResponseWriter, r *http.Request, answer any, err error) int {
	status := http.StatusOK
	if err != nil {
		f := failure{Error: err.Error()}
		var e *vpc.Error
		if errors.As(err, &e) {
			f.Kind = e.Kind
		}
		if errors.As(err, &f.Problems) {
			f.Kind = vpc.Invalid
		}
		answer, status = f, statusOf(f.Kind)
		if status == http.StatusInternalServerError {
			h.c.Log.Error("operator's call failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
	} else if r.Method != http.MethodGet {
		h.c.Log.Info("operator's call", "method", r.Method, "path", r.URL.Path)
	}
	w.Header().Set("Content-Type", "application/json")
	// Some answers hold secrets.
	w.Header().Set("Cache-Control", "no-store")
	if answer == nil {
		answer = struct{}{}
	}
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		h.c.Log.Debug("answer not delivered", "path", r.URL.Path, "error", err)
	}
	return status
}

func statusOf(k vpc.ErrorKind) int {
	switch k {
	case "":
		return http.StatusInternalServerError
	case vpc.NotFound:
		return http.StatusNotFound
	case vpc.Denied, vpc.NotPermitted:
		return http.StatusForbidden
	case vpc.Duplicate, vpc.Conflict, vpc.InUse, vpc.WrongState, vpc.AddressInUse, vpc.AlreadyAssociated, vpc.ExistingConnections:
		return http.StatusConflict
	case vpc.Unavailable, vpc.NoCapacity:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// read decodes a request's body, which must be one object with known fields.
func read[T any](r *http.Request) (T, error) {
	var v T
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, vpc.Errorf(vpc.Invalid, "body", "", "the request is not what this server understands: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return v, vpc.Errorf(vpc.Invalid, "body", "", "the request holds more than one JSON value")
	}
	return v, nil
}

// account finds an account by its name or id.
func account(v vpc.View, ref string) (*vpc.Account, error) {
	if ref == "" {
		return nil, vpc.Errorf(vpc.Missing, "account", "", "name an account; `postern account list` shows them")
	}
	if a, ok := vpc.First[vpc.Account](v, vpc.IndexName, ref); ok {
		return a, nil
	}
	if a, ok := vpc.Get[vpc.Account](v, ref); ok {
		return a, nil
	}
	return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindAccount), ref, "account %.64q does not exist; `postern account list` shows those that do", ref)
}

// callerFor is the account's own root, so that an operation here is one its
// owner could have made.
func callerFor(v vpc.View, id vpc.AccountID) control.Caller {
	c := control.Caller{Account: id, ARN: id.RootARN()}
	if a, ok := vpc.Get[vpc.Account](v, id); ok {
		c.Name, c.Operator = a.Name, a.Operator
	}
	return c
}
