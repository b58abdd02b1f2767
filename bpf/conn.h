// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_CONN_H
#define POSTERN_CONN_H

/* The connection table. A flow is one entry found from both directions; a
 * translated flow is two entries that name each other, one per address space,
 * made together, touched together and expiring together. Nothing evicts an
 * entry: a quota per interface bounds the table, the collector empties it,
 * and an expired entry counts as absent before the collector comes by. */

#include "drop.h"

#define EEXIST_ (-17)
#define SECOND 1000000000ull
#define barrier() asm volatile("" ::: "memory")
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

static __always_inline bool addr_less(const struct addr *a, const struct addr *b)
{
	if (a->w[0] != b->w[0])
		return a->w[0] < b->w[0];
	if (a->w[1] != b->w[1])
		return a->w[1] < b->w[1];
	if (a->w[2] != b->w[2])
		return a->w[2] < b->w[2];
	return a->w[3] < b->w[3];
}

static __always_inline bool addr_equal(const struct addr *a, const struct addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

/* conn_key_set fills a key and says which end is the source. */
static __always_inline __u8 conn_key_set(struct conn_key *k, __u32 vni, __u8 proto, const struct addr *src,
					 __be16 sport, const struct addr *dst, __be16 dport)
{
	__u8 end = 0;

	if (addr_less(dst, src) || (addr_equal(src, dst) && dport < sport))
		end = 1;
	k->vni = vni;
	k->proto = proto;
	k->asker = 0;
	k->by = 0;
	if (end) {
		k->addr[0] = *dst;
		k->addr[1] = *src;
		k->port[0] = dport;
		k->port[1] = sport;
	} else {
		k->addr[0] = *src;
		k->addr[1] = *dst;
		k->port[0] = sport;
		k->port[1] = dport;
	}
	return end;
}

/* conn_key_icmp completes the key of an echo packet sent by end. */
static __always_inline void conn_key_icmp(struct conn_key *k, __u8 role, __u8 end)
{
	if (role == ICMP_REQUEST)
		k->asker = 1 + end;
	else if (role == ICMP_REPLY)
		k->asker = 2 - end;
}

static __always_inline bool conn_finished(const struct conn *c)
{
	__u32 fins = SEEN_FIN_INITIATOR | SEEN_FIN_RESPONDER;

	return (c->seen & SEEN_RST) || (c->seen & fins) == fins;
}

static __always_inline __u64 conn_timeout(const struct conn *c, __u8 proto)
{
	bool nat = c->kind != CONN_PLAIN;

	switch (proto) {
	case IPPROTO_TCP:
		if (conn_finished(c))
			return timeout_closing;
		if (!(c->seen & SEEN_REPLY))
			return timeout_syn;
		if (c->idle_tcp)
			return c->idle_tcp * SECOND;
		return nat ? timeout_tcp_nat : timeout_tcp;
	case IPPROTO_UDP:
		if (nat)
			return timeout_udp_nat;
		if (c->seen & SEEN_REPLY)
			return c->idle_udp_stream ? c->idle_udp_stream * SECOND : timeout_udp_stream;
		return c->idle_udp ? c->idle_udp * SECOND : timeout_udp;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return timeout_icmp;
	default:
		return timeout_other;
	}
}

static __always_inline bool conn_expired(const struct conn *c, __u8 proto, __u64 now)
{
	/* another CPU may have written last_seen after we read the clock */
	return now > c->last_seen && now - c->last_seen > conn_timeout(c, proto);
}

/* quota_of is how many flows an interface has; NULL if that cannot be counted. */
static __always_inline __u64 *quota_of(__u64 eni)
{
	__u64 *used = bpf_map_lookup_elem(&eni_quota, &eni);
	__u64 none = 0;

	if (used)
		return used;
	bpf_map_update_elem(&eni_quota, &eni, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&eni_quota, &eni);
}

static __always_inline bool quota_take(__u64 eni)
{
	__u64 *used = quota_of(eni);

	if (!used)
		return false;
	/* a link, or a VPC's share of other hosts, is many interfaces */
	if (__sync_fetch_and_add(used, 1) >= ((eni & OVERLAY_ENI) == OVERLAY_ENI ? quota * 16 : quota)) {
		__sync_fetch_and_sub(used, 1);
		return false;
	}
	return true;
}

static __always_inline void quota_give(__u64 eni)
{
	__u64 *used = bpf_map_lookup_elem(&eni_quota, &eni);

	if (used)
		__sync_fetch_and_sub(used, 1);
}

/* conn_payer is the interface whose quota counts a flow: the one that began it
 * or, if that was outside of the VPC, the one it was begun with. */
static __always_inline __u64 conn_payer(const struct conn *c)
{
	return c->flags & CONN_INBOUND ? c->target : c->eni;
}

#include "migrate.h" /* needs the quotas, and what follows needs it */

/* port_free tells who looks for a source port between the same ends that the
 * one of this provider half is free. */
static __always_inline void port_free(const struct conn_key *k, const struct conn *c)
{
	struct crowd_key ck = {};
	struct crowd *crowd;
	__be16 port;

	if (c->flags & CONN_PRESERVED)
		return;
	if (c->initiator & 1) {
		ck.node = k->addr[1];
		ck.target = k->addr[0];
		ck.port = k->port[0];
		port = k->port[1];
	} else {
		ck.node = k->addr[0];
		ck.target = k->addr[1];
		ck.port = k->port[1];
		port = k->port[0];
	}
	if (k->asker) /* an echo has its id on both ends */
		ck.port = 0;
	ck.vni = k->vni;
	ck.proto = k->proto;
	crowd = bpf_map_lookup_elem(&crowds, &ck);
	if (crowd) {
		crowd->hint = bpf_ntohs(port);
		crowd->full = 0;
	}
}

/* conn_forget deletes an entry and its other half. Only the CPU whose delete
 * succeeded gives the quota back. */
__noinline int conn_forget(struct conn_key *key)
{
	struct conn_key own, peer;
	struct conn *c, *other;
	__u64 eni;
	__u8 kind;

	if (!key)
		return 0;
	own = *key;
	c = bpf_map_lookup_elem(&conns, &own);
	if (!c)
		return 0;
	peer = c->peer;
	eni = conn_payer(c);
	kind = c->kind;
	usage_settle(c, 1);
	if (kind == CONN_PROVIDER || kind == CONN_CONSUMER) {
		other = bpf_map_lookup_elem(&conns, &peer);
		usage_settle(other, 1);
		if (kind == CONN_PROVIDER)
			port_free(&own, c);
		else if (other)
			port_free(&peer, other);
	}
	if (!bpf_map_delete_elem(&conns, &own) && kind != CONN_PROVIDER)
		quota_give(eni);
	if (kind != CONN_PLAIN && kind != CONN_FAR && !bpf_map_delete_elem(&conns, &peer) && kind == CONN_PROVIDER)
		quota_give(eni);
	return 0;
}

static __always_inline void conn_see(struct conn *c, __u32 bit)
{
	if (bit & ~c->seen)
		__sync_fetch_and_or(&c->seen, bit);
}

/* conn_alive notes a packet in the timers and the state of an entry. */
static __always_inline void conn_alive(struct conn *c, const struct packet *p, bool by_initiator)
{
	__u32 seen = by_initiator ? 0 : SEEN_REPLY;

	if (p->icmp == ICMP_ERROR)
		return;
	c->last_seen = p->now;
	if (p->proto == IPPROTO_TCP) {
		if (p->tcp_flags & TCP_RST)
			seen |= SEEN_RST;
		if (p->tcp_flags & TCP_FIN)
			seen |= by_initiator ? SEEN_FIN_INITIATOR : SEEN_FIN_RESPONDER;
	}
	conn_see(c, seen);
}

/* conn_end notes that an entry's flow is over and that an end hears of it now.
 * That one counts as alive: else a flow that was idle for longer than a closed
 * one lasts would be forgotten before its other end hears of it. */
static __always_inline void conn_end(struct conn *c, const struct packet *p)
{
	c->last_seen = p->now;
	conn_see(c, SEEN_RST | SEEN_TOLD);
}

/* conn_touch notes one packet and counts it. Each half of a translated flow
 * counts what its own sender sends. */
static __always_inline void conn_touch(struct conn *c, const struct packet *p, bool by_initiator)
{
	if (p->icmp == ICMP_ERROR) /* is about the flow, not of it */
		return;
	conn_alive(c, p, by_initiator);
	if (by_initiator) {
		__sync_fetch_and_add(&c->packets[0], 1);
		__sync_fetch_and_add(&c->bytes[0], p->tot_len);
	} else {
		__sync_fetch_and_add(&c->packets[1], 1);
		__sync_fetch_and_add(&c->bytes[1], p->tot_len);
		if (p->proto == IPPROTO_TCP && (p->tcp_flags & TCP_RST))
			usage_reset(c->endpoint, usage_place(c));
	}
}

/* conn_led remembers where a packet of a half passes to when every check has let it. */
static __always_inline void conn_led(struct scratch *s, struct conn *c, const struct interface *to)
{
	if (s->packet.icmp == ICMP_ERROR)
		return;
	c->to_ifindex = to->ifindex;
	c->to_flags = to->flags;
	__builtin_memcpy(c->to_mac, to->mac, 6);
	__builtin_memcpy(c->to_gateway, to->gateway, 6);
	c->refreshed = s->packet.now;
	barrier(); /* last: it says that the others are right */
	c->generation = s->generation;
}

static __always_inline void conn_fill(struct conn *c, const struct packet *p, __u8 kind, __u8 initiator)
{
	__builtin_memset(c, 0, sizeof(*c));
	c->eni = p->eni;
	c->created = p->now;
	c->last_seen = p->now;
	if (kind != CONN_PROVIDER) {
		c->packets[0] = 1;
		c->bytes[0] = p->tot_len;
	}
	c->kind = kind;
	c->initiator = initiator;
}

/* conn_new_plain enters the scratch key's flow, begun by self. Another CPU that
 * was first with the same flow is no error: the checks were the same. */
__noinline int conn_new_plain(struct interface *self, __u32 initiator, __u64 target, __u32 flags)
{
	struct scratch *s = scratch_get();
	struct conn *c;
	long err;

	if (!s || !self)
		return DROP_TABLE_FULL;
	c = &s->half[0];
	conn_fill(c, &s->packet, CONN_PLAIN, initiator);
	c->target = target;
	c->flags = flags;
	c->idle_tcp = self->idle_tcp;
	c->idle_udp = self->idle_udp;
	c->idle_udp_stream = self->idle_udp_stream;
	if (!quota_take(conn_payer(c)))
		return DROP_QUOTA;
	err = bpf_map_update_elem(&conns, &s->key, c, BPF_NOEXIST);
	if (err) {
		quota_give(conn_payer(c));
		return err == EEXIST_ ? 0 : DROP_TABLE_FULL;
	}
	count(COUNT_CONNECTIONS, 1);
	return 0;
}

#define PORT_TRIES 16
#define CROWD_FULL (SECOND / 10)

struct port_search {
	__u32 start;
	__u32 range;
	__u32 result; /* a drop reason, 0 when found */
};

/* provider_key sets the key of the provider half with a source port, which in
 * an echo is the id at both ends. */
static __always_inline void provider_key(struct scratch *s, __be16 port)
{
	bool echo = s->hop.proto == IPPROTO_ICMP;

	s->new_sport = port;
	if (echo)
		s->hop.target_port = port;
	s->half[1].initiator = conn_key_set(&s->peer, s->hop.vni, s->hop.proto, &s->new_src, port, &s->hop.target,
					    s->hop.target_port);
	if (echo)
		conn_key_icmp(&s->peer, ICMP_REQUEST, s->half[1].initiator);
}

/* port_try takes one source port by inserting the provider half with it; the
 * table itself is the allocator, so there is nothing to free. */
static long port_try(__u32 i, struct port_search *search)
{
	struct scratch *s = scratch_get();
	__u32 port;
	long err;

	if (!s || !search->range)
		return 1;
	port = port_first + (search->start + i) % search->range;
	provider_key(s, bpf_htons((__u16)port));
	if (conn_waits(&s->peer))
		return 0;
	err = bpf_map_update_elem(&conns, &s->peer, &s->half[1], BPF_NOEXIST);
	if (err == EEXIST_)
		return 0;
	search->result = err ? DROP_TABLE_FULL : 0;
	return 1;
}

/* port_take finds a source port between the ends of the scratch hop. A client
 * that uses its own port again gets the one it had, so that a target that still
 * waits for stray packets of the old flow sees the same client, and not another
 * with older time stamps. Else a few tries find one, unless most are taken; then
 * all are tried in turn, from one that is known to be free if any is. That there
 * is none is remembered for a moment, so that nobody makes every packet try them
 * all. */
static __always_inline int port_take(struct scratch *s)
{
	struct port_search search = {};
	struct crowd_key ck = {};
	struct crowd *crowd, fresh = {};

	search.range = port_last - port_first + 1;
	search.start = bpf_get_prandom_u32() % search.range;
	if (s->port_hint >= port_first && s->port_hint <= port_last)
		search.start = s->port_hint - port_first;
	search.result = DROP_PORTS_EXHAUSTED;
	bpf_loop(search.range < PORT_TRIES ? search.range : PORT_TRIES, port_try, &search, 0);
	if (search.result != DROP_PORTS_EXHAUSTED)
		return search.result;
	ck.node = s->new_src;
	ck.target = s->hop.target;
	ck.vni = s->hop.vni;
	ck.proto = s->hop.proto;
	ck.port = s->hop.proto == IPPROTO_ICMP ? 0 : s->hop.target_port;
	crowd = bpf_map_lookup_elem(&crowds, &ck);
	if (crowd) {
		if (s->packet.now < crowd->full)
			return DROP_PORTS_EXHAUSTED;
		if (crowd->hint) {
			search.start = crowd->hint - port_first;
			crowd->hint = 0;
		}
	}
	bpf_loop(search.range, port_try, &search, 0);
	if (!crowd) {
		bpf_map_update_elem(&crowds, &ck, &fresh, BPF_NOEXIST);
		crowd = bpf_map_lookup_elem(&crowds, &ck);
	}
	if (crowd && search.result == DROP_PORTS_EXHAUSTED)
		crowd->full = s->packet.now + CROWD_FULL;
	return search.result;
}

/* conn_new_pair enters both halves of the flow that s->key and s->hop
 * describe and leaves the source port the target will see in s->new_sport. */
__noinline int conn_new_pair(struct interface *to, __u32 initiator)
{
	struct scratch *s = scratch_get();
	int reason;
	long err;

	if (!s || !to)
		return DROP_TABLE_FULL;
	if (!quota_take(s->packet.eni))
		return DROP_QUOTA;
	conn_fill(&s->half[0], &s->packet, CONN_CONSUMER, initiator);
	conn_fill(&s->half[1], &s->packet, CONN_PROVIDER, 0);
	s->half[0].endpoint = s->half[1].endpoint = s->hop.endpoint;
	s->half[0].link = s->half[1].link = s->hop.link;
	s->half[0].target = s->half[1].target = s->hop.target_eni;
	s->half[0].flags = s->half[1].flags = s->hop.flags;
	s->half[0].group = s->half[1].group = s->hop.group;
	s->half[0].via = s->half[1].via = s->hop.via;
	s->half[0].server_vni = s->half[1].server_vni = s->hop.server_vni;
	s->half[0].idle_tcp = s->half[1].idle_tcp = s->hop.idle_tcp;
	s->half[0].proxy = s->half[1].proxy = s->hop.proxy;
	s->half[0].proxy_isn = s->packet.seq;
	s->half[0].proxy_high = s->packet.seq + 1;
	s->half[0].host = s->half[1].host = s->packet.overlay ? s->way.host : 0;
	conn_led(s, &s->half[0], to); /* the packet that begins it has passed every check */
	s->half[1].peer = s->key;
	s->half[1].peer_initiator = initiator;

	if (s->hop.flags & CONN_PRESERVED) {
		provider_key(s, s->hop.client_port);
		err = EEXIST_;
		if (!conn_waits(&s->peer))
			err = bpf_map_update_elem(&conns, &s->peer, &s->half[1], BPF_NOEXIST);
		reason = !err ? 0 : err == EEXIST_ ? DROP_TUPLE_IN_USE : DROP_TABLE_FULL;
	} else {
		reason = port_take(s);
	}
	if (reason)
		goto fail;
	s->half[0].peer = s->peer;
	s->half[0].peer_initiator = s->half[1].initiator;
	err = bpf_map_update_elem(&conns, &s->key, &s->half[0], BPF_NOEXIST);
	if (err) {
		bpf_map_delete_elem(&conns, &s->peer);
		reason = err == EEXIST_ ? DROP_TUPLE_IN_USE : DROP_TABLE_FULL;
		goto fail;
	}
	usage_began(&s->half[0]);
	count(COUNT_CONNECTIONS, 1);
	return 0;
fail:
	quota_give(s->packet.eni);
	return reason;
}

/* conn_far_led remembers that a client's packet passes to a target's host. */
static __always_inline void conn_far_led(struct scratch *s, struct conn *c, const struct interface *to)
{
	if (s->packet.icmp == ICMP_ERROR)
		return;
	c->to_ifindex = to->ifindex;
	c->to_flags = INTERFACE_REMOTE;
	c->refreshed = s->packet.now;
	barrier(); /* last, as in conn_led */
	c->generation = s->generation;
}

/* conn_new_far enters the flow that s->key and s->hop describe on the client's
 * host. Its two halves are on the target's host alone: what is between them, a
 * source port towards the target, only that host can choose. */
__noinline int conn_new_far(struct interface *to, __u32 initiator)
{
	struct scratch *s = scratch_get();
	struct conn *c;
	long err;

	if (!s || !to)
		return DROP_TABLE_FULL;
	if (!quota_take(s->packet.eni))
		return DROP_QUOTA;
	c = &s->half[0];
	conn_fill(c, &s->packet, CONN_FAR, initiator);
	c->target = to->eni;
	c->endpoint = s->hop.endpoint;
	c->link = s->hop.link;
	c->flags = s->hop.flags;
	c->group = s->hop.group;
	c->server_vni = s->hop.server_vni;
	c->idle_tcp = s->hop.idle_tcp;
	c->peer.vni = s->hop.vni;
	c->peer.proto = s->hop.proto;
	c->peer.addr[0] = s->hop.target;
	c->peer.port[0] = s->hop.target_port;
	c->peer_initiator = 1;
	__builtin_memcpy(c->to_mac, &s->way.head, 6);
	__builtin_memcpy(c->to_gateway, (__u8 *)&s->way.head + 6, 6);
	conn_far_led(s, c, to);
	err = bpf_map_update_elem(&conns, &s->key, c, BPF_NOEXIST);
	if (err) {
		quota_give(s->packet.eni);
		return err == EEXIST_ ? DROP_TUPLE_IN_USE : DROP_TABLE_FULL;
	}
	usage_began(c);
	count(COUNT_CONNECTIONS, 1);
	return 0;
}

#endif
