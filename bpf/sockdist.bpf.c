// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Entry points. Every program is a line: what it does stands in the header of
 * the same name.
 *
 *   steer      a new connection, or a migrated one, gets a slot    steer.h, select.h, handshake.h
 *   account…   connections are counted where they live             account.h
 *   bind…      unmodified workers can share a port                 bind.h
 *   adopt      connections older than their group are counted      adopt.h
 *   who_steers tells which program a listener's group has          below
 *   bench_…    what a pick costs at the least                      below
 */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

#include "kernel.h"
#include "abi.h"
#include "primitives.h"
#include "maps.h"
#include "select.h"
#include "handshake.h"
#include "account.h"
#include "steer.h"
#include "bind.h"
#include "adopt.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

SEC("sk_reuseport/migrate")
int steer(struct sk_reuseport_md *ctx)
{
	return steer_connection(ctx);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(account, const struct sock *sk, int from, int to)
{
	account_change(sk, from, to);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(account_again, const struct sock *sk, int from, int to)
{
	account_change(sk, from, to);
	return 0;
}

SEC("cgroup/bind4")
int bind4(struct bpf_sock_addr *ctx)
{
	return bind_socket4(ctx);
}

SEC("cgroup/bind6")
int bind6(struct bpf_sock_addr *ctx)
{
	return bind_socket6(ctx);
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return connect_socket(ctx);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return connect_socket(ctx);
}

SEC("iter/tcp")
int adopt(struct bpf_iter__tcp *ctx)
{
	return adopt_socket(ctx);
}

/*
 * Listening sockets whose group has a program: cookie and program id, in pairs.
 * They come first; at the pair 0, 0 the reader had better stop.
 */
SEC("iter/tcp")
int who_steers(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct sock_reuseport *reuse;
	struct bpf_prog *prog;
	struct sock *sk;
	__u64 line[2] = {};

	if (!common)
		return 0;
	if (common->skc_state != TCP_LISTEN) {
		bpf_seq_write(ctx->meta->seq, line, sizeof(line));
		return 0;
	}
	sk = (struct sock *)bpf_skc_to_tcp_sock(common);
	if (!sk)
		return 0;
	reuse = BPF_CORE_READ(sk, sk_reuseport_cb);
	if (!reuse)
		return 0;
	prog = BPF_CORE_READ(reuse, prog);
	if (!prog)
		return 0;
	line[0] = bpf_get_socket_cookie(sk);
	line[1] = BPF_CORE_READ(prog, aux, id);
	bpf_seq_write(ctx->meta->seq, line, sizeof(line));
	return 0;
}

SEC("sk_reuseport/migrate")
int bench_empty(struct sk_reuseport_md *ctx)
{
	return SK_PASS;
}

/* What the kernel's own hash would be as a program: the floor for any choice that selects a socket. */
SEC("sk_reuseport/migrate")
int bench_hash(struct sk_reuseport_md *ctx)
{
	__u32 zero = 0, key;
	struct group *g = bpf_map_lookup_elem(&slots, &zero);

	if (!g)
		return SK_PASS;
	key = below(ctx->hash, g->turns);
	bpf_sk_select_reuseport(ctx, &sockets, &key, 0);
	return SK_PASS;
}
