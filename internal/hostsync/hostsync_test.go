// SPDX-License-Identifier: Apache-2.0

package hostsync_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
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
