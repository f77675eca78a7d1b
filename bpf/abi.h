/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the kernel side shares with user space: every struct here has a twin in
 * loader/abi.go, and a Go test compares the two through BTF. A change of any
 * layout is a new version of the pin folder (sockdist/v2).
 */
#ifndef SOCKDIST_ABI_H
#define SOCKDIST_ABI_H

enum {
	SLOTS      = 256,  /* slots a group */
	BLOCK      = 8,    /* slots that share one hint word */
	BLOCKS     = SLOTS / BLOCK,
	ROWS       = 4096, /* rows of the table behind `hash` */
	ORDER      = 1024, /* places of the sequence behind `rr`, `p2c` and `random` */
	GROUPS     = 1024, /* groups a host */
	APPS       = 256,  /* apps a host */
	NAME_BYTES = 64,
	PORTS      = 16,   /* ports that one app can be restricted to */
	MOVED      = 262144, /* connections that changed their slot and still live */
	PROBES     = 4096, /* connections under way to a chosen slot, a host */
};

enum policy {
	POLICY_LEAST,
	POLICY_P2C,
	POLICY_RR,
	POLICY_RANDOM,
	POLICY_HASH,
};

enum slot_state {
	SLOT_FREE,
	SLOT_LIVE,
	SLOT_DRAINING,
	SLOT_GONE, /* its listener was closed or shut */
};

/* Why a slot is held back from picks: bits of slot_info.hold. */
enum hold {
	HOLD_DRAIN = 1, /* an operator's drain, kept when another worker takes the slot */
	HOLD_START = 2, /* its worker is not ready yet */
	HOLD_HANG  = 4, /* its worker does not get on */
	HOLD_LEAVE = 8, /* its worker retires */
	HOLD_SELF  = 16, /* its worker asked for it */
};

/* What every pick reads of a slot: half a cache line. */
struct slot {
	__u64 picks;  /* new connections ever given to it; written by steer */
	__u64 counts; /* low half: connections; high half: picks that are no longer pending */
	__u32 scale;  /* score = (connections + pending + load) * scale; 0: not to be picked */
	__u32 max;    /* connections + pending that make it full; ~0: no maximum */
	__u64 cookie; /* of its listener */
};

/* The rest of a slot: accounting of handshakes, figures for people. */
struct slot_info {
	__u64 settled[2]; /* epoch << 32 | handshakes finished, of the picks of that epoch (by parity) */
	__u64 mark[2];    /* slot.picks when the epoch of that parity began */
	__u64 migrated;   /* connections that came from a closed listener */
	__u64 moved_out;  /* connections that left when its listener closed */
	__u64 opened;     /* connections counted in at this use of the slot, less those that left its queue again */
	__u64 probed;     /* picks that a probe asked for */
	__u64 start;      /* start time of the process pid, clock ticks since boot */
	__u32 pid;        /* who accepts */
	__u32 state;      /* enum slot_state */
	__u32 generation; /* unique on the host: tells this use of the slot from earlier ones */
	__u32 weight;     /* 0 … 1000 */
	__u32 reports;    /* 1: its worker publishes a load */
	__u32 hold;       /* of enum hold; 0: picked */
};

/* Counters of a group; each early way out of a program has one. */
struct group_counters {
	__u64 refused;        /* all live slots full */
	__u64 fallback;       /* came when no slot was live: to a held one, or left to the kernel's hash */
	__u64 retries;        /* a chosen slot turned out to be empty or taken */
	__u64 migrated;       /* queued connections and handshakes given to another slot */
	__u64 migrate_failed; /* … for which no slot was found: the kernel's hash decided */
	__u64 stale;          /* closes of connections of an earlier use of a slot */
	__u64 probe_missed;   /* probes whose slot was gone or had changed hands, or that came too late */
	__u64 unmarked;       /* moves whose new slot could not be remembered */
	__u64 corrected;      /* connections by which a recount put counts right; written by user space */
	__u64 pad[7];
};

/* What user space wants to find again; the kernel side does not read it. */
struct group_meta {
	char name[NAME_BYTES];
	char app[NAME_BYTES];
	__u8 address[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u64 netns;      /* inode of the network namespace */
	__u16 port;       /* host order */
	__u8 ipv6;        /* 1: an AF_INET6 listener */
	__u8 v6only;
	__u32 pad;
};

/* The one value of the map `slots`: all that a group is, apart from its sockets. */
struct group {
	__u64 epoch_at; /* jiffies at which the current epoch began */
	__u64 epoch_ns; /* the same moment by CLOCK_MONOTONIC */
	__u32 epoch;
	__u32 id;        /* index in the map `groups` */
	__u32 blocks;    /* blocks in use: 1 … BLOCKS */
	__u32 policy;    /* enum policy */
	__u32 turns;     /* places in use of order[] */
	__u32 reporting; /* bit b: block b has a slot whose worker publishes a load */
	__u64 moved;     /* entries of the map `moved` that belong to this group */
	__u32 probing;   /* entries of the map `probes` that belong to this group */
	__u32 changing;  /* 1: scales and tables are being computed anew */
	__u64 pad0;

	__u64 turn; /* of `rr`; a line of its own */
	__u64 pad1[7];

	__u64 hint[BLOCKS]; /* see select.h */
	__u32 seq[BLOCKS];  /* changes with every fall of a score in the block */

	struct group_counters counters;
	struct slot slot[SLOTS];
	struct slot_info info[SLOTS];
	__u8 rows[ROWS];
	__u8 order[ORDER];
	struct group_meta meta;
};

/* A worker's own cache line in the map `loads`. Steer reads the load alone; the rest is for user space. */
struct load {
	__u64 load;     /* signed; below 0 counts as 0 */
	__u64 beat;     /* rises while the worker gets on; 0: it tells nothing of that */
	__u64 requests; /* finished since it joined */
	__u64 pad[5];
};

/* The one value of the map `loads`, mapped by the group's workers. */
struct loads {
	struct load slot[SLOTS];
};

/* Socket-local storage: of a listener, and by inheritance of its connections. */
struct origin {
	__u32 group;
	__u32 generation; /* 0: no slot */
	__u8 slot;
	__u8 told;      /* the app knows that this socket listens; in the map `moved`: the connection's listener closes */
	__u8 counted;   /* this connection is in its slot's count */
	__u8 reuseport; /* SO_REUSEPORT was set by the bind hook */
	__u32 app;      /* index in the map `apps`, plus one; 0: none */
};

/* The client's end of a connection that is to reach a chosen slot. */
struct probe_key {
	__u32 address[4]; /* IPv4 as ::ffff:a.b.c.d; network order */
	__u32 group;
	__u16 port; /* network order */
	__u16 pad;
};

struct probe {
	__u64 expires;    /* by CLOCK_MONOTONIC, in ns */
	__u32 generation; /* of the slot's use that is meant */
	__u8 slot;
	__u8 picked; /* 1: steer has chosen that slot */
	__u16 opened; /* slot at which the connection is established, plus one; 0: not yet */
};

/* Configuration of an app's bind hooks. */
struct app {
	char name[NAME_BYTES];
	__u32 id; /* as in origin.app */
	__u32 supervisor; /* pid */
	__u32 udp;
	__u32 ports; /* entries in use of port[]; 0: every port */
	__u16 port[PORTS];
};

enum event_kind {
	EVENT_LISTENING = 1,
	EVENT_CLOSED,
	EVENT_STRANGER, /* somebody else listens where the app wants to */
};

struct event {
	__u64 cookie;
	__u64 cgroup; /* id of the cgroup of the process that caused it */
	__u32 kind;
	__u32 pid;
	__u8 address[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u16 port;
	__u8 ipv6;
	__u8 v6only;
	__u32 pad;
};

_Static_assert(sizeof(struct slot) == 32, "two slots a cache line");
_Static_assert(sizeof(struct slot_info) == 96, "slot_info");
_Static_assert(sizeof(struct group_counters) == 128, "two cache lines");
_Static_assert(sizeof(struct load) == 64, "one cache line a worker");
_Static_assert(sizeof(struct origin) == 16, "origin");
_Static_assert(sizeof(struct probe_key) == 24, "no padding in a key");
_Static_assert(sizeof(struct probe) == 16, "probe");
_Static_assert(sizeof(struct event) == 48, "event");
_Static_assert(sizeof(struct app) == 112, "app");
_Static_assert(__builtin_offsetof(struct group, turn) == 64, "turn");
_Static_assert(__builtin_offsetof(struct group, hint) == 128, "hints are aligned");
_Static_assert(__builtin_offsetof(struct group, slot) % 64 == 0, "slots are aligned");

#endif
