// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_MIGRATE_H
#define POSTERN_MIGRATE_H

/* Connections that the programs of the layout before this one have entered. All
 * devices switch to these programs at one moment, while conns is empty; from
 * then on a connection that is missed is looked for in the old table and moved
 * over, and the agent moves those that no packet asks for (migrate). Once the
 * old table is empty the agent clears migrating, and nothing here is asked.
 *
 * Both halves of a flow are entered here before either is deleted there. So who
 * finds nothing there finds here what another CPU has just moved. */

#include "maps.h"

/* conns of layout 3. Its keys were those of today. */
struct conn_3 {
	__u64 eni;
	__u64 target;
	__u64 endpoint;
	__u64 created;
	__u64 last_seen;
	__u64 packets[2];
	__u64 bytes[2];
	__u64 generation;
	struct conn_key peer;
	__u32 link;
	__u32 seen;
	__u8 kind;
	__u8 flags; /* CONN_EXEMPT and CONN_PRESERVED */
	__u8 initiator;
	__u8 peer_initiator;
};

/* The loader puts the old table here; without one it is empty. drops and counters
 * have kept their shapes: their maps pass from layout to layout. */
HASH_MAP(conns_3, struct conn_key, struct conn_3, 1);

volatile __u32 migrating;

/* What moving a flow needs room for: [0] for packets, [1] for the agent, whose
 * program packets interrupt. */
struct move {
	struct conn_key own, peer;
	struct interface_key interface;
	struct listener_key listener;
	struct conn conn;
};

MAP(moves, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct move, 2, 0);

/* group_of is the target group behind what a client sends to: layout 3 did not
 * remember it. */
static __always_inline __u64 group_of(struct move *m, const struct conn_key *k, __u32 initiator)
{
	struct interface *i;
	struct listener *l;

	m->interface.vni = k->vni;
	m->interface.addr = initiator & 1 ? k->addr[0] : k->addr[1];
	i = bpf_map_lookup_elem(&interfaces, &m->interface);
	if (!i)
		return 0;
	m->listener.node = i->node;
	m->listener.port = initiator & 1 ? k->port[0] : k->port[1];
	m->listener.proto = k->proto;
	l = bpf_map_lookup_elem(&listeners, &m->listener);
	return l ? l->group : 0;
}

/* migrate_half enters one entry of the old table; 0 if it is here then. */
static __always_inline long migrate_half(struct move *m, struct conn_key *key, struct conn_3 *old)
{
	struct conn *c = &m->conn;
	__u64 *used;
	long err;

	__builtin_memset(c, 0, sizeof(*c));
	c->eni = old->eni;
	c->target = old->target;
	c->endpoint = old->endpoint;
	c->created = old->created;
	c->last_seen = old->last_seen;
	if (old->kind != CONN_PROVIDER) { /* the consumer's half counted for both */
		c->packets[0] = old->packets[0];
		c->packets[1] = old->packets[1];
		c->bytes[0] = old->bytes[0];
		c->bytes[1] = old->bytes[1];
	}
	c->peer = old->peer;
	c->link = old->link;
	c->seen = old->seen;
	c->kind = old->kind;
	c->flags = old->flags;
	c->initiator = old->initiator;
	c->peer_initiator = old->peer_initiator;
	if (c->kind == CONN_CONSUMER) {
		c->server_vni = key->vni;
		c->group = group_of(m, key, c->initiator);
	} else if (c->kind == CONN_PROVIDER) {
		c->server_vni = c->peer.vni;
		c->group = group_of(m, &c->peer, c->peer_initiator);
	}
	err = bpf_map_update_elem(&conns, key, c, BPF_NOEXIST);
	if (err)
		return err == EEXIST_ ? 0 : err;
	if (old->kind == CONN_PROVIDER)
		return 0;
	used = quota_of(old->eni);
	if (used)
		__sync_fetch_and_add(used, 1);
	return 0;
}

/* migrate_flow moves a flow by the key of an entry, with the room that is who's. */
__noinline int migrate_flow(struct conn_key *key, __u32 who)
{
	struct move *m = bpf_map_lookup_elem(&moves, &who);
	struct conn_3 *old, *other;

	if (!m || !key)
		return 0;
	m->own = *key;
	old = bpf_map_lookup_elem(&conns_3, &m->own);
	if (!old)
		return 0;
	if (old->kind == CONN_PLAIN) {
		if (!migrate_half(m, &m->own, old))
			bpf_map_delete_elem(&conns_3, &m->own);
		return 0;
	}
	m->peer = old->peer;
	other = bpf_map_lookup_elem(&conns_3, &m->peer);
	if (!other) /* moved by another CPU, or without its half and over */
		return 0;
	if (migrate_half(m, &m->own, old) || migrate_half(m, &m->peer, other))
		return 0;
	bpf_map_delete_elem(&conns_3, &m->own);
	bpf_map_delete_elem(&conns_3, &m->peer);
	return 0;
}

/* conn_at is the entry of a key, or NULL. */
static __always_inline struct conn *conn_at(struct conn_key *k)
{
	struct conn *c = bpf_map_lookup_elem(&conns, k);

	if (c || !migrating)
		return c;
	migrate_flow(k, 0);
	return bpf_map_lookup_elem(&conns, k);
}

/* conn_waits says whether a key is taken by a flow that has not been moved yet. */
static __always_inline bool conn_waits(struct conn_key *k)
{
	return migrating && bpf_map_lookup_elem(&conns_3, k);
}

#endif
