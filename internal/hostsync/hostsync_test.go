// SPDX-License-Identifier: Apache-2.0

package hostsync_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/hostsync"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// source is a view that changes.
type source struct {
	mu      sync.Mutex
	view    *vpctest.View
	changed chan struct{}
}

func (s *source) get() (vpc.View, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := vpctest.View{Rev: s.view.Rev, List: append([]vpc.Object(nil), s.view.List...)}
	return &v, s.changed
}

func (s *source) put(o vpc.Object) vpc.Revision {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.Put(o)
	close(s.changed)
	s.changed = make(chan struct{})
	return s.view.Rev
}

func catalogue(name string) *vpc.CatalogueService {
	return &vpc.CatalogueService{Name: name, ServiceName: "com.amazonaws.us-east-1." + name, Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}
}

func TestAHostFollowsAndComesBackAfterAnyBreak(t *testing.T) {
	s := &source{view: vpctest.Of(&vpc.Host{ID: "h1"}), changed: make(chan struct{})}
	reports := make(chan hostsync.Report, 16)
	refuse := true
	srv := &hostsync.Server{
		View: s.get,
		Settings: func(vpc.HostID) (hostsync.Settings, <-chan struct{}) {
			return hostsync.Settings{Region: "us-east-1"}, nil
		},
		Report: func(r hostsync.Report) error {
			if refuse {
				refuse = false
				return errors.New("not now")
			}
			reports <- r
			return nil
		},
		Gone: func(vpc.HostID) {}, Log: slog.New(slog.DiscardHandler),
	}
	socket := filepath.Join(t.TempDir(), "s")
	serve := func() *http.Server {
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		h := &http.Server{Handler: srv.Handler()}
		go h.Serve(l)
		return h
	}
	h := serve()
	ctx, cancel := context.WithCancel(t.Context())
	c := hostsync.NewUnixClient(socket, "h1", slog.New(slog.DiscardHandler))
	states := make(chan desired.Host, 64)
	settings := make(chan hostsync.Settings, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Follow(ctx, desired.Empty(), func(h desired.Host) { states <- h }, func(s hostsync.Settings) { settings <- s })
	}()
	reaches := func(r vpc.Revision, services ...string) {
		t.Helper()
		for {
			select {
			case got := <-states:
				if got.Revision < r {
					continue
				}
				for _, n := range services {
					if _, ok := got.Services[n]; !ok {
						t.Fatalf("revision %d lacks service %s", got.Revision, n)
					}
				}
				if len(got.Services) != len(services) {
					t.Fatalf("revision %d has %d services, want %v", got.Revision, len(got.Services), services)
				}
				return
			case <-time.After(10 * time.Second):
				t.Fatalf("revision %d did not come", r)
			}
		}
	}
	reaches(1)
	if got := <-settings; got.Region != "us-east-1" {
		t.Errorf("settings %+v", got)
	}
	reaches(s.put(catalogue("s3")), "s3")
	// The server goes, the state changes meanwhile, the server comes back.
	h.Close()
	rev := s.put(catalogue("dynamodb"))
	h = serve()
	defer h.Close()
	reaches(rev, "s3", "dynamodb")
	reaches(s.put(catalogue("sns")), "s3", "dynamodb", "sns")

	// A report that is refused is an error, and the next one is taken.
	rep := hostsync.Report{Host: "h1", Applied: rev, Health: []hostsync.Health{{TargetID: "i-1", Healthy: true}}}
	if err := c.Send(ctx, rep); err == nil {
		t.Error("a refused report was no error")
	}
	if err := c.Send(ctx, rep); err != nil {
		t.Error(err)
	}
	if got := <-reports; got.Applied != rev || len(got.Health) != 1 {
		t.Errorf("reported %+v", got)
	}
	cancel()
	<-done
}

// A service and its certificate come to be while a host has neither: it gets the
// certificate first, whichever of the two changes woke the stream.
func TestSettingsComeBeforeTheStateThatNeedsThem(t *testing.T) {
	for _, woken := range []string{"by the state", "by the settings", "by what was before"} {
		s := &source{view: vpctest.Of(&vpc.Host{ID: "h1"}), changed: make(chan struct{})}
		settings := make(chan struct{})
		var meanwhile func() // called when the state is asked for
		srv := &hostsync.Server{
			View: func() (vpc.View, <-chan struct{}) {
				s.mu.Lock()
				if meanwhile != nil {
					meanwhile()
				}
				s.mu.Unlock()
				return s.get()
			},
			Settings: func(vpc.HostID) (hostsync.Settings, <-chan struct{}) {
				s.mu.Lock()
				defer s.mu.Unlock()
				out := hostsync.Settings{Certificates: map[string]hostsync.Certificate{}}
				for n := range vpc.All[vpc.CatalogueService](s.view) {
					out.Certificates[n.Name] = hostsync.Certificate{Chain: "c", Key: "k"}
				}
				return out, settings
			},
			Gone: func(vpc.HostID) {}, Log: slog.New(slog.DiscardHandler),
		}
		h := httptest.NewServer(srv.Handler())
		res, err := http.Get(h.URL + "/v1/hosts/h1/desired")
		if err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(res.Body)
		next := func() (m hostsync.Message) {
			t.Helper()
			for m.Settings == nil && m.Whole == nil && m.Change == nil { // no sign of life
				if err := dec.Decode(&m); err != nil {
					t.Fatal(err)
				}
			}
			return m
		}
		if first, second := next(), next(); first.Settings == nil || second.Whole == nil {
			t.Errorf("a stream begins with %+v, %+v", first, second)
		}
		s.mu.Lock()
		stateChanged, settingsChanged := s.changed, settings
		s.changed = make(chan struct{})
		come := func() {
			s.view.Put(catalogue("sqs"))
			settings = make(chan struct{})
			meanwhile = nil
		}
		if meanwhile = come; woken != "by what was before" {
			come()
		}
		s.mu.Unlock()
		if woken == "by the settings" {
			close(settingsChanged)
		} else {
			close(stateChanged)
		}
		if first := next(); first.Settings == nil || first.Settings.Certificates["sqs"].Key == "" {
			t.Errorf("woken %s: first comes %+v", woken, first)
		}
		if second := next(); second.Change == nil {
			t.Errorf("woken %s: after the settings comes %+v", woken, second)
		}
		res.Body.Close()
		h.Close()
	}
}

func TestAnUnknownHostGetsNothing(t *testing.T) {
	s := &source{view: vpctest.Of(), changed: make(chan struct{})}
	srv := &hostsync.Server{View: s.get, Settings: func(vpc.HostID) (hostsync.Settings, <-chan struct{}) { return hostsync.Settings{}, nil },
		Gone: func(vpc.HostID) {}, Log: slog.New(slog.DiscardHandler)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: srv.Handler()}
	go h.Serve(l)
	defer h.Close()
	res, err := http.Get("http://" + l.Addr().String() + "/v1/hosts/nobody/desired")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown host got %s", res.Status)
	}
}
