// SPDX-License-Identifier: Apache-2.0

// Package bpf holds the eBPF datapath: its C sources, the object compiled
// from them and the generated Go shapes of its maps. It is imported by
// internal/datapath only. The object is committed, so building Postern needs
// no C compiler; `go generate ./bpf` makes it again with clang 19 and the
// headers of libbpf and the kernel (packages libbpf-dev and linux-libc-dev).
package bpf

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -go-package bpf -output-stem datapath -cc clang-19 -strip llvm-strip-19 -target bpfel -type addr -type interface_kind -type route_kind -type conn_kind -type action -type counter -type packet -type layout -type port_flag -type interface_flag -type listener_flag -type seen -type conn_flag -type proxy_layout -type proxy_state -type collected -type slot_key -type overlay_kind -type usage_place -type usage Datapath datapath.c -- -O2 -g -mcpu=v3 -Wall -Wextra -Wno-unused-parameter -Werror -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu
//go:generate go run ./internal/reasons
