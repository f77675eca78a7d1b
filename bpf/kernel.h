/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The few kernel types that the programs look into. Fields are found by CO-RE:
 * only their names and kinds matter here, not their places.
 */
#ifndef SOCKDIST_KERNEL_H
#define SOCKDIST_KERNEL_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr___k {
	union {
		__u8 u6_addr8[16];
		__be32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__u16 skc_family;
	__u16 skc_num;
	__be16 skc_dport;
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	volatile unsigned char skc_state;
	unsigned long skc_flags;
	unsigned char skc_ipv6only : 1;
	struct in6_addr___k skc_v6_daddr;
	struct in6_addr___k skc_v6_rcv_saddr;
};

struct request_sock;
struct socket;

struct request_sock_queue {
	struct request_sock *rskq_accept_head;
};

struct bpf_prog_aux {
	__u32 id;
};

struct bpf_prog {
	struct bpf_prog_aux *aux;
};

struct sock_reuseport {
	struct bpf_prog *prog;
};

struct sock {
	struct sock_common __sk_common;
	struct sock_reuseport *sk_reuseport_cb;
	struct socket *sk_socket;
};

struct request_sock {
	struct request_sock *dl_next;
	struct sock *sk;
};

struct inet_sock {
	struct sock sk;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	struct request_sock_queue icsk_accept_queue;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 srtt_us;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

#pragma clang attribute pop

/* include/net/tcp_states.h */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT,
	TCP_SYN_RECV,
	TCP_FIN_WAIT1,
	TCP_FIN_WAIT2,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_LISTEN,
	TCP_CLOSING,
	TCP_NEW_SYN_RECV,
};

#define SOCK_DEAD 1UL /* include/net/sock.h: the first of sock_flags */

/* include/uapi/linux/tcp.h: the byte of flags in a header */
#define TCP_FLAGS_AT 13
#define TCP_FLAG_FIN 0x01
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_ACK 0x10

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif
#ifndef SOCK_STREAM
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#endif
#ifndef IPPROTO_SCTP
#define IPPROTO_SCTP 132
#endif
#define SOL_SOCKET 1
#define SO_REUSEPORT 15
#define EEXIST 17
#define EADDRINUSE 98
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD

#endif
