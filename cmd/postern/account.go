// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/api/admin"
)

func newAccountCommand(o *options) *cobra.Command {
	return groupCommand(&cobra.Command{
		Use:   "account",
		Short: "make and list accounts",
		Long: `An account owns VPCs, endpoints and services, as an AWS account does. Accounts
see nothing of each other but what one offers as an endpoint service.

The account "operator" exists from the start and is what 'postern env' uses
when no other is named.`,
		Example: `  postern account create consumer
  postern account create provider
  eval "$(postern env --account consumer)"`,
	}, newAccountCreateCommand(o), newAccountListCommand(o))
}

func newAccountCreateCommand(o *options) *cobra.Command {
	in := admin.NewAccount{}
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "make an account",
		Long: `Make an account and print its id and access key.

Keys of your own can be given, so that scripts may know them beforehand. They
are keys of this installation alone: never use a key of a real AWS account.`,
		Example: `  postern account create consumer
  postern account create provider --access-key AKIAPROVIDER00000001 --secret-key not-very-secret-0001
  postern account create ci --json`,
		Args: wantArgs(1, "the NAME of the account"),
		RunE: func(c *cobra.Command, args []string) error {
			if (in.AccessKey == "") != (in.SecretKey == "") {
				return usageError("give both --access-key and --secret-key, or neither")
			}
			in.Name = args[0]
			return runAccountCreate(c.Context(), o, in, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&in.AccessKey, "access-key", "", "access key id to use instead of a new one")
	c.Flags().StringVar(&in.SecretKey, "secret-key", "", "secret access key that belongs to it")
	return c
}

func runAccountCreate(ctx context.Context, o *options, in admin.NewAccount, out io.Writer) error {
	cl := newClient(o)
	defer cl.Close()
	a, err := cl.CreateAccount(ctx, in)
	if err != nil {
		return serverError(o, err)
	}
	if o.json {
		return printJSON(out, a)
	}
	t := newTable("NAME", "ACCOUNT", "ACCESS KEY", "SECRET KEY")
	for _, k := range a.Keys {
		t.row(a.Name, string(a.ID), k.ID, k.Secret)
	}
	return t.write(out)
}

func newAccountListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list accounts",
		Long:  "List the accounts with their access keys. Secrets are shown by 'postern env --account NAME'.",
		Example: `  postern account list
  postern account list --json`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return runAccountList(c.Context(), o, c.OutOrStdout())
		},
	}
}

func runAccountList(ctx context.Context, o *options, out io.Writer) error {
	cl := newClient(o)
	defer cl.Close()
	list, err := cl.Accounts(ctx)
	if err != nil {
		return serverError(o, err)
	}
	if o.json {
		return printJSON(out, list)
	}
	t := newTable("NAME", "ACCOUNT", "ACCESS KEYS", "CREATED")
	for _, a := range list {
		keys := ""
		for i, k := range a.Keys {
			if i > 0 {
				keys += ","
			}
			keys += k.ID
		}
		t.row(a.Name, string(a.ID), keys, a.Created.Local().Format("2006-01-02 15:04"))
	}
	return t.write(out)
}
