// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/api/admin"
)

func newDomainCommand(o *options) *cobra.Command {
	return groupCommand(&cobra.Command{
		Use:   "domain",
		Short: "vouch for the DNS domains of accounts",
		Long: `A service's private DNS name needs proof that its owner holds the domain. As in
AWS that is a TXT record, which the server looks for at the dnsUpstreams of its
configuration. Where there is no public DNS, or no wish to use it, the operator
vouches for the domain instead.

A domain covers itself and all names below it, for one account. Names of the
account's services that wait for their record are verified at once.`,
		Example: `  postern domain verify example.com --account provider`,
	}, newDomainVerifyCommand(o), newDomainUnverifyCommand(o), newDomainListCommand(o))
}

func newDomainVerifyCommand(o *options) *cobra.Command {
	var account string
	c := &cobra.Command{
		Use:     "verify DOMAIN --account NAME",
		Short:   "vouch for a domain",
		Long:    "Let an account use a domain, and the names below it, as private DNS names of its services.",
		Example: `  postern domain verify example.com --account provider`,
		Args:    wantArgs(1, "the DOMAIN"),
		RunE: func(c *cobra.Command, args []string) error {
			if account == "" {
				return usageError("say whose domain it is with --account NAME")
			}
			cl := newClient(o)
			defer cl.Close()
			if err := cl.VerifyDomain(c.Context(), admin.Domain{Account: account, Domain: args[0]}); err != nil {
				return serverError(o, err)
			}
			fmt.Fprintf(c.ErrOrStderr(), "%s may use %s and the names below it\n", account, args[0])
			return nil
		},
	}
	c.Flags().StringVar(&account, "account", "", "name or id of the account")
	return c
}

func newDomainUnverifyCommand(o *options) *cobra.Command {
	var account string
	c := &cobra.Command{
		Use:   "unverify DOMAIN --account NAME",
		Short: "stop vouching for a domain",
		Long: `Take back what 'postern domain verify' said. The server looks for the TXT
records instead, if it has resolvers to ask. Endpoints that resolve such a name
keep it, as they do in AWS when the record goes; new ones cannot have it.`,
		Example: `  postern domain unverify example.com --account provider`,
		Args:    wantArgs(1, "the DOMAIN"),
		RunE: func(c *cobra.Command, args []string) error {
			if account == "" {
				return usageError("say whose domain it is with --account NAME")
			}
			cl := newClient(o)
			defer cl.Close()
			return serverError(o, cl.UnverifyDomain(c.Context(), admin.Domain{Account: account, Domain: args[0]}))
		},
	}
	c.Flags().StringVar(&account, "account", "", "name or id of the account")
	return c
}

func newDomainListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list the domains that are vouched for",
		Long:  "List the domains that are vouched for and the accounts that may use them.",
		Example: `  postern domain list
  postern domain list --json`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return runDomainList(c.Context(), o, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
}

func runDomainList(ctx context.Context, o *options, out, errOut io.Writer) error {
	cl := newClient(o)
	defer cl.Close()
	list, err := cl.Domains(ctx)
	if err != nil {
		return serverError(o, err)
	}
	if o.json {
		return printJSON(out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(errOut, "no domain is vouched for")
		return nil
	}
	t := newTable("DOMAIN", "ACCOUNT")
	for _, d := range list {
		t.row(d.Domain, d.Account)
	}
	return t.write(out)
}
