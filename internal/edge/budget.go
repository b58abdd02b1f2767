// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"io"
	"sync"

	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/vpc"
)

// Bounds of the bodies that are held in memory at a time.
const (
	maxHeld       = 128 << 20
	maxHeldPerVNI = 32 << 20
)

// budget counts the bytes of bodies in memory, in all and by VPC.
type budget struct {
	mu     sync.Mutex
	all    int64
	perVNI map[vpc.VNI]int64
}

// take reports whether there is room for n more bytes.
func (b *budget) take(vni vpc.VNI, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all+n > maxHeld || b.perVNI[vni]+n > maxHeldPerVNI {
		return false
	}
	if b.perVNI == nil {
		b.perVNI = map[vpc.VNI]int64{}
	}
	b.all += n
	b.perVNI[vni] += n
	return true
}

func (b *budget) give(vni vpc.VNI, n int64) {
	if n == 0 { // nothing was ever taken, as for an empty body
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all -= n
	if b.perVNI[vni] -= n; b.perVNI[vni] == 0 {
		delete(b.perVNI, vni)
	}
}

// heldBody reads a body that is being held, as long as there is room.
type heldBody struct {
	io.Reader
	budget *budget
	vni    vpc.VNI
	n      int64 // bytes taken
	free   bool  // what is read now passes through
}

func (h *heldBody) Read(p []byte) (int, error) {
	if h.free {
		return h.Reader.Read(p)
	}
	n, err := h.Reader.Read(p)
	if n > 0 && !h.budget.take(h.vni, int64(n)) {
		return 0, call.ErrNoRoom
	}
	h.n += int64(n)
	return n, err
}

// release gives back what was held.
func (h *heldBody) release() {
	h.budget.give(h.vni, h.n)
	h.n = 0
}
