// SPDX-License-Identifier: Apache-2.0

package clients

import "testing"

// zoneChecks are what zones.sh and zones.py find out.
var zoneChecks = []string{"zone", "zone-refused", "records", "records-refused", "associations", "tags", "lists", "all-gone"}

func TestPrivateHostedZonesWithTheAWSCommandLine(t *testing.T) {
	t.Parallel()
	playShell(t, "./zones.sh", zoneChecks)
}

func TestPrivateHostedZonesWithBoto3(t *testing.T) {
	t.Parallel()
	playPython(t, "zones.py", zoneChecks)
}
