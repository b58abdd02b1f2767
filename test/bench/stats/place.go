// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Place is when, where and of what was measured. It does not name the host.
type Place struct {
	Date   time.Time `json:"date"`
	Commit string    `json:"commit"` // of this tree; "-dirty" when files differ from it
	Kernel string    `json:"kernel"`
	Go     string    `json:"go"`
	CPUs   int       `json:"cpus"`
	Load   float64   `json:"load"` // of the minute before
}

// Here is this place.
func Here() Place {
	p := Place{
		Date: time.Now().UTC().Truncate(time.Second), Commit: FirstLine("git", "describe", "--always", "--dirty", "--abbrev=12"),
		Kernel: "unknown", Go: runtime.Version(), CPUs: runtime.NumCPU(),
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		p.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Sscan(string(b), &p.Load)
	}
	return p
}

// FirstLine is the first line that a program prints, or "".
func FirstLine(program string, args ...string) string {
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent"}
	out, err := cmd.CombinedOutput() // nginx tells its version on standard error
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}
