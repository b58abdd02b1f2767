// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"postern.dev/postern/internal/api"
	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/hostsync"
	"postern.dev/postern/internal/pki"
	"postern.dev/postern/internal/resolver"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// listeners are the server's doors, opened by who starts it.
type listeners struct {
	api   net.Listener // AWS's clients
	admin net.Listener // the operator's commands
	sync  net.Listener // the agent; nil without a datapath
	hosts net.Listener // agents of other machines; nil for none
}

// runServer is the unprivileged server: store, API and the hosts' streams. It
// calls ready once clients are answered and, with a datapath, the host holds
// the current state.
func runServer(ctx context.Context, cfg Config, l listeners, log *slog.Logger, ready func()) error {
	p := paths{cfg.DataDir}
	st, err := openStore(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer st.Close()
	host := vpc.HostID("")
	if cfg.Datapath != "none" {
		if host, err = thisHost(); err != nil {
			return err
		}
	}
	topics, err := cfg.topics(log)
	if err != nil {
		return err
	}
	hosts := control.NewHosts()
	hosts.GoneAfter = 10 * time.Second
	pool, err := cfg.publicPool()
	if err != nil {
		return err
	}
	pool6, err := cfg.ipv6Pool()
	if err != nil {
		return err
	}
	conf := control.Config{
		Store: st, Hosts: hosts, Now: time.Now, Random: rand.Reader, Log: log, LocalHost: host,
		Quotas: cfg.Quotas, Topics: topics, PublicPool: pool, IPv6Pool: pool6, SignsIdentity: cfg.IdentityKey != "",
	}
	upstreams, err := dnsUpstreams(cfg.DNSUpstreams)
	if err != nil {
		return err
	}
	if len(upstreams) > 0 {
		conf.TXT = resolver.NewTXT(upstreams)
	}
	c := control.New(conf)
	if err := seed(ctx, c, cfg, host); err != nil {
		return err
	}
	authority, err := pki.Open(p.keys(), time.Now())
	if err != nil {
		return err
	}
	if err := writeTrust(p, authority.PEM); err != nil {
		return err
	}
	settings, err := newHostSettings(cfg, p, authority, l.api.Addr())
	if err != nil {
		return err
	}
	if err := settings.update(st.Snapshot()); err != nil {
		return err
	}

	record, auditFile, closeAudit, err := openAudit(cfg.Audit, log)
	if err != nil {
		return err
	}
	// In this order at the end: everything is told to stop, the last calls get
	// their answers, and their records are written.
	defer closeAudit()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 16)
	start := func(what string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				failed <- fmt.Errorf("%s: %w", what, err)
			}
		})
	}
	// What becomes available waits for the host's word, so the life cycles
	// start when it has been heard.
	begin := func() {
		start("endpoint life cycle", c.RunEndpointLifecycle)
		start("instance life cycle", c.RunInstanceLifecycle)
		start("peering life cycle", c.RunPeeringLifecycle)
		start("load balancer life cycle", c.RunBalancerLifecycle)
		start("connection notifications", c.RunNotifications)
		start("gateway life cycle", c.RunGatewayLifecycle)
		start("verification of private DNS names", c.RunNameVerification)
		start("forgetting client tokens", c.RunTokenCleanup)
		ready()
	}
	accounts := &accountsFile{path: p.s3Accounts()}
	if err := accounts.write(st.Snapshot(), hosts); err != nil {
		return err
	}
	start("settings of hosts", func(ctx context.Context) error { return settings.follow(ctx, st) })
	start("backend accounts", func(ctx context.Context) error { return accounts.follow(ctx, st, hosts) })
	info := func() admin.Info {
		return admin.Info{
			Endpoint: "http://" + l.api.Addr().String(), Region: cfg.Region, Zones: cfg.Zones, DataDir: cfg.DataDir,
			Version: version, Datapath: cfg.Datapath, CA: p.ca(), WorkloadCA: p.workloadCA(), AuditLog: auditFile,
			Fingerprint: authority.Fingerprint(), HostsListen: addrOf(l.hosts),
		}
	}
	serve := func(what string, l net.Listener, h http.Handler) {
		srv := &http.Server{
			Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
			// Streams to the agents end with the server.
			BaseContext: func(net.Listener) context.Context { return ctx },
			ConnContext: func(ctx context.Context, c net.Conn) context.Context { return admin.WithPeer(ctx, peerOf(c)) },
		}
		wg.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("%s: %w", what, err)
			}
		})
		wg.Go(func() {
			<-ctx.Done()
			// Calls in flight get their answer.
			end, done := context.WithTimeout(context.Background(), 3*time.Second)
			defer done()
			if srv.Shutdown(end) != nil {
				srv.Close()
			}
		})
	}
	door := api.New(c, log)
	door.Audit = record
	serve("API", l.api, door)
	serve("operator's API", l.admin, admin.Handler(admin.Config{Control: c, Info: info, Audit: record}))
	streams := &hostsync.Server{
		View: settings.state,
		Settings: func(id vpc.HostID) (hostsync.Settings, <-chan struct{}) {
			now, changed := settings.get()
			if id == host {
				return now, changed
			}
			return now.Elsewhere(), changed
		},
		Report: func(r hostsync.Report) error { return report(ctx, c, r) },
		Gone:   c.Hosts.Gone,
		Log:    log,
	}
	for h := range vpc.All[vpc.Host](st.Snapshot()) {
		if len(h.PublicKey) > 0 {
			hosts.Expect(h.ID)
		}
	}
	if l.hosts != nil {
		secure, err := authority.ServerTLS(time.Now())
		if err != nil {
			return err
		}
		door := &hostsync.Remote{
			Server: streams, Authority: authority, Join: c.JoinHost, Now: time.Now,
			IsHost: func(id vpc.HostID, key []byte) bool { return control.IsHost(c.View(), id, key) },
			Asked: func(host vpc.HostID, from string, at time.Time, status int, err error) {
				if record != nil {
					record(joinRecord(host, from, at, status, err))
				}
			},
		}
		serve("hosts' door", tls.NewListener(l.hosts, secure), door.Handler())
	}
	if l.sync != nil {
		serve("host stream", l.sync, streams.Handler())
		start("first report of the host", func(ctx context.Context) error {
			return awaitHost(ctx, c, host, begin)
		})
	} else {
		begin()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// addrOf is where a listener listens, "" for none.
func addrOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

func openStore(ctx context.Context, cfg Config, log *slog.Logger) (*store.Store, error) {
	if cfg.Store == "embedded" {
		return store.OpenEmbedded(ctx, paths{cfg.DataDir}.store(), log)
	}
	return store.OpenCluster(ctx, strings.Split(cfg.Store, ","), log)
}

// thisHost is the name this machine is known by.
func thisHost() (vpc.HostID, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("find this host's name: %w", err)
	}
	return vpc.HostID(strings.ToLower(name)), nil
}

// operatorKeys is the file with the operator account's keys.
type operatorKeys struct {
	AccessKey string `json:"accessKey"`
	SecretKey string `json:"secretKey"`
}

// seed writes what must be there before anything else, and keeps the
// operator's keys for whoever may read the data directory.
func seed(ctx context.Context, c *control.Control, cfg Config, host vpc.HostID) error {
	services, err := cfg.catalogue()
	if err != nil {
		return err
	}
	region := vpc.Region{
		Name: cfg.Region, Zones: cfg.zones(), Domain: "vpce.amazonaws.com",
		DHCPOptions: vpc.StableID(vpc.PrefixDHCPOptions, cfg.Region),
		ProxyLayout: cfg.ProxyProtocolLayout,
	}
	var h *vpc.Host
	if host != "" {
		underlay, err := cfg.underlay()
		if err != nil {
			return err
		}
		h = &vpc.Host{ID: host, Zone: cfg.HostZone, Underlay: underlay}
	}
	keys, err := operatorKey(c, paths{cfg.DataDir}.operator())
	if err != nil {
		return err
	}
	return c.Seed(ctx, region, services, h, keys)
}

// operatorKey reads the operator's key, or makes it at the first start.
func operatorKey(c *control.Control, file string) (vpc.AccessKey, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		k, err := c.NewAccessKey()
		if err != nil {
			return k, err
		}
		b, err := json.MarshalIndent(operatorKeys{k.ID, k.Secret}, "", "  ")
		if err != nil {
			return k, err
		}
		return k, writeFile(file, append(b, '\n'), 0o600)
	}
	if err != nil {
		return vpc.AccessKey{}, fmt.Errorf("read the operator's keys: %w", err)
	}
	var k operatorKeys
	if err := json.Unmarshal(b, &k); err != nil {
		return vpc.AccessKey{}, fmt.Errorf("read the operator's keys in %s: %w", file, err)
	}
	return vpc.AccessKey{ID: k.AccessKey, Secret: k.SecretKey}, nil
}

// writeFile replaces a file at once.
func writeFile(name string, b []byte, mode os.FileMode) error {
	tmp := name + ".new"
	if err := os.WriteFile(tmp, b, mode); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Chmod(tmp, mode); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(tmp, name); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// systemRoots are where distributions keep the trusted certificates.
var systemRoots = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
}

// writeTrust writes our certificate alone, and with the system's roots for
// workloads that speak to others too.
func writeTrust(p paths, ca []byte) error {
	if err := writeFile(p.ca(), ca, 0o644); err != nil {
		return err
	}
	all := ca
	for _, f := range systemRoots {
		if b, err := os.ReadFile(f); err == nil {
			all = append(append(b, '\n'), ca...)
			break
		}
	}
	return writeFile(p.workloadCA(), all, 0o644)
}

// dnsUpstreams completes the configured resolvers, or finds the host's own.
func dnsUpstreams(configured []string) ([]string, error) {
	if len(configured) == 0 {
		rc, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil {
			return nil, nil // a machine without resolvers has none to ask
		}
		configured = rc.Servers
	}
	var out []string
	for _, u := range configured {
		if u == "none" {
			return nil, nil
		}
		if _, _, err := net.SplitHostPort(u); err != nil {
			u = net.JoinHostPort(u, "53")
		}
		if host, _, _ := net.SplitHostPort(u); net.ParseIP(host) == nil {
			return nil, fmt.Errorf("dns upstream %q: want an address, an address and port, or none", u)
		}
		out = append(out, u)
	}
	return out, nil
}

// report takes what a host says.
func report(ctx context.Context, c *control.Control, r hostsync.Report) error {
	var health []control.HealthReport
	for _, h := range r.Health {
		health = append(health, control.HealthReport{
			Host:  r.Host,
			Group: h.Group, Target: h.TargetID, Port: h.TargetPort, Zone: h.Zone,
			Healthy: h.Healthy, Reason: h.Reason, Description: h.Description,
		})
	}
	if len(health) > 0 {
		if err := c.ReportHealth(ctx, health); err != nil {
			return err
		}
	}
	c.Hosts.Report(control.HostStatus{Host: r.Host, Applied: r.Applied, Named: r.Named, Errors: r.Errors, Backends: r.Backends, Seen: c.Now()})
	return nil
}

// awaitHost calls ready when the host holds the state the server started with.
func awaitHost(ctx context.Context, c *control.Control, host vpc.HostID, ready func()) error {
	rev := c.View().Revision()
	for {
		m, ch := c.Hosts.Status()
		if s, ok := m[host]; ok && s.Live && s.Applied >= rev {
			ready()
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return nil
		}
	}
}
