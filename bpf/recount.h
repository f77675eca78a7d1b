/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A second opinion on the counts: an iterator over all TCP sockets tallies, by
 * slot, those that are counted. The counting goes by events, and an event can get
 * lost: on some virtual machines no program runs for a tracepoint that a packet
 * hits while certain threads of the machine's own agent are interrupted. What
 * was lost would stay in the counts for good.
 *
 * The iterator holds each socket's lock while it shows it, so the socket is
 * either before or after its own event. What to make of the sum while other
 * connections come and go is user space's business: see loader/recount.go.
 */
#ifndef SOCKDIST_RECOUNT_H
#define SOCKDIST_RECOUNT_H

/* 0 if the socket has to be shown again, as the reader's buffer is full. */
static __always_inline int tally_move(struct bpf_iter__tcp *ctx, struct tally *tally, __u64 cookie)
{
	if (tally->list && bpf_seq_write(ctx->meta->seq, &cookie, sizeof(cookie)))
		return 0;
	tally->moved++;
	return 1;
}

static __always_inline int recount_socket(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct origin *origin, *place = NULL;
	struct tally *tally;
	struct tcp_sock *tcp;
	__u32 zero = 0;
	struct group *g = bpf_map_lookup_elem(&slots, &zero);
	__u64 cookie;

	tally = bpf_map_lookup_elem(&recounted, &zero);
	if (!common || !g || !tally || common->skc_state == TCP_LISTEN)
		return 0;
	tcp = bpf_skc_to_tcp_sock(common);
	if (!tcp)
		return 0; /* a half-open or a finished one */
	origin = bpf_sk_storage_get(&origins, (struct sock *)tcp, NULL, 0);
	if (!origin)
		return 0;
	if (load_once(g->moved)) {
		cookie = bpf_get_socket_cookie((struct sock *)tcp);
		place = bpf_map_lookup_elem(&moved, &cookie);
		if (place && place->group == g->id && !tally_move(ctx, tally, cookie))
			return 0;
	}
	if (origin->group != g->id || !origin->generation || !origin->counted)
		return 0;
	if (place)
		origin = place;
	if (in_use(g, origin))
		tally->slot[mask_index(origin->slot, SLOTS - 1)]++;
	return 0;
}

#endif
