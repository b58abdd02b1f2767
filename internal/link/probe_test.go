// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"os"
	"path/filepath"
	"testing"
)

func TestProbesLeaveNothing(t *testing.T) {
	needRoot(t)
	t.Setenv("TMPDIR", t.TempDir())
	if err := ProbeNamespace(); err != nil {
		t.Error(err)
	}
	if err := ProbeBPFFS(); err != nil {
		t.Error(err)
	}
	if id, err := nsIDOf("/proc/thread-self/ns/net"); err != nil || !isHostNamespace(id) {
		t.Errorf("this thread moved: %v, %v", id, err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
