/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The counting. A connection is counted in when its handshake ends and out when
 * it reaches CLOSE, at the slot of the listener it was born from, or of
 * the one it was migrated to. The worker takes no part.
 *
 * There are two programs that do the same, account and account_again. The kernel
 * doesn't start a tracepoint's program on a CPU where it is running already: a
 * packet that comes by an interrupt in the middle of it would go uncounted. At
 * most one of the two can be interrupted so, and the other one sees the packet.
 * So everything here may be done twice for one change, one after the other, and
 * the second time has no effect.
 */
#ifndef SOCKDIST_ACCOUNT_H
#define SOCKDIST_ACCOUNT_H

#define QUEUE_MAX 65536 /* of a listener; somaxconn is less, as a rule */

#define count_up(field) ((void)fetch_add(&(field), 1))

static __always_inline struct group *group_of(const struct origin *origin)
{
	__u32 id = origin->group, zero = 0;
	void *slots_map = bpf_map_lookup_elem(&groups, &id);

	return slots_map ? bpf_map_lookup_elem(slots_map, &zero) : NULL;
}

/* Where the connection is now: storage says where it was born. */
static __always_inline struct origin *current_origin(struct group *g, const struct sock *sk, struct origin *born)
{
	struct origin *elsewhere;
	__u64 cookie;

	if (!load_once(g->moved))
		return born;
	cookie = bpf_get_socket_cookie((void *)sk);
	elsewhere = bpf_map_lookup_elem(&moved, &cookie);
	return elsewhere ?: born;
}

/* 0 is the generation of a slot that is changing hands. */
static __always_inline int in_use(struct group *g, const struct origin *origin)
{
	__u32 generation = load_once(g->info[mask_index(origin->slot, SLOTS - 1)].generation);

	return generation && generation == origin->generation;
}

/* The connection's listener is closing: note where it is, for steer to move its count. */
static __always_inline void expect_move(struct group *g, struct sock *sk, const struct origin *origin)
{
	__u64 cookie = bpf_get_socket_cookie(sk);
	struct origin fresh = *origin, *place = bpf_map_lookup_elem(&moved, &cookie);
	int failed; /* before 6.3 only the low half of what the helper returns */

	if (place) {
		place->told = 1;
		return;
	}
	fresh.told = 1;
	fetch_add(&g->moved, 1); /* before it can be found */
	failed = bpf_map_update_elem(&moved, &cookie, &fresh, BPF_NOEXIST);
	if (!failed)
		return;
	fetch_add(&g->moved, -1);
	if (failed != -EEXIST)
		count_up(g->counters.unmarked);
}

/* If the connection is a probe: it got this far, and where to. */
static __always_inline void probe_opens(struct group *g, const struct sock *sk, __u8 slot)
{
	struct probe_key client = {
		.group = g->id,
		.port = BPF_CORE_READ(sk, __sk_common.skc_dport),
	};
	struct probe *probe;

	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6) {
		BPF_CORE_READ_INTO(&client.address, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32);
	} else {
		client.address[2] = bpf_htonl(0xffff);
		client.address[3] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	}
	probe = bpf_map_lookup_elem(&probes, &client);
	if (probe)
		probe->opened = slot + 1;
}

static __always_inline void connection_opens(const struct sock *sk, struct origin *born)
{
	struct group *g = group_of(born);
	struct origin *origin;
	__u64 settled;
	__u32 i;

	if (!g || born->counted)
		return;
	born->counted = 1; /* if its slot is in use, that is */
	origin = current_origin(g, sk, born);
	if (!in_use(g, origin)) {
		count_up(g->counters.stale);
		return;
	}
	i = mask_index(origin->slot, SLOTS - 1);
	settled = settle(g, &g->info[i], BPF_CORE_READ((struct tcp_sock *)sk, srtt_us) >> 3);
	fetch_add(&g->slot[i].counts, ONE_CONNECTION + settled);
	count_up(g->info[i].opened);
	if (load_once(g->probing))
		probe_opens(g, sk, i);
	if (g->info[i].state == SLOT_GONE)
		expect_move(g, (struct sock *)sk, origin); /* the walk over the queue may have missed it */
}

/* g is NULL if the group is gone. */
static __always_inline void forget_move(struct group *g, const struct sock *sk)
{
	__u64 cookie = bpf_get_socket_cookie((void *)sk);

	if (!bpf_map_delete_elem(&moved, &cookie) && g)
		fetch_add(&g->moved, -1);
}

/* Nobody has accepted it: an accepted one has a file, or had. */
static __always_inline int in_queue(const struct sock *sk)
{
	return !BPF_CORE_READ(sk, sk_socket) && !(BPF_CORE_READ(sk, __sk_common.skc_flags) & SOCK_DEAD);
}

static __always_inline void connection_closes(const struct sock *sk, struct origin *born)
{
	struct group *g = group_of(born);
	struct origin *origin;
	__u32 i;

	if (!g) {
		forget_move(NULL, sk);
		return;
	}
	origin = current_origin(g, sk, born);
	if (born->counted) {
		born->counted = 0;
		if (in_use(g, origin)) {
			i = mask_index(origin->slot, SLOTS - 1);
			fetch_add(&g->slot[i].counts, -ONE_CONNECTION);
			if (origin != born && origin->told && g->info[i].state == SLOT_GONE && in_queue(sk))
				fetch_add(&g->info[i].opened, -1); /* it ended in the queue of a listener that closes */
			lower_hint(g, i);
		} else {
			count_up(g->counters.stale);
		}
	}
	if (origin != born)
		forget_move(g, sk);
}

struct closing_queue {
	struct group *group;
	struct request_sock *next;
	struct origin origin; /* the listener's */
};

/* A connection that ended in the queue has no count any more, and no event to come. */
static __always_inline void dead_leaves(struct group *g, const struct origin *listener, struct origin *origin)
{
	if (in_use(g, listener))
		fetch_add(&g->info[mask_index(listener->slot, SLOTS - 1)].opened, -1);
	origin->generation = 0; /* once is enough */
}

static long expect_next(__u32 n, struct closing_queue *queue)
{
	struct request_sock *request = queue->next;
	struct group *g = queue->group;
	struct origin *origin;
	struct sock *child;

	if (!request || !g)
		return 1;
	queue->next = request->dl_next;
	child = request->sk;
	if (!child)
		return 0;
	origin = bpf_sk_storage_get(&origins, child, NULL, 0);
	if (!origin || !origin->generation)
		return 0;
	if (child->__sk_common.skc_state == TCP_CLOSE)
		dead_leaves(g, &queue->origin, origin);
	else
		expect_move(g, child, origin);
	return 0;
}

/*
 * The listener's queue migrates right after this: the slot must not be picked
 * for it. Steer can't read what a connection inherited, so all that have a
 * count, and those that may still get one, are noted where it looks.
 */
static __always_inline void listener_closes(const struct sock *sk, struct origin *origin)
{
	struct closing_queue queue = { .group = group_of(origin), .origin = *origin };
	__u32 i = mask_index(origin->slot, SLOTS - 1);
	struct group *g = queue.group;
	struct tcp_sock *tcp;

	if (!g)
		return;
	if (in_use(g, origin)) {
		g->slot[i].scale = 0;
		swap(&g->info[i].state, SLOT_GONE);
	}
	tcp = bpf_skc_to_tcp_sock((void *)sk);
	if (!tcp)
		return;
	queue.next = tcp->inet_conn.icsk_accept_queue.rskq_accept_head;
	bpf_loop(QUEUE_MAX, expect_next, &queue, 0);
}

static __always_inline void read_address(const struct sock *sk, struct event *event)
{
	const struct sock_common *common = &sk->__sk_common;

	event->port = BPF_CORE_READ(common, skc_num);
	event->ipv6 = BPF_CORE_READ(common, skc_family) == AF_INET6;
	if (event->ipv6) {
		event->v6only = BPF_CORE_READ_BITFIELD_PROBED(common, skc_ipv6only);
		BPF_CORE_READ_INTO(&event->address, common, skc_v6_rcv_saddr.in6_u.u6_addr8);
		return;
	}
	event->address[10] = event->address[11] = 0xff;
	BPF_CORE_READ_INTO((__be32 *)&event->address[12], common, skc_rcv_saddr);
}

static __always_inline void tell_app(const struct sock *sk, const struct origin *origin, __u32 kind)
{
	__u32 index = origin->app - 1;
	struct event event = { .kind = kind };
	void *buffer = bpf_map_lookup_elem(&apps, &index);

	if (!buffer)
		return;
	event.cookie = bpf_get_socket_cookie((void *)sk);
	event.cgroup = bpf_get_current_cgroup_id();
	event.pid = bpf_get_current_pid_tgid() >> 32;
	read_address(sk, &event);
	/* A full buffer loses the event; the supervisor also looks by itself now and then. */
	bpf_ringbuf_output(buffer, &event, sizeof(event), 0);
}

/* A socket that the bind hook saw begins or ends to listen. */
static __always_inline void listening_changes(const struct sock *sk, struct origin *origin, int to)
{
	__u8 listens = to == TCP_LISTEN;

	if (!origin->app || origin->told == listens)
		return;
	origin->told = listens;
	tell_app(sk, origin, listens ? EVENT_LISTENING : EVENT_CLOSED);
}

static __always_inline void account_change(const struct sock *sk, int from, int to)
{
	struct origin *origin;

	if (from != TCP_SYN_RECV && to != TCP_CLOSE && to != TCP_LISTEN)
		return;
	origin = bpf_sk_storage_get(&origins, (void *)sk, NULL, 0);
	if (!origin)
		return;
	if (to == TCP_LISTEN || from == TCP_LISTEN) {
		if (to == TCP_CLOSE && origin->generation)
			listener_closes(sk, origin);
		listening_changes(sk, origin, to);
		return;
	}
	if (!origin->generation)
		return;
	if (to == TCP_CLOSE)
		connection_closes(sk, origin);
	else if (from == TCP_SYN_RECV)
		connection_opens(sk, origin);
}

#endif
