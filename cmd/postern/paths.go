// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// paths are the places in a data directory. The directory itself, run, agent
// and log belong to who starts the server (root); the others to the
// unprivileged server, which can therefore not put a link in a place where a
// privileged process writes.
type paths struct{ dir string }

func (p paths) store() string       { return filepath.Join(p.dir, "store") }                // etcd's files
func (p paths) keys() string        { return filepath.Join(p.dir, "keys") }                 // the authority, the operator's keys
func (p paths) operator() string    { return filepath.Join(p.keys(), "operator.json") }     // mode 0600
func (p paths) public() string      { return filepath.Join(p.dir, "public") }               // what everybody may read
func (p paths) ca() string          { return filepath.Join(p.public(), "ca.pem") }          // our authority alone
func (p paths) workloadCA() string  { return filepath.Join(p.public(), "workload-ca.pem") } // the system's roots and ours
func (p paths) s3() string          { return filepath.Join(p.dir, "s3") }                   // the default backend's data
func (p paths) s3Accounts() string  { return filepath.Join(p.s3(), "accounts.json") }       // keys the backend knows
func (p paths) run() string         { return filepath.Join(p.dir, "run") }                  // sockets and the lock
func (p paths) lock() string        { return filepath.Join(p.run(), "lock") }               // held while a server runs
func (p paths) agentLock() string   { return filepath.Join(p.run(), "agent.lock") }         // held while an agent touches the host
func (p paths) adminSocket() string { return filepath.Join(p.run(), "admin.sock") }         // the operator's door
func (p paths) syncSocket() string  { return filepath.Join(p.run(), "agent.sock") }         // the agent's door
func (p paths) s3Socket() string    { return filepath.Join(p.run(), "s3", "s3.sock") }      // the default backend's door
func (p paths) s3Asked() string     { return filepath.Join(p.run(), "s3", "asked.sock") }   // where the edge asks it
func (p paths) agent() string       { return filepath.Join(p.dir, "agent") }                // what the agent keeps
func (p paths) identity() string    { return filepath.Join(p.agent(), "identity.json") }    // of a host that joined a server elsewhere
func (p paths) desired() string     { return filepath.Join(p.agent(), "desired.json") }     // the last desired state
func (p paths) log() string         { return filepath.Join(p.dir, "log") }                  // records of the edge
func (p paths) requests() string    { return filepath.Join(p.log(), "requests.jsonl") }     // one line per request
func (p paths) totals() string      { return filepath.Join(p.log(), "totals") }             // what the edge counted
func (p paths) audit() string       { return filepath.Join(p.dir, "audit", "audit.jsonl") } // one line per API call

// checkParents refuses a directory that the server's user could not reach:
// it would fail later and less clearly.
func (p paths) checkParents(uid int) error {
	for d := filepath.Dir(p.dir); ; d = filepath.Dir(d) {
		st, err := os.Stat(d)
		if err == nil && st.Mode()&0o001 == 0 && st.Sys().(*syscall.Stat_t).Uid != uint32(uid) {
			return fmt.Errorf("data directory %s: the server gives up root and runs as user %d, who may not enter %s; choose a --data-dir such as /var/lib/postern, or chmod o+x %s", p.dir, uid, d, d)
		}
		if d == filepath.Dir(d) {
			return nil
		}
	}
}

// dir is a directory of a data directory; own says that it is the server's.
type dir struct {
	path string
	mode os.FileMode
	own  bool
}

// makeHostDirs makes the directories of a host whose server is elsewhere.
func (p paths) makeHostDirs() error {
	return makeDirs(-1, -1, []dir{
		{p.dir, 0o711, false}, {p.run(), 0o711, false}, {p.agent(), 0o700, false}, {p.log(), 0o700, false}, {p.public(), 0o755, false},
	})
}

// makeDirs makes the directories; those of the server get its owner.
func (p paths) makeDirs(uid, gid int) error {
	return makeDirs(uid, gid, []dir{
		{p.dir, 0o711, false},
		{p.run(), 0o711, false},
		{filepath.Dir(p.s3Socket()), 0o711, true},
		{p.agent(), 0o700, false},
		{p.log(), 0o700, false},
		{p.store(), 0o700, true},
		{p.keys(), 0o700, true},
		{p.public(), 0o755, true},
		{p.s3(), 0o700, true},
		{filepath.Dir(p.audit()), 0o700, true},
	})
}

func makeDirs(uid, gid int, dirs []dir) error {
	for _, d := range dirs {
		if err := os.MkdirAll(d.path, d.mode); err != nil {
			return fmt.Errorf("make the data directory: %w", err)
		}
		if err := os.Chmod(d.path, d.mode); err != nil {
			return fmt.Errorf("make the data directory: %w", err)
		}
		if d.own && uid >= 0 {
			if err := os.Lchown(d.path, uid, gid); err != nil {
				return fmt.Errorf("make the data directory: %w", err)
			}
		}
	}
	return nil
}

// takeLock makes this the only server of the data directory until the
// returned file is closed.
func (p paths) takeLock() (*os.File, error) {
	f, err := os.OpenFile(p.lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another postern already runs on %s; stop it first, or choose another --data-dir", p.dir)
		}
		return nil, fmt.Errorf("lock %s: %w", p.lock(), err)
	}
	return f, nil
}

// waitAgentLock takes the lock of what touches the host: one agent at a time,
// or reset. A server that was killed leaves an agent that needs a moment to
// notice; until then it could make again what is being removed.
func (p paths) waitAgentLock(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(p.agentLock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the agent's lock: %w", err)
	}
	if err := waitLock(ctx, f); err != nil {
		f.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("an agent still runs on %s: %w", p.dir, err)
		}
		return nil, err
	}
	return f, nil
}

// waitLock takes a file's lock when those who hold it have closed it or ended.
func waitLock(ctx context.Context, f *os.File) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
