// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

// patches are the planted bugs: of order, of direction, of endianness, of what
// is forgotten to be asked, counted, compared or taken away.
var patches = []patch{
	{"route before the outbound ACL", "datapath.c",
		"\tif (!same && !rules_allow(subnet->acl_out[p->v6 & 1], &p->dst, p->proto, p->rule_port))\n\t\treturn drop(ctx, DROP_ACL_OUT);\n\tif (!kind)\n\t\treturn drop(ctx, DROP_NO_ROUTE);\n",
		"\tif (!kind)\n\t\treturn drop(ctx, DROP_NO_ROUTE);\n\tif (!same && !rules_allow(subnet->acl_out[p->v6 & 1], &p->dst, p->proto, p->rule_port))\n\t\treturn drop(ctx, DROP_ACL_OUT);\n"},
	{"ACL inside a subnet", "datapath.c",
		"same = kind && kind != ROUTE_ENDPOINT && to && to->subnet == self->subnet;", "same = false;"},
	{"ACL of the other direction", "datapath.c", "subnet->acl_out[p->v6 & 1]", "subnet->acl_in[p->v6 & 1]"},
	{"ACL of the other family", "datapath.c", "subnet->acl_out[p->v6 & 1]", "subnet->acl_out[!p->v6]"},
	{"inbound ACL by destination", "datapath.c", "if (!same && !acl_in(to->subnet, &p->src,", "if (!same && !acl_in(to->subnet, &p->dst,"},
	{"no inbound security groups", "datapath.c",
		"\tif (judged(c, c && sender != c->initiator)) {\n\t\tin = groups_verdict(to, ", "\tif (0) {\n\t\tin = groups_verdict(to, "},
	{"no destination check", "datapath.c", "if (to->flags & INTERFACE_SOURCE_CHECK)\n\t\t\treturn drop(ctx, DROP_DESTINATION_CHECK);", ""},
	{"no source check", "datapath.c", "((port->flags & PORT_SOURCE_CHECK) && !owns(s, port, &p->src))", "0"},
	{"no source MAC check", "datapath.c", "if (from != FROM_UPLINK && from != FROM_HOST &&\n", "if (0 && from != FROM_UPLINK &&\n"},
	{"errors from anybody", "datapath.c",
		"\tif (!p->overlay && eni != (client ? c->eni : c->target))\n\t\treturn false;\n\t/* behind a NAT gateway any router on the way may say it, else the end itself */\n\tif (!p->overlay && (client || !(c->flags & CONN_NAT)) && !addr_equal(&p->src, &s->key.addr[sender & 1]))\n\t\treturn false;\n", ""},
	{"errors of every type", "datapath.c", "return p->v6 ? type == 1 || type == 2 : type == 3;", "return true;"},
	{"flow passes on with its address", "uplink.h", "return c->eni == self->eni && c->target == to->eni;", "return true;"},
	{"any TCP packet begins a flow", "uplink.h", "return (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;", "return true;"},
	{"SYN does not end an old connection", "uplink.h",
		"(p->proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && conn_finished(c))", "0"},
	{"sender's address is not asked for", "datapath.c", "if (!owns(s, port, sender ? &s->key.addr[1] : &s->key.addr[0]))", "if (0)"},
	{"forwarder is the flow's other end", "datapath.c", "conn_key_by(&s->key, !sender, to->eni);", "conn_key_by(&s->key, sender, to->eni);"},
	{"public address for every source", "uplink.h", "!addr_equal(&p->src, &port->addr)", "0"},
	{"egress-only lets flows in", "uplink.h", "(r->kind != ROUTE_EGRESS || !c)", "r->kind != ROUTE_EGRESS"},
	{"no ACL into the NAT gateway's subnet", "uplink.h", "gw->subnet != self->subnet && !acl_in(gw->subnet", "0 && !acl_in(gw->subnet"},
	{"no quota for plain flows", "conn.h", "if (!quota_take(conn_payer(c)))\n\t\treturn DROP_QUOTA;", "quota_take(conn_payer(c));"},
	{"no quota for translated flows", "conn.h", "if (!quota_take(s->packet.eni))\n\t\treturn DROP_QUOTA;\n\tconn_fill(&s->half[0]", "quota_take(s->packet.eni);\n\tconn_fill(&s->half[0]"},
	{"source port in the host's order", "conn.h", "provider_key(s, bpf_htons((__u16)port));", "provider_key(s, (__u16)port);"},
	{"idle connections live on", "conn.h", "now - c->last_seen > conn_timeout(c, proto)", "now - c->last_seen > 4 * conn_timeout(c, proto)"},
	{"FIN of one end ends both", "conn.h", "(c->seen & fins) == fins", "(c->seen & fins)"},
	{"stale entry of a target", "endpoint.h", "if (c->target != self->eni) { /* the target's address has passed on */", "if (0) {"},
	{"stale entry towards a target", "endpoint.h", "if (c && c->target != target->eni) {", "if (0) {"},
	{"facts of an old generation", "endpoint.h", "return c->generation == s->generation && s->generation &&", "return c->generation && s->generation &&"},
	{"endpoint that is gone carries", "endpoint.h", "return DROP_ENDPOINT_GONE;", "return 0;"},
	{"no outbound rules of the node", "endpoint.h", "if (!c && !groups_allow(node, &hop->target", "if (0 && !groups_allow(node, &hop->target"},
	{"peering that does not lead back", "endpoint.h", "if (!r || r->kind != ROUTE_PEERING || r->vni != s->peer.vni)", "if (0)"},
	{"fragments over a TCP header", "parse.h", "return p->proto == IPPROTO_TCP && (fragment & 0x1fff) * 8 < 60 ? DROP_FRAGMENT : 0;", "return 0;"},
	{"everything is tracked", "rules.h", "return verdict != RULE_ANYWHERE ||", "return 1 ||"},
	{"reset with the wrong sequence", "reset.h", "seq = p->ack;\n", "seq = p->seq;\n"},
}
