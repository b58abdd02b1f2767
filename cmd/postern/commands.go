// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

// commands lists every subcommand: those that work anywhere, and those of a
// host with a datapath.
func commands(o *options) []*cobra.Command {
	return append([]*cobra.Command{
		newServeCommand(o),
		newEnvCommand(o),
		newAccountCommand(o),
		newDomainCommand(o),
		newHostCommand(o),
		newServiceCommand(o),
		newAttachCommand(o),
		newDetachCommand(o),
		newStatusCommand(o),
		newAuditCommand(o),
		newNotificationsCommand(o),
		newRequestsCommand(o),
		newDenialsCommand(o),
		newPolicyCommand(o),
		newVersionCommand(o),
	}, hostCommands(o)...)
}
