// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/resolver"
	"postern.dev/postern/internal/vpc"
)

// zoneName is the zone in which all names are.
const zoneName = "bench.example"

func hostName(i int) string { return fmt.Sprintf("host-%d.%s", i, zoneName) }

func hostAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// firstPort is the first server's; each has the next.
const firstPort = 5301

// server is a running one.
type server struct {
	path  string
	names int
	addr  netip.AddrPort
	cmd   *exec.Cmd
}

// seconds is the CPU time it has used: user and system, or the programs'.
func (s *server) seconds() (float64, error) {
	if s.path == "program" {
		return programSeconds(s.cmd.Process.Pid)
	}
	return cpuSeconds(s.cmd.Process.Pid)
}

// start starts a server with so many names and waits until it answers for the last.
func (l *lab) start(ctx context.Context, p parameters, path string, names, port int) (*server, error) {
	dir := filepath.Join(l.dir, fmt.Sprintf("%s-%d", path, names))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	var program string
	var args []string
	var err error
	ns, addr := serverSpace, netip.AddrPortFrom(serverAddr, uint16(port))
	switch path {
	case "program":
		w := workload(port - firstPort)
		ns, addr = hostSpace, netip.AddrPortFrom(w.resolver(), 53)
		program, args = l.self, []string{"program", dir, strconv.Itoa(names), strconv.Itoa(int(w))}
		err = w.plug(ctx)
	case "postern", "again":
		program, args = l.self, []string{"serve", addr.String(), strconv.Itoa(names)}
	case "coredns":
		program = p.coredns
		args, err = corednsFiles(dir, names, port)
	case "unbound":
		program = "unbound"
		args, err = unboundFiles(dir, names, port)
	}
	if err != nil {
		return nil, err
	}
	s := &server{path: path, names: names, addr: addr, cmd: l.command(ctx, ns, l.cpus[0], program, args...)}
	log, err := os.Create(dir + ".log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	l.undo(func() error {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		return nil
	})
	last := names - 1
	out, err := l.command(ctx, clientSpace, l.cpus[0], l.self,
		"ask", addr.String(), hostName(last), hostAddr(last).String()).CombinedOutput()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%s with %d names does not answer: %s\n%.600s", path, names, out, said)
	}
	return s, nil
}

// corednsFiles writes a zone file and what says to serve it.
func corednsFiles(dir string, names, port int) ([]string, error) {
	zone := filepath.Join(dir, "zone")
	err := writeLines(zone, func(line func(string, ...any)) {
		line("$ORIGIN %s.", zoneName)
		line("@ 60 IN SOA ns hostmaster 1 7200 900 1209600 60")
		line("@ 60 IN NS ns")
		line("ns 60 IN A 10.255.255.255")
		for i := range names {
			line("host-%d 60 IN A %s", i, hostAddr(i))
		}
	})
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "Corefile")
	return []string{"-conf", conf}, writeLines(conf, func(line func(string, ...any)) {
		line("%s:%d {\nbind %s\nminimal\nfile %s {\nreload 0\n}\n}", zoneName, port, serverAddr, zone)
	})
}

func unboundFiles(dir string, names, port int) ([]string, error) {
	conf := filepath.Join(dir, "unbound.conf")
	return []string{"-d", "-p", "-c", conf}, writeLines(conf, func(line func(string, ...any)) {
		line("server:\n interface: %s@%d\n access-control: %s allow", serverAddr, port, network)
		line(" num-threads: 1\n username: \"\"\n chroot: \"\"\n directory: \"%s\"\n use-syslog: no\n do-daemonize: no\n module-config: \"iterator\"", dir)
		line(" local-zone: \"%s.\" static", zoneName)
		line(" local-data: \"%s. 60 IN SOA ns.%[1]s. hostmaster.%[1]s. 1 7200 900 1209600 60\"", zoneName)
		for i := range names {
			line(" local-data: \"%s. 60 IN A %s\"", hostName(i), hostAddr(i))
		}
		line("remote-control:\n control-enable: no")
	})
}

// queryFile is what dnsperf asks: all names, shuffled.
func queryFile(file string, names int) error {
	return writeLines(file, func(line func(string, ...any)) {
		for _, i := range rand.New(rand.NewPCG(uint64(names), 1)).Perm(names) {
			line("%s A", hostName(i))
		}
	})
}

func writeLines(file string, write func(line func(string, ...any))) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(f)
	write(func(format string, args ...any) { fmt.Fprintf(b, format+"\n", args...) })
	return errors.Join(b.Flush(), f.Close())
}

func benchVPC(names int) desired.VPC {
	v := desired.VPC{ID: "vpc-bench", VNI: 0x1001, DNS: true, PrivateZones: []string{zoneName}}
	for i := range names {
		v.Records = append(v.Records, desired.Record{Name: hostName(i), TTL: 60, Addrs: []netip.Addr{hostAddr(i)}})
	}
	return v
}

// serve is the child: the resolver with one VPC, until it is killed.
func serve(address, names string) error {
	n, err := strconv.Atoi(names)
	if err != nil {
		return err
	}
	v := benchVPC(n)
	vni := v.VNI
	view := resolver.Compile(nil, map[vpc.VNI]desired.VPC{vni: v}, nil, slog.Default())
	r := resolver.New(resolver.Options{
		Identify: func(remote, local netip.AddrPort, _ int) (resolver.Asker, error) {
			return resolver.Asker{VNI: vni, Client: remote, Server: local, Interface: 1}, nil
		},
		View: func() *resolver.View { return view },
		Rate: func() int { return 1 << 30 },
	})
	// As many sockets as the process has CPUs, as the agent has.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}), err)
	}}
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		c, err := lc.ListenPacket(context.Background(), "udp4", address)
		if err != nil {
			return err
		}
		wg.Go(func() {
			if err := r.ServePacket(c); err != nil {
				fmt.Fprintln(os.Stderr, "bench dns:", err)
				os.Exit(1)
			}
		})
	}
	wg.Wait()
	return nil
}

// ask asks until it has the right answer; the deadline is for servers that load
// for long.
func ask(address, name, want string) error {
	deadline := time.Now().Add(time.Minute)
	for {
		m, err := dns.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), address)
		if err == nil && m.Rcode == dns.RcodeSuccess && len(m.Answer) == 1 {
			if a, ok := m.Answer[0].(*dns.A); ok && a.A.String() == want {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("asked for %s, want %s: %w\n%v", name, want, err, m)
		}
		time.Sleep(50 * time.Millisecond) // sleep: until the next try; the loop waits for an answer
	}
}

// findCoreDNS is the program given, or the module's of that version, which is
// built once.
func findCoreDNS(ctx context.Context, program, version string) (string, error) {
	if program != "" {
		return filepath.Abs(program)
	}
	dir, err := filepath.Abs(filepath.Join("bin", "tools", "coredns-"+version))
	if err != nil {
		return "", err
	}
	program = filepath.Join(dir, "coredns")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	cmd := exec.CommandContext(ctx, "go", "install", "github.com/coredns/coredns@"+version)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build CoreDNS %s: %w: %s", version, err, strings.TrimSpace(string(out)))
	}
	return program, nil
}
