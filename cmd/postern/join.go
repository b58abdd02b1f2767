// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/hostsync"
)

// joinInput says which server a host is of, and with what it joins.
type joinInput struct{ server, token string }

// elsewhere is what an agent needs whose server is on another machine.
type elsewhere struct {
	identity *hostsync.Identity
	client   *hostsync.Client
	keep     func(*hostsync.Identity) error
	ready    func()
}

func (e *elsewhere) keepCertificate(ctx context.Context) error {
	return e.client.KeepCertificate(ctx, e.identity, e.keep)
}

// runJoined runs this machine as a host of a server on another one until ctx ends.
func runJoined(ctx context.Context, dataDir string, in agentInput, join joinInput, out io.Writer) error {
	if err := hostsync.CheckServer(join.server); err != nil {
		return usageError("%w", err)
	}
	if err := checkUplink(in.uplink); err != nil {
		return usageError("%w", err)
	}
	dataDir, err := filepath.Abs(dataDir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	p := paths{dataDir}
	if _, err := os.Lstat(p.store()); err == nil {
		return fmt.Errorf("%s is a server's data directory: choose another --data-dir for the host", p.dir)
	}
	if err := p.makeHostDirs(); err != nil {
		return err
	}
	lock, err := p.takeLock()
	if err != nil {
		return err
	}
	defer lock.Close()
	id, err := identityOf(ctx, p, join)
	if err != nil {
		return err
	}
	// For programs of the workloads here, as on the server's machine.
	if err := writeTrust(p, []byte(id.CA)); err != nil {
		return err
	}
	client, err := hostsync.NewClient(join.server, id, newLogger())
	if err != nil {
		return err
	}
	in.underlay = id.Underlay
	in.elsewhere = &elsewhere{
		identity: id, client: client,
		keep: func(id *hostsync.Identity) error { return saveIdentity(p, id) },
		ready: func() {
			fmt.Fprintf(out, "ready: host %s of %s data %s\n", id.Host, join.server, p.dir)
			daemon.SdNotify(false, daemon.SdNotifyReady)
		},
	}
	defer daemon.SdNotify(false, daemon.SdNotifyStopping)
	return runAgent(ctx, dataDir, in)
}

// checkUplink reports whether what the setting uplink names is there. That it
// goes later is another matter: the agent waits for it to come back.
func checkUplink(setting string) error {
	on, path, err := uplinkPlace(setting)
	if err != nil || !on || path == "" {
		return err
	}
	var at unix.Statfs_t
	err = unix.Statfs(path, &at)
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("uplink %q: there is no such network namespace; `ip netns add NAME` makes /run/netns/NAME", setting)
	case err != nil:
		return fmt.Errorf("uplink %q: %w", setting, err)
	case at.Type != unix.NSFS_MAGIC:
		return fmt.Errorf("uplink %q: this is no network namespace; `ip netns list` names those in /run/netns", setting)
	}
	return nil
}

// identityOf is the host that this machine is, which it becomes at the first
// start with a token. A token for the host that it is makes it join again when
// its certificate is too old, and means nothing otherwise.
func identityOf(ctx context.Context, p paths, join joinInput) (*hostsync.Identity, error) {
	id, err := loadIdentity(p)
	if err != nil {
		return nil, err
	}
	if join.token == "" {
		if id == nil {
			return nil, usageError("this machine has not joined yet: give the token that 'postern host add' printed with --token")
		}
		if until, err := id.Until(); err != nil || !time.Now().Before(until) {
			return nil, errors.Join(fmt.Errorf("the certificate of host %s was good until %s: join again with --token; 'postern host token %s' makes one", id.Host, until.Format(time.DateTime), id.Host), err)
		}
		return id, nil
	}
	t, err := hostsync.ParseToken(join.token)
	if err != nil {
		return nil, usageError("%w", err)
	}
	if id != nil {
		if id.Host != t.Host {
			return nil, fmt.Errorf("this machine is host %s, the token is for %s: choose another --data-dir, or clear this one with 'postern reset --data'", id.Host, t.Host)
		}
		if until, err := id.Until(); err == nil && time.Now().Before(until) {
			return id, nil
		}
	}
	if id, err = hostsync.Join(ctx, join.server, t); err != nil {
		return nil, err
	}
	return id, saveIdentity(p, id)
}

// loadIdentity is nil on a machine that has not joined.
func loadIdentity(p paths) (*hostsync.Identity, error) {
	b, err := os.ReadFile(p.identity())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read who this host is: %w", err)
	}
	id := &hostsync.Identity{}
	if err := json.Unmarshal(b, id); err != nil {
		return nil, fmt.Errorf("read who this host is, in %s: %w", p.identity(), err)
	}
	return id, nil
}

func saveIdentity(p paths, id *hostsync.Identity) error {
	b, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return writeFile(p.identity(), append(b, '\n'), 0o600)
}
