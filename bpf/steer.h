/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The way of one connection through steer:
 *
 *   1. A new epoch, if it is time: picks whose handshake never ended are forgotten.
 *   2. While somebody probes: if this is a probe, its slot is selected, held back
 *      or full as it may be.
 *   3. The policy picks a slot and takes a place in it.
 *   4. All live slots full: refused at once, and counted.
 *   5. The slot's socket is selected. An empty slot is marked gone, and another is picked.
 *   6. Nothing live: of the slots that are held back, the one that holds least
 *      gets it (see pick_anyway). Where nobody is in any slot, the kernel's hash
 *      decides.
 *
 * Whatever else finds no connection comes here as well. The ACK of a SYN cookie
 * gets a slot too, and no place: its SYN may still have one. Anything else begins
 * nothing, and is left to the kernel.
 *
 * A migrated connection takes the same way, except that it is never refused:
 * it had been let in before. If it was counted at the slot it leaves, its count
 * goes along.
 */
#ifndef SOCKDIST_STEER_H
#define SOCKDIST_STEER_H

#define SELECTIONS 4 /* slots tried before the kernel's hash gets it */

enum segment {
	SEGMENT_OTHER, /* of a connection that is no more, or of none ever */
	SEGMENT_SYN,
	SEGMENT_ACK, /* of a SYN cookie, perhaps */
};

/* The packet at hand by its TCP flags. */
static __always_inline enum segment segment_of(struct sk_reuseport_md *ctx)
{
	const __u8 *header = ctx->data;
	__u8 flags;

	if ((const void *)(header + TCP_FLAGS_AT + 1) > ctx->data_end)
		return SEGMENT_OTHER; /* can't be: the kernel has read the header */
	flags = header[TCP_FLAGS_AT];
	if ((flags & (TCP_FLAG_SYN | TCP_FLAG_ACK | TCP_FLAG_RST | TCP_FLAG_FIN)) == TCP_FLAG_SYN)
		return SEGMENT_SYN;
	return (flags & (TCP_FLAG_SYN | TCP_FLAG_ACK | TCP_FLAG_RST)) == TCP_FLAG_ACK ? SEGMENT_ACK : SEGMENT_OTHER;
}

/* The source address of the packet at hand; of IPv4 only the last word is written. */
static __always_inline int read_source(struct sk_reuseport_md *ctx, __u32 *address)
{
	if (ctx->eth_protocol == bpf_htons(ETH_P_IPV6)) {
		bpf_skb_load_bytes_relative(ctx, 8, address, 16, BPF_HDR_START_NET);
		return AF_INET6;
	}
	bpf_skb_load_bytes_relative(ctx, 12, &address[3], 4, BPF_HDR_START_NET);
	return AF_INET;
}

/* The client's address: what `hash` is sticky to. IPv4 counts the same on a dual-stack listener. */
static __always_inline __u32 client_of(struct sk_reuseport_md *ctx)
{
	struct bpf_sock *moving = ctx->migrating_sk;
	__u32 address[4] = {};

	if (moving) {
		if (moving->family == AF_INET6 && moving->dst_ip6[2] != bpf_htonl(0xffff)) {
			address[0] = moving->dst_ip6[0];
			address[1] = moving->dst_ip6[1];
			address[2] = moving->dst_ip6[2];
			address[3] = moving->dst_ip6[3];
		} else {
			address[3] = moving->dst_ip4;
		}
	} else {
		read_source(ctx, address);
	}
	return mix(address[0]) ^ mix(address[1] + 1) ^ mix(address[2] + 2) ^ mix(address[3] + 3);
}

/*
 * A connection that has a count keeps it: out of the slot it leaves, into slot i.
 * account.h has noted where it is, unless it is older than the group and was
 * not adopted.
 */
subprogram int move_count(struct group *g, __u64 connection, __u32 i, int established)
{
	struct origin *place = bpf_map_lookup_elem(&moved, &connection);
	__u32 from, generation;

	if (!g || !place)
		return 0;
	i = mask_index(i, SLOTS - 1);
	from = mask_index(place->slot, SLOTS - 1);
	generation = load_once(g->info[i].generation); /* before the count: see Group.renew */
	if (established && generation) {
		fetch_add(&g->slot[i].counts, ONE_CONNECTION);
		count_up(g->info[i].opened);
	}
	if (established && in_use(g, place)) {
		fetch_add(&g->slot[from].counts, -ONE_CONNECTION);
		fetch_add(&g->info[from].opened, -1);
		count_up(g->info[from].moved_out);
	}
	place->slot = i;
	place->told = 0;
	place->generation = generation;
	return 0;
}

/* The place that a pick has just taken in slot i is not needed. */
static __always_inline void give_back(struct group *g, __u32 i)
{
	fetch_add(&g->slot[mask_index(i, SLOTS - 1)].picks, -1);
	lower_hint(g, i);
}

static __always_inline void note_migration(struct sk_reuseport_md *ctx, struct group *g, int i)
{
	struct bpf_sock *moving = ctx->migrating_sk;
	__u32 state;

	if (!moving)
		return;
	count_up(g->counters.migrated);
	count_up(g->info[mask_index(i, SLOTS - 1)].migrated);
	state = moving->state;
	if (state == TCP_NEW_SYN_RECV)
		return; /* not born yet: it will inherit from its new listener */
	if (state != TCP_CLOSE)
		move_count(g, bpf_get_socket_cookie(moving), i, state != TCP_SYN_RECV);
	else
		count_up(g->info[mask_index(i, SLOTS - 1)].opened); /* it is in the queue, and will be accepted */
	if (state == TCP_SYN_RECV)
		return; /* born with data in its SYN: its handshake goes on here */
	give_back(g, i); /* its handshake is over, so it is not pending */
}

/* The socket of slot i, or an error if the slot is empty. */
static __always_inline int select_slot(struct sk_reuseport_md *ctx, struct group *g, int i)
{
	__u32 key = i;
	__u64 n;

	if (!bpf_sk_select_reuseport(ctx, &sockets, &key, 0))
		return 0;
	n = mask_index(i, SLOTS - 1); /* bounds don't survive the way over the stack on 6.1 */
	g->slot[n].scale = 0;
	g->info[n].state = SLOT_GONE;
	fetch_add(&g->slot[n].picks, -1);
	count_up(g->counters.retries);
	return -1;
}

/* Is this a connection that a privileged process sends to a slot of its choice? Gives it that slot. */
subprogram int steer_probe(struct sk_reuseport_md *ctx, struct group *g, int acknowledges)
{
	struct probe_key client = {};
	struct probe *probe;
	__u32 i;

	if (!g)
		return 0;
	client.group = g->id;
	if (read_source(ctx, client.address) == AF_INET)
		client.address[2] = bpf_htonl(0xffff);
	bpf_skb_load_bytes(ctx, 0, &client.port, sizeof(client.port)); /* a TCP header begins with it */
	probe = bpf_map_lookup_elem(&probes, &client);
	if (!probe)
		return 0;
	i = mask_index(probe->slot, SLOTS - 1);
	if (probe->expires > bpf_ktime_get_ns() && probe->generation == load_once(g->info[i].generation)) {
		fetch_add(&g->slot[i].picks, 1);
		if (!select_slot(ctx, g, i)) {
			count_up(g->info[i].probed);
			probe->picked = 1;
			if (acknowledges)
				give_back(g, i);
			return 1;
		}
	}
	count_up(g->counters.probe_missed);
	return 0;
}

static __always_inline int steer_connection(struct sk_reuseport_md *ctx)
{
	__u32 zero = 0, random = ctx->hash, client = 0, tries;
	struct group *g = bpf_map_lookup_elem(&slots, &zero);
	const struct loads *published = bpf_map_lookup_elem(&loads, &zero);
	enum segment segment = SEGMENT_SYN;
	int i, live;

	if (!g || !published)
		return SK_PASS; /* can't be: both are arrays with this element */
	if (!ctx->migrating_sk)
		segment = segment_of(ctx);
	if (segment == SEGMENT_OTHER)
		return SK_PASS;
	keep_epoch(g);
	if (g->probing && !ctx->migrating_sk && steer_probe(ctx, g, segment == SEGMENT_ACK))
		return SK_PASS;
	if (g->policy == POLICY_HASH)
		client = client_of(ctx);
	for (tries = 0; tries < SELECTIONS; tries++) {
		i = pick(g, published, random, client);
		if (i == NO_SLOT)
			i = pick_any(g, random);
		live = i != NO_LIVE;
		if (!live || (i < 0 && ctx->migrating_sk))
			i = pick_anyway(g, random);
		if (i == ALL_FULL && segment == SEGMENT_ACK)
			return SK_PASS; /* its SYN was let in, or it is none of ours */
		if (i == ALL_FULL) {
			count_up(g->counters.refused);
			return SK_DROP;
		}
		if (i == NO_SLOT)
			continue;
		if (i < 0)
			break;
		if (select_slot(ctx, g, i))
			continue;
		if (ctx->migrating_sk)
			note_migration(ctx, g, i);
		else if (segment == SEGMENT_ACK)
			give_back(g, i);
		else if (!live)
			count_up(g->counters.fallback);
		return SK_PASS;
	}
	if (ctx->migrating_sk)
		count_up(g->counters.migrate_failed);
	else
		count_up(g->counters.fallback);
	return SK_PASS;
}

#endif
