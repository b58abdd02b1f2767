// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/doctor"
)

func newEnvCommand(o *options) *cobra.Command {
	var account, user string
	c := &cobra.Command{
		Use:   "env",
		Short: "print the environment that points AWS tools here",
		Long: `Print shell commands that make aws-cli, the AWS SDKs and Terraform in this shell
use Postern's API with the keys of an account: the operator's, or the one named
with --account. Those are the account's root, who may do everything in it; with
--user they are those of one of its users, who may do what policies allow. Keep
the quotes around $(...).

This is for the API, on this host. Inside an instance the services' own names
and addresses lead through the endpoints instead: see 'postern exec'.`,
		Example: `  eval "$(postern env)"
  eval "$(postern env --account consumer)"
  eval "$(postern env --account consumer --user ann)"
  aws ec2 describe-vpc-endpoints

  postern env --json | jq -r .AWS_ENDPOINT_URL`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return runEnv(c.Context(), o, account, user, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&account, "account", "", "name or id of the account (default: the operator's)")
	c.Flags().StringVar(&user, "user", "", "name of a user of that account (default: its root)")
	return c
}

// variable is one of the environment.
type variable struct{ name, value string }

// misleading are variables that would lead an AWS client past the ones that
// are set, or to other credentials.
var misleading = []string{
	"AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
	"AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", "AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_S3",
	"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
}

// clientEnv is what AWS's clients on this host need.
func clientEnv(i admin.Info, k admin.AccessKey) []variable {
	return []variable{
		{"AWS_ENDPOINT_URL", i.Endpoint},
		{"AWS_ACCESS_KEY_ID", k.ID},
		{"AWS_SECRET_ACCESS_KEY", k.Secret},
		{"AWS_REGION", i.Region},
		{"AWS_DEFAULT_REGION", i.Region},
		{"AWS_CA_BUNDLE", i.WorkloadCA},
		{"POSTERN_DATA_DIR", i.DataDir},
	}
}

func runEnv(ctx context.Context, o *options, account, user string, out, errOut io.Writer) error {
	cl := newClient(o)
	defer cl.Close()
	info, err := cl.Info(ctx)
	if err != nil {
		return serverError(o, err)
	}
	var key admin.AccessKey
	if user != "" {
		key, err = userKey(ctx, cl, account, user)
	} else {
		key, err = accountKey(ctx, cl, account)
	}
	if err != nil {
		return serverError(o, err)
	}
	vars := clientEnv(info, key)
	if o.json {
		m := map[string]string{}
		for _, v := range vars {
			m[v.name] = v.value
		}
		return printJSON(out, m)
	}
	var b strings.Builder
	for _, v := range vars {
		fmt.Fprintf(&b, "export %s=%s\n", v.name, shellQuote(v.value))
	}
	fmt.Fprintf(&b, "unset %s\n", strings.Join(misleading, " "))
	// Last, so that it does no harm to who forgot the quotes around $(...).
	if warning := oldClient(ctx); warning != "" {
		fmt.Fprintf(&b, "# %s\n", warning)
		fmt.Fprintf(errOut, "postern: %s\n", warning)
	}
	_, err = io.WriteString(out, b.String())
	return err
}

// accountName is the account to use; for "" it is the operator's.
func accountName(ctx context.Context, cl *admin.Client, name string) (string, error) {
	if name != "" {
		return name, nil
	}
	list, err := cl.Accounts(ctx)
	if err != nil {
		return "", err
	}
	for _, a := range list {
		if a.Operator {
			return string(a.ID), nil
		}
	}
	return "", fmt.Errorf("there is no operator's account; name one with --account")
}

// userKey finds a user's first key that is on.
func userKey(ctx context.Context, cl *admin.Client, account, user string) (admin.AccessKey, error) {
	account, err := accountName(ctx, cl, account)
	if err != nil {
		return admin.AccessKey{}, err
	}
	u, err := cl.User(ctx, account, user)
	if err != nil {
		return admin.AccessKey{}, err
	}
	if len(u.Keys) == 0 {
		return admin.AccessKey{}, fmt.Errorf("user %s has no access key that is on; make one with the account's keys: aws iam create-access-key --user-name %s", u.Name, u.Name)
	}
	return u.Keys[0], nil
}

// accountKey finds an account's first key; "" is the operator's account.
func accountKey(ctx context.Context, cl *admin.Client, name string) (admin.AccessKey, error) {
	name, err := accountName(ctx, cl, name)
	if err != nil {
		return admin.AccessKey{}, err
	}
	a, err := cl.Account(ctx, name)
	if err != nil {
		return admin.AccessKey{}, err
	}
	if len(a.Keys) == 0 {
		return admin.AccessKey{}, fmt.Errorf("account %s has no access key", a.Name)
	}
	return a.Keys[0], nil
}

// shellQuote writes a word that every POSIX shell reads back as s.
func shellQuote(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// oldClient says that the aws-cli in PATH, if there is one, does not follow
// AWS_ENDPOINT_URL or cannot be asked; "" if all is well.
func oldClient(ctx context.Context) string {
	if _, err := exec.LookPath("aws"); err != nil {
		return ""
	}
	for _, c := range doctor.Run(ctx, doctor.Options{NoDatapath: true}) {
		if c.Name == "aws-cli" && c.Status != doctor.OK {
			return printable(c.Name + " " + c.Found + ": " + c.Do)
		}
	}
	return ""
}
