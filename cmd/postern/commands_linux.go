// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

// hostCommands are the commands that enter namespaces, read maps or run a
// part of the datapath.
func hostCommands(o *options) []*cobra.Command {
	return []*cobra.Command{
		newRunCommand(o),
		newExecCommand(o),
		newDatapathCommand(o),
		newDropsCommand(o), // the same as datapath drops: it is what one types most
		newMetricsCommand(o),
		newDoctorCommand(o),
		newResetCommand(o),
		// Started by the others, never typed.
		newServerCommand(o),
		newAgentCommand(o),
		newEdgeCommand(o),
		newProberCommand(o),
		newNsenterCommand(o),
		newProbeDatapathCommand(o),
	}
}
