/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The bind hook of an app. Workers know nothing of SO_REUSEPORT: when one binds
 * a port of the app, the option is set for it, so that its siblings can bind
 * the same. Client sockets are left alone: no port, no touch, and a socket that
 * connects after binding a port of its own loses the option again.
 */
#ifndef SOCKDIST_BIND_H
#define SOCKDIST_BIND_H

static __always_inline struct app *this_app(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&app, &zero);
}

static __always_inline int wants_port(const struct app *app, __u16 port)
{
	__u32 i;

	if (!app->ports)
		return 1;
	for (i = 0; i < PORTS; i++)
		if (i < app->ports && app->port[i] == port)
			return 1;
	return 0;
}

static __always_inline void tell_stranger(struct event *event, struct bpf_sock_addr *ctx)
{
	event->kind = EVENT_STRANGER;
	event->port = bpf_ntohs(ctx->user_port);
	event->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_ringbuf_output(&events, event, sizeof(*event), 0);
}

/* Is what was found a listener that is not the app's? */
static __always_inline int is_stranger(struct bpf_sock *found, const struct app *app)
{
	struct origin *origin;
	int stranger = 0;

	if (found->state == TCP_LISTEN) {
		origin = bpf_sk_storage_get(&origins, found, NULL, 0);
		stranger = !origin || origin->app != app->id;
	}
	bpf_sk_release(found);
	return stranger;
}

static __always_inline int stranger_listens4(struct bpf_sock_addr *ctx, const struct app *app)
{
	struct bpf_sock_tuple tuple = {
		.ipv4.daddr = ctx->user_ip4,
		.ipv4.dport = ctx->user_port,
	};
	struct bpf_sock *found = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	struct event event = {};

	if (!found || !is_stranger(found, app))
		return 0;
	event.address[10] = event.address[11] = 0xff;
	*(__u32 *)&event.address[12] = ctx->user_ip4;
	tell_stranger(&event, ctx);
	return 1;
}

static __always_inline int stranger_listens6(struct bpf_sock_addr *ctx, const struct app *app)
{
	struct bpf_sock_tuple tuple = {
		.ipv6.daddr[0] = ctx->user_ip6[0],
		.ipv6.daddr[1] = ctx->user_ip6[1],
		.ipv6.daddr[2] = ctx->user_ip6[2],
		.ipv6.daddr[3] = ctx->user_ip6[3],
		.ipv6.dport = ctx->user_port,
	};
	struct bpf_sock *found = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	struct event event = { .ipv6 = 1 };

	if (!found || !is_stranger(found, app))
		return 0;
	__builtin_memcpy(event.address, tuple.ipv6.daddr, sizeof(event.address));
	tell_stranger(&event, ctx);
	return 1;
}

/* The rest of a bind of a TCP port that the app wants, when nobody else has it. */
static __always_inline int share_port(struct bpf_sock_addr *ctx, const struct app *app)
{
	struct origin origin = { .app = app->id };
	struct bpf_sock *sk = ctx->sk;
	int one = 1, has = 0;

	if (!sk)
		return 1;
	bpf_getsockopt(ctx, SOL_SOCKET, SO_REUSEPORT, &has, sizeof(has));
	if (!has) /* else it is the program's own wish, and stays when it connects */
		origin.reuseport = !bpf_setsockopt(ctx, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	bpf_sk_storage_get(&origins, sk, &origin, BPF_SK_STORAGE_GET_F_CREATE);
	return 1;
}

static __always_inline int refuse_bind(void)
{
	bpf_set_retval(-EADDRINUSE);
	return 0;
}

/* A bind that is none of the hook's business; UDP ports are shared when the app asks for it. */
static __always_inline int left_alone(struct bpf_sock_addr *ctx, const struct app *app)
{
	int one = 1;

	if (!app || !ctx->user_port || !wants_port(app, bpf_ntohs(ctx->user_port)))
		return 1;
	if (ctx->type == SOCK_STREAM && ctx->protocol != IPPROTO_SCTP)
		return 0;
	if (ctx->type == SOCK_DGRAM && app->udp)
		bpf_setsockopt(ctx, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	return 1;
}

static __always_inline int bind_socket4(struct bpf_sock_addr *ctx)
{
	struct app *app = this_app();

	if (left_alone(ctx, app) || !app)
		return 1;
	return stranger_listens4(ctx, app) ? refuse_bind() : share_port(ctx, app);
}

static __always_inline int bind_socket6(struct bpf_sock_addr *ctx)
{
	struct app *app = this_app();

	if (left_alone(ctx, app) || !app)
		return 1;
	return stranger_listens6(ctx, app) ? refuse_bind() : share_port(ctx, app);
}

static __always_inline int connect_socket(struct bpf_sock_addr *ctx)
{
	struct app *app = this_app();
	struct bpf_sock *sk = ctx->sk;
	struct origin *origin;
	int off = 0;

	if (!app || !sk)
		return 1;
	origin = bpf_sk_storage_get(&origins, sk, NULL, 0);
	if (!origin || origin->app != app->id || !origin->reuseport)
		return 1;
	bpf_setsockopt(ctx, SOL_SOCKET, SO_REUSEPORT, &off, sizeof(off));
	bpf_sk_storage_delete(&origins, sk);
	return 1;
}

#endif
