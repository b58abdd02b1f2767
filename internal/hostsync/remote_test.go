// SPDX-License-Identifier: Apache-2.0

package hostsync_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/hostsync"
	"postern.dev/postern/internal/pki"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// door is a server for hosts on other machines, whose hosts are in a map.
type door struct {
	t       *testing.T
	source  *source
	ca      *pki.Authority
	url     string
	remote  *hostsync.Remote
	asked   chan string
	reports chan hostsync.Report
	gone    chan vpc.HostID

	mu      sync.Mutex
	secrets map[vpc.HostID]string
	keys    map[vpc.HostID][]byte
}

func newDoor(t *testing.T, life time.Duration) *door {
	t.Helper()
	ca, err := pki.Open(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d := &door{
		t: t, ca: ca, asked: make(chan string, 64), reports: make(chan hostsync.Report, 64), gone: make(chan vpc.HostID, 64),
		source:  &source{view: vpctest.Of(&vpc.Host{ID: "h1"}, &vpc.Host{ID: "h2"}), changed: make(chan struct{})},
		secrets: map[vpc.HostID]string{"h2": "SECRET"}, keys: map[vpc.HostID][]byte{},
	}
	d.remote = &hostsync.Remote{
		Server: &hostsync.Server{
			View: d.source.get,
			Settings: func(h vpc.HostID) (hostsync.Settings, <-chan struct{}) {
				return hostsync.Settings{Region: "for-" + string(h)}, nil
			},
			Report: func(r hostsync.Report) error { d.reports <- r; return nil },
			Gone:   func(h vpc.HostID) { d.gone <- h }, Log: slog.New(slog.DiscardHandler),
		},
		Authority: ca, Now: time.Now, Life: life,
		Asked: func(h vpc.HostID, from string, _ time.Time, status int, err error) {
			d.asked <- fmt.Sprint(h, " ", netip.MustParseAddrPort(from).Addr(), " ", status, " ", err != nil)
		},
		IsHost: func(h vpc.HostID, key []byte) bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return len(key) > 0 && bytes.Equal(d.keys[h], key)
		},
		Join: func(_ context.Context, h vpc.HostID, secret string, key []byte) (*vpc.Host, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if secret == "" || d.secrets[h] != secret {
				return nil, vpc.Errorf(vpc.Denied, "token", "", "not with this token")
			}
			delete(d.secrets, h)
			d.keys[h] = key
			return &vpc.Host{ID: h, Underlay: netip.MustParseAddr("192.0.2.2")}, nil
		},
	}
	return d
}

func (d *door) open() {
	d.t.Helper()
	cfg, err := d.ca.ServerTLS(time.Now())
	if err != nil {
		d.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	srv := &http.Server{Handler: d.remote.Handler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	go srv.Serve(tls.NewListener(l, cfg))
	d.t.Cleanup(func() { srv.Close() })
	d.url = "https://" + l.Addr().String()
}

// forget makes the door know a host no longer.
func (d *door) forget(h vpc.HostID) {
	d.mu.Lock()
	delete(d.keys, h)
	d.mu.Unlock()
	d.source.put(&vpc.CatalogueService{Name: "wake"})
}

func (d *door) token() hostsync.Token {
	return hostsync.Token{Host: "h2", Secret: "SECRET", CA: d.ca.Fingerprint()}
}

func (d *door) client(id *hostsync.Identity) *hostsync.Client {
	d.t.Helper()
	c, err := hostsync.NewClient(d.url, id, slog.New(slog.DiscardHandler))
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// follow lets a client follow until the test ends and answers what comes.
func follow(t *testing.T, c *hostsync.Client) (states chan desired.Host, settings chan hostsync.Settings) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	states, settings = make(chan desired.Host, 256), make(chan hostsync.Settings, 256)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Follow(ctx, desired.Empty(), func(h desired.Host) { states <- h }, func(s hostsync.Settings) { settings <- s })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return states, settings
}

func comes[T any](t *testing.T, what string, c chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

func TestAMachineJoinsAndFollowsOverTLS(t *testing.T) {
	d := newDoor(t, 0)
	d.open()
	id, err := hostsync.Join(t.Context(), d.url+"/", d.token())
	if err != nil {
		t.Fatal(err)
	}
	if id.Host != "h2" || id.Underlay != netip.MustParseAddr("192.0.2.2") || id.CA != string(d.ca.PEM) {
		t.Errorf("the identity is %+v", id)
	}
	until, err := id.Until()
	if left := time.Until(until); err != nil || left < pki.HostLife-time.Minute || left > pki.HostLife {
		t.Errorf("the certificate is good for %s (%v)", left, err)
	}
	// As it is after a restart.
	b, err := json.Marshal(id)
	if err != nil {
		t.Fatal(err)
	}
	kept := &hostsync.Identity{}
	if err := json.Unmarshal(b, kept); err != nil {
		t.Fatal(err)
	}
	c := d.client(kept)
	states, settings := follow(t, c)
	if s := comes(t, "settings", settings); s.Region != "for-h2" {
		t.Errorf("settings %+v", s)
	}
	comes(t, "the state", states)
	if err := c.Send(t.Context(), hostsync.Report{Host: "h2", Applied: 1}); err != nil {
		t.Error(err)
	}
	if r := comes(t, "a report", d.reports); r.Host != "h2" {
		t.Errorf("reported %+v", r)
	}
	// One that is removed is let in no longer, and what it follows ends.
	d.forget("h2")
	if h := comes(t, "the end of the stream", d.gone); h != "h2" {
		t.Errorf("%s went", h)
	}
	if err := c.Send(t.Context(), hostsync.Report{Host: "h2"}); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a report of what is no host: %v", err)
	}
}

func TestOnlyTheHostItselfIsHeard(t *testing.T) {
	d := newDoor(t, 0)
	d.open()
	id, err := hostsync.Join(t.Context(), d.url, d.token())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(id.Chain), []byte(id.Key))
	if err != nil {
		t.Fatal(err)
	}
	call := func(certs []tls.Certificate, method, path, body string) string {
		t.Helper()
		// Shown whatever the server says it would take.
		show := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &append(certs, tls.Certificate{})[0], nil
		}
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, GetClientCertificate: show}}}
		req, err := http.NewRequestWithContext(t.Context(), method, d.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(req)
		if err != nil {
			return "handshake"
		}
		defer res.Body.Close()
		io.Copy(io.Discard, io.LimitReader(res.Body, 1))
		return res.Status[:3]
	}
	mine := []tls.Certificate{pair}
	// Even if the same machine were another host too.
	d.mu.Lock()
	d.keys["h1"] = d.keys["h2"]
	d.mu.Unlock()
	stranger, err := pki.Open(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	request, err := pki.Request([]byte(id.Key))
	if err != nil {
		t.Fatal(err)
	}
	chain, _, err := stranger.Host(request, "h2", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := tls.X509KeyPair(chain, []byte(id.Key))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		what  string
		certs []tls.Certificate
		path  string
		body  string
		want  string
	}{
		{"the host", mine, "/v1/hosts/h2/desired", "", "200"},
		{"another host's stream", mine, "/v1/hosts/h1/desired", "", "403"},
		{"another host's status", mine, "/v1/hosts/h1/status", `{"host":"h1"}`, "403"},
		{"another host in the report", mine, "/v1/hosts/h2/status", `{"host":"h1"}`, "400"},
		{"another host's certificate", mine, "/v1/hosts/h1/certificate", `{}`, "403"},
		{"no certificate", nil, "/v1/hosts/h2/desired", "", "403"},
		{"no certificate for a report", nil, "/v1/hosts/h2/status", `{"host":"h2"}`, "403"},
		{"no certificate to renew", nil, "/v1/hosts/h2/certificate", `{}`, "403"},
		{"a forged one", []tls.Certificate{forged}, "/v1/hosts/h2/desired", "", "handshake"},
		{"a body that is too long", mine, "/v1/hosts/h2/certificate", `{"request":"` + strings.Repeat("x", 20<<10) + `"}`, "400"},
	} {
		method := http.MethodPost
		if x.body == "" {
			method = http.MethodGet
		}
		if got := call(x.certs, method, x.path, x.body); got != x.want {
			t.Errorf("%s: %s, want %s", x.what, got, x.want)
		}
	}
	if len(d.reports) > 0 {
		t.Errorf("reported %+v", <-d.reports)
	}
	// A certificate is renewed for its own key only.
	other, err := pki.NewHostKey()
	if err != nil {
		t.Fatal(err)
	}
	if request, err = pki.Request(other); err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(map[string]string{"request": string(request)})
	if got := call(mine, http.MethodPost, "/v1/hosts/h2/certificate", string(b)); got != "400" {
		t.Errorf("a renewal for another key: %s", got)
	}
}

func TestJoiningFailsWithoutTheSecretOrTheRightServer(t *testing.T) {
	d := newDoor(t, 0)
	d.open()
	wrong := d.token()
	wrong.CA = strings.Repeat("0", 64)
	if _, err := hostsync.Join(t.Context(), d.url, wrong); !errors.Is(err, pki.ErrOtherAuthority) {
		t.Errorf("another fingerprint: %v", err)
	}
	wrong = d.token()
	wrong.Secret = "GUESS"
	if _, err := hostsync.Join(t.Context(), d.url, wrong); err == nil || !strings.Contains(err.Error(), "not with this token") {
		t.Errorf("another secret: %v", err)
	}
	// Neither used the secret up.
	if _, err := hostsync.Join(t.Context(), d.url, d.token()); err != nil {
		t.Error(err)
	}
	if _, err := hostsync.Join(t.Context(), d.url, d.token()); err == nil {
		t.Error("the secret is good twice")
	}
	// Who asks in no way that could be answered has asked all the same.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	for _, body := range []string{"{", `{"host":"NO NAME"}`, `{"host":"h2","secret":"SECRET"}`} {
		res, err := client.Post(d.url+"/v1/join", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s is answered with %s", body, res.Status)
		}
	}
	for _, want := range []string{
		"h2 127.0.0.1 403 true", "h2 127.0.0.1 200 false", "h2 127.0.0.1 403 true",
		" 127.0.0.1 400 true", " 127.0.0.1 400 true", "h2 127.0.0.1 400 true",
	} {
		if got := comes(t, "word of who asked", d.asked); got != want {
			t.Errorf("asked: %s, want %s", got, want)
		}
	}
	good := d.token().String()
	if got, err := hostsync.ParseToken(good + "\n"); err != nil || got != d.token() {
		t.Errorf("%q is read as %+v, %v", good, got, err)
	}
	for _, s := range []string{"", "h2", "h2/SECRET", "/SECRET/" + wrong.CA, "h2//" + wrong.CA, "h2/S/" + wrong.CA[1:], "H2/S/" + wrong.CA, good + "/x"} {
		if got, err := hostsync.ParseToken(s); err == nil {
			t.Errorf("%q is read as %+v", s, got)
		}
	}
	for s, ok := range map[string]bool{
		"https://192.0.2.1:8421": true, "https://server.example:8421/": true, "http://192.0.2.1:8421": false, "192.0.2.1:8421": false,
		"https://192.0.2.1": false, "https://192.0.2.1:8421/x": false, "https://a@192.0.2.1:8421": false, "": false,
	} {
		if err := hostsync.CheckServer(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// A host goes on past the end of its first certificate.
func TestACertificateIsRenewedBeforeItIsTooOld(t *testing.T) {
	// A certificate begins an hour before it is made, so two thirds of its
	// life are over at once.
	d := newDoor(t, 2*time.Second)
	d.open()
	id, err := hostsync.Join(t.Context(), d.url, d.token())
	if err != nil {
		t.Fatal(err)
	}
	first, err := id.Until()
	if err != nil {
		t.Fatal(err)
	}
	// From now on they are good for as long as usual.
	d.remote.Life = 0
	c := d.client(id)
	ctx, cancel := context.WithCancel(t.Context())
	saved := make(chan hostsync.Identity, 8)
	done := make(chan error, 1)
	go func() {
		done <- c.KeepCertificate(ctx, id, func(n *hostsync.Identity) error {
			saved <- hostsync.Identity{Host: n.Host, CA: n.CA, Chain: n.Chain, Key: n.Key}
			return nil
		})
	}()
	got := comes(t, "a renewed certificate", saved)
	if until, err := got.Until(); err != nil || !until.After(first.Add(time.Hour)) || got.Key != id.Key {
		t.Errorf("renewed until %s (%v), was %s", until, err, first)
	}
	cancel()
	if err := comes(t, "the end", done); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if len(saved) > 0 {
		t.Error("it is renewed again at once")
	}
	_, settings := follow(t, c)
	comes(t, "settings", settings)
}

// A stream over which nothing comes back ends, on both ends.
func TestAnEndThatIsSilentIsGivenUp(t *testing.T) {
	d := newDoor(t, 0)
	d.remote.Server.Beat, d.remote.Server.Silence = 10*time.Millisecond, 300*time.Millisecond
	d.open()
	id, err := hostsync.Join(t.Context(), d.url, d.token())
	if err != nil {
		t.Fatal(err)
	}
	c := d.client(id)
	start := time.Now()
	_, settings := follow(t, c)
	comes(t, "settings", settings)
	for time.Since(start) < 600*time.Millisecond {
		if err := c.Send(t.Context(), hostsync.Report{Host: "h2"}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-d.gone:
			t.Fatal("the stream of a host that reports was ended")
		case <-time.After(20 * time.Millisecond):
		}
	}
	comes(t, "the end of a silent host's stream", d.gone)
	comes(t, "settings when it follows again", settings)
}

func TestAServerThatIsSilentIsGivenUp(t *testing.T) {
	d := newDoor(t, 0)
	d.remote.Server.Beat = time.Hour
	d.open()
	id, err := hostsync.Join(t.Context(), d.url, d.token())
	if err != nil {
		t.Fatal(err)
	}
	c := d.client(id)
	hostsync.SetPatience(c, 200*time.Millisecond)
	_, settings := follow(t, c)
	comes(t, "settings", settings)
	comes(t, "settings when it follows again", settings)
}

// A server that takes the question and never answers is asked again.
func TestAServerThatDoesNotAnswerIsGivenUp(t *testing.T) {
	d := newDoor(t, 0)
	d.open()
	id, err := hostsync.Join(t.Context(), d.url, d.token())
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 64)
	end := make(chan struct{})
	cfg, err := d.ca.ServerTLS(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		<-end
	})}
	go srv.Serve(tls.NewListener(l, cfg))
	t.Cleanup(func() { close(end); srv.Close() })
	d.url = "https://" + l.Addr().String()
	c := d.client(id)
	hostsync.SetPatience(c, 100*time.Millisecond)
	follow(t, c)
	for range 2 {
		comes(t, "a question", asked)
	}
}
