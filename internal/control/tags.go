// SPDX-License-Identifier: Apache-2.0

package control

import (
	"strings"
	"unicode/utf8"

	"postern.dev/postern/internal/vpc"
)

// AWS's limits on tags.
const (
	maxTags     = vpc.MaxTags
	maxTagKey   = vpc.MaxTagKey
	maxTagValue = vpc.MaxTagValue
)

// CheckTags refuses tags AWS would refuse: too many, too long, reserved.
func CheckTags(tags vpc.Tags) error {
	if len(tags) > maxTags {
		return vpc.Errorf(vpc.Limit, "tag", "", "The maximum number of tags for a resource is %d", maxTags)
	}
	for k, v := range tags {
		switch {
		case k == "" || utf8.RuneCountInString(k) > maxTagKey:
			return vpc.Errorf(vpc.Invalid, "Tag", k, "Tag key '%.140s' must have 1 to %d characters", k, maxTagKey)
		case utf8.RuneCountInString(v) > maxTagValue:
			return vpc.Errorf(vpc.Invalid, "Tag", k, "The value of tag '%s' has more than %d characters", k, maxTagValue)
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return vpc.Errorf(vpc.Invalid, "Tag", k, "Tag keys starting with 'aws:' are reserved for internal use")
		}
	}
	return nil
}
