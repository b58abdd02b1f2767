// SPDX-License-Identifier: Apache-2.0

package vpc_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"postern.dev/postern/internal/vpc"
)

func TestMessagesShowOnlyTheBeginningOfALongText(t *testing.T) {
	for _, s := range []any{strings.Repeat("ä", 1<<19), vpc.VPCID("x" + strings.Repeat("ä", 1<<19))} {
		e := vpc.Errorf(vpc.NotFound, "vpc", "", "The vpc ID '%s' does not exist", s)
		if len(e.Message) > 300 || !strings.HasSuffix(e.Message, "...' does not exist") || !utf8.ValidString(e.Message) {
			t.Errorf("a message of %d bytes: %.300q", len(e.Message), e.Message)
		}
	}
	if e := vpc.Errorf(vpc.NotFound, "vpc", "", "%s %d %v", "short", 7, nil); e.Message != "short 7 <nil>" {
		t.Errorf("message %q", e.Message)
	}
}
