// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/explain"
)

// FuzzFrames runs raw frames through the programs in one installation and
// requires what must hold of any bytes: the kernel runs them, every drop has a
// reason, and they go where the model says they may, which is never another VPC.
func FuzzFrames(f *testing.F) {
	if os.Geteuid() != 0 {
		f.Skip("needs root: loads eBPF programs and makes network devices")
	}
	devices := newModelDevices(f)
	const seed = 7
	x := newModelRun(f, seed, modelFeatures, devices)
	f.Cleanup(x.close)
	r := rand.New(rand.NewPCG(seed, 3))
	for range 300 {
		t := x.nextTemplate(r)
		if frame, ok := x.make(t); ok {
			f.Add(int8(t.from), frame, uint16(t.gso))
		}
	}
	ports := len(x.in.workloads) + 2
	f.Fuzz(func(t *testing.T, from int8, frame []byte, segment uint16) {
		if len(frame) < 54 || len(frame) > 3000 {
			return // the kernel tries no frame without a whole IP header, and none above a page
		}
		defer enter(t, lab.ns)()
		x.t = t
		slot := (int(from)%ports+ports)%ports - 2
		d, seen, err := x.try(slot, frame, int(segment))
		if err != nil {
			t.Fatal(err)
		}
		if seen.Action == explain.Drop && (seen.Reason == "" || seen.Reason == "none") {
			t.Fatalf("dropped without a reason: %s", d)
		}
		if err := x.model.Observe(d, seen); err != nil {
			if !bothDrop(d, seen) {
				t.Fatalf("%v\n%s", err, d)
			}
			// Of a first fragment, one of the two may have remembered what it said.
			x.model.ForgetFragments()
			if err := forget(x.dp.objs.Fragments, func(bpf.DatapathFragmentKey, bpf.DatapathFragmentValue) bool { return true }); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// bothDrop says that it is only the reason they differ in: a frame that is wrong
// in several ways is dropped for any of them.
func bothDrop(d explain.Decision, seen explain.Seen) bool {
	return seen.Action == explain.Drop && !slices.ContainsFunc(d.Outcomes, func(o explain.Outcome) bool { return o.Action != explain.Drop })
}
