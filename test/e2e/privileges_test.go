// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// What reads tenants' bytes has no privileges and no way to get any; what has
// privileges has only those it needs.
func TestEachProcessHasOnlyItsPrivileges(t *testing.T) {
	needRoot(t)
	i := newInstall(t)
	names := []string{"server", "edge", "prober", "agent"}
	for _, name := range names { // the API is ready before some of them are
		eventually(t, name+" is ready", 10*time.Second, func() bool { return strings.Contains(i.log.String(), "msg=ready child="+name+" ") })
	}
	procs := children(t, i.cmd.Process.Pid)
	for _, name := range names {
		onlyItsPrivileges(t, name, procs[name])
	}
}

// onlyItsPrivileges wants a process to have few of root's privileges if it is an
// agent, and none otherwise.
func onlyItsPrivileges(t *testing.T, name string, pid int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	field := map[string]string{}
	for _, line := range strings.Split(string(b), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			field[k] = strings.TrimSpace(v)
		}
	}
	if name == "agent" {
		if field["CapBnd"] == "" || field["CapBnd"] != field["CapEff"] || strings.HasPrefix(field["CapBnd"], "000001ff") {
			t.Errorf("agent: bounding set %s, effective %s; want the same small set", field["CapBnd"], field["CapEff"])
		}
		return
	}
	if strings.HasPrefix(field["Uid"], "0") || strings.Trim(field["CapEff"], "0") != "" || strings.Trim(field["CapPrm"], "0") != "" || field["NoNewPrivs"] != "1" {
		t.Errorf("%s: uid %s, effective %s, permitted %s, no_new_privs %s; want an ordinary user without any way back",
			name, field["Uid"], field["CapEff"], field["CapPrm"], field["NoNewPrivs"])
	}
}
