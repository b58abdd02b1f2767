// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import (
	"context"
	"errors"
)

var errNeedsLinux = errors.New("the datapath needs Linux; --datapath=none serves the API alone")

func serverUser(Config) (uid, gid int, err error) { return 0, 0, errNeedsLinux }

func runSupervisor(context.Context, Config, paths, listeners, int, int, func()) error {
	return errNeedsLinux
}
