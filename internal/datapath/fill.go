// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
)

// Fill adds the rules, routes, endpoints and interfaces of host to the maps
// pinned under pinDir and takes nothing away. The agent whose maps they are
// does not know of them and lets them be. It is for measuring what a packet
// costs among many things that do not concern it.
func Fill(pinDir string, host desired.Host) error {
	spec, err := bpf.LoadDatapath()
	if err != nil {
		return fmt.Errorf("read the embedded programs: %w", err)
	}
	cfg := Config{PinDir: pinDir}
	if err := errors.Join(configure(spec, cfg), checkLayout(spec, cfg)); err != nil {
		return err
	}
	var maps bpf.DatapathMaps
	if err := spec.LoadAndAssign(&maps, &ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: mapDir(pinDir)}}); err != nil {
		return fmt.Errorf("open the pinned maps: %w", err)
	}
	defer maps.Close()
	t, err := openTables(&maps)
	if err != nil {
		return err
	}
	var b builder
	want, err := b.build(host, nil, Doors{})
	if err != nil {
		return err
	}
	return inOrder(
		func() error { return t.rulePorts.add(want.rulePorts) },
		func() error { return t.rulePeers.add(want.rulePeers) },
		func() error { return t.routes.add(want.routes) },
		func() error { return t.endpoints.add(want.endpoints) },
		func() error { return t.interfaces.add(want.interfaces) },
		t.raise,
	)
}
