// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// maxBody bounds what is asked.
const maxBody = 64 << 10

// Config is what the handler needs.
type Config struct {
	Control *control.Control
	Info    func() Info
}

// Handler answers the operator. Serve it on a socket only the operator opens.
func Handler(cfg Config) http.Handler {
	h := &handler{cfg.Control, cfg.Info}
	mux := http.NewServeMux()
	route := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			answer, err := f(r)
			h.write(w, r, answer, err)
		})
	}
	route("GET /v1/info", h.getInfo)
	route("GET /v1/accounts", h.listAccounts)
	route("POST /v1/accounts", h.createAccount)
	route("GET /v1/accounts/{name}", h.getAccount)
	route("GET /v1/domains", h.listDomains)
	route("POST /v1/domains", h.verifyDomain)
	route("DELETE /v1/domains", h.unverifyDomain)
	route("GET /v1/workloads/{id}", h.getWorkload)
	route("POST /v1/run", h.run)
	route("POST /v1/terminate", h.terminate)
	route("POST /v1/attach", h.attach)
	route("POST /v1/detach", h.detach)
	route("GET /v1/status", h.status)
	route("GET /v1/names", h.names)
	route("GET /v1/notifications", h.notifications)
	route("/", func(r *http.Request) (any, error) {
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

// write sends an answer, or the error in its place.
func (h *handler) write(w http.ResponseWriter, r *http.Request, answer any, err error) {
	status := http.StatusOK
	if err != nil {
		f := failure{Error: err.Error()}
		var e *vpc.Error
		if errors.As(err, &e) {
			f.Kind = e.Kind
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
	case vpc.Unavailable:
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
