// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/link"
	"postern.dev/postern/internal/vpc"
)

// numbers says what the datapath's numbers stand for.
type numbers struct {
	names    map[uint64]admin.Name
	spaces   map[vpc.VNI]admin.Space
	peerings map[vpc.VNI]string // ids, by the space of their flows
}

// readNumbers asks the server. Packets are carried and counted without one,
// so that there is none is said and not an error: then numbers show as such.
func readNumbers(ctx context.Context, o *options, errOut io.Writer) numbers {
	cl := newClient(o)
	defer cl.Close()
	list, err := cl.Names(ctx)
	if err != nil {
		fmt.Fprintf(errOut, "postern: %v; ids and names are missing\n", err)
	}
	return newNumbers(list)
}

func newNumbers(list admin.Names) numbers {
	n := numbers{names: map[uint64]admin.Name{}, spaces: map[vpc.VNI]admin.Space{}, peerings: map[vpc.VNI]string{}}
	for _, x := range list.Names {
		if num, err := strconv.ParseUint(x.Num, 10, 64); err == nil {
			n.names[num] = x
			if x.Kind == vpc.KindPeering {
				n.peerings[datapath.PeeringSpace(num)] = x.ID
			}
		}
	}
	for _, s := range list.Spaces {
		n.spaces[s.VNI] = s
	}
	return n
}

// id is the AWS id a number stands for; an unknown one shows as a number.
func (n numbers) id(num uint64) string {
	switch {
	case num == 0:
		return ""
	case datapath.OwnName(num) != "":
		return datapath.OwnName(num)
	case n.names[num].ID != "":
		return n.names[num].ID
	}
	return fmt.Sprintf("#%016x", num)
}

// name is what people call an interface: its Name tag, else its instance.
func (n numbers) name(num uint64) string {
	x := n.names[num]
	if x.Name != "" {
		return x.Name
	}
	return string(x.Instance)
}

// isInterface reports whether a number is that of an interface or instance.
func (n numbers) isInterface(num uint64, id string) bool {
	x := n.names[num]
	return num != 0 && (n.id(num) == id || x.Instance != "" && string(x.Instance) == id)
}

// vpcOf is the VPC a VNI is the number of, or the one its link belongs to; or
// the peering whose flows have it.
func (n numbers) vpcOf(v vpc.VNI) string {
	if space, far := datapath.ClientSpace(v); far {
		return n.vpcOf(space) + "@other-host"
	}
	switch s := n.spaces[v]; {
	case v == 0:
		return ""
	case v == vpc.ServiceVNI:
		return "service"
	case v == vpc.UplinkVNI:
		return "uplink"
	case n.peerings[v] != "":
		return n.peerings[v]
	case s.VPC != "":
		return string(s.VPC)
	}
	return fmt.Sprintf("vni-%d", v)
}

// mapsOf opens the maps of o's installation for reading.
func mapsOf(o *options) (*datapath.Reader, error) {
	if err := needRoot("reading the datapath's maps"); err != nil {
		return nil, err
	}
	tag, err := link.TagFor(o.dataDir)
	if err != nil {
		return nil, err
	}
	r, err := datapath.OpenReader(pinDir(tag))
	if err != nil {
		return nil, fmt.Errorf("%w\nIs this the data directory of an installation that carries packets? It is %s; choose with --data-dir", err, o.dataDir)
	}
	return r, nil
}
