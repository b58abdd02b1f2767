// SPDX-License-Identifier: Apache-2.0

package hostsync

import "time"

// SetPatience sets how long a client bears silence.
func SetPatience(c *Client, d time.Duration) { c.patience = d }
