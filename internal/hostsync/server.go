// SPDX-License-Identifier: Apache-2.0

package hostsync

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// maxReport bounds a report: 64 thousand targets and errors fit.
const maxReport = 16 << 20

// Server publishes desired state to hosts and takes their reports.
type Server struct {
	// View is the newest state and a channel closed when there is a newer one.
	View func() (vpc.View, <-chan struct{})
	// Settings are the newest settings and a channel closed when they change.
	Settings func() (Settings, <-chan struct{})
	// Report takes a host's report; an error is answered with 503 and the
	// host sends again.
	Report func(Report) error
	// Gone is told when a host's stream ends.
	Gone func(vpc.HostID)
	Log  *slog.Logger
}

// Handler serves both directions.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/hosts/{host}/desired", s.stream)
	mux.HandleFunc("POST /v1/hosts/{host}/status", s.status)
	return mux
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	host := vpc.HostID(r.PathValue("host"))
	flusher, ok := w.(http.Flusher)
	if !ok {
		http.Error(w, "this connection cannot stream", http.StatusInternalServerError)
		return
	}
	if v, _ := s.View(); v != nil {
		if _, known := vpc.Get[vpc.Host](v, host); !known {
			http.Error(w, "no such host: register it first", http.StatusNotFound)
			return
		}
	}
	defer s.Gone(host)
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	settings, settingsChanged := s.Settings()
	if enc.Encode(Message{Settings: &settings}) != nil {
		return
	}
	base, _ := strconv.ParseInt(r.URL.Query().Get("base"), 10, 64)
	var held desired.Host
	first := true
	for {
		view, changed := s.View()
		now := desired.ForHost(view, host)
		switch {
		case first && int64(now.Revision) == base:
			// The host has it already.
		case first:
			if enc.Encode(Message{Whole: &now}) != nil {
				return
			}
		case now.Revision != held.Revision:
			d, err := desired.Diff(held, now)
			if err != nil {
				s.Log.Error("desired state cannot be sent", "host", host, "error", err)
				return
			}
			if enc.Encode(Message{Change: &d}) != nil {
				return
			}
		}
		first = false
		held = now
		flusher.Flush()
		select {
		case <-changed:
		case <-settingsChanged:
			settings, settingsChanged = s.Settings()
			if enc.Encode(Message{Settings: &settings}) != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	var rep Report
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReport)).Decode(&rep); err != nil {
		http.Error(w, "the report does not decode: "+err.Error(), http.StatusBadRequest)
		return
	}
	if string(rep.Host) != r.PathValue("host") {
		http.Error(w, "the report is of another host", http.StatusBadRequest)
		return
	}
	if err := s.Report(rep); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
