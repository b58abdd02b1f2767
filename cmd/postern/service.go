// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/catalogue"
)

func newServiceCommand(o *options) *cobra.Command {
	return groupCommand(&cobra.Command{
		Use:   "service",
		Short: "the catalogue: services that everybody may make endpoints to",
		Long: `The catalogue is what stands for the services that AWS runs itself, such as S3:
com.amazonaws.REGION.NAME in DescribeVpcEndpointServices, with names, addresses
and backends of your own.

Entries come from the server's configuration, or are added and removed while it
runs. docs/operations.md describes an entry, examples/services has some.`,
		Example: `  postern service list
  postern service add examples/services/dynamodb.yaml
  postern service add --name ec2 --backend self
  postern service remove dynamodb`,
	}, newServiceAddCommand(o), newServiceListCommand(o), newServiceRemoveCommand(o))
}

func newServiceAddCommand(o *options) *cobra.Command {
	var replace, noPolicy bool
	var e catalogue.Entry
	var health catalogue.HealthCheck
	c := &cobra.Command{
		Use:   "add [FILE]",
		Short: "add entries to the catalogue",
		Long: `Add the entries of a YAML file, in the form that the configuration of the server
has them under "services:", or one entry given by flags. All are added or none;
what is wrong is told with file and line.

Names, prefix lists and the edge know of them when the command returns. They stay
until they are removed, over restarts too. With --replace an entry takes the place
of the one of its name that was added before.

What an entry leaves out has defaults: a name that is a protocol is its protocol,
names are those that AWS's clients use, and endpoints are interface endpoints.`,
		Example: `  postern service add examples/services/dynamodb.yaml
  postern service add --name sqs --backends http://192.0.2.80:9324,http://192.0.2.81:9324
  postern service add --name ec2 --backend self --replace`,
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usageError("%s takes only one FILE, but got %q too", c.CommandPath(), args[1])
			case len(args) == 0 && e.Name == "":
				return usageError("give a FILE of entries, or --name and --backend\nRun '%s --help' for examples.", c.CommandPath())
			case len(args) == 1:
				for _, f := range entryFlags {
					if c.Flags().Changed(f) {
						return usageError("--%s is for an entry without a FILE", f)
					}
				}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			in := &Config{Services: []catalogue.Entry{e}}
			if len(args) == 1 {
				var err error
				if in, err = readServicesFile(args[0]); err != nil {
					return err
				}
			} else {
				one := &in.Services[0]
				if health.Path != "" {
					one.HealthCheck = &health
				}
				if noPolicy {
					one.PolicySupported = new(bool)
				}
			}
			return runServiceAdd(c.Context(), o, in, replace, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.BoolVar(&replace, "replace", false, "let entries take the place of those of their names")
	f.StringVar(&e.Name, "name", "", "short name of the service")
	f.StringSliceVar(&e.Types, "types", nil, "Gateway, Interface or both")
	f.StringVar(&e.Protocol, "protocol", "", "how requests are read (default: the name)")
	f.StringSliceVar(&e.Prefixes, "prefixes", nil, "public IPv4 blocks, for gateway endpoints")
	f.StringSliceVar(&e.Addresses, "addresses", nil, "addresses in them that the public names resolve to")
	f.StringSliceVar(&e.PublicNames, "public-names", nil, "names that clients use")
	f.StringSliceVar(&e.PrivateNames, "private-names", nil, "private DNS names of interface endpoints")
	f.StringVar(&e.Backend, "backend", "", "URL that requests go to, or self for Postern's own API")
	f.StringSliceVar(&e.Backends, "backends", nil, "several URLs")
	f.StringVar(&health.Path, "health-path", "", "path that a healthy backend answers with 200 to 399")
	f.BoolVar(&noPolicy, "no-policies", false, "endpoints to it cannot have policies")
	return c
}

// entryFlags are the flags of `service add` that make an entry.
var entryFlags = []string{"name", "types", "protocol", "prefixes", "addresses", "public-names", "private-names", "backend", "backends", "health-path", "no-policies"}

func runServiceAdd(ctx context.Context, o *options, in *Config, replace bool, out io.Writer) error {
	cl := newClient(o)
	defer cl.Close()
	made, err := cl.AddServices(ctx, admin.NewServices{Services: in.Services, Replace: replace})
	if err != nil {
		return serverError(o, in.located(err))
	}
	return printServices(o, made, out)
}

func newServiceListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list the catalogue",
		Long: `List the services of the catalogue with their backends and, where those are
checked, how many hosts' edges find each healthy. FROM says whether an entry is of
the server's configuration, or was added with 'postern service add'.`,
		Example: `  postern service list
  postern service list --json`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			cl := newClient(o)
			defer cl.Close()
			list, err := cl.Services(c.Context())
			if err != nil {
				return serverError(o, err)
			}
			return printServices(o, list, c.OutOrStdout())
		},
	}
}

func newServiceRemoveCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "take an added service out of the catalogue",
		Long: `Take out of the catalogue what 'postern service add' added. That is refused while
there are endpoints to it or security group rules with its prefix lists, which are
named. An entry of the server's configuration is removed there.`,
		Example: `  postern service remove dynamodb`,
		Args:    wantArgs(1, "the NAME of the service"),
		RunE: func(c *cobra.Command, args []string) error {
			cl := newClient(o)
			defer cl.Close()
			return serverError(o, cl.RemoveService(c.Context(), args[0]))
		},
	}
}

func printServices(o *options, list []admin.Service, out io.Writer) error {
	if o.json {
		return printJSON(out, list)
	}
	t := newTable("NAME", "SERVICE", "TYPES", "PROTOCOL", "PREFIXES", "NAMES", "BACKENDS", "POLICIES", "FROM")
	for _, s := range list {
		names := s.PublicNames
		if len(names) == 0 {
			names = s.PrivateNames
		}
		policies := "no"
		if s.PolicySupported {
			policies = "yes"
		}
		t.row(s.Name, s.ServiceName, joined(s.Types), s.Protocol, joined(prefixTexts(s.Prefixes)), shortened(names), backendTexts(s.Backends), policies, s.From)
	}
	return t.write(out)
}

func joined[T ~string](list []T) string {
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return strings.Join(out, ",")
}

func prefixTexts(list []netip.Prefix) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return out
}

// shortened is the first of some names, and how many there are beside.
func shortened(names []string) string {
	switch len(names) {
	case 0:
		return ""
	case 1:
		return names[0]
	}
	return fmt.Sprintf("%s +%d", names[0], len(names)-1)
}

// backendTexts are the backends with the health that is known of them:
// http://192.0.2.80:9324 (healthy), or (1 of 2 hosts) where hosts differ.
func backendTexts(list []admin.ServiceBackend) string {
	if len(list) == 0 {
		return "included"
	}
	var out []string
	for _, b := range list {
		text, healthy := b.URL, 0
		states := slices.Compact(slices.Sorted(maps.Values(b.Hosts)))
		for _, s := range b.Hosts {
			if s == "healthy" {
				healthy++
			}
		}
		switch len(states) {
		case 0:
		case 1:
			text += " (" + states[0] + ")"
		default:
			text += fmt.Sprintf(" (healthy on %d of %d hosts)", healthy, len(b.Hosts))
		}
		out = append(out, text)
	}
	return strings.Join(out, ",")
}
