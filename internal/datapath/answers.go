// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/vpc"
)

// Answer is what the VPC's resolver says to one question about what the VPC has
// itself: with it the programs answer the question when it is asked again.
type Answer struct {
	VNI vpc.VNI
	// Space is the number of the state of the VPC's names that this is of.
	Space uint64
	Name  []byte // in wire form and lower case
	Type  uint16

	Authoritative   bool
	Rcode           int
	Answers, Others int // records of the answer and of the authority section
	// Body is what comes after the question, without an OPT record. Its last
	// Rotated records, of Record bytes each, are in no order.
	Body            []byte
	Rotated, Record int
}

// Answers is where the resolver leaves its answers for the programs. It needs no
// privilege, only the maps' descriptors. Its methods may be called from several
// goroutines.
type Answers struct {
	spaces, answers *ebpf.Map
	now             func() time.Time
	wait            func() error
	failed          func(error)

	mu       sync.Mutex
	closed   bool
	live     map[vpc.VNI]uint64 // what spaces holds
	counts   map[uint64]int     // entries of answers by space, dead ones too
	total    int
	sweeping bool
	swept    time.Time
}

// sweepEvery is how often entries are looked through for those to delete.
const sweepEvery = 10 * time.Second

// AnswersFiles are the maps of Answers, for handing to a process without
// privileges (as inherited descriptors). Only one process may have them.
func (d *Datapath) AnswersFiles() (spaces, answers *os.File, err error) {
	if spaces, err = writable(d.dir, "dns_spaces"); err != nil {
		return nil, nil, err
	}
	if answers, err = writable(d.dir, "dns_answers"); err != nil {
		spaces.Close()
		return nil, nil, err
	}
	return spaces, answers, nil
}

func writable(pinDir, name string) (*os.File, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(mapDir(pinDir), name), nil)
	if err != nil {
		return nil, fmt.Errorf("open map %s: %w", name, err)
	}
	defer m.Close()
	fd, err := unix.FcntlInt(uintptr(m.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate descriptor of map %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// OpenAnswers uses descriptors made by AnswersFiles, which it takes over. The
// maps must be empty, as ForgetAnswers leaves them. failed is told, on a goroutine
// of its own, why no more answers are kept from then on.
func OpenAnswers(spaces, answers uintptr, failed func(error)) (*Answers, error) {
	s, err := ebpf.NewMapFromFD(int(spaces))
	if err != nil {
		return nil, fmt.Errorf("use descriptor %d as map dns_spaces: %w", spaces, err)
	}
	a, err := ebpf.NewMapFromFD(int(answers))
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("use descriptor %d as map dns_answers: %w", answers, err)
	}
	if s.Type() != ebpf.Hash || s.KeySize() != 4 || s.ValueSize() != 8 || a.Type() != ebpf.Hash ||
		uintptr(a.KeySize()) != unsafe.Sizeof(bpf.DatapathDnsKey{}) || uintptr(a.ValueSize()) != unsafe.Sizeof(bpf.DatapathDnsAnswer{}) {
		s.Close()
		a.Close()
		return nil, fmt.Errorf("descriptors %d and %d are %s and %s, not the maps of answers of this version", spaces, answers, s, a)
	}
	return &Answers{spaces: s, answers: a, now: time.Now, wait: gracePeriod, failed: failed, live: map[vpc.VNI]uint64{}, counts: map[uint64]int{}}, nil
}

// Close closes the descriptors.
func (a *Answers) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	return errors.Join(a.spaces.Close(), a.answers.Close())
}

// SetSpaces says which state of its names each VPC is in. When it has returned,
// no question is answered from another; a VPC that is not here has none.
func (a *Answers) SetSpaces(want map[vpc.VNI]uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for vni := range a.live {
		if _, ok := want[vni]; !ok {
			if err := a.drop(vni); err != nil {
				return err
			}
		}
	}
	for vni, number := range want {
		if a.live[vni] == number {
			continue
		}
		if err := a.spaces.Put(uint32(vni), number); err != nil {
			// Full, perhaps: without a number the resolver answers.
			if err := a.drop(vni); err != nil {
				return err
			}
			continue
		}
		a.live[vni] = number
	}
	return nil
}

// drop takes a VPC's number away. It is called with mu.
func (a *Answers) drop(vni vpc.VNI) error {
	if err := a.spaces.Delete(uint32(vni)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete from map dns_spaces at %d: %w", vni, err)
	}
	delete(a.live, vni)
	return nil
}

// Keep has the programs give an answer from now on, if they can: it must be
// short, of a space that SetSpaces has named, and within the space's share.
func (a *Answers) Keep(n Answer) {
	k := bpf.DatapathDnsKey{Space: n.Space, Vni: uint32(n.VNI), Type: n.Type}
	v := bpf.DatapathDnsAnswer{Rcode: uint8(n.Rcode), Answers: uint16(n.Answers), Others: uint16(n.Others), Len: uint16(len(n.Body)), Sum: sum16(n.Body)}
	if len(n.Name) > len(k.Name) || len(n.Body) > len(v.Body) || n.Rotated > len(v.Body) || n.Rotated*n.Record > len(n.Body) {
		return
	}
	copy(k.Name[:], n.Name)
	copy(v.Body[:], n.Body)
	if n.Authoritative {
		v.Flags = 0x04 // AA
	}
	if n.Rotated > 1 {
		v.At, v.Count, v.Size = uint16(len(n.Body)-n.Rotated*n.Record), uint8(n.Rotated), uint8(n.Record)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.live[n.VNI] != n.Space || n.Space == 0 || a.sweeping {
		return
	}
	// A space may have as much as it leaves free: one alone half of all, and
	// there is always room for another.
	if a.counts[n.Space] >= int(a.answers.MaxEntries())-a.total {
		a.sweep()
		return
	}
	// Only what is not there is written: an entry that changed could be read
	// while it does.
	if a.answers.Update(&k, &v, ebpf.UpdateNoExist) == nil {
		a.counts[n.Space]++
		a.total++
	}
}

// sweep begins to delete the entries of spaces that are no more, or else of those
// that have used up their share, which then begin anew. It is called with mu.
func (a *Answers) sweep() {
	if a.now().Sub(a.swept) < sweepEvery {
		return
	}
	live := map[uint64]bool{}
	for _, number := range a.live {
		live[number] = true
	}
	room := int(a.answers.MaxEntries()) - a.total
	gone := map[uint64]bool{}
	for number, n := range a.counts {
		if !live[number] {
			gone[number] = true
			room += n
		}
	}
	for number, n := range a.counts {
		if live[number] && n >= room {
			gone[number] = true
		}
	}
	a.sweeping, a.swept = true, a.now()
	go func() {
		err := forgetKeys(a.answers, func(k bpf.DatapathDnsKey) bool { return gone[k.Space] })
		if err != nil {
			err = fmt.Errorf("delete from map dns_answers: %w", err)
		} else {
			// What is deleted may be being read: nothing may take its place yet.
			err = a.wait()
		}
		a.mu.Lock()
		closed := a.closed
		if err == nil {
			for number := range gone {
				a.total -= a.counts[number]
				delete(a.counts, number)
			}
			a.sweeping = false
		}
		a.mu.Unlock()
		// Otherwise no more is kept: sweeping stays. That the maps are closed may be why.
		if err != nil && !closed {
			a.failed(err)
		}
	}()
}

// forgetKeys deletes the entries whose keys are chosen, of a map that nobody else writes.
func forgetKeys[K any](m *ebpf.Map, which func(K) bool) error {
	var gone []K
	var k K
	err := m.NextKey(nil, &k)
	for ; err == nil; err = m.NextKey(&k, &k) {
		if which(k) {
			gone = append(gone, k)
		}
	}
	if !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	for i := range gone {
		if err := m.Delete(&gone[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

// ForgetAnswers has no question answered by the programs until a new process
// with the maps says so; the one before must have ended.
func (d *Datapath) ForgetAnswers() error {
	if err := d.ForgetSpaces(); err != nil {
		return err
	}
	if err := forgetKeys(d.objs.DnsAnswers, func(bpf.DatapathDnsKey) bool { return true }); err != nil {
		return fmt.Errorf("empty map dns_answers: %w", err)
	}
	return gracePeriod()
}

// ForgetSpaces has the resolver answer everything from now on.
func (d *Datapath) ForgetSpaces() error {
	if err := forgetKeys(d.objs.DnsSpaces, func(uint32) bool { return true }); err != nil {
		return fmt.Errorf("empty map dns_spaces: %w", err)
	}
	return nil
}

// LimitResolver sets how many packets a second an interface may send to its
// VPC's resolver; 0 is AWS's number.
func (d *Datapath) LimitResolver(perSecond int) error {
	var cost uint64
	if perSecond > 0 {
		cost = max(uint64(time.Second)/uint64(perSecond), 1)
	}
	if err := d.objs.DnsRate.Put(uint32(0), cost); err != nil {
		return fmt.Errorf("write map dns_rate: %w", err)
	}
	return nil
}

// sum16 is the ones' complement sum of bytes as the machine's words, as the
// kernel adds up what is to lie in memory.
func sum16(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.NativeEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(binary.NativeEndian.Uint16([]byte{b[len(b)-1], 0}))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
