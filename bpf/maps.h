// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_MAPS_H
#define POSTERN_MAPS_H

/* The maps, pinned by name but for the last two. The agent writes those above
 * the line, packets write those below it. The size of conns is the loader's. */

#include "types.h"

#define MAP(name_, type_, key_, value_, max_, flags_)       \
	struct {                                            \
		__uint(type, type_);                        \
		__uint(max_entries, max_);                  \
		__uint(map_flags, flags_);                  \
		__type(key, key_);                          \
		__type(value, value_);                      \
	} name_ SEC(".maps")

#define HASH_MAP(name_, key_, value_, max_) MAP(name_, BPF_MAP_TYPE_HASH, key_, value_, max_, BPF_F_NO_PREALLOC)
#define LPM_MAP(name_, key_, value_, max_) MAP(name_, BPF_MAP_TYPE_LPM_TRIE, key_, value_, max_, BPF_F_NO_PREALLOC)

MAP(meta, BPF_MAP_TYPE_ARRAY, __u32, __u64, 1, 0);
HASH_MAP(ports, __u32, struct port, 65536);
HASH_MAP(interfaces, struct interface_key, struct interface, 262144);
HASH_MAP(subnets, __u64, struct subnet, 65536);
LPM_MAP(routes, struct route_key, struct route, 1048576);
LPM_MAP(rule_peers, struct rule_peer_key, __u64, 4194304);
LPM_MAP(rule_ports, struct rule_port_key, __u8, 1048576);
HASH_MAP(endpoints, __u64, struct endpoint, 262144);
HASH_MAP(listeners, struct listener_key, struct listener, 262144);
HASH_MAP(maglev, struct slot_key, struct backend, 1048576);
HASH_MAP(probes, struct addr, struct probe, 65536);
HASH_MAP(publics, struct addr, struct public, 262144);
HASH_MAP(cuts, struct cut_key, __u8, 262144);
HASH_MAP(places, __u64, struct public, 262144);
HASH_MAP(links, __u32, __u64, 262144); /* the endpoint of each */
MAP(overlay, BPF_MAP_TYPE_ARRAY, __u32, struct overlay, 1, 0);
/* Counts the agent's changes of the maps above: raised after they are written,
 * never 0 once the agent has run. What was concluded under another generation
 * is not believed. */
MAP(generation, BPF_MAP_TYPE_ARRAY, __u32, __u64, 1, 0);
MAP(dns_rate, BPF_MAP_TYPE_ARRAY, __u32, __u64, 1, 0); /* ns for each packet to the resolver; 0: the default */
/* The edge writes these two. An entry of dns_answers is never changed, and none
 * is added between a deletion and the end of all packets that may be reading. */
HASH_MAP(dns_spaces, __u32, __u64, 65536);
HASH_MAP(dns_answers, struct dns_key, struct dns_answer, 262144);
/* ---- */
HASH_MAP(conns, struct conn_key, struct conn, 1048576);
HASH_MAP(eni_quota, __u64, __u64, 262144);
HASH_MAP(fragments, struct fragment_key, struct fragment_value, 1048576);
HASH_MAP(crowds, struct crowd_key, struct crowd, 65536);
HASH_MAP(drops, struct drop_key, struct drop_value, 262144);
HASH_MAP(usages, __u64, struct usage, 262144); /* the agent makes and removes the entries */
HASH_MAP(dns_askers, __u64, __u64, 262144);
MAP(dns_answered, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, 1, 0);
MAP(counters, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, COUNT_MAX, 0);
MAP(scratches, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct scratch, 1, 0);
MAP(collections, BPF_MAP_TYPE_ARRAY, __u32, struct collected, 1, 0);

/* Set by the loader before the programs are verified. Times are ns. */
const volatile __u64 timeout_syn = 30000000000ull;
const volatile __u64 timeout_tcp = 432000000000000ull;
const volatile __u64 timeout_tcp_nat = 350000000000ull;
const volatile __u64 timeout_closing = 30000000000ull;
const volatile __u64 timeout_udp = 30000000000ull;
const volatile __u64 timeout_udp_stream = 180000000000ull;
const volatile __u64 timeout_udp_nat = 120000000000ull;
const volatile __u64 timeout_icmp = 30000000000ull;
const volatile __u64 timeout_other = 600000000000ull;
const volatile __u64 refresh_every = 1000000000ull; /* far below any timeout */
const volatile __u64 timeout_fragment = 30000000000ull;
const volatile __u64 quota = 65536;
const volatile __u32 mss = 8460;
const volatile __u32 port_first = 1024; /* source ports towards targets */
const volatile __u32 port_last = 65535;

static __always_inline struct scratch *scratch_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratches, &zero);
}

static __always_inline void count(__u32 which, __u64 n)
{
	__u64 *v = bpf_map_lookup_elem(&counters, &which);

	if (v)
		*v += n;
}

#endif
