// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"errors"
	"fmt"
	"os"
	"sort"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// NoInterface is the key of errors that belong to no interface: a list that
// could not be read, a namespace that would not go.
const NoInterface vpc.InterfaceID = ""

// Apply brings the host's devices and namespaces to exactly workloads: missing
// ones are made, changed ones repaired in place, those no longer wished are
// removed. Repeating it changes nothing.
//
// An instance gets a namespace "postern-<tag>-<instance id>" under /run/netns
// and in it eth<n> for the interface with device index n. eth0 has the default
// route; what leaves from the address of another interface leaves through that
// one, by a rule and a routing table of its own.
// When an instance's last interface goes, processes still inside are ended
// (SIGTERM, SIGKILL after 3 s) and the namespace goes too.
//
// A workload given by namespace path or process id gets the first free eth<n>
// there, and the default route only if the namespace has none; otherwise only
// a route to the VPC's resolver, and what else is to go through the VPC is its
// owner's to add. The namespace itself is never changed or removed, only our
// device in it. One given by
// device name is used as it is and never touched.
//
// What a workload does to its own end (an address it adds or removes) is its
// own affair and is not looked at; it loses its own connection at most. A nil
// map is the wish for nothing: do not call before the wish is known.
//
// The result is what is true afterwards: devices holds every workload's
// device that exists, also where errs says that something about it failed.
func (l *Links) Apply(workloads map[vpc.InterfaceID]desired.Workload) (map[vpc.InterfaceID]Device, map[vpc.InterfaceID]error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	devices := map[vpc.InterfaceID]Device{}
	errs := map[vpc.InterfaceID]error{}
	h, links, err := hostLinks()
	if err != nil {
		errs[NoInterface] = err
		return devices, errs
	}
	defer h.Close()
	named, err := namespaces(l.cfg.Tag)
	if err != nil {
		errs[NoInterface] = err
		return devices, errs
	}

	byName := map[string]netlink.Link{}
	owned := map[vpc.InterfaceID]netlink.Link{}
	var unwanted []netlink.Link
	for _, k := range links {
		byName[k.Attrs().Name] = k
		a, ok := claimed(k, l.cfg.Tag)
		switch id := vpc.InterfaceID(a.owner); {
		case !ok || a.owner == serviceOwner:
		case a.owner == "":
			// Interrupted before its alias: nothing inside is worth keeping.
			if k.Attrs().Name != hostName(l.cfg.Tag, serviceOwner) {
				unwanted = append(unwanted, k)
			}
		case owned[id] != nil:
			unwanted = append(unwanted, k)
		default:
			if w, ok := workloads[id]; ok && (w.External == nil || w.External.Ifname == "") {
				owned[id] = k
			} else {
				unwanted = append(unwanted, k)
			}
		}
	}

	// Remove first: a name or an address may be wanted by something new.
	keep := map[string]bool{namespaceName(l.cfg.Tag, serviceOwner): true}
	for _, w := range workloads {
		if w.Instance != "" {
			keep[namespaceName(l.cfg.Tag, string(w.Instance))] = true
		}
	}
	var gone []string
	for name := range named {
		if !keep[name] {
			gone = append(gone, name)
		}
	}
	sort.Strings(gone)
	_, nsErrs := removeNamespaces(gone)
	for _, name := range gone {
		errs[NoInterface] = errors.Join(errs[NoInterface], nsErrs[name])
	}
	for _, k := range unwanted {
		if err := deleteLink(h, k); err != nil {
			a, _ := claimed(k, l.cfg.Tag)
			id := vpc.InterfaceID(a.owner)
			errs[id] = errors.Join(errs[id], err)
			continue
		}
		delete(byName, k.Attrs().Name)
	}
	if errs[NoInterface] == nil {
		delete(errs, NoInterface)
	}

	ids := make([]vpc.InterfaceID, 0, len(workloads))
	for id := range workloads {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool {
		if a, b := workloads[ids[i]].Index, workloads[ids[j]].Index; a != b {
			return a < b
		}
		return ids[i] < ids[j]
	})
	count := map[vpc.InstanceID]int{} // of interfaces
	for _, w := range workloads {
		count[w.Instance]++
	}
	taken := map[string]vpc.InterfaceID{} // foreign devices by name
	for _, id := range ids {
		w := workloads[id]
		dev, err := l.applyOne(h, id, w, owned[id], byName, named, taken, w.Instance != "" && count[w.Instance] > 1)
		if err != nil {
			errs[id] = errors.Join(errs[id], err)
		}
		if dev != nil {
			devices[id] = *dev
		}
	}
	return devices, errs
}

// applyOne brings one workload's device about. The device is nil when there is
// none. several says that its instance has more than this interface.
func (l *Links) applyOne(h *netlink.Handle, id vpc.InterfaceID, w desired.Workload, have netlink.Link,
	byName map[string]netlink.Link, named map[string]string, taken map[string]vpc.InterfaceID, several bool) (*Device, error) {
	in, err := l.check(id, w)
	if err != nil {
		return existing(have, nil), err
	}
	in.several = several
	if w.External != nil && w.External.Ifname != "" {
		name := w.External.Ifname
		if other, ok := taken[name]; ok {
			return nil, fmt.Errorf("interface %s: device %s already belongs to interface %s", id, name, other)
		}
		k, err := foreignDevice(byName, name)
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", id, err)
		}
		taken[name] = id
		return existing(k, in.mac), nil
	}

	var path, inode string
	if in.own {
		name := namespaceName(l.cfg.Tag, string(w.Instance))
		path, inode = namespacePath(name), named[name]
		if inode == "" {
			if inode, err = makeNamespace(name); err != nil {
				return existing(have, in.mac), fmt.Errorf("interface %s: %w", id, err)
			}
			named[name] = inode
		}
	} else {
		if path, inode, err = l.externalNamespace(w.External); err != nil {
			return existing(have, in.mac), fmt.Errorf("interface %s: %w", id, err)
		}
		for name, ino := range named {
			if ino == inode {
				return existing(have, in.mac), fmt.Errorf("interface %s: %s is the instance namespace %s: attach to the instance instead", id, path, name)
			}
		}
	}
	if isComplete(have, l.cfg.Tag, in.digest(inode), l.cfg.MTU) {
		return existing(have, in.mac), nil
	}
	dev, err := l.pair(h, in, path, inode, have, byName)
	if err != nil {
		return dev, fmt.Errorf("interface %s: %w", id, err)
	}
	return dev, nil
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

// pair makes the veth pair of in, or repairs the one whose host side is have,
// and writes the finished alias last. A pair is made anew only when its far
// end is in another namespace: veth cannot be told to come back.
func (l *Links) pair(h *netlink.Handle, in inside, path, inode string, have netlink.Link, byName map[string]netlink.Link) (*Device, error) {
	ns, err := openNamespace(path)
	if err != nil {
		return existing(have, in.mac), err
	}
	defer ns.Close()
	if in.own {
		if err := inNamespace(ns, func() error { return prepareInside(in.owner == serviceOwner) }); err != nil {
			return existing(have, in.mac), fmt.Errorf("prepare %s: %w", path, err)
		}
	}
	if have != nil {
		err := l.configure(h, in, ns, inode, have)
		if !errors.Is(err, errNoPeer) {
			return existing(have, in.mac), err
		}
		if err := deleteLink(h, have); err != nil {
			return existing(have, in.mac), err
		}
		delete(byName, have.Attrs().Name)
	}

	name := hostName(l.cfg.Tag, in.owner)
	if k := byName[name]; k != nil {
		return nil, fmt.Errorf("device %s exists and is not ours (its alias is %q): rename or remove it", name, k.Attrs().Alias)
	}
	made, err := l.create(h, in, name, ns)
	if err != nil {
		return nil, err
	}
	byName[name] = made
	return existing(made, in.mac), l.configure(h, in, ns, inode, made)
}

// create makes the pair with the far end already inside ns, both down.
func (l *Links) create(h *netlink.Handle, in inside, name string, ns *os.File) (netlink.Link, error) {
	for try := 0; ; try++ {
		peer := in.prefix + "0"
		err := inNamespace(ns, func() (err error) {
			peer, err = freeName(in.prefix, in.index)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("choose a device name in %s: %w", ns.Name(), err)
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.HardwareAddr = name, in.mtu, derivedMAC(l.cfg.Tag, name)
		veth := netlink.NewVeth(attrs)
		veth.PeerName, veth.PeerHardwareAddr, veth.PeerMTU = peer, in.mac, uint32(in.mtu)
		veth.PeerNamespace = netlink.NsFd(int(ns.Fd()))
		err = h.LinkAdd(veth)
		if errors.Is(err, unix.EEXIST) && try < 4 {
			continue // somebody in there took the name meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("make device %s with %s in %s: %w", name, peer, ns.Name(), err)
		}
		made, err := h.LinkByName(name)
		if err != nil {
			return nil, fmt.Errorf("find device %s just made: %w", name, err)
		}
		return made, nil
	}
}

// configure brings both ends of a pair to what in says.
func (l *Links) configure(h *netlink.Handle, in inside, ns *os.File, inode string, host netlink.Link) error {
	at := host.Attrs()
	want := alias{tag: l.cfg.Tag, owner: in.owner}
	if at.Alias != want.String() {
		if err := h.LinkSetAlias(host, want.String()); err != nil {
			return fmt.Errorf("set alias of %s: %w", at.Name, err)
		}
	}
	// The host takes no part in the network on this device: no address of its
	// own, and no answer to anybody who asks for one of the host's.
	if err := sysctls(
		[2]string{"net/ipv6/conf/" + at.Name + "/disable_ipv6", "1"},
		[2]string{"net/ipv4/conf/" + at.Name + "/arp_ignore", "8"},
	); err != nil {
		return err
	}
	if err := inNamespace(ns, func() error { return configureInside(in, l.cfg.Tag, at.Index) }); err != nil {
		return fmt.Errorf("configure %s: %w", ns.Name(), err)
	}
	if at.MTU != in.mtu {
		if err := h.LinkSetMTU(host, in.mtu); err != nil {
			return fmt.Errorf("set mtu of %s: %w", at.Name, err)
		}
	}
	if err := h.LinkSetUp(host); err != nil {
		return fmt.Errorf("bring %s up: %w", at.Name, err)
	}
	want.digest = in.digest(inode)
	if err := h.LinkSetAlias(host, want.String()); err != nil {
		return fmt.Errorf("set alias of %s: %w", at.Name, err)
	}
	return nil
}

// deleteLink removes a device by index; one that is already gone counts as removed.
func deleteLink(h *netlink.Handle, k netlink.Link) error {
	err := h.LinkDel(k)
	if err == nil || errors.Is(err, unix.ENODEV) {
		return nil
	}
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	return fmt.Errorf("remove device %s: %w", k.Attrs().Name, err)
}
