/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
#ifndef SOCKDIST_MAPS_H
#define SOCKDIST_MAPS_H

/* ---- one of each a group ---- */

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct group);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct loads);
} loads SEC(".maps");

/* ---- one of each a host ---- */

/* What a listener belongs to; its connections inherit it. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct origin);
} origins SEC(".maps");

/*
 * Connections that were migrated from an accept queue, by cookie: their storage
 * still names the listener they came from, and steer can't write it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MOVED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct origin);
} moved SEC(".maps");

/* Written by who may write here only: a client can't choose its slot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PROBES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct probe_key);
	__type(value, struct probe);
} probes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, GROUPS);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__uint(map_flags, BPF_F_MMAPABLE);
		__type(key, __u32);
		__type(value, struct group);
	});
} groups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, APPS);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_RINGBUF);
		__uint(max_entries, 65536);
	});
} apps SEC(".maps");

/* ---- one of each an app ---- */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct app);
} app SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

/* ---- while a group takes over connections that are older than it ---- */

/* What a socket must be to be the one that was in the queue: its memory may be another's by now. */
struct ends {
	__u32 remote;
	__u32 remote6; /* the last word of an IPv6 address */
	__u16 remote_port;
	__u16 port;
};

struct queued {
	struct origin origin;
	struct ends ends;
};

/* Accepted connections by cookie; user space knows which process holds which. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MOVED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct origin);
} accepted SEC(".maps");

/* Connections in an accept queue, by the address of their socket. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MOVED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct queued);
} queued SEC(".maps");

#endif
