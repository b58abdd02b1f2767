// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/resolver"
	"postern.dev/postern/internal/vpc"
)

// The path program: dnsperf is a workload, and at the host's end of its device
// is the program that answers it. Each server has a device of its own.
const workloadMAC = "02:00:00:00:00:05"

// workload is one of them; its number is no other's.
type workload int

func (w workload) name() string { return fmt.Sprint("workload", int(w)) }

func (w workload) network() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 54, byte(w), 0}), 24)
}

func (w workload) addr() netip.Addr     { return netip.AddrFrom4([4]byte{10, 54, byte(w), 5}) }
func (w workload) resolver() netip.Addr { return netip.AddrFrom4([4]byte{10, 54, byte(w), 2}) }

// plug makes the device between the clients' namespace and the host's.
func (w workload) plug(ctx context.Context) error {
	return ip(ctx,
		fmt.Sprintf("link add %s netns %s address %s type veth peer name %[1]s netns %[4]s", w.name(), clientSpace, workloadMAC, hostSpace),
		fmt.Sprintf("-n %s addr add %s/%d dev %s", clientSpace, w.addr(), w.network().Bits(), w.name()),
		"-n "+clientSpace+" link set "+w.name()+" up", "-n "+hostSpace+" link set "+w.name()+" up")
}

// host is what an agent would be told.
func (w workload) host(v desired.VPC) desired.Host {
	h := desired.Empty()
	v.CIDRs, v.Resolver = []netip.Prefix{w.network()}, w.resolver()
	h.VPCs[v.VNI] = v
	h.RouteTables["rtb-bench"] = desired.RouteTable{Routes: []desired.Route{{Prefix: w.network(), Kind: desired.RouteLocal}}}
	h.Subnets["subnet-bench"] = desired.Subnet{ID: "subnet-bench", VNI: v.VNI, CIDR: w.network(), Router: w.network().Addr().Next(), RouteTable: "rtb-bench"}
	h.Interfaces["eni-bench"] = desired.Interface{ID: "eni-bench", VNI: v.VNI, Subnet: "subnet-bench", Addr: w.addr(), MAC: workloadMAC, Kind: desired.KindWorkload, SourceCheck: true}
	return h
}

// serveProgram is the child: the programs on the workload's device, with an
// answer to every question, until it is told to end. dir is an empty directory.
func serveProgram(dir, names, number string) (err error) {
	n, err := strconv.Atoi(names)
	if err != nil {
		return err
	}
	k, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	w := workload(k)
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		return fmt.Errorf("mount a bpf file system: %w", err)
	}
	dp, err := datapath.Open(datapath.Config{PinDir: filepath.Join(dir, "pins")})
	if err != nil {
		return err
	}
	defer dp.Close()
	d, err := net.InterfaceByName(w.name())
	if err != nil {
		return err
	}
	v := benchVPC(n)
	err = errors.Join(dp.Attach(d.Name, d.Index, datapath.Workload),
		dp.Apply(w.host(v), map[vpc.InterfaceID]datapath.Device{"eni-bench": {Ifindex: d.Index}}, datapath.Doors{}),
		dp.LimitResolver(1e9))
	if err != nil {
		return err
	}
	if err := fillAnswers(dp, v, n); err != nil {
		return err
	}
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return fmt.Errorf("have the kernel take the programs' time: %w", err)
	}
	defer stats.Close()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	return nil
}

// fillAnswers has a resolver asked for every name, which leaves its answers for
// the programs as the edge's does.
func fillAnswers(dp *datapath.Datapath, v desired.VPC, names int) error {
	spaces, answers, err := dp.AnswersFiles()
	if err != nil {
		return err
	}
	// The numbers go over, as those do that a process inherits.
	numbers := [2]int{}
	for i, file := range []*os.File{spaces, answers} {
		if numbers[i], err = unix.Dup(int(file.Fd())); err != nil {
			return err
		}
		file.Close()
	}
	a, err := datapath.OpenAnswers(uintptr(numbers[0]), uintptr(numbers[1]), func(err error) { slog.Error("answers are kept no more", "error", err) })
	if err != nil {
		return err
	}
	defer a.Close()
	view := resolver.Compile(nil, map[vpc.VNI]desired.VPC{v.VNI: v}, nil, slog.Default())
	if err := a.SetSpaces(view.Spaces()); err != nil {
		return err
	}
	kept := 0
	r := resolver.New(resolver.Options{
		Identify: func(remote, local netip.AddrPort, _ int) (resolver.Asker, error) {
			return resolver.Asker{VNI: v.VNI, Client: remote, Server: local, Interface: 1}, nil
		},
		View: func() *resolver.View { return view },
		Keep: func(n resolver.Answer) { a.Keep(datapath.Answer(n)); kept++ },
	})
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- r.ServePacket(pc) }()
	c, err := dns.Dial("udp4", pc.LocalAddr().String())
	if err != nil {
		return err
	}
	for i := range names {
		err := c.WriteMsg(new(dns.Msg).SetQuestion(dns.Fqdn(hostName(i)), dns.TypeA))
		if err == nil {
			_, err = c.ReadMsg()
		}
		if err != nil {
			return fmt.Errorf("ask for name %d: %w", i, err)
		}
	}
	err = errors.Join(c.Close(), r.Shutdown(context.Background()), <-served)
	if err == nil && kept != names {
		err = fmt.Errorf("%d of %d answers are kept", kept, names)
	}
	return err
}

// programSeconds is how long the programs of a process have run, on any CPU.
func programSeconds(pid int) (float64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil || files == nil {
		return 0, fmt.Errorf("process %d has no descriptors: %v", pid, err)
	}
	var ns uint64
	seen := map[string]bool{} // a program may have several descriptors
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // closed meanwhile
		}
		info := map[string]string{}
		for sc := bufio.NewScanner(strings.NewReader(string(b))); sc.Scan(); {
			k, v, _ := strings.Cut(sc.Text(), ":")
			info[k] = strings.TrimSpace(v)
		}
		if t := info["run_time_ns"]; t != "" && !seen[info["prog_id"]] {
			seen[info["prog_id"]] = true
			n, err := strconv.ParseUint(t, 10, 64)
			if err != nil {
				return 0, err
			}
			ns += n
		}
	}
	if len(seen) == 0 {
		return 0, fmt.Errorf("process %d has no programs", pid)
	}
	return float64(ns) / 1e9, nil
}
