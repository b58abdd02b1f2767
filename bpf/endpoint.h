// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_ENDPOINT_H
#define POSTERN_ENDPOINT_H

/* Translated flows: through interface and gateway endpoints, straight to a
 * load balancer node, to the resolver, and health checks. The consumer's side
 * and the provider's side meet only in struct link_hop. Addresses of the two
 * sides are never compared with each other. */

#include "lookup.h"
#include "nd.h"
#include "proxy.h"
#include "reset.h"
#include "rules.h"

static __always_inline bool endpoint_carries(__u64 id, __u32 vni, struct endpoint **out)
{
	struct endpoint *e = bpf_map_lookup_elem(&endpoints, &id);

	*out = e;
	return e && e->active && e->vni == vni;
}

/* ended says why a translated flow is over: its endpoint no longer carries it,
 * or its target's connections are ended. 0 if it goes on. */
static __always_inline __u32 ended(struct scratch *s, struct conn *c)
{
	struct cut_key ck = {};
	struct conn_key *k;
	struct endpoint *e;
	__u32 initiator;
	__u64 id = c->endpoint;

	if (id) {
		e = bpf_map_lookup_elem(&endpoints, &id);
		if (!e || !e->active || e->link != c->link)
			return DROP_ENDPOINT_GONE;
	}
	if (!c->group)
		return 0;
	if (c->kind != CONN_PROVIDER) {
		s->peer = c->peer;
		k = &s->peer;
		initiator = c->peer_initiator & 1;
	} else {
		k = &s->key;
		initiator = c->initiator & 1;
	}
	ck.group = c->group;
	ck.target = initiator ? k->addr[0] : k->addr[1];
	ck.port = initiator ? k->port[0] : k->port[1];
	ck.proto = k->proto;
	return bpf_map_lookup_elem(&cuts, &ck) ? DROP_TARGET_GONE : 0;
}

/* too_big says whether a packet, or a segment of a large one, is larger than an
 * endpoint carries. */
static __always_inline bool too_big(struct __sk_buff *ctx, struct scratch *s)
{
	__u32 mtu = mss + IP_LEN + TCP_LEN;

	if (ctx->gso_size)
		return ctx->gso_size + s->packet.tot_len - s->packet.payload > mtu;
	return s->packet.tot_len > mtu;
}

/* acl_port is what an ACL matches of a packet that has this destination port
 * where the ACL is. */
static __always_inline __u32 acl_port(const struct packet *p, __be16 dport)
{
	return p->icmp ? p->rule_port : dport;
}

/* flow_hash is what a load balancer spreads flows by: the five-tuple and, for
 * TCP, the first sequence number, so that a client that reuses its port is not
 * bound to one target. */
static __always_inline __u32 flow_hash(const struct packet *p)
{
	__u32 h = mix(p->vni & ~OVERLAY_KEY, p->proto); /* two hosts agree */

	h = addr_hash(addr_hash(h, &p->src), &p->dst);
	h = mix(h, (__u32)p->sport << 16 | p->dport);
	return p->proto == IPPROTO_TCP ? mix(h, p->seq) : h;
}

/* crosses says why a packet cannot become one for a target, which may be of the
 * other family; 0 if it can. */
static __always_inline int crosses(const struct packet *p, const struct addr *target)
{
	if (p->v6 == !addr_is_v4(target))
		return 0;
	if (!p->v6)
		return DROP_FAMILY;
	if (p->fragment)
		return DROP_FRAGMENT;
	return p->l4 != L4_OFF6 ? DROP_EXTENSION : 0;
}

/* choose fills the hop's node and target from a listener; a drop reason or 0. */
static __always_inline int choose(struct scratch *s, struct listener *l)
{
	struct link_hop *hop = &s->hop;
	struct packet *p = &s->packet;
	struct slot_key sk = {};
	struct backend *b;
	__u32 h;
	int reason;

	hop->vni = l->vni;
	if (l->flags & LISTENER_DIRECT) {
		hop->node = l->node;
		if (l->flags & LISTENER_HASH_SOURCE) {
			/* the edge's sockets must see different clients as different
			 * peers; which client it is, the edge asks of conns */
			h = addr_hash(p->vni, &p->src);
			hop->node.w[3] = bpf_htonl((bpf_ntohl(l->node.w[3]) & 0xffff0000) | (h & 0xffff));
		}
		hop->target = l->target;
		hop->target_port = l->target_port;
		return crosses(p, &l->target);
	}
	hop->group = l->group;
	hop->idle_tcp = l->idle;
	hop->proxy = p->proto == IPPROTO_TCP ? l->proxy : PROXY_NONE;
	hop->skip_ingress = !!(l->flags & LISTENER_SKIP_INGRESS);
	if (!l->size)
		return DROP_NO_TARGET;
	sk.table = l->table;
	h = l->flags & LISTENER_STICKY ? addr_hash(p->vni & ~OVERLAY_KEY, &p->src) : flow_hash(p);
	sk.slot = h % l->size;
	b = bpf_map_lookup_elem(&maglev, &sk);
	if (!b)
		return DROP_NO_TARGET;
	hop->target = b->addr;
	hop->target_port = b->port;
	if (addr_is_v4(&b->addr)) {
		hop->node = l->node;
	} else {
		hop->node = l->node6;
	}
	reason = crosses(p, &b->addr);
	if (reason)
		return reason;
	if ((l->flags & LISTENER_PRESERVE_CLIENT) && !hop->endpoint && (p->vni & ~OVERLAY_KEY) == l->vni &&
	    p->v6 == !addr_is_v4(&b->addr))
		hop->flags |= CONN_PRESERVED;
	return 0;
}

/* proxied delivers a client's packet to a target that gets a PROXY protocol header. */
static __always_inline int proxied(struct __sk_buff *ctx, struct scratch *s, struct conn *c)
{
	int reason;

	/* first, since a clone may leave before the rest is done */
	if (address(ctx, c->to_mac, c->to_gateway))
		return drop(ctx, DROP_REWRITE);
	reason = proxy_out(ctx, c, c->to_ifindex);
	if (reason)
		return drop(ctx, reason);
	return hand(ctx, s, c->to_ifindex, c->to_flags);
}

/* far begins, with c NULL, or continues a client's flow to a target on another
 * host, which makes the checks of the provider's side. With target NULL it goes
 * where it went before. */
static __always_inline int far(struct __sk_buff *ctx, struct scratch *s, struct conn *c, struct interface *target,
			       __u32 initiator)
{
	struct packet *p = &s->packet;
	int reason;

	if (c) {
		if (target)
			conn_far_led(s, c, target);
		conn_touch(c, p, true);
	} else {
		/* the other host takes the client's space from the endpoint then */
		if (s->key.by && s->hop.link && s->hop.server_vni != s->key.vni)
			return drop(ctx, DROP_OVERLAY);
		head_to_target(&s->way.head, s->key.vni, s->key.by, s->hop.node_id);
		reason = conn_new_far(target, initiator);
		if (reason)
			return drop(ctx, reason);
		c = &s->half[0];
		c->to_mac[0] |= OVERLAY_BEGINS; /* of this packet alone, the entry is made */
	}
	return to_target(ctx, s, c);
}

/* provider takes a packet from the link to its target: the checks of the
 * node's and the target's side, the source port, the rewrite, the delivery.
 * c and other are the flow's two entries, or NULL for a new flow. */
static __always_inline int provider(struct __sk_buff *ctx, struct scratch *s, struct conn *c, struct conn *other,
				    __u32 initiator)
{
	struct link_hop *hop = &s->hop;
	struct packet *p = &s->packet;
	struct interface *target, *node;
	__u32 port = acl_port(p, hop->target_port);
	int reason;

	target = interface_at(s, hop->vni, &hop->target);
	if (!target || target->kind != KIND_WORKLOAD)
		return drop(ctx, DROP_NO_INTERFACE);
	if (target->flags & INTERFACE_REMOTE) {
		if (p->overlay) /* what crosses twice could go round for ever */
			return drop(ctx, DROP_REMOTE_HOST);
		if (!c)
			return far(ctx, s, 0, target, initiator);
		conn_forget(&s->key); /* it has moved there */
		return drop(ctx, DROP_STALE);
	}
	if (c && c->target != target->eni) {
		conn_forget(&s->key);
		return drop(ctx, DROP_STALE);
	}
	hop->target_eni = target->eni;
	node = interface_at(s, hop->vni, &hop->node);
	s->new_dst = hop->target;
	s->new_dport = hop->target_port;
	if (node) {
		if (!c && hop->endpoint && !hop->skip_ingress && !groups_allow(node, &hop->client, hop->proto, hop->node_port, INBOUND))
			return drop(ctx, DROP_NODE_INGRESS);
		if (!c && !groups_allow(node, &hop->target, hop->proto, hop->target_port, OUTBOUND))
			return drop(ctx, DROP_NODE_EGRESS);
		if (node->subnet != target->subnet) {
			if (!acl_out(node->subnet, &hop->target, hop->proto, port))
				return drop(ctx, DROP_ACL_OUT);
			if (!acl_in(target->subnet, &s->new_src, hop->proto, port))
				return drop(ctx, DROP_ACL_IN);
		}
	}
	if (!c && !groups_allow(target, &s->new_src, hop->proto, hop->target_port, INBOUND))
		return drop(ctx, DROP_GROUP_INGRESS);
	if (!target->ifindex)
		return drop(ctx, DROP_REMOTE_HOST);
	if (c && other) {
		conn_led(s, c, target);
		conn_touch(c, p, true);
		conn_alive(other, p, true);
	} else {
		reason = conn_new_pair(target, initiator);
		if (reason)
			return drop(ctx, reason);
	}
	if (p->proto == IPPROTO_TCP && (p->tcp_flags & TCP_SYN)) {
		reason = clamp_mss(ctx, mss);
		if (reason)
			return drop(ctx, reason);
	}
	reason = translate(ctx);
	if (reason)
		return drop(ctx, reason);
	if (c && c->proxy && p->proto == IPPROTO_TCP)
		return proxied(ctx, s, c);
	return deliver(ctx, s, target, target->gateway);
}

/* other_ends gives the ends that a packet of this half has on the other side,
 * where the initiator stays the initiator; other_side also the key of that half,
 * and the ends of the packet inside an ICMP error. */
static __always_inline void other_ends(struct scratch *s, struct conn *c)
{
	bool first = !(c->peer_initiator & 1) == (c->kind == CONN_CONSUMER);

	if (first) {
		s->new_src = c->peer.addr[0];
		s->new_sport = c->peer.port[0];
		s->new_dst = c->peer.addr[1];
		s->new_dport = c->peer.port[1];
	} else {
		s->new_src = c->peer.addr[1];
		s->new_sport = c->peer.port[1];
		s->new_dst = c->peer.addr[0];
		s->new_dport = c->peer.port[0];
	}
}

static __always_inline void other_side(struct scratch *s, struct conn *c)
{
	s->peer = c->peer;
	other_ends(s, c);
	if (s->packet.icmp == ICMP_ERROR) { /* the packet inside went the other way */
		s->inner.src = s->new_dst;
		s->inner.dst = s->new_src;
		s->inner.sport = s->new_dport;
		s->inner.dport = s->new_sport;
	}
}

/* same_ends gives the ends of a packet that goes on as it is. */
static __always_inline void same_ends(struct scratch *s)
{
	s->peer.vni = s->key.vni;
	s->new_src = s->packet.src;
	s->new_sport = s->packet.sport;
	s->new_dst = s->packet.dst;
	s->new_dport = s->packet.dport;
}

/* onward continues a known flow from the consumer's side. */
static __always_inline int onward(struct __sk_buff *ctx, struct scratch *s, struct conn *c)
{
	struct link_hop *hop = &s->hop;
	struct conn *other;

	usage_of(&s->packet, c->endpoint, usage_place(c), true);
	other_side(s, c);
	other = conn_at(&s->peer);
	if (!other) { /* a pair without its other half is over */
		conn_forget(&s->key);
		return drop(ctx, DROP_STALE);
	}
	hop->endpoint = c->endpoint;
	hop->link = c->link;
	hop->vni = s->peer.vni;
	hop->proto = s->packet.proto;
	hop->flags = c->flags;
	hop->target = s->new_dst;
	hop->target_port = s->new_dport;
	hop->node = hop->flags & CONN_PRESERVED ? s->packet.dst : s->new_src;
	if (hop->endpoint && too_big(ctx, s))
		return drop(ctx, DROP_TOO_BIG);
	return provider(ctx, s, c, other, 0);
}

/* onward_far continues a known flow to a target on another host. */
static __always_inline int onward_far(struct __sk_buff *ctx, struct scratch *s, struct conn *c)
{
	struct interface *target = interface_at(s, c->peer.vni, &c->peer.addr[0]);

	usage_of(&s->packet, c->endpoint, USAGE_CLIENT, true);
	/* that this host no longer knows where the target is, as when it is in no
	 * group any more, ends nothing: the target's host judges it */
	if (target && (!(target->flags & INTERFACE_REMOTE) || target->eni != c->target)) {
		if (s->packet.icmp != ICMP_ERROR)
			conn_forget(&s->key);
		return drop(ctx, DROP_STALE);
	}
	if (c->endpoint && too_big(ctx, s))
		return drop(ctx, DROP_TOO_BIG);
	return far(ctx, s, c, target, 0);
}

/* consumer starts a flow towards whatever listens on a node. The sender's own
 * checks are done and the scratch hop knows the endpoint. closed says that the
 * destination is a node's own address, where stray TCP is reset whatever the
 * port. */
static __always_inline int consumer(struct __sk_buff *ctx, struct scratch *s, __u64 id, __u32 initiator, bool closed)
{
	struct packet *p = &s->packet;
	struct link_hop *hop = &s->hop;
	struct listener_key lk = {};
	struct listener *l;
	bool stray;
	int reason;

	if (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP)
		return drop(ctx, DROP_PROTOCOL);
	if (p->fragment == FRAGMENT_LATER)
		return drop(ctx, DROP_FRAGMENT);
	stray = p->proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN;
	lk.node = id;
	lk.port = p->dport;
	lk.proto = p->proto;
	l = bpf_map_lookup_elem(&listeners, &lk);
	if (stray && (l || closed))
		return reset(ctx, s, DROP_NO_CONNECTION);
	if (!l)
		return drop(ctx, DROP_NO_LISTENER);
	hop->client = p->src;
	hop->client_port = p->sport;
	hop->node_id = id;
	hop->node_port = p->dport;
	hop->proto = p->proto;
	reason = choose(s, l);
	if (reason)
		return drop(ctx, reason);
	if (hop->endpoint && too_big(ctx, s))
		return drop(ctx, DROP_TOO_BIG);
	if (hop->proxy && (p->payload || p->fragment)) /* a SYN with data */
		return drop(ctx, DROP_PROXY);
	s->new_src = hop->flags & CONN_PRESERVED ? hop->client : hop->node;
	return provider(ctx, s, 0, 0, initiator);
}

/* probe starts a health check: from the service namespace, as the node. */
static __always_inline int probe(struct __sk_buff *ctx, struct scratch *s, __u32 initiator)
{
	struct packet *p = &s->packet;
	struct link_hop *hop = &s->hop;
	struct probe *t = bpf_map_lookup_elem(&probes, &p->dst);

	if (!t)
		return drop(ctx, DROP_NO_PROBE);
	if (p->proto != IPPROTO_TCP)
		return drop(ctx, DROP_PROTOCOL);
	if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return reset(ctx, s, DROP_NO_CONNECTION);
	__builtin_memset(hop, 0, sizeof(*hop));
	hop->vni = t->vni;
	hop->server_vni = p->vni;
	hop->client = p->src;
	hop->node = t->node;
	hop->target = t->target;
	hop->client_port = p->sport;
	hop->node_port = p->dport;
	hop->target_port = p->dport;
	hop->proto = p->proto;
	s->new_src = hop->node;
	return provider(ctx, s, 0, 0, initiator);
}

/* checked says that a packet of the same flow in the same direction, and of the
 * same interface, has passed every check since the agent last changed anything. */
static __always_inline bool checked(const struct scratch *s, const struct conn *c, __u32 sender)
{
	return c->generation == s->generation && s->generation && c->kind != CONN_PLAIN &&
	       s->packet.eni == (c->kind == CONN_PROVIDER ? c->target : c->eni) &&
	       (sender == c->initiator) == (c->kind != CONN_PROVIDER) && !(s->packet.tcp_flags & TCP_SYN) &&
	       s->packet.icmp != ICMP_ERROR;
}

/* repeat takes a packet the way the one before it went. The other half is kept
 * alive now and then; what ends the flow, it learns at once. */
static __always_inline int repeat(struct __sk_buff *ctx, struct scratch *s, struct conn *c)
{
	struct packet *p = &s->packet;
	bool client = c->kind == CONN_CONSUMER, in_frame;
	struct conn *other = 0;
	int reason;

	if (c->endpoint && too_big(ctx, s)) {
		usage_of(p, c->endpoint, usage_place(c), client);
		return drop(ctx, DROP_TOO_BIG);
	}
	if (c->kind == CONN_FAR) {
		conn_touch(c, p, true);
		return to_target(ctx, s, c);
	}
	other_ends(s, c);
	if (c->proxy || (p->tcp_flags & (TCP_FIN | TCP_RST)) || p->now - c->refreshed > refresh_every) {
		s->peer = c->peer;
		other = conn_at(&s->peer);
		if (!other) { /* a pair without its other half is over */
			conn_forget(&s->key);
			return drop(ctx, DROP_STALE);
		}
		conn_alive(other, p, client);
		c->refreshed = p->now;
	}
	if (!c->to_ifindex)
		return drop(ctx, DROP_REMOTE_HOST);
	conn_touch(c, p, client);
	in_frame = !p->v6 && addr_is_v4(&s->new_src);
	if (in_frame) {
		__builtin_memcpy(s->frame, c->to_mac, 6);
		__builtin_memcpy(s->frame + 6, c->to_gateway, 6);
	}
	reason = translate(ctx);
	if (reason)
		return drop(ctx, reason);
	if (c->proxy && p->proto == IPPROTO_TCP) {
		if (client)
			return proxied(ctx, s, c);
		reason = other ? proxy_back(ctx, other) : DROP_STALE;
		if (reason)
			return drop(ctx, reason);
	}
	if (c->to_flags & INTERFACE_REMOTE)
		return to_client(ctx, s, c->peer.vni, c->peer.by, c->to_ifindex);
	if (in_frame ? bpf_skb_change_type(ctx, 0 /* PACKET_HOST */) : address(ctx, c->to_mac, c->to_gateway))
		return drop(ctx, DROP_REWRITE);
	return hand(ctx, s, c->to_ifindex, c->to_flags);
}

/* tell turns a packet of an ended flow into a reset for the other end, which
 * may be waiting for data and would never send anything to be told by. */
static __always_inline int tell(struct __sk_buff *ctx, struct scratch *s, struct conn *c)
{
	struct interface *to;
	bool client = s->packet.by_client;

	if (c->kind == CONN_FAR ? client : !client && c->host) {
		if (make_reset(ctx, 1)) {
			ctx->cb[0] = ACTION_DROP;
			return TC_ACT_SHOT;
		}
		if (client)
			return to_target(ctx, s, c);
		usage_reset(c->endpoint, usage_place(c));
		return to_client(ctx, s, s->peer.vni, s->peer.by, c->host);
	}
	to = interface_at(s, s->peer.vni, &s->new_dst);
	/* whoever has the address of that end now is told only of its own flows */
	if (!to || to->eni != (client ? c->target : c->eni) || !to->ifindex || (to->flags & INTERFACE_REMOTE) ||
	    make_reset(ctx, 1)) {
		ctx->cb[0] = ACTION_DROP;
		return TC_ACT_SHOT;
	}
	if (!client)
		usage_reset(c->endpoint, usage_place(c));
	return deliver(ctx, s, to, to->gateway);
}

/* gone ends a flow that is over for reason: its first late TCP packet becomes a
 * reset for the other end, the following ones are answered with a reset. The
 * entries stay for a while, so that both ends are told. */
static __always_inline int gone(struct __sk_buff *ctx, struct scratch *s, struct conn *c, __u32 reason)
{
	struct conn *other = 0;
	bool told = c->seen & SEEN_TOLD;

	if (s->packet.icmp == ICMP_ERROR)
		return drop(ctx, reason);
	usage_of(&s->packet, c->endpoint, usage_place(c), c->kind == CONN_CONSUMER || (c->kind == CONN_FAR && !s->packet.overlay));
	if (c->kind == CONN_FAR) {
		same_ends(s);
	} else {
		other_side(s, c);
		other = conn_at(&s->peer);
	}
	conn_end(c, &s->packet);
	if (other)
		conn_end(other, &s->packet);
	/* who is still opening a connection waits for an answer to that, and a
	 * packet cannot become a reset of the other family */
	if (told || s->packet.proto != IPPROTO_TCP || (s->packet.tcp_flags & TCP_SYN) ||
	    s->packet.v6 == addr_is_v4(&s->new_src))
		return reset(ctx, s, reason);
	note_drop(ctx, reason);
	/* the other end counts its own numbers, see proxy.h */
	if (c->kind == CONN_CONSUMER && c->proxy_state & PROXY_SENT)
		s->packet.seq += c->proxy_len;
	else if (c->kind == CONN_PROVIDER && other && other->proxy_state & PROXY_SENT)
		s->packet.ack = proxy_acked(other, s->packet.ack);
	return tell(ctx, s, c);
}

/* nat_leads says why a NAT gateway's subnet does not lead an address to the
 * internet; 0 if it does. */
static __always_inline int nat_leads(struct scratch *s, __u64 subnet, const struct addr *a)
{
	struct route *r = route_of(s, subnet, a);

	if (!r || (r->kind != ROUTE_INTERNET && r->kind != ROUTE_BLACKHOLE))
		return DROP_NO_ROUTE;
	return r->kind == ROUTE_BLACKHOLE ? DROP_BLACKHOLE : 0;
}

/* reply_to_client makes the checks between the address that the client sent to and
 * the client; a drop reason or 0. */
static __always_inline int reply_to_client(struct scratch *s, struct conn *c, struct interface *client)
{
	struct packet *p = &s->packet;
	struct interface *from;
	struct route *r;
	__u32 port = acl_port(p, s->new_dport);
	__u64 subnet = 0;
	int reason;

	if (c->flags & CONN_NAT) {
		/* from outside into the NAT gateway's subnet, which must lead there */
		subnet = c->via;
		reason = nat_leads(s, subnet, &s->hop.target);
		if (reason)
			return reason;
		if (!acl_in(subnet, &p->src, p->proto, acl_port(p, p->dport)))
			return DROP_ACL_IN;
	} else {
		from = interface_at(s, c->server_vni, &s->new_src);
		if (from)
			subnet = from->subnet;
		if (c->server_vni != s->peer.vni) { /* across a peering, which must lead back */
			r = route_of(s, subnet, &s->new_dst);
			if (!r || r->kind != ROUTE_PEERING || r->vni != s->peer.vni)
				return DROP_NO_ROUTE;
		}
	}
	if (subnet && subnet == client->subnet)
		return 0;
	if (!acl_out(subnet, &s->new_dst, p->proto, port))
		return DROP_ACL_OUT;
	if (!acl_in(client->subnet, &s->new_src, p->proto, port))
		return DROP_ACL_IN;
	return 0;
}

/* reply_far takes to the client what another host's target has sent. */
static __always_inline int reply_far(struct __sk_buff *ctx, struct scratch *s, struct conn *c)
{
	struct packet *p = &s->packet;
	struct interface *client;
	int reason;

	if (c->to_ifindex != s->way.host)
		return drop(ctx, DROP_OVERLAY);
	usage_of(p, c->endpoint, USAGE_CLIENT, false);
	reason = ended(s, c);
	if (reason)
		return gone(ctx, s, c, reason);
	same_ends(s);
	if (c->endpoint && too_big(ctx, s))
		return drop(ctx, DROP_TOO_BIG);
	client = interface_at(s, p->vni, &p->dst);
	if (!client)
		return drop(ctx, DROP_NO_INTERFACE);
	if (client->eni != c->eni) {
		if (p->icmp != ICMP_ERROR)
			conn_forget(&s->key);
		return drop(ctx, DROP_STALE);
	}
	reason = reply_to_client(s, c, client);
	if (reason)
		return drop(ctx, reason);
	if (!client->ifindex || (client->flags & INTERFACE_REMOTE))
		return drop(ctx, DROP_REMOTE_HOST);
	conn_touch(c, p, false);
	return deliver(ctx, s, client, client->gateway);
}

/* from_host takes a packet of a flow to a target here, or from a target
 * elsewhere. c is its entry, or NULL. */
static __noinline int from_host(struct __sk_buff *ctx, struct port *port, struct conn *c, __u32 sender)
{
	struct scratch *s = scratch_get();
	struct link_hop *hop;
	struct packet *p;
	struct endpoint *e;
	__u64 *endpoint, node;
	__u32 reason;

	if (!s || !port)
		return TC_ACT_SHOT;
	p = &s->packet;
	hop = &s->hop;
	if (p->overlay == OVERLAY_TO_CLIENT) {
		if (c && c->kind == CONN_FAR && sender != c->initiator)
			return reply_far(ctx, s, c);
		return p->icmp == ICMP_ERROR ? drop(ctx, DROP_STALE) : reset(ctx, s, DROP_NO_CONNECTION);
	}
	if (c && s->way.head.kind == OVERLAY_BEGINS && p->icmp != ICMP_ERROR) { /* what is here has outlived the client's side */
		s->port_hint = bpf_ntohs(c->peer_initiator & 1 ? c->peer.port[1] : c->peer.port[0]);
		conn_forget(&s->key);
		c = 0;
	}
	if (c) {
		if (c->kind != CONN_CONSUMER || sender != c->initiator)
			return drop(ctx, DROP_TUPLE_IN_USE);
		reason = ended(s, c);
		if (reason)
			return gone(ctx, s, c, reason);
		return onward(ctx, s, c);
	}
	if (p->icmp == ICMP_ERROR)
		return drop(ctx, DROP_STALE);
	__builtin_memset(hop, 0, sizeof(*hop));
	hop->server_vni = p->vni;
	if (s->way.vni != head_vni(&s->way.head)) {
		hop->link = s->way.vni;
		endpoint = bpf_map_lookup_elem(&links, &hop->link);
		if (!endpoint)
			return drop(ctx, DROP_ENDPOINT_INACTIVE);
		hop->endpoint = *endpoint;
		usage_of(p, hop->endpoint, USAGE_TARGET, true);
		e = bpf_map_lookup_elem(&endpoints, endpoint);
		if (!e || !e->active || e->link != hop->link)
			return drop(ctx, DROP_ENDPOINT_INACTIVE);
	}
	__builtin_memcpy(&node, s->way.head.number, 8);
	return consumer(ctx, s, node, sender, true);
}

/* turn_back makes of a target's packet what the client is to get; a drop reason
 * or 0. other is the consumer's half. */
static __always_inline int turn_back(struct __sk_buff *ctx, struct scratch *s, struct conn *other)
{
	struct packet *p = &s->packet;
	int reason;

	if (p->icmp == ICMP_ERROR && other->proxy_state & PROXY_SENT) {
		s->inner.shift = other->proxy_len;
		s->inner.first = other->proxy_isn + 1;
	}
	reason = translate(ctx);
	if (!reason && other->proxy && p->proto == IPPROTO_TCP)
		reason = proxy_back(ctx, other);
	return reason;
}

/* back_far takes a target's packet back to a client on another host, which makes
 * the checks of the consumer's side. */
static __always_inline int back_far(struct __sk_buff *ctx, struct scratch *s, struct conn *c, struct conn *other)
{
	struct packet *p = &s->packet;
	int reason;

	if (p->icmp != ICMP_ERROR) {
		c->to_ifindex = c->host;
		c->to_flags = INTERFACE_REMOTE;
		c->refreshed = p->now;
		barrier(); /* last, as in conn_led */
		c->generation = s->generation;
	}
	conn_touch(c, p, false);
	conn_alive(other, p, false);
	reason = 0;
	if (p->proto == IPPROTO_TCP && (p->tcp_flags & TCP_SYN))
		reason = clamp_mss(ctx, mss);
	if (!reason)
		reason = overlay_clamp(ctx, s, p->v6 == addr_is_v4(&s->new_src));
	if (!reason)
		reason = turn_back(ctx, s, other);
	if (reason)
		return drop(ctx, reason);
	return to_client(ctx, s, s->peer.vni, s->peer.by, c->host);
}

/* reply takes a target's packet back to the client: c is the provider half. */
static __always_inline int reply(struct __sk_buff *ctx, struct scratch *s, struct interface *self, struct conn *c)
{
	struct packet *p = &s->packet;
	struct interface *node, *client;
	struct conn *other;
	__u32 port = acl_port(p, p->dport);
	int reason;

	usage_of(p, c->endpoint, usage_place(c), false);
	if (c->target != self->eni) { /* the target's address has passed on */
		conn_forget(&s->key);
		return drop(ctx, DROP_STALE);
	}
	reason = ended(s, c);
	if (reason)
		return gone(ctx, s, c, reason);
	other_side(s, c);
	other = conn_at(&s->peer);
	if (!other) {
		conn_forget(&s->key);
		return drop(ctx, DROP_STALE);
	}
	if (c->endpoint && too_big(ctx, s))
		return drop(ctx, DROP_TOO_BIG);

	if (c->flags & CONN_NAT) {
		s->hop.target = s->new_src;
		if (p->icmp == ICMP_ERROR) /* may come from any router on the way */
			s->new_src = p->src;
	} else {
		/* from the target to the node */
		node = interface_at(s, p->vni, c->flags & CONN_PRESERVED ? &s->new_src : &p->dst);
		if (node && node->subnet != self->subnet) {
			if (!acl_out(self->subnet, &p->dst, p->proto, port))
				return drop(ctx, DROP_ACL_OUT);
			if (!acl_in(node->subnet, &p->src, p->proto, port))
				return drop(ctx, DROP_ACL_IN);
		}
	}
	if (c->host)
		return back_far(ctx, s, c, other);
	/* from the endpoint (or node, or service) to the client */
	client = interface_at(s, s->peer.vni, &s->new_dst);
	if (!client)
		return drop(ctx, DROP_NO_INTERFACE);
	if (client->eni != c->eni) {
		conn_forget(&s->key);
		return drop(ctx, DROP_STALE);
	}
	if (!(c->flags & CONN_EXEMPT)) {
		reason = reply_to_client(s, c, client);
		if (reason)
			return drop(ctx, reason);
	}
	if (!client->ifindex || (client->flags & INTERFACE_REMOTE))
		return drop(ctx, DROP_REMOTE_HOST);
	conn_led(s, c, client);
	conn_touch(c, p, false);
	conn_alive(other, p, false);
	if (p->proto == IPPROTO_TCP && (p->tcp_flags & TCP_SYN) && !(c->flags & CONN_NAT)) {
		reason = clamp_mss(ctx, mss);
		if (reason)
			return drop(ctx, reason);
	}
	reason = turn_back(ctx, s, other);
	if (reason)
		return drop(ctx, reason);
	return deliver(ctx, s, client, client->gateway);
}

#endif
