// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/vpc"
)

func newAttachCommand(o *options) *cobra.Command {
	var eni, host string
	var w vpc.ExternalWorkload
	c := &cobra.Command{
		Use:   "attach --eni ENI (--netns NETNS | --pid PID | --ifname DEVICE) [--host HOST]",
		Short: "put a container, namespace or VM behind a network interface",
		Long: `Put something that already exists on this host behind a network interface, so
that it is in the VPC with the interface's address and security groups.

  --netns   a network namespace: a path, or a name as 'ip netns list' shows it
  --pid     the network namespace of a process, such as a container's
  --ifname  a host-side device: the tap of a virtual machine, or one end of a
            veth pair. Nothing is configured behind it: give the workload the
            interface's MAC address, address and default route yourself.

In a namespace an Ethernet device with address and default route is made.

With --host it is something on another host, by its name or number there.`,
		Example: `  eni=$(aws ec2 create-network-interface --subnet-id "$subnet" --query NetworkInterface.NetworkInterfaceId --output text)
  postern attach --eni "$eni" --pid "$(docker inspect -f '{{.State.Pid}}' web)"
  postern attach --eni "$eni" --netns blue
  postern attach --eni "$eni" --ifname tap0
  postern attach --eni "$eni" --netns blue --host host-b`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if eni == "" {
				return usageError("name the network interface with --eni")
			}
			given := 0
			for _, name := range []string{"netns", "pid", "ifname"} {
				if c.Flags().Changed(name) {
					given++
				}
			}
			if given != 1 {
				return usageError("say what to attach with exactly one of --netns, --pid and --ifname")
			}
			return runAttach(c.Context(), o, admin.Attachment{Interface: vpc.InterfaceID(eni), Workload: w, Host: vpc.HostID(host)}, c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&eni, "eni", "", "id of the network interface (eni-...)")
	c.Flags().StringVar(&w.Netns, "netns", "", "path or name of a network namespace")
	c.Flags().IntVar(&w.PID, "pid", 0, "process whose network namespace is meant")
	c.Flags().StringVar(&w.Ifname, "ifname", "", "veth or tap on this host")
	c.Flags().StringVar(&host, "host", "", "host it is on (default: this one)")
	return c
}

func runAttach(ctx context.Context, o *options, a admin.Attachment, errOut io.Writer) error {
	eni := a.Interface
	if a.Host != "" {
		// Only that host can tell whether it exists; it says so below.
		if a.Workload.Netns != "" && !strings.Contains(a.Workload.Netns, "/") {
			a.Workload.Netns = filepath.Join(netnsDir, a.Workload.Netns)
		}
	} else {
		w, err := findWorkload(a.Workload)
		if err != nil {
			return err
		}
		a.Workload = w
	}
	cl := newClient(o)
	defer cl.Close()
	if err := cl.Attach(ctx, a); err != nil {
		return serverError(o, err)
	}
	// The host has tried by now, so what it says belongs to this call.
	s, err := cl.Status(ctx)
	if err != nil {
		return serverError(o, err)
	}
	for _, h := range s.Hosts {
		if why := h.Errors[string(eni)]; why != "" {
			return fmt.Errorf("%s is attached, but host %s cannot carry its packets: %s\nIt goes on trying; 'postern detach --eni %s' gives up", eni, h.ID, printable(why), eni)
		}
	}
	fmt.Fprintf(errOut, "%s is attached\n", eni)
	return nil
}

// netnsDir is where iproute2 keeps named network namespaces.
const netnsDir = "/run/netns"

// findWorkload looks that the workload exists on this host and completes how
// it is named.
func findWorkload(w vpc.ExternalWorkload) (vpc.ExternalWorkload, error) {
	switch {
	case w.Ifname != "":
		if _, err := net.InterfaceByName(w.Ifname); err != nil {
			return w, fmt.Errorf("device %q: %w", w.Ifname, err)
		}
	case w.Netns != "":
		if !strings.Contains(w.Netns, "/") {
			w.Netns = filepath.Join(netnsDir, w.Netns)
		}
		abs, err := filepath.Abs(w.Netns)
		if err != nil {
			return w, fmt.Errorf("network namespace %q: %w", w.Netns, err)
		}
		w.Netns = abs
		if _, err := os.Stat(abs); err != nil {
			return w, fmt.Errorf("network namespace: %w", err)
		}
	default:
		if w.PID < 1 {
			return w, usageError("process %d: want the number of a running process", w.PID)
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", w.PID)); err != nil {
			return w, fmt.Errorf("process %d is not running", w.PID)
		}
	}
	return w, nil
}

func newDetachCommand(o *options) *cobra.Command {
	var eni string
	c := &cobra.Command{
		Use:   "detach --eni ENI",
		Short: "undo attach",
		Long: `Take a network interface away from what 'postern attach' put behind it. The
device made in a namespace is removed; a device of your own is let go as it was.`,
		Example: `  postern detach --eni eni-0123456789abcdef0`,
		Args:    wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if eni == "" {
				return usageError("name the network interface with --eni")
			}
			cl := newClient(o)
			defer cl.Close()
			return serverError(o, cl.Detach(c.Context(), vpc.InterfaceID(eni)))
		},
	}
	c.Flags().StringVar(&eni, "eni", "", "id of the network interface (eni-...)")
	return c
}
