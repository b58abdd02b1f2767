// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// rcuSwitch makes the kernel's waits for its readers short, at the price of
// interrupting every CPU for each. A variable for tests.
var rcuSwitch = "/sys/kernel/rcu_expedited"

// rcuMark, in a run directory, holds what was in the switch before Hurry.
const rcuMark = "rcu_expedited"

// Hurry makes starting and ending many workloads fast until done is called. A
// program that is put on a device or goes with it waits for all readers in the
// kernel, with the lock held that every other change of the network needs:
// some 12 ms each, hardly anything while the kernel is told to hurry. It is
// told so for everything it does, so this is for bulk work only.
//
// What was set before is put back by done. If this process is killed first, it
// is put back by the next Calm or Reset of the installation. Where the switch
// cannot be set, or is set already, Hurry changes nothing.
func (l *Links) Hurry() (done func() error, err error) {
	if err := l.ensureRunDir(); err != nil {
		return nil, err
	}
	return hurry(l.cfg.RunDir)
}

// Calm puts back what a process that was killed during Hurry left.
func (l *Links) Calm() error { return calm(l.cfg.RunDir) }

func hurry(runDir string) (done func() error, err error) {
	nothing := func() error { return nil }
	have, err := os.ReadFile(rcuSwitch)
	if err != nil || strings.TrimSpace(string(have)) != "0" {
		return nothing, nil
	}
	mark := filepath.Join(runDir, rcuMark)
	if err := os.WriteFile(mark, have, 0o644); err != nil {
		return nil, fmt.Errorf("remember how the kernel waits: %w", err)
	}
	if err := os.WriteFile(rcuSwitch, []byte("1"), 0); err != nil {
		return nothing, os.Remove(mark)
	}
	return func() error { return calm(runDir) }, nil
}

func calm(runDir string) error {
	mark := filepath.Join(runDir, rcuMark)
	was, err := os.ReadFile(mark)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("see how the kernel waited: %w", err)
	}
	// A process killed between making the file and writing it changed nothing.
	if v := strings.TrimSpace(string(was)); v != "" {
		if err := os.WriteFile(rcuSwitch, []byte(v), 0); err != nil {
			return fmt.Errorf("let the kernel wait as before: %w", err)
		}
	}
	return os.Remove(mark)
}
