// SPDX-License-Identifier: Apache-2.0

// Command postern-s3 is the S3 that Postern brings along: objects in a directory of this machine, behind a unix socket or a
// loopback port. `postern serve` starts it as a child and puts its own proxy in front, which evaluates endpoint
// policies; every byte of the S3 protocol comes from the Versity S3 Gateway (github.com/versity/versitygw).
//
// It is a program of its own, and not a package, because the gateway changes the working directory of its process,
// keeps settings in package variables, and brings a large set of dependencies that nothing else here needs.
//
// Words: an account is a 12-digit id that owns buckets; an access key acts for one account, and all keys of an account
// see the same buckets. Promises: only keys in the accounts file are known, nobody has the gateway's root key, one
// ready line and nothing else goes to stdout, and the process ends with its parent when asked to (--lifeline).
package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
	"golang.org/x/sys/unix"
)

// version is set by the release build with -ldflags "-X main.version=…".
var version = "dev"

// Limits of the gateway: more connections are closed, more requests at a time are answered with SlowDown.
const (
	maxConnections = 16384
	maxRequests    = 4096
)

const usage = `postern-s3 serves S3 from a directory. postern serve starts it; by hand it is useful to try things.

Usage:
  postern-s3 --dir DIR --accounts FILE [--listen WHERE] [--questions unix:PATH] [--region REGION] [--domain NAME]...

  --dir DIR         where buckets and objects live; made with mode 0700 if missing
  --accounts FILE   who may call. JSON, looked at on every request: replace it (rename over it) to add or revoke keys
                      {"accounts":[{"access":"AKIA...","secret":"...","account":"111122223333","role":"user"}]}
                    "token" may be added for temporary credentials: the session token the key must come with
  --listen WHERE    unix:PATH, or a loopback ADDRESS:PORT (port 0: any free one); default 127.0.0.1:0
  --questions unix:PATH
                    a second socket, for a proxy alone: it asks there which tags an object has and whose a bucket is,
                    when a policy wants to know
  --region REGION   the region requests must be signed for; default us-east-1
  --domain NAME     host name with buckets as subdomains (virtual-hosted style), such as s3.us-east-1.amazonaws.com.
                    May be repeated; a label may be *, as in bucket.*.s3.us-east-1.vpce.amazonaws.com.
                    Requests to any other host are path style.
  --metadata KIND   auto (default), xattr or sidecar: keep object metadata in extended attributes, or in files beside
  --group-socket    let the process's group use the unix sockets too (mode 0660 instead of 0600)
  --lifeline        stop when stdin reaches its end, so that the process does not outlive the one that started it
  --version, --help

When it is ready it prints one line, {"ready":true,"listen":"unix:PATH or ADDRESS:PORT"}. It logs JSON lines to stderr.
SIGTERM stops it after the requests under way, a second one at once.

Example:
  postern-s3 --dir /var/lib/postern/s3 --accounts /var/lib/postern/s3-accounts.json \
    --listen unix:/run/postern/s3.sock --domain s3.us-east-1.amazonaws.com --domain s3.amazonaws.com
`

type options struct {
	dir, accounts, listen, questions, region, metadata string
	domains                                            domains
	lifeline, groupSocket                              bool
}

func main() {
	// The gateway writes notices to stdout, where our parent reads the ready line.
	stdout := os.Stdout
	os.Stdout = os.Stderr
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	opts, err := parseFlags(os.Args[1:], stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "postern-s3: %v\n", err)
		os.Exit(2)
	}
	if err := run(opts, stdout); err != nil {
		slog.Error("stopped", "error", err.Error())
		os.Exit(1)
	}
}

// parseFlags reads the command line; flag.ErrHelp means it has answered already.
func parseFlags(args []string, stdout io.Writer) (options, error) {
	var o options
	var names []string
	var showVersion bool
	fs := flag.NewFlagSet("postern-s3", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.dir, "dir", "", "")
	fs.StringVar(&o.accounts, "accounts", "", "")
	fs.StringVar(&o.listen, "listen", "127.0.0.1:0", "")
	fs.StringVar(&o.questions, "questions", "", "")
	fs.StringVar(&o.region, "region", "us-east-1", "")
	fs.StringVar(&o.metadata, "metadata", "auto", "")
	fs.BoolVar(&o.lifeline, "lifeline", false, "")
	fs.BoolVar(&o.groupSocket, "group-socket", false, "")
	fs.BoolVar(&showVersion, "version", false, "")
	fs.Func("domain", "", func(s string) error { names = append(names, s); return nil })
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return o, err
	case err != nil:
		return o, fmt.Errorf("%w (see --help)", err)
	case showVersion:
		fmt.Fprintf(stdout, "postern-s3 %s (versitygw %s, %s)\n", version, gatewayVersion(), runtime.Version())
		return o, flag.ErrHelp
	case fs.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q (see --help)", fs.Arg(0))
	case o.dir == "" || o.accounts == "":
		return o, errors.New("--dir and --accounts are needed (see --help)")
	case o.region == "":
		return o, errors.New("--region must not be empty")
	case o.metadata != "auto" && o.metadata != "xattr" && o.metadata != "sidecar":
		return o, fmt.Errorf("--metadata %q: write auto, xattr or sidecar", o.metadata)
	}
	if o.domains, err = parseDomains(names); err != nil {
		return o, err
	}
	// The storage changes the working directory, so no path may depend on it.
	for _, p := range []*string{&o.dir, &o.accounts} {
		if *p, err = filepath.Abs(*p); err != nil {
			return o, err
		}
	}
	if o.listen, err = checkListen(o.listen); err != nil || o.questions == "" {
		return o, err
	}
	if !strings.HasPrefix(o.questions, "unix:") {
		return o, fmt.Errorf("--questions %q: write unix:PATH; whoever may ask may know everybody's tags", o.questions)
	}
	if o.questions, err = checkListen(o.questions); err == nil && o.questions == o.listen {
		err = errors.New("--questions: write another socket than --listen's, which is for clients")
	}
	return o, err
}

// checkListen turns --listen into the gateway's form: an absolute socket path, or a loopback address with a port.
func checkListen(listen string) (string, error) {
	path, isUnix := strings.CutPrefix(listen, "unix:")
	if !isUnix {
		addr, err := netip.ParseAddrPort(listen)
		if err != nil || !addr.Addr().IsLoopback() {
			return "", fmt.Errorf("--listen %q: write unix:PATH or a loopback ADDRESS:PORT; this is plain HTTP for a proxy on the same machine", listen)
		}
		return addr.String(), nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if len(path) > 107 || strings.Contains(path, ":") {
		return "", fmt.Errorf("--listen unix:%s: a socket path has at most 107 bytes and no colon here; choose another", path)
	}
	return path, nil
}

func gatewayVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/versity/versitygw" {
				return dep.Version
			}
		}
	}
	return "unknown"
}

// run serves until a signal, the end of stdin (with lifeline) or a failure.
func run(o options, stdout io.Writer) error {
	stop := make(chan string, 4)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		stop <- (<-signals).String()
		<-signals
		os.Exit(1)
	}()
	if o.lifeline {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			stop <- "stdin ended"
		}()
	}
	unix.Umask(0o077) // also for the socket, between bind and its own mode
	iam, err := newFileIAM(o.accounts)
	if err != nil {
		return err
	}
	be, kind, err := openStorage(o.dir, o.metadata)
	if err != nil {
		return err
	}
	defer be.Shutdown()
	iam.bucketACL = be.GetBucketAcl

	ready := make(chan struct{})
	keeper := &policyKeeper{Backend: be, trusted: strings.HasPrefix(o.listen, "/")}
	server, err := newServer(keeper, iam, o.region, o.domains, o.groupSocket, s3api.WithOnListen(func() { close(ready) }))
	if err != nil {
		return err
	}
	served := make(chan error, 2)
	if o.questions != "" {
		stop, err := serveQuestions(&questions{be, iam.owner}, o.questions, o.groupSocket, served)
		if err != nil {
			return err
		}
		defer stop()
	}
	go func() { served <- server.ServeMultiPort([]string{o.listen}) }()
	select {
	case err := <-served:
		return fmt.Errorf("listen on %s: %w", o.listen, err)
	case <-ready:
	}
	address, err := listening(o.listen)
	if err != nil {
		return err
	}
	line, err := json.Marshal(struct {
		Ready  bool   `json:"ready"`
		Listen string `json:"listen"`
	}{true, address})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "%s\n", line); err != nil {
		return fmt.Errorf("print ready line: %w", err)
	}
	slog.Info("ready", "listen", address, "dir", o.dir, "metadata", kind, "version", version)

	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", address, err)
	case why := <-stop:
		slog.Info("stopping", "reason", why)
	}
	if err := server.ShutDown(); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

// newServer makes the gateway on a storage.
func newServer(be *policyKeeper, iam auth.IAMService, region string, ds domains, groupSocket bool, more ...s3api.Option) (*s3api.S3ApiServer, error) {
	// The gateway wants a root account, which may do everything. Nobody is told these.
	root := middlewares.RootUserConfig{Access: "root-" + rand.Text(), Secret: rand.Text() + rand.Text()}
	socketPerm := os.FileMode(0o600)
	if groupSocket {
		socketPerm = 0o660
	}
	server, err := s3api.New(be, root, region, iam, nil, nil, nil, nil, append([]s3api.Option{
		s3api.WithQuiet(),
		s3api.WithKeepAlive(),
		s3api.WithConcurrencyLimiter(maxConnections, maxRequests),
		s3api.WithSocketPerm(socketPerm),
		s3api.WithMiddleware("/", drain),
		s3api.WithMiddleware("/", ds.route),
		s3api.WithMiddleware("/", be.middleware),
	}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("set up gateway: %w", err)
	}
	return server, nil
}

// listening returns where the gateway listens, in the form of --listen. The gateway does not say which port it got
// for port 0, but it is the only listening TCP socket of this process on that address.
func listening(asked string) (string, error) {
	if strings.HasPrefix(asked, "/") {
		return "unix:" + asked, nil
	}
	want := netip.MustParseAddrPort(asked) // checkListen made it
	if want.Port() != 0 {
		return asked, nil
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return "", fmt.Errorf("find the chosen port: %w", err)
	}
	for _, entry := range fds {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
			continue
		}
		sa, err := unix.Getsockname(fd)
		if err != nil {
			continue
		}
		var got netip.AddrPort
		switch a := sa.(type) {
		case *unix.SockaddrInet4:
			got = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
		case *unix.SockaddrInet6:
			got = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
		}
		if got.Addr() == want.Addr() {
			return got.String(), nil
		}
	}
	return "", fmt.Errorf("find the chosen port: %w", net.ErrClosed)
}
