// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package supervise

import (
	"errors"
	"os/exec"
)

// killWithParent needs a kernel that watches parents.
func killWithParent(*exec.Cmd) error {
	return errors.New("only Linux can end a child with its parent")
}
