// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const ansiblePlaybook = "/usr/bin/ansible-playbook"

// playbook runs a playbook and answers its output and how many tasks changed
// something.
func (a *api) playbook(dir string, args ...string) (out string, changed int) {
	a.t.Helper()
	aws, ok := awsCLIs()["2"]
	if !ok {
		a.t.Skip("no aws command line of version 2, which the playbooks use where no module exists" + installHint)
	}
	out = a.run(dir, a.environment("AWS="+aws, "ANSIBLE_NOCOLOR=1"), append([]string{ansiblePlaybook, "-i", "localhost,"}, args...)...)
	m := recap.FindStringSubmatch(out)
	if m == nil {
		a.t.Fatalf("no recap in\n%s", out)
	}
	changed, err := strconv.Atoi(m[1])
	if err != nil {
		a.t.Fatal(err)
	}
	return out, changed
}

var (
	recap   = regexp.MustCompile(`localhost +: ok=\d+ +changed=(\d+) +unreachable=0 +failed=0`)
	message = regexp.MustCompile(`"msg": "(ok [a-z0-9-]+)"`)
)

// changes are the output's lines that say what changed.
func changes(out string) string {
	var lines []string
	task := ""
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "TASK") {
			task = line
		}
		if strings.HasPrefix(line, "changed:") {
			lines = append(lines, task+line)
		}
	}
	return strings.Join(lines, "")
}

func needAnsible(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(ansiblePlaybook); err != nil {
		t.Skip("no ansible-playbook" + installHint)
	}
	t.Log(strings.Split(ask(ansiblePlaybook, "--version"), "\n")[0])
}

func TestAnsible(t *testing.T) {
	t.Parallel()
	needAnsible(t)
	a := newAPI(t)
	var all strings.Builder
	play := func(want string, args ...string) {
		t.Helper()
		out, n := a.playbook("ansible", args...)
		switch {
		case want == "no change" && n != 0:
			t.Errorf("%v: %d tasks changed something, want none:\n%s", args, n, changes(out))
		case want == "change" && n == 0:
			t.Errorf("%v: no task changed anything", args)
		}
		for _, m := range message.FindAllStringSubmatch(out, -1) {
			all.WriteString(m[1] + "\n")
		}
	}
	play("change", "present.yml")
	play("no change", "present.yml")
	play("change", "checks.yml")
	play("change", "absent.yml", "--check") // says so, and does nothing: the next finds it all
	play("change", "absent.yml")
	play("no change", "absent.yml")
	compare(t, checked(all.String()))
}
