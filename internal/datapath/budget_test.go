// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"postern.dev/postern/bpf"
)

// The verifier gives up at a million instructions; a fifth of that leaves room for
// other kernels' verifiers, which count differently.
const verifierBudget = 1000000 / 5

const budgetTable = "../../bench/results/verifier.md"

func TestProgramsAreFarFromTheVerifiersLimit(t *testing.T) {
	w := newWorld(t)
	programs := map[string]*ebpf.Program{
		"from_workload": w.dp.objs.FromWorkload, "from_service": w.dp.objs.FromService, "from_uplink": w.dp.objs.FromUplink, "from_overlay": w.dp.objs.FromOverlay,
		"collect": w.dp.objs.Collect, "migrate": w.dp.objs.DatapathPrograms.Migrate,
	}
	spec, err := bpf.LoadDatapath()
	if err != nil {
		t.Fatal(err)
	}
	for name := range spec.Programs {
		if programs[name] == nil {
			t.Errorf("program %s is not looked at", name)
		}
	}
	table, err := os.ReadFile(budgetTable)
	if err != nil {
		t.Fatal(err)
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	kernel, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	var b strings.Builder
	fmt.Fprintf(&b, `# What the programs cost the verifier

Instructions that the verifier of Linux %s looked at, of 1,000,000 at most; a test fails above 200,000. Written by
`+"`POSTERN_FIGURES=1 go test ./internal/datapath -run Verifier`"+`.

| program | verified | of the limit | instructions | machine code |
| --- | --- | --- | --- | --- |
`, kernel)
	names := make([]string, 0, len(programs))
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		info, err := programs[name].Info()
		if err != nil {
			t.Fatal(err)
		}
		verified, ok := info.VerifiedInstructions()
		if !ok {
			t.Fatalf("the kernel does not tell how many instructions of %s it verified", name)
		}
		if verified == 0 || verified > verifierBudget {
			t.Errorf("%s: %d instructions verified, want at most %d", name, verified, verifierBudget)
		}
		size, err := info.TranslatedSize()
		if err != nil {
			t.Fatal(err)
		}
		jited, err := info.JitedSize()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "| `%s` | %d | %.1f %% | %d | %.1f kB |\n", name, verified, float64(verified)/1e4, size/8, float64(jited)/1e3)
		if !strings.Contains(string(table), "| `"+name+"` |") {
			t.Errorf("%s does not know of %s", budgetTable, name)
		}
	}
	if os.Getenv("POSTERN_FIGURES") != "" {
		if err := os.WriteFile(budgetTable, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
