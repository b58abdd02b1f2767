// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"postern.dev/postern/internal/vpc"
)

// job is one workload's device: what it should be, what there is, and what came of it.
type job struct {
	id   vpc.InterfaceID
	in   inside
	have netlink.Link // ours
	held netlink.Link // has the name that the device should have
	far  netlink.Link // the other end, once it is known
	dev  *Device
	// unmet says what of the wish cannot be had here; the rest is done, and
	// tried again with every Apply.
	unmet error
	err   error
}

// place is a namespace with work to do in it.
type place struct {
	name  string // of one of ours
	path  string
	inode string // "" if it is to be made
	jobs  []*job // by device index
}

// workers is how many namespaces are worked on at once. Devices are configured
// one after the other (see worker.turn); making a namespace takes as long, and
// needs no turn.
const workers = 3

// settingsPlaces is after how many namespaces a worker opens its settings anew:
// what was looked up in them grows with the namespaces.
const settingsPlaces = 32

// work does the jobs of all places.
func (l *Links) work(places []*place) {
	if len(places) == 0 {
		return
	}
	var failed error
	if slices.ContainsFunc(places, func(p *place) bool { return p.inode == "" }) {
		failed = prepareNetnsDir()
	}
	next := make(chan *place, len(places))
	for _, p := range places {
		next <- p
	}
	close(next)
	var wg sync.WaitGroup
	var turn sync.Mutex
	for range min(workers, len(places)) {
		wg.Go(func() {
			w := worker{turn: &turn}
			defer w.close()
			for p := range next {
				err := failed
				if err == nil {
					err = w.open(l.cfg.Tag)
				}
				if err == nil {
					err = w.do(p)
				}
				for _, j := range p.jobs {
					if j.err = errors.Join(err, j.err); j.err != nil && j.id != NoInterface {
						j.err = fmt.Errorf("interface %s: %w", j.id, j.err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// worker does the jobs of one place after the other.
type worker struct {
	tag string
	// turn is held while devices are configured. The kernel would let one
	// after the other do that anyway, and some of it tries again and again
	// meanwhile instead of waiting.
	turn     *sync.Mutex
	host     *netlink.Handle // nil before it is opened
	settings settings
	places   int
}

// open makes the worker ready for another place. It runs in the host's namespace.
func (w *worker) open(tag string) error {
	if w.places++; w.host != nil && w.places%settingsPlaces != 0 {
		return nil
	}
	w.close()
	var err error
	if w.settings, err = openSettings(); err != nil {
		return err
	}
	w.tag = tag
	if w.host, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		w.settings.close()
		return fmt.Errorf("open netlink socket: %w", err)
	}
	return nil
}

func (w *worker) close() {
	if w.host != nil {
		w.host.Close()
		w.settings.close()
		w.host = nil
	}
}

// do does the jobs of one place: first all that is done on a thread inside it,
// then what is the host's, which begins to carry packets last. The error is one
// of all of them.
func (w *worker) do(p *place) error {
	s := &site{worker: w}
	inside := func(ns *os.File, inode string) (err error) {
		s.ns, s.inode = ns, inode
		if s.here, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return fmt.Errorf("open netlink socket: %w", err)
		}
		defer s.here.Close()
		w.turn.Lock()
		defer w.turn.Unlock()
		if in := p.jobs[0].in; in.own {
			if err := s.prepare(in.owner == serviceOwner); err != nil {
				return fmt.Errorf("prepare %s: %w", p.path, err)
			}
		}
		for _, j := range p.jobs {
			s.pair(j)
		}
		return nil
	}
	var err error
	if p.inode == "" {
		s.links = []netlink.Link{} // nothing that could be in the way
		err = makeNamespace(p.name, inside)
	} else {
		var ns *os.File
		if ns, err = openNamespace(p.path); err == nil {
			err = inNamespace(ns, func() error { return inside(ns, p.inode) })
			ns.Close()
		}
	}
	if err != nil {
		return err
	}
	w.turn.Lock()
	defer w.turn.Unlock()
	for _, j := range p.jobs {
		if j.err == nil {
			j.err = w.finish(j, s.inode)
		}
		if j.err == nil {
			j.err = j.unmet
		}
	}
	return nil
}

func existing(k netlink.Link, mac []byte) *Device {
	if k == nil {
		return nil
	}
	d := deviceOf(k, mac)
	return &d
}

// isComplete reports from the dump alone that nothing is to be done.
func isComplete(k netlink.Link, tag, digest string, mtu int) bool {
	if k == nil {
		return false
	}
	a, ok := parseAlias(k.Attrs().Alias)
	return ok && a.tag == tag && a.digest == digest && k.Attrs().RawFlags&unix.IFF_UP != 0 && k.Attrs().MTU == mtu
}

// site is a namespace, for the thread that works inside it.
type site struct {
	*worker
	here  *netlink.Handle
	ns    *os.File
	inode string
	links []netlink.Link // all of here; nil if they must be read
}

// read lists the site's links unless they are known.
func (s *site) read() error {
	if s.links != nil {
		return nil
	}
	links, err := dump(s.here.LinkList)
	if err != nil {
		return fmt.Errorf("list links in %s: %w", s.ns.Name(), err)
	}
	s.links = links
	return nil
}

// pair makes the veth pair of a job, or repairs the one there is, and brings
// the far end to what it should be. A pair is made anew only when its far end is
// in another namespace: veth cannot be told to come back.
func (s *site) pair(j *job) {
	if j.have != nil {
		if j.far, j.err = s.farEnd(j.in, j.have.Attrs().Index); j.err != nil {
			return
		}
	}
	if j.have != nil && j.far == nil {
		if j.err = deleteLink(s.host, j.have); j.err != nil {
			return
		}
		if j.held != nil && j.held.Attrs().Index == j.have.Attrs().Index {
			j.held = nil
		}
		j.have, j.dev = nil, nil
	}
	if j.have == nil {
		name := hostName(s.tag, j.in.owner)
		if j.held != nil {
			j.err = fmt.Errorf("device %s exists and is not ours (its alias is %q): rename or remove it", name, j.held.Attrs().Alias)
			return
		}
		if j.have, j.far, j.err = s.create(j.in, name); j.err != nil {
			return
		}
		j.dev = existing(j.have, j.in.mac)
	}
	name := alias{tag: s.tag, owner: j.in.owner}.String()
	if j.have.Attrs().Alias != name {
		if err := s.host.LinkSetAlias(j.have, name); err != nil {
			j.err = fmt.Errorf("set alias of %s: %w", j.have.Attrs().Name, err)
			return
		}
	}
	if j.unmet = s.withoutIPv6(j.in); j.unmet != nil {
		j.in.ipv6 = nil
	}
	if err := s.configure(j.in, name, j.far); err != nil {
		j.err = fmt.Errorf("configure %s: %w", s.ns.Name(), err)
	}
}

// farEnd is the end in here of the pair whose host side has an index; nil if it
// is in another namespace.
func (s *site) farEnd(in inside, hostIndex int) (netlink.Link, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	want := alias{tag: s.tag, owner: in.owner}
	for _, k := range s.links {
		a, named := parseAlias(k.Attrs().Alias)
		if k.Type() != "veth" || k.Attrs().ParentIndex != hostIndex {
			continue
		}
		// Index numbers repeat between namespaces: without an alias only the
		// address that the pair was created with tells it is ours.
		if named && a == want || k.Attrs().Alias == "" && bytes.Equal(k.Attrs().HardwareAddr, in.mac) {
			return k, nil
		}
	}
	return nil, nil
}

// create makes the pair with the far end already in here, both down.
func (s *site) create(in inside, name string) (host, far netlink.Link, err error) {
	for try := 0; ; try++ {
		if err := s.read(); err != nil {
			return nil, nil, err
		}
		peer := in.name
		if peer == "" {
			peer = freeName(s.links, in.prefix, in.index)
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.HardwareAddr = name, in.mtu, derivedMAC(s.tag, name)
		veth := netlink.NewVeth(attrs)
		veth.PeerName, veth.PeerHardwareAddr, veth.PeerMTU = peer, in.mac, uint32(in.mtu)
		veth.PeerNamespace = netlink.NsFd(int(s.ns.Fd()))
		err = s.host.LinkAdd(veth)
		if errors.Is(err, unix.EEXIST) && try < 4 {
			s.links = nil // somebody in there took the name meanwhile
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("make device %s with %s in %s: %w", name, peer, s.ns.Name(), err)
		}
		made, err := s.host.LinkByName(name)
		if err != nil {
			return nil, nil, fmt.Errorf("find device %s just made: %w", name, err)
		}
		end := netlink.NewLinkAttrs()
		end.Name, end.Index, end.ParentIndex = peer, made.Attrs().ParentIndex, made.Attrs().Index
		end.MTU, end.HardwareAddr = in.mtu, in.mac
		far := &netlink.Veth{LinkAttrs: end}
		s.links = append(s.links, far)
		return made, far, nil
	}
}

// finish configures the host side of a job whose far end is as it should be,
// and writes the finished alias last. It runs in the host's namespace.
func (w *worker) finish(j *job, inode string) error {
	at := j.have.Attrs()
	// The host takes no part in the network on this device: no address of its
	// own, and no answer to anybody who asks for one of the host's.
	if err := w.settings.set(
		[2]string{"ipv6/conf/" + at.Name + "/disable_ipv6", "1"},
		[2]string{"ipv4/conf/" + at.Name + "/arp_ignore", "8"},
	); err != nil {
		return err
	}
	if at.MTU != j.in.mtu {
		if err := w.host.LinkSetMTU(j.have, j.in.mtu); err != nil {
			return fmt.Errorf("set mtu of %s: %w", at.Name, err)
		}
	}
	if err := w.host.LinkSetUp(j.have); err != nil {
		return fmt.Errorf("bring %s up: %w", at.Name, err)
	}
	done := alias{tag: w.tag, owner: j.in.owner}
	if j.unmet == nil {
		done.digest = j.in.digest(inode)
	}
	if err := w.host.LinkSetAlias(j.have, done.String()); err != nil {
		return fmt.Errorf("set alias of %s: %w", at.Name, err)
	}
	return nil
}
