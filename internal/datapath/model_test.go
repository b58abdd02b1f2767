// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/explain"
	"postern.dev/postern/internal/vpc"
)

// How many packets are compared, and how many of them in one installation.
// POSTERN_MODEL_SEED chooses an installation, and then that one alone is tried;
// POSTERN_MODEL_PACKETS the number; POSTERN_MODEL_OBJECT names another object than
// the embedded one, and POSTERN_MODEL_SHRINK=no leaves a failure as long as it is:
// those are for test/mutants.
const (
	modelPackets     = 20_000
	modelPacketsLong = 1_000_000
	packetsPerWorld  = 2_000
)

// modelFeatures is what installations have.
var modelFeatures = features{Tracking: true, Untracked: true, ICMPErrors: true, Fragments: true, IPv6: true, NLB: true, Peering: true, Uplink: true}

// modelDevices is how many ports an installation has at most.
const modelDevices = 24

// step is one thing that happens in a run.
type modelStep struct {
	packet *template
	change uint64 // seed of a change, if it is one
	pass   time.Duration
}

// delivery is a frame that reached a port.
type delivery struct {
	to    int // slot
	frame []byte
}

// modelRun is one installation with the programs and the model beside each other.
type modelRun struct {
	t       testing.TB
	in      *installation
	dp      *Datapath
	model   *explain.Model
	devices []int // by slot; the last two are service and uplink
	quota   int
	mss     int
	ports   [2]uint32

	delivered  map[int]delivery // by step
	sent       map[int][]byte
	sender     map[int]int
	recent     []int
	interfaces []*vpc.NetworkInterface
	probes     []netip.Addr
	clock      int64
	verdicts   map[string]int
}

// newModelRun makes the installation of a seed.
func newModelRun(t testing.TB, seed uint64, feat features, devices []int) *modelRun {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	x := &modelRun{t: t, in: newInstallation(r, feat), devices: devices, quota: 1 << 16, ports: [2]uint32{1024, 65535},
		delivered: map[int]delivery{}, sent: map[int][]byte{}, sender: map[int]int{}, verdicts: map[string]int{}}
	cfg := Config{PinDir: filepath.Join(lab.bpffs, fmt.Sprintf("m%d", lab.runs.Add(1))), MaxConnections: 1 << 16}
	cfg.object = os.Getenv("POSTERN_MODEL_OBJECT")
	if chance(r, 40) {
		x.quota = 2 + r.IntN(8)
		cfg.QuotaPerInterface = uint64(x.quota)
	}
	if chance(r, 40) {
		x.ports = [2]uint32{2000, uint32(2001 + r.IntN(4))}
		cfg.ports = x.ports
	}
	if x.mss = 8460; chance(r, 50) {
		x.mss, cfg.MSS = 1400, 1400
	}
	var err error
	if x.dp, err = Open(cfg); err != nil {
		t.Fatalf("open: %+v", err)
	}
	// The model has no clock for it, and these packets come faster than a workload's.
	if err := x.dp.LimitResolver(1e9); err != nil {
		t.Fatal(err)
	}
	x.apply()
	x.clock = monotonic()
	return x
}

func (x *modelRun) close() {
	dir := x.dp.dir
	x.dp.Close()
	if err := Remove(dir); err != nil {
		x.t.Error(err)
	}
}

func (x *modelRun) device(slot int) int {
	if slot < 0 {
		return x.devices[len(x.devices)+slot]
	}
	return x.devices[slot]
}

func (x *modelRun) slotOf(id vpc.InterfaceID) (int, bool) {
	switch id {
	case explain.ServicePort:
		return slotService, true
	case explain.UplinkPort:
		return slotUplink, true
	}
	i := slices.Index(x.in.workloads, id)
	return i, i >= 0
}

func (x *modelRun) port(slot int) vpc.InterfaceID {
	switch slot {
	case slotService:
		return explain.ServicePort
	case slotUplink:
		return explain.UplinkPort
	}
	return x.in.workloads[slot]
}

func (x *modelRun) macOf(slot int) net.HardwareAddr {
	if slot < 0 {
		return net.HardwareAddr{2, 0, 0, 0, 1, byte(-slot)}
	}
	n, _ := vpc.Get[vpc.NetworkInterface](x.in.view, x.in.workloads[slot])
	m, err := net.ParseMAC(n.MAC)
	if err != nil {
		x.t.Fatal(err)
	}
	return m
}

// apply gives the installation as it is now to both.
func (x *modelRun) apply() {
	x.t.Helper()
	host := desired.ForHost(x.in.view, hereHost)
	devices := map[vpc.InterfaceID]Device{}
	facts := explain.Facts{
		Devices: map[vpc.InterfaceID]explain.MAC{}, Edge: desired.EdgeAddr, Edge6: desired.EdgeAddr6, Clients: desired.ClientPrefix, Probes: map[netip.Addr]explain.Probe{},
		Router:  func(s vpc.SubnetID) explain.MAC { return routerMAC(s) },
		Gateway: func(vpc.InterfaceID) explain.MAC { return serviceGateway },
		MSS:     x.mss, Quota: x.quota, FirstPort: int(x.ports[0]), LastPort: int(x.ports[1]),
	}
	for slot, id := range x.in.workloads {
		devices[id] = Device{Ifindex: x.device(slot), Tap: slot%5 == 4}
		facts.Devices[id] = explain.MAC(x.macOf(slot))
	}
	facts.Devices[explain.ServicePort] = explain.MAC(x.macOf(slotService))
	x.probes = nil
	for _, name := range slices.Sorted(maps.Keys(host.Probes)) {
		p := host.Probes[name]
		facts.Probes[p.Via] = explain.Probe{VPC: host.VPCs[p.VNI].ID, Node: p.Node, Target: p.Target}
		x.probes = append(x.probes, p.Via)
	}
	var uplink Device
	if x.in.feat.Uplink && !x.in.noUplink {
		uplink = Device{Ifindex: x.device(slotUplink), MAC: x.macOf(slotUplink)}
		facts.Devices[explain.UplinkPort] = explain.MAC(uplink.MAC)
	}
	if err := x.dp.Apply(host, devices, Doors{Service: Device{Ifindex: x.device(slotService), MAC: x.macOf(slotService)}, Uplink: uplink}); err != nil {
		x.t.Fatalf("apply: %v", err)
	}
	x.interfaces = slices.Collect(vpc.All[vpc.NetworkInterface](x.in.view))
	if x.model == nil {
		x.model = explain.New(x.in.view, facts)
	} else {
		x.model.Change(x.in.view, facts)
	}
}

// next is a random step.
func (x *modelRun) next(r *rand.Rand) modelStep {
	switch {
	case r.IntN(1000) < 15:
		return modelStep{change: 1 + r.Uint64()>>1}
	case r.IntN(1000) < 5:
		// with a part of a second, so that no sum of them is a timeout
		return modelStep{pass: pick(r, []time.Duration{20, 45, 100, 200, 400, 700, 1300})*time.Second + 370*time.Millisecond}
	}
	return modelStep{packet: x.nextTemplate(r)}
}

// run takes a step and says how the two disagree about it; drawing is what
// happened, for people.
func (x *modelRun) run(i int, s modelStep) (drawing string, err error) {
	switch {
	case s.change != 0:
		what := x.in.change(rand.New(rand.NewPCG(s.change, 2)))
		x.apply()
		return "change: " + what, nil
	case s.pass > 0:
		x.pass(s.pass)
		return fmt.Sprintf("%v pass", s.pass), nil
	}
	frame, ok := x.make(s.packet)
	if !ok || s.packet.from >= len(x.in.workloads) {
		return "", nil
	}
	from := x.port(s.packet.from)
	d, seen, err := x.try(s.packet.from, frame, s.packet.gso)
	if err != nil {
		return "", err
	}
	x.verdicts[string(seen.Action)+" "+seen.Reason]++
	drawing = fmt.Sprintf("from %s (%s): %s", from, s.packet, d)
	if err := x.model.Observe(d, seen); err != nil {
		return drawing, err
	}
	if err := x.sameFlows(from); err != nil {
		return drawing, err
	}
	x.sent[i], x.sender[i] = frame, s.packet.from
	if to, ok := x.slotOf(seen.To); ok && seen.Action == explain.Deliver {
		x.delivered[i] = delivery{to, seen.Frame}
	}
	if seen.Action == explain.Deliver || len(x.recent) < 5 {
		x.recent = append(x.recent, i)
	}
	return drawing, nil
}

// sameFlows compares how many flows the two count for an interface.
func (x *modelRun) sameFlows(id vpc.InterfaceID) error {
	number := vpc.Num(id)
	switch id {
	case explain.ServicePort:
		number = ServiceInterface
	case explain.UplinkPort:
		return nil
	}
	var have uint64
	if err := x.dp.objs.EniQuota.Lookup(number, &have); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	if want := x.model.Flows(id); uint64(want) != have {
		return fmt.Errorf("%s has %d flows by the programs' count, want %d", id, have, want)
	}
	return nil
}

// try asks the model what may become of a frame, and the programs what does.
func (x *modelRun) try(slot int, frame []byte, segment int) (explain.Decision, explain.Seen, error) {
	role := Workload
	switch slot {
	case slotService:
		role = Service
	case slotUplink:
		role = Uplink
	}
	from := x.port(slot)
	x.model.Pass(x.elapsed())
	d := x.model.Decide(from, frame, segment)
	v, err := x.dp.Try(role, x.device(slot), frame, segment)
	if err != nil {
		return d, explain.Seen{}, err
	}
	seen := explain.Seen{Reason: v.Reason.Name, Frame: v.Frame}
	switch v.Action {
	case ActionDrop:
		seen.Action = explain.Drop
	case ActionAnswer:
		seen.Action, seen.To = explain.Answer, from
		if v.Reason.Code == 0 {
			seen.Reason = ""
		}
	default:
		seen.Action, seen.Reason, seen.To = explain.Deliver, "", "a device of nobody"
		for to := slotUplink; to < len(x.in.workloads); to++ {
			if x.device(to) == v.Ifindex {
				seen.To = x.port(to)
			}
		}
	}
	return d, seen, nil
}

// elapsed is how much real time has gone by since it was last asked.
func (x *modelRun) elapsed() time.Duration {
	now := monotonic()
	d := time.Duration(now - x.clock)
	x.clock = now
	return d
}

// pass makes the connections older by d, which is what they see of time, and
// lets the collector look.
func (x *modelRun) pass(d time.Duration) {
	x.t.Helper()
	var k bpf.DatapathConnKey
	var v bpf.DatapathConn
	all := map[bpf.DatapathConnKey]bpf.DatapathConn{}
	for it := x.dp.objs.Conns.Iterate(); it.Next(&k, &v); {
		if v.LastSeen < uint64(d) {
			return // the machine has not been up for so long
		}
		v.LastSeen -= uint64(d)
		v.Created -= uint64(d)
		v.Refreshed -= min(v.Refreshed, uint64(d))
		all[k] = v
	}
	for k, v := range all {
		if err := x.dp.objs.Conns.Put(&k, &v); err != nil {
			x.t.Fatal(err)
		}
	}
	var fk bpf.DatapathFragmentKey
	var fv bpf.DatapathFragmentValue
	pieces := map[bpf.DatapathFragmentKey]bpf.DatapathFragmentValue{}
	for it := x.dp.objs.Fragments.Iterate(); it.Next(&fk, &fv); {
		fv.Seen -= min(fv.Seen, uint64(d))
		pieces[fk] = fv
	}
	for k, v := range pieces {
		if err := x.dp.objs.Fragments.Put(&k, &v); err != nil {
			x.t.Fatal(err)
		}
	}
	if _, err := x.dp.Collect(); err != nil {
		x.t.Fatal(err)
	}
	x.model.Pass(d + x.elapsed())
	x.model.Expire()
}

// newModelDevices makes the devices that installations use.
func newModelDevices(t testing.TB) []int {
	t.Helper()
	defer enter(t, lab.ns)()
	var out []int
	for i := range modelDevices {
		name := fmt.Sprintf("model%d", i)
		err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"})
		if err != nil {
			t.Fatal(err)
		}
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			defer enter(t, lab.ns)()
			if err := netlink.LinkDel(l); err != nil {
				t.Error(err)
			}
		})
		out = append(out, l.Attrs().Index)
	}
	return out
}

// TestTheProgramsAgreeWithTheModel runs random packets through random
// installations, before and after random changes, and requires the programs
// and the reference model to agree on every verdict, reason, output and byte.
func TestTheProgramsAgreeWithTheModel(t *testing.T) {
	needRoot(t)
	packets, first, worlds := modelPackets, uint64(1), 0
	if os.Getenv("POSTERN_LONG_TESTS") != "" {
		packets = modelPacketsLong
	}
	if s := os.Getenv("POSTERN_MODEL_PACKETS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		packets = n
	}
	worlds = packets / packetsPerWorld
	if s := os.Getenv("POSTERN_MODEL_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, worlds = n, 1
	}
	devices := newModelDevices(t)
	total := map[string]int{}
	for w := range worlds {
		seed := first + uint64(w)
		if !compare(t, seed, devices, total) {
			break
		}
	}
	if testing.Verbose() {
		for _, k := range slices.Sorted(maps.Keys(total)) {
			t.Logf("%7d %s", total[k], k)
		}
	}
}

// compare runs one installation. A disagreement is shrunk before it is shown.
func compare(t *testing.T, seed uint64, devices []int, total map[string]int) bool {
	t.Helper()
	defer enter(t, lab.ns)()
	x := newModelRun(t, seed, modelFeatures, devices)
	r := rand.New(rand.NewPCG(seed, 3))
	var steps []modelStep
	packets := 0
	for packets < packetsPerWorld {
		s := x.next(r)
		steps = append(steps, s)
		if s.packet != nil {
			packets++
		}
		drawing, err := x.run(len(steps)-1, s)
		if err != nil {
			x.close()
			t.Errorf("seed %d, step %d: %v\n%s", seed, len(steps)-1, err, drawing)
			if os.Getenv("POSTERN_MODEL_SHRINK") == "no" {
				return false
			}
			t.Logf("the same, shorter:\n%s", shrink(t, seed, devices, steps))
			return false
		}
	}
	for k, n := range x.verdicts {
		total[k] += n
	}
	x.close()
	return true
}

// shrink leaves out steps as long as what is left still ends in a disagreement.
func shrink(t *testing.T, seed uint64, devices []int, steps []modelStep) string {
	t.Helper()
	var story string
	fails := func(keep []bool) bool {
		x := newModelRun(t, seed, modelFeatures, devices)
		defer x.close()
		var b strings.Builder
		for i, s := range steps {
			if !keep[i] {
				continue
			}
			drawing, err := x.run(i, s)
			if drawing != "" {
				fmt.Fprintf(&b, "step %d: %s", i, strings.TrimRight(drawing, "\n"))
				fmt.Fprintln(&b)
			}
			if err != nil {
				for j := i + 1; j < len(steps); j++ {
					keep[j] = false
				}
				story = b.String() + err.Error()
				return true
			}
		}
		return false
	}
	keep := make([]bool, len(steps))
	for i := range keep {
		keep[i] = true
	}
	if !fails(keep) {
		return "it does not happen again: it depends on a choice of the programs"
	}
	// most stories need only what the last packet answers
	try := make([]bool, len(steps))
	for i, s := range steps {
		try[i] = keep[i] && s.packet == nil
	}
	for i := len(steps) - 1; i >= 0; {
		try[i] = true
		p := steps[i].packet
		if p == nil {
			break
		}
		i = max(p.reply, p.about, p.again) - 1
	}
	if fails(try) {
		keep = try
	}
	runs := 0
	for size := len(steps) / 2; size > 0 && runs < 100; size /= 2 {
		for lo := 0; lo < len(steps) && runs < 100; lo += size {
			hi := min(lo+size, len(steps))
			if !slices.Contains(keep[lo:hi], true) || hi == len(steps) && size > 1 {
				continue
			}
			try := slices.Clone(keep)
			for i := lo; i < hi; i++ {
				try[i] = false
			}
			runs++
			if fails(try) {
				keep = try
			}
		}
	}
	fails(keep)
	return story
}
