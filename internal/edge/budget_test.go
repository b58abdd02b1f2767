// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"strings"
	"testing"
)

// The first body that a new edge holds may be empty.
func TestAnEmptyBodyTakesNothing(t *testing.T) {
	var b budget
	held := &heldBody{Reader: strings.NewReader(""), budget: &b, vni: 7}
	if _, err := held.Read(make([]byte, 1)); err == nil {
		t.Error("an empty body has a byte")
	}
	held.release()
	if !b.take(7, 3) || b.all != 3 {
		t.Errorf("%d bytes are held, want 3", b.all)
	}
	b.give(7, 3)
	if b.all != 0 || len(b.perVNI) != 0 {
		t.Errorf("%d bytes are still held, %v", b.all, b.perVNI)
	}
}
