// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"os/exec"
	"syscall"
)

// killWithParent has the kernel kill cmd's process when the thread that starts
// it ends; run keeps that thread.
func killWithParent(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return nil
}
