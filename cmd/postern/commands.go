// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

// commands lists every subcommand.
func commands(o *options) []*cobra.Command {
	return []*cobra.Command{
		newServeCommand(o),
		newEnvCommand(o),
		newAccountCommand(o),
		newDomainCommand(o),
		newRunCommand(o),
		newExecCommand(o),
		newAttachCommand(o),
		newDetachCommand(o),
		newStatusCommand(o),
		newDropsCommand(o),
		newConnectionsCommand(o),
		newRequestsCommand(o),
		newDoctorCommand(o),
		newResetCommand(o),
		newVersionCommand(o),
		// Started by the others, never typed.
		newServerCommand(o),
		newAgentCommand(o),
		newEdgeCommand(o),
		newProberCommand(o),
		newNsenterCommand(o),
		newProbeDatapathCommand(o),
	}
}
