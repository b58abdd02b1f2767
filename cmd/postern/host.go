// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/hostsync"
	"postern.dev/postern/internal/vpc"
)

func newHostCommand(o *options) *cobra.Command {
	return groupCommand(&cobra.Command{
		Use:   "host",
		Short: "add and remove machines that run workloads",
		Long: `The machine that 'postern serve' runs on is a host by itself. Others join it:
each is added here by its name, zone and address among hosts, and becomes a host
with the token that this prints. The server must be started with --hosts-listen.

Instances go to the hosts of their subnet's zone. Packets between hosts go from
underlay address to underlay address, as VXLAN, which is not encrypted: those
addresses must be the hosts' own. See "Several hosts" in docs/operations.md.`,
		Example: `  postern host add host-b --zone us-east-1b --underlay 192.0.2.2
  postern host list`,
	}, newHostAddCommand(o), newHostTokenCommand(o), newHostListCommand(o), newHostRemoveCommand(o))
}

func newHostAddCommand(o *options) *cobra.Command {
	var zone, underlay string
	c := &cobra.Command{
		Use:   "add NAME [--zone ZONE] [--underlay ADDRESS]",
		Short: "add a host and print how its machine joins",
		Long: `Add a host and print the command that makes a machine it. The token in there is
good once and for an hour; 'postern host token' makes another one.

Without --zone the host is for zones that have no host of their own. Without
--underlay its workloads exchange packets with each other only.`,
		Example: `  postern host add host-b --zone us-east-1b --underlay 192.0.2.2
  postern host add host-b --zone us-east-1b --underlay 192.0.2.2 --json | jq -r .token`,
		Args: wantArgs(1, "the NAME of the host"),
		RunE: func(c *cobra.Command, args []string) error {
			in := admin.NewHost{ID: vpc.HostID(args[0]), Zone: zone}
			if underlay != "" {
				a, err := netip.ParseAddr(underlay)
				if err != nil {
					return usageError("--underlay %q: want an IPv4 address", underlay)
				}
				in.Underlay = a
			}
			cl := newClient(o)
			defer cl.Close()
			j, err := cl.AddHost(c.Context(), in)
			if err != nil {
				return serverError(o, err)
			}
			return printJoining(c.Context(), o, cl, j, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&zone, "zone", "", "availability zone it is in")
	c.Flags().StringVar(&underlay, "underlay", "", "its IPv4 address among hosts")
	return c
}

func newHostTokenCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "token NAME",
		Short: "print again how a host's machine joins",
		Long: `Make a new token for a host: the first one was lost or too late, or another
machine takes its place. The machine that is the host stays it until then.`,
		Example: `  postern host token host-b`,
		Args:    wantArgs(1, "the NAME of the host"),
		RunE: func(c *cobra.Command, args []string) error {
			cl := newClient(o)
			defer cl.Close()
			j, err := cl.NewHostToken(c.Context(), vpc.HostID(args[0]))
			if err != nil {
				return serverError(o, err)
			}
			return printJoining(c.Context(), o, cl, j, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
}

// joiningAnswer is what --json prints.
type joiningAnswer struct {
	Host   vpc.HostID `json:"host"`
	Server string     `json:"server,omitempty"` // "" when no host can join
	Token  string     `json:"token"`
	Before time.Time  `json:"before"`
}

// printJoining prints how a machine becomes a host.
func printJoining(ctx context.Context, o *options, cl *admin.Client, j admin.Joining, out, errOut io.Writer) error {
	info, err := cl.Info(ctx)
	if err != nil {
		return serverError(o, err)
	}
	a := joiningAnswer{
		Host: j.Host, Server: joinURL(info.HostsListen), Before: j.Before,
		Token: hostsync.Token{Host: j.Host, Secret: j.Secret, CA: info.Fingerprint}.String(),
	}
	if a.Server == "" {
		fmt.Fprintln(errOut, "note: no host can join yet: start the server with --hosts-listen ADDRESS:PORT")
	}
	if o.json {
		return printJSON(out, a)
	}
	if a.Server == "" {
		a.Server = "https://SERVER:PORT"
	}
	fmt.Fprintf(errOut, "run this on the machine within an hour; the token is good once:\n\n")
	fmt.Fprintf(out, "sudo postern agent --join %s --token %s\n", a.Server, a.Token)
	return nil
}

// joinURL is the URL of a listening address; where that is every address, the
// reader has to say which.
func joinURL(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "SERVER"
	}
	return "https://" + net.JoinHostPort(host, port)
}

func newHostListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list the hosts",
		Long: `List the hosts with their zones, their addresses among hosts, how many network
interfaces are attached there, and whether they are connected.`,
		Example: `  postern host list
  postern host list --json`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return runHostList(c.Context(), o, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
}

func runHostList(ctx context.Context, o *options, out, errOut io.Writer) error {
	cl := newClient(o)
	defer cl.Close()
	list, err := cl.Hosts(ctx)
	if err != nil {
		return serverError(o, err)
	}
	if o.json {
		return printJSON(out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(errOut, "there are no hosts")
		return nil
	}
	t := newTable("HOST", "ZONE", "UNDERLAY", "INTERFACES", "STATE")
	for _, h := range list {
		zone, underlay := h.Zone, "none"
		if zone == "" {
			zone = "every"
		}
		if h.Underlay.IsValid() {
			underlay = h.Underlay.String()
		}
		t.row(string(h.ID), zone, underlay, strconv.Itoa(h.Interfaces), hostState(h))
	}
	return t.write(out)
}

func hostState(h admin.Host) string {
	switch {
	case h.Live:
		return "live"
	case !h.Joined:
		return "not joined"
	}
	return "not connected"
}

func newHostRemoveCommand(o *options) *cobra.Command {
	var gone bool
	c := &cobra.Command{
		Use:   "remove NAME",
		Short: "remove a host",
		Long: `Remove a host: its machine is not let in any longer. That is refused while
network interfaces are attached to something there. With --gone the machine will
not come back: what ran there can then only be terminated or detached.

Nothing changes on the machine itself: 'postern reset' there removes devices and
namespaces.`,
		Example: `  postern host remove host-b
  postern host remove host-b --gone`,
		Args: wantArgs(1, "the NAME of the host"),
		RunE: func(c *cobra.Command, args []string) error {
			cl := newClient(o)
			defer cl.Close()
			return serverError(o, cl.RemoveHost(c.Context(), vpc.HostID(args[0]), gone))
		},
	}
	c.Flags().BoolVar(&gone, "gone", false, "the machine is gone with what ran on it")
	return c
}
