// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_ARP_H
#define POSTERN_ARP_H

/* Answers ARP from the maps: the router and the known interfaces of the same
 * subnet. Nothing is flooded, so one workload's questions never reach another
 * and nobody else can answer them. */

#include "deliver.h"
#include "lookup.h"

#define ARP_LEN 28

/* 100.64.0.0/10, desired.ServicePrefix: everything there is on-link for the
 * service namespace. */
#define SERVICE_PREFIX 0x64400000u
#define SERVICE_MASK 0xffc00000u

/* owns says whether an address is the sender's: its first one, or another that
 * "interfaces" has for it. */
static __always_inline bool owns(struct scratch *s, struct port *port, const struct addr *a)
{
	struct interface *i;

	if (addr_equal(a, &port->addr) || addr_equal(a, &port->addr6))
		return true;
	i = interface_at(s, port->vni, a);
	return i && i->kind == KIND_WORKLOAD && i->eni == port->self.eni;
}

static __always_inline int arp(struct __sk_buff *ctx, struct scratch *s, struct port *port, struct interface *self,
			       bool service)
{
	struct interface_key ik = {};
	struct interface *asked;
	struct addr sender;
	__u8 *a = s->frame + ETH_LEN, mac[6];
	__u32 target;

	if (bpf_skb_load_bytes(ctx, ETH_LEN, a, ARP_LEN))
		return drop(ctx, DROP_TOO_SHORT);
	if (get16(a) != 1 || get16(a + 2) != ETH_P_IP || a[4] != 6 || a[5] != 4 || get16(a + 6) != 1)
		return drop(ctx, DROP_ARP);
	if (raw32(a + 8) != raw32(self->mac) || raw16(a + 12) != raw16(self->mac + 4))
		return drop(ctx, DROP_SOURCE_MAC);
	addr_v4(&sender, raw32(a + 14));
	target = raw32(a + 24);
	ik.vni = port->vni;
	addr_v4(&ik.addr, target);
	s->packet.src = sender;
	s->packet.dst = ik.addr;
	/* 0.0.0.0 asks whether an address is taken, without claiming one */
	if (sender.w[3] && (port->flags & PORT_SOURCE_CHECK) && !owns(s, port, &sender))
		return drop(ctx, DROP_SOURCE_ADDRESS);
	if (addr_equal(&ik.addr, &port->addr))
		return drop(ctx, DROP_ARP);
	if (service) {
		if ((bpf_ntohl(target) & SERVICE_MASK) != SERVICE_PREFIX)
			return drop(ctx, DROP_ARP);
		__builtin_memcpy(mac, self->gateway, 6);
	} else {
		asked = bpf_map_lookup_elem(&interfaces, &ik);
		if (!asked || asked->eni == self->eni) /* one of its own further addresses */
			return drop(ctx, DROP_ARP);
		if (asked->kind == KIND_RESOLVER)
			__builtin_memcpy(mac, self->gateway, 6);
		else if (asked->subnet == self->subnet)
			__builtin_memcpy(mac, asked->mac, 6);
		else
			return drop(ctx, DROP_ARP);
	}
	__builtin_memcpy(s->frame, s->packet.src_mac, 6);
	__builtin_memcpy(s->frame + 6, mac, 6);
	s->frame[12] = ETH_P_ARP >> 8;
	s->frame[13] = ETH_P_ARP & 0xff;
	a[7] = 2;
	__builtin_memcpy(a + 18, a + 8, 10);
	__builtin_memcpy(a + 8, mac, 6);
	a[14] = target;
	a[15] = target >> 8;
	a[16] = target >> 16;
	a[17] = target >> 24;
	if (bpf_skb_store_bytes(ctx, 0, s->frame, ETH_LEN + ARP_LEN, 0))
		return drop(ctx, DROP_REWRITE);
	count(COUNT_ARP, 1);
	return answer(ctx);
}

#endif
