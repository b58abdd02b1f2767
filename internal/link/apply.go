// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"errors"
	"fmt"
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
// IPv6 is the same again, from the subnet's IPv6 block and by LinkLocalRouter
// and Resolver6. The device has those addresses and the link-local one that the
// kernel makes, and no other: advertisements of routers are not believed. Where
// IPv6 cannot be had (the kernel has none, or a workload's own namespace has it
// off), the device is made without and that is an error of its interface.
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
		case !ok || a.owner == serviceOwner || a.owner == uplinkOwner:
		case a.owner == "":
			// Interrupted before its alias: nothing inside is worth keeping.
			switch k.Attrs().Name {
			case hostName(l.cfg.Tag, serviceOwner), hostName(l.cfg.Tag, uplinkOwner), uplinkName(l.cfg.Tag):
			default:
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

	for _, j := range l.jobs(workloads, owned, byName, named) {
		if j.err != nil {
			errs[j.id] = errors.Join(errs[j.id], j.err)
		}
		if j.dev != nil {
			devices[j.id] = *j.dev
		}
	}
	return devices, errs
}

// jobs brings every workload's device about and returns what came of each. What
// is complete is known from the dump; the rest is done namespace by namespace,
// several at a time.
func (l *Links) jobs(workloads map[vpc.InterfaceID]desired.Workload, owned map[vpc.InterfaceID]netlink.Link,
	byName map[string]netlink.Link, named map[string]string) []*job {
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
	inodes := map[string]string{}         // names of our namespaces
	for name, inode := range named {
		inodes[inode] = name
	}
	var jobs []*job
	var places []*place
	at := map[string]*place{} // by path of ours, by inode of others'
	for _, id := range ids {
		w := workloads[id]
		j := &job{id: id, have: owned[id], held: byName[hostName(l.cfg.Tag, string(id))]}
		j.dev = existing(j.have, nil)
		jobs = append(jobs, j)
		if j.in, j.err = l.check(id, w); j.err != nil {
			continue
		}
		j.in.several = w.Instance != "" && count[w.Instance] > 1
		if w.External != nil && w.External.Ifname != "" {
			j.dev, j.err = foreign(id, w.External.Ifname, j.in.mac, byName, taken)
			continue
		}
		j.dev = existing(j.have, j.in.mac)
		p := &place{}
		key := ""
		if j.in.own {
			p.name = namespaceName(l.cfg.Tag, string(w.Instance))
			p.path, p.inode = namespacePath(p.name), named[p.name]
			key = p.path
		} else {
			if p.path, p.inode, j.err = l.externalNamespace(w.External); j.err != nil {
				j.err = fmt.Errorf("interface %s: %w", id, j.err)
				continue
			}
			if name, ours := inodes[p.inode]; ours {
				j.err = fmt.Errorf("interface %s: %s is the instance namespace %s: attach to the instance instead", id, p.path, name)
				continue
			}
			key = p.inode
		}
		if p.inode != "" && isComplete(j.have, l.cfg.Tag, j.in.digest(p.inode), l.cfg.MTU) {
			continue
		}
		if at[key] == nil {
			at[key] = p
			places = append(places, p)
		}
		at[key].jobs = append(at[key].jobs, j)
	}
	l.work(places)
	return jobs
}

// foreign is the device that `postern attach` named, which one interface only can have.
func foreign(id vpc.InterfaceID, name string, mac []byte, byName map[string]netlink.Link, taken map[string]vpc.InterfaceID) (*Device, error) {
	if other, ok := taken[name]; ok {
		return nil, fmt.Errorf("interface %s: device %s already belongs to interface %s", id, name, other)
	}
	k, err := foreignDevice(byName, name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", id, err)
	}
	taken[name] = id
	return existing(k, mac), nil
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
