// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/agent"
	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/link"
	"postern.dev/postern/internal/vpc"
)

// Exit codes of commands that run another: these are env(1)'s and the shells'.
const (
	exitOurs       = 125 // the failure is ours, the command was not started
	exitCannotRun  = 126
	exitNoSuchFile = 127
)

func newExecCommand(o *options) *cobra.Command {
	var account string
	c := &cobra.Command{
		Use:   "exec (INSTANCE | ENI) -- COMMAND [ARG]...",
		Short: "run a command inside an instance",
		Long: `Run a command of this host inside an instance, or inside what 'postern attach'
put behind a network interface. It has the instance's network and nothing else
of it: names resolve as the DHCP options of its VPC say, its packets are the
instance's, and its files are this host's.

Its environment is this one's, with these changes:
  - SSL_CERT_FILE, CURL_CA_BUNDLE, AWS_CA_BUNDLE and the like name a file with
    this system's certificates and Postern's, so TLS to endpoints verifies
  - AWS_REGION is this installation's, and AWS_ENDPOINT_URL is gone: the
    services' own names lead through the VPC's endpoints
  - proxy variables are gone, since a proxy of this host is not in the VPC
  - with --account, the AWS keys are that account's

On a machine that joined a server on another one ('postern agent --join'), the
account's keys and the region are left as they are.

Needs root. The exit code is the command's; 126 and 127 say that it could not
be run or found, 125 that Postern failed before it.`,
		Example: `  sudo -E postern exec i-0123456789abcdef0 -- curl -sS http://10.0.0.10/
  sudo -E postern exec i-0123456789abcdef0 --account consumer -- aws s3 ls
  sudo -E postern exec i-0123456789abcdef0 -- bash`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 || c.ArgsLenAtDash() == 0 {
				return usageError("name an instance (i-...) or network interface (eni-...)\nRun '%s --help' for examples.", c.CommandPath())
			}
			if len(args) == 1 {
				return usageError("give the command to run after '--'\nRun '%s --help' for examples.", c.CommandPath())
			}
			if d := c.ArgsLenAtDash(); d > 1 {
				return usageError("put '--' between %s and the command", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return ours(runExec(c.Context(), o, args[0], account, args[1:]))
		},
	}
	c.Flags().StringVar(&account, "account", "", "account whose AWS keys the command gets (default: as they are here)")
	return c
}

// ours marks a failure that is not the command's, whatever its own code.
func ours(err error) error {
	var e *exitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return &exitError{exitOurs, e.err}
	}
	return &exitError{exitOurs, err}
}

// runExec becomes the command: it does not return unless it failed. So the
// terminal, signals and the exit code are the command's without any help.
func runExec(ctx context.Context, o *options, id, account string, argv []string) error {
	if err := needRoot("entering a network namespace"); err != nil {
		return err
	}
	if isHostElsewhere(o.dataDir) {
		return runHostedExec(ctx, o, id, account, argv)
	}
	cl := newClient(o)
	defer cl.Close()
	info, err := cl.Info(ctx)
	if err != nil {
		return serverError(o, err)
	}
	w, err := cl.Workload(ctx, id)
	if err != nil {
		return serverError(o, err)
	}
	var key *admin.AccessKey
	if account != "" {
		k, err := accountKey(ctx, cl, account)
		if err != nil {
			return serverError(o, err)
		}
		key = &k
	}
	cmd, err := workloadCommand(ctx, info, w, key, argv)
	if err != nil {
		return err
	}
	return fmt.Errorf("run this program again: %w", syscall.Exec(cmd.Path, cmd.Args, cmd.Env))
}

// runHostedExec is runExec on a host whose server is on another machine: what is
// on this one says the state that the agent keeps. Accounts' keys and the region
// only the server knows.
func runHostedExec(ctx context.Context, o *options, id, account string, argv []string) error {
	if account != "" {
		return usageError("--account: the keys of accounts are on the server's machine; give the command its own")
	}
	info, w, err := hostedWorkload(o.dataDir, id)
	if err != nil {
		return err
	}
	cmd, err := workloadCommand(ctx, info, w, nil, argv)
	if err != nil {
		return err
	}
	return fmt.Errorf("run this program again: %w", syscall.Exec(cmd.Path, cmd.Args, cmd.Env))
}

// hostedWorkload finds a workload of this machine, by instance or interface.
func hostedWorkload(dataDir, id string) (admin.Info, admin.Workload, error) {
	p := paths{dataDir}
	who, err := loadIdentity(p)
	if err != nil {
		return admin.Info{}, admin.Workload{}, err
	}
	h, err := agent.Load(p.desired())
	if err != nil {
		return admin.Info{}, admin.Workload{}, err
	}
	for eni, w := range h.Workloads {
		if id != string(eni) && id != string(w.Instance) {
			continue
		}
		info := admin.Info{DataDir: p.dir, Host: who.Host, WorkloadCA: p.workloadCA()}
		return info, admin.Workload{
			Instance: w.Instance, State: vpc.InstanceRunning, Interface: eni, Addr: w.Addr, Host: who.Host, Servers: w.Servers, Search: w.Search, External: w.External,
		}, nil
	}
	return admin.Info{}, admin.Workload{}, fmt.Errorf("%.64q is neither an instance nor an attached network interface on host %s", id, who.Host)
}

// workloadCommand makes argv to be run inside a workload of this host.
func workloadCommand(ctx context.Context, info admin.Info, w admin.Workload, key *admin.AccessKey, argv []string) (*exec.Cmd, error) {
	ns, err := workloadNamespace(info, w)
	if err != nil {
		return nil, err
	}
	env := workloadEnv(os.Environ(), info, key)
	return link.Command(ctx, ns, link.Options{Names: &link.Names{Servers: w.Servers, Search: w.Search}}, argv, env)
}

// workloadNamespace is the path of the network namespace a workload is in.
func workloadNamespace(info admin.Info, w admin.Workload) (string, error) {
	name := string(w.Instance)
	if name == "" {
		name = string(w.Interface)
	}
	switch {
	case info.Datapath == "none" && (w.Host == "" || w.Host == info.Host):
		return "", errors.New("the server runs without a datapath (--datapath none): there is nothing to enter")
	case w.Instance != "" && w.State != vpc.InstanceRunning:
		return "", fmt.Errorf("instance %s is %s, not running", w.Instance, w.State)
	case w.Instance == "" && w.External == nil:
		return "", fmt.Errorf("nothing is attached to %s; 'postern attach --eni %s' puts something behind it", name, name)
	case w.Host != info.Host:
		return "", fmt.Errorf("%s is on host %s: run this command there", name, w.Host)
	case w.Instance != "":
		tag, err := link.TagFor(info.DataDir)
		if err != nil {
			return "", err
		}
		l, err := link.New(link.Config{Tag: tag, RunDir: link.DefaultRunDir(tag)})
		if err != nil {
			return "", err
		}
		return l.NamespacePath(string(w.Instance)), nil
	case w.External.Netns != "":
		return w.External.Netns, nil
	case w.External.PID != 0:
		return fmt.Sprintf("/proc/%d/ns/net", w.External.PID), nil
	}
	return "", fmt.Errorf("behind %s is device %s, not a namespace of this host: run the command inside the machine it leads to", name, w.External.Ifname)
}

// caVariables tell the common TLS clients which certificates to trust.
var caVariables = []string{
	"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
	"PIP_CERT", "CARGO_HTTP_CAINFO", "DENO_CERT", "HTTPLIB2_CA_CERTS", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "NIX_SSL_CERT_FILE",
}

// workloadEnv is base as a workload needs it; key may be nil.
func workloadEnv(base []string, info admin.Info, key *admin.AccessKey) []string {
	set := map[string]string{}
	if info.Region != "" {
		set["AWS_REGION"], set["AWS_DEFAULT_REGION"] = info.Region, info.Region
	}
	if info.WorkloadCA != "" {
		for _, name := range caVariables {
			set[name] = info.WorkloadCA
		}
	}
	drop := []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY"}
	if key != nil {
		set["AWS_ACCESS_KEY_ID"], set["AWS_SECRET_ACCESS_KEY"] = key.ID, key.Secret
		drop = append(drop, misleading...)
	}
	var env []string
	for _, kv := range base {
		name, _, _ := strings.Cut(kv, "=")
		upper := strings.ToUpper(name)
		if _, ours := set[name]; ours || strings.HasPrefix(name, "AWS_ENDPOINT_URL") || slices.Contains(drop, upper) {
			continue
		}
		env = append(env, kv)
	}
	for name, value := range set {
		env = append(env, name+"="+value)
	}
	slices.Sort(env[len(env)-len(set):])
	return env
}

// newNsenterCommand is the second half of exec and run: link.Command starts it.
func newNsenterCommand(*options) *cobra.Command {
	return &cobra.Command{
		Use: link.NsenterCommand, Hidden: true, DisableFlagParsing: true,
		Short: "enter a network namespace and become a command (started by exec and run)",
		RunE: func(_ *cobra.Command, args []string) error {
			err := link.NsenterMain(args)
			code := exitOurs
			switch {
			case errors.Is(err, exec.ErrNotFound), errors.Is(err, syscall.ENOENT) && strings.HasPrefix(err.Error(), "run "):
				code = exitNoSuchFile
			case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.ENOEXEC):
				code = exitCannotRun
			}
			return &exitError{code, err}
		},
	}
}
