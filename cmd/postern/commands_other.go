// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "github.com/spf13/cobra"

// hostCommands needs a host with a datapath.
func hostCommands(*options) []*cobra.Command { return nil }
