// SPDX-License-Identifier: Apache-2.0

// Package doctor says what a host has and lacks for Postern, before anything
// is started.
//
// Words. A check is one thing looked at: its status, what was found, and what
// to do about it. Fail means that what was asked for cannot work; warn, that
// some of it will not or might not.
//
// Promises. It changes nothing that lasts, asks nothing of the internet, and
// every check that is not ok says what to do. What needs kernel calls of
// other packages is given to it as probes, so it imports none of them.
package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
)

// Status of a check.
type Status string

// Statuses, from good to bad.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Check is the result of looking at one thing.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	// Do says what to do; empty when the status is ok.
	Do string `json:"do,omitempty"`
}

// Probe is a check that is made elsewhere.
type Probe struct {
	Name string
	// Works is what is found when Probe returns nil.
	Works string
	Do    string
	// Optional makes a failure a warning.
	Optional bool
	Probe    func() error
}

// TCXProbe, BPFFSProbe and NetnsProbe are the kernel features without which
// there is no datapath; probe tries the feature and undoes what it did.
func TCXProbe(probe func() error) Probe {
	return Probe{Name: "tcx", Works: "programs can be attached", Probe: probe,
		Do: "use a kernel of 6.6 or later with CONFIG_BPF_SYSCALL and CONFIG_NET_XGRESS, and run as root"}
}

// BPFFSProbe: see TCXProbe.
func BPFFSProbe(probe func() error) Probe {
	return Probe{Name: "bpffs", Works: "can be mounted", Probe: probe,
		Do: "run as root (CAP_SYS_ADMIN); in a container, one that may mount"}
}

// NetnsProbe: see TCXProbe.
func NetnsProbe(probe func() error) Probe {
	return Probe{Name: "network namespaces", Works: "can be made", Probe: probe,
		Do: "run as root (CAP_SYS_ADMIN) on a kernel with CONFIG_NET_NS"}
}

// Options say what is going to be run.
type Options struct {
	// APIAddr is the address the API will listen on, "host:port"; "" for none.
	APIAddr string
	// APIRunning says that this installation's own server is running now, so
	// that its address is rightly taken.
	APIRunning bool
	// S3Backend is the program of the S3 backend, a path or a name in PATH; "" for none.
	S3Backend string
	// NoDatapath leaves out everything that only moving packets needs.
	NoDatapath bool
	// Developer adds what is needed to build Postern itself.
	Developer bool
	// Probes are made when there is a datapath.
	Probes []Probe
	// Leftovers lists what other or earlier installations have on this host;
	// nil leaves the check out.
	Leftovers func() ([]string, error)
	// Uplink and Overlay say what this installation's uplink and its way to other
	// hosts are; an error is what is wrong. nil leaves the check out.
	Uplink, Overlay func() (string, error)
	// Host is where to look; the zero value is this machine.
	Host Host
}

// Run makes all checks, in a fixed order. When ctx is done, those that run
// other programs fail.
func Run(ctx context.Context, o Options) []Check {
	h := o.Host.orReal()
	var out []Check
	if !o.NoDatapath {
		if h.OS != "linux" {
			out = append(out, Check{"operating system", Fail, h.OS, "packets are moved on Linux only: use a Linux host or virtual machine, or --datapath=none for the API alone"})
		} else {
			out = append(out, h.kernel(hasTCXProbe(o.Probes)), h.btf(), h.privileges())
			for _, p := range o.Probes {
				out = append(out, p.run())
			}
			out = append(out, h.ipv6(), h.settings())
			if o.Uplink != nil {
				out = append(out, made("uplink", o.Uplink, "internet and NAT gateways lead nowhere"))
			}
			if o.Overlay != nil {
				out = append(out, made("overlay", o.Overlay, "workloads here and on other hosts do not reach each other"))
			}
		}
	}
	if o.APIAddr != "" {
		out = append(out, h.apiAddress(o.APIAddr, o.APIRunning))
	}
	out = append(out, h.files())
	if h.OS == "linux" {
		out = append(out, h.memory())
	}
	if o.S3Backend != "" {
		out = append(out, h.s3Backend(o.S3Backend))
	}
	out = append(out, h.awsCLI(ctx))
	if o.Leftovers != nil {
		out = append(out, leftovers(o.Leftovers))
	}
	if o.Developer {
		out = append(out, h.clang(ctx))
	}
	return out
}

func hasTCXProbe(probes []Probe) bool {
	for _, p := range probes {
		if p.Name == TCXProbe(nil).Name && p.Probe != nil {
			return true
		}
	}
	return false
}

func (p Probe) run() Check {
	if p.Probe == nil {
		return Check{p.Name, Warn, "was not tried", "no probe was given for it: " + p.Do}
	}
	if err := p.Probe(); err != nil {
		s := Fail
		if p.Optional {
			s = Warn
		}
		return Check{p.Name, s, err.Error(), p.Do}
	}
	return Check{p.Name, OK, p.Works, ""}
}

// made looks at something that the agent makes; without it, so much does not work.
func made(name string, look func() (string, error), without string) Check {
	found, err := look()
	if err != nil {
		return Check{name, Warn, err.Error(), without + ": see what postern status says of it; a start of postern serve or postern agent repairs it if it can"}
	}
	return Check{name, OK, found, ""}
}

func leftovers(list func() ([]string, error)) Check {
	const name = "leftovers"
	found, err := list()
	switch {
	case err != nil:
		return Check{name, Warn, err.Error(), "run as root to see all of them"}
	case len(found) == 0:
		return Check{name, OK, "none", ""}
	}
	text := strings.Join(found, ", ")
	if len(found) > 5 {
		text = fmt.Sprintf("%s and %d more", strings.Join(found[:5], ", "), len(found)-5)
	}
	return Check{name, Warn, text, "if no other installation is in use on this host, remove them with postern reset --data-dir DIR, or all of them with postern reset --all"}
}

// ExitCode is 1 if any check failed and 0 otherwise; warnings do not count.
func ExitCode(checks []Check) int {
	for _, c := range checks {
		if c.Status == Fail {
			return 1
		}
	}
	return 0
}

// WriteTable writes checks for people: one line each, and below it what to do.
func WriteTable(w io.Writer, checks []Check) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", c.Status, c.Name, oneLine(c.Found))
		if c.Do != "" {
			fmt.Fprintf(tw, "\t\t-> %s\n", oneLine(c.Do))
		}
	}
	return tw.Flush()
}

// oneLine keeps the output of other programs from breaking the table.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// WriteJSON writes checks for programs: an object with "ok" (no check failed)
// and "checks".
func WriteJSON(w io.Writer, checks []Check) error {
	if checks == nil {
		checks = []Check{}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		OK     bool    `json:"ok"`
		Checks []Check `json:"checks"`
	}{ExitCode(checks) == 0, checks})
}

const realOS = runtime.GOOS
