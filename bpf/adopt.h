/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Counting connections that are older than their group. The iterator holds each
 * socket's lock while it shows it, so a connection can't close in between, and
 * from then on the tracepoint counts it like any other.
 *
 * Listeners come first in the walk. The connections in an accept queue are only
 * reachable from there, and only as addresses; they are met again, as sockets,
 * later in the same walk.
 */
#ifndef SOCKDIST_ADOPT_H
#define SOCKDIST_ADOPT_H

/* What the last walk did, for the loader. */
__u64 adopted_connections;

struct queue_walk {
	struct request_sock *request;
	struct origin origin;
};

static __always_inline struct ends ends_of(const struct sock *sk)
{
	struct ends ends = {
		.remote = BPF_CORE_READ(sk, __sk_common.skc_daddr),
		.remote6 = BPF_CORE_READ(sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32[3]),
		.remote_port = BPF_CORE_READ(sk, __sk_common.skc_dport),
		.port = BPF_CORE_READ(sk, __sk_common.skc_num),
	};

	return ends;
}

static __always_inline int same_ends(struct ends a, struct ends b)
{
	return a.remote == b.remote && a.remote6 == b.remote6 && a.remote_port == b.remote_port && a.port == b.port;
}

static long note_queued(__u32 n, struct queue_walk *walk)
{
	struct request_sock *request = walk->request;
	struct queued connection = { .origin = walk->origin };
	struct sock *child;

	if (!request)
		return 1;
	child = BPF_CORE_READ(request, sk);
	connection.ends = ends_of(child);
	bpf_map_update_elem(&queued, &child, &connection, BPF_ANY);
	walk->request = BPF_CORE_READ(request, dl_next);
	return 0;
}

static __always_inline void note_queue(struct sock *listener, const struct origin *origin)
{
	struct inet_connection_sock *icsk = (struct inet_connection_sock *)listener;
	struct queue_walk walk = { .origin = *origin };

	walk.request = BPF_CORE_READ(icsk, icsk_accept_queue.rskq_accept_head);
	bpf_loop(QUEUE_MAX, note_queued, &walk, 0);
}

/* Does it belong to a slot's present use? If to an earlier one only, it is to be counted anew. */
static __always_inline int has_place(struct sock *sk, struct origin *born)
{
	struct group *g = group_of(born);

	if (g && in_use(g, current_origin(g, sk, born)))
		return 1;
	forget_move(g, sk);
	return 0;
}

/* The slot that it belongs to, as the loader or its place in a queue says. */
static __always_inline struct origin *find_owner(struct sock *sk)
{
	__u64 address = (__u64)sk, cookie = bpf_get_socket_cookie(sk);
	struct queued *connection = bpf_map_lookup_elem(&queued, &address);

	if (connection && same_ends(connection->ends, ends_of(sk)))
		return &connection->origin;
	return bpf_map_lookup_elem(&accepted, &cookie);
}

/* `opened`: its handshake is over; otherwise it will be counted when it is. */
static __always_inline void adopt_connection(struct sock *sk, int opened)
{
	struct origin *origin = find_owner(sk), fresh;
	struct group *g;

	if (!origin)
		return;
	fresh = *origin;
	fresh.counted = opened;
	origin = bpf_sk_storage_get(&origins, sk, NULL, 0);
	if (origin && has_place(sk, origin))
		return;
	g = group_of(&fresh);
	if (!g || !in_use(g, &fresh))
		return;
	if (origin)
		*origin = fresh;
	else if (!bpf_sk_storage_get(&origins, sk, &fresh, BPF_SK_STORAGE_GET_F_CREATE))
		return;
	if (!opened)
		return;
	fetch_add(&g->slot[mask_index(fresh.slot, SLOTS - 1)].counts, ONE_CONNECTION);
	count_up(g->info[mask_index(fresh.slot, SLOTS - 1)].opened);
	count_up(adopted_connections);
}

static __always_inline int adopt_socket(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct origin *origin;
	struct tcp_sock *tcp;
	struct sock *sk;

	if (!common)
		return 0;
	tcp = bpf_skc_to_tcp_sock(common);
	if (!tcp)
		return 0; /* a half-open or a finished one */
	sk = (struct sock *)tcp;
	switch (common->skc_state) {
	case TCP_LISTEN:
		origin = bpf_sk_storage_get(&origins, sk, NULL, 0);
		if (origin && origin->generation)
			note_queue(sk, origin);
		break;
	case TCP_SYN_RECV: /* its first data came with the SYN */
		adopt_connection(sk, 0);
		break;
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
	case TCP_LAST_ACK:
	case TCP_CLOSING:
		adopt_connection(sk, 1);
	}
	return 0;
}

#endif
