// SPDX-License-Identifier: Apache-2.0

package hostsync

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// maxReport bounds a report: 64 thousand targets and errors fit.
const maxReport = 16 << 20

// Server publishes desired state to hosts and takes their reports.
type Server struct {
	// View is the newest state that the settings go with, and a channel closed when
	// there is a newer one.
	View func() (vpc.View, <-chan struct{})
	// Settings are the newest settings of a host and a channel closed when there are
	// others. Asked for after a View, they have all that it needs, such as a
	// certificate for each of its services.
	Settings func(vpc.HostID) (Settings, <-chan struct{})
	// Report takes a host's report; an error is answered with 503 and the
	// host sends again.
	Report func(Report) error
	// Gone is told when a host's stream ends.
	Gone func(vpc.HostID)
	Log  *slog.Logger
	// Beat is how often something is sent when there is nothing to say, and
	// Silence after how long without a report a host's stream is ended: the
	// other machine may have gone without a word. Zero is Beat and Silence.
	Beat, Silence time.Duration

	mu    sync.Mutex
	heard map[vpc.HostID]time.Time // of the last report; guarded by mu
}

// Defaults of Server's times. Agents report more often than Silence, and give a
// server up that sends nothing for Patience.
const (
	Beat     = 5 * time.Second
	Silence  = 35 * time.Second
	Patience = 20 * time.Second
)

// sendTime bounds the sending of one message: 10 MB on a slow line.
const sendTime = 60 * time.Second

// Handler serves both directions, for whoever can open the socket.
func (s *Server) Handler() http.Handler {
	return s.handler(func(*http.Request) error { return nil })
}

// handler serves both directions for those that allowed says no error of. It is
// asked again for as long as a stream lasts.
func (s *Server) handler(allowed func(*http.Request) error) http.Handler {
	mux := http.NewServeMux()
	for pattern, f := range map[string]func(http.ResponseWriter, *http.Request, func() error){
		"GET /v1/hosts/{host}/desired": s.stream,
		"POST /v1/hosts/{host}/status": s.status,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			ask := func() error { return allowed(r) }
			if err := ask(); err != nil {
				http.Error(w, err.Error(), http.StatusForbidden)
				return
			}
			f(w, r, ask)
		})
	}
	return mux
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request, allowed func() error) {
	host := vpc.HostID(r.PathValue("host"))
	rc := http.NewResponseController(w)
	if v, _ := s.View(); v != nil {
		if _, known := vpc.Get[vpc.Host](v, host); !known {
			http.Error(w, "no such host: register it first", http.StatusNotFound)
			return
		}
	}
	defer s.Gone(host)
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	send := func(m Message) bool {
		// Not every connection has deadlines; those between machines do.
		rc.SetWriteDeadline(time.Now().Add(sendTime))
		return enc.Encode(m) == nil
	}
	beat := time.NewTicker(or(s.Beat, Beat))
	defer beat.Stop()
	start := time.Now()
	base, _ := strconv.ParseInt(r.URL.Query().Get("base"), 10, 64)
	var held desired.Host
	var memory desired.Memory
	var settingsChanged <-chan struct{}
	first := true
	for {
		// The settings are asked for after the state and sent before it: a host that
		// has a service's names has its certificate.
		view, changed := s.View()
		settings, otherSettings := s.Settings(host)
		if first || otherSettings != settingsChanged {
			if !send(Message{Settings: &settings}) {
				return
			}
			settingsChanged = otherSettings
		}
		now := memory.ForHost(view, host)
		switch {
		case first && int64(now.Revision) == base:
			// The host has it already.
		case first:
			if !send(Message{Whole: &now}) {
				return
			}
		case now.Revision != held.Revision:
			d, err := desired.Diff(held, now)
			if err != nil {
				s.Log.Error("desired state cannot be sent", "host", host, "error", err)
				return
			}
			if !send(Message{Change: &d}) {
				return
			}
		}
		first = false
		held = now
		if rc.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-settingsChanged:
		case <-beat.C:
			if since := s.silent(host, start); since > or(s.Silence, Silence) {
				s.Log.Warn("a host sends no reports, its stream is ended", "host", host, "for", since)
				return
			}
			if !send(Message{}) {
				return
			}
		case <-r.Context().Done():
			return
		}
		if err := allowed(); err != nil {
			s.Log.Warn("a host's stream is ended", "host", host, "error", err)
			return
		}
	}
}

// silent is for how long a host whose stream began at start has not reported.
func (s *Server) silent(host vpc.HostID, start time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := s.heard[host]; last.After(start) {
		start = last
	}
	return time.Since(start)
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

func (s *Server) status(w http.ResponseWriter, r *http.Request, _ func() error) {
	var rep Report
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReport)).Decode(&rep); err != nil {
		http.Error(w, "the report does not decode: "+err.Error(), http.StatusBadRequest)
		return
	}
	if string(rep.Host) != r.PathValue("host") {
		http.Error(w, "the report is of another host", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	if s.heard == nil {
		s.heard = map[vpc.HostID]time.Time{}
	}
	s.heard[rep.Host] = time.Now()
	s.mu.Unlock()
	if err := s.Report(rep); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
