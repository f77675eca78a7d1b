/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Pending picks. A pick is pending until its handshake ends, or until it is
 * between one and two epochs old: a flood of SYNs that never finish is
 * forgotten by then.
 *
 *     pending = picks - base         base: the high half of slot.counts
 *
 * A handshake that finishes moves the base by one and is noted in settled[] of
 * the epoch in which it was picked. When that epoch is over for good, the base
 * moves by the picks of the epoch that were not settled. Marks telescope and
 * settled[] is closed by an atomic swap, so every pick leaves exactly once;
 * a handshake attributed to the neighbouring epoch is evened out by the next.
 */
#ifndef SOCKDIST_HANDSHAKE_H
#define SOCKDIST_HANDSHAKE_H

/* Set by the loader: how long an epoch is, and what a jiffy is worth. */
const volatile __u64 epoch_jiffies = 250;
const volatile __u64 jiffy_us = 4000;

#define ONE_CONNECTION 1ULL
#define ONE_SETTLED    (1ULL << 32)

/* Ends the epoch of the given parity for a slot and opens it for `epoch`; what it leaves unfinished. */
static __always_inline __u32 close_epoch(struct slot *slot, struct slot_info *info, __u32 parity,
					 __u32 epoch, __u64 ended_at)
{
	__u64 open = (__u64)epoch << 32;
	__u64 settled = __sync_lock_test_and_set(&info->settled[parity & 1], open);
	__u32 left = (__u32)(ended_at - info->mark[parity & 1]) - (__u32)settled;

	info->mark[parity & 1] = load_once(slot->picks);
	return left;
}

/* Forgets the picks of slot i that the start of `epoch` makes too old; `both`: the epoch before is also long over. */
subprogram int expire_slot(struct group *g, __u32 i, __u32 epoch, int both)
{
	__u32 next = epoch & 1, last = next ^ 1, left;
	struct slot_info *info;
	struct slot *slot;

	if (!g)
		return 0;
	slot = &g->slot[mask_index(i, SLOTS - 1)];
	info = &g->info[mask_index(i, SLOTS - 1)];
	left = close_epoch(slot, info, next, epoch, info->mark[last]);
	if (both)
		left += close_epoch(slot, info, last, epoch - 1, info->mark[next]);
	if (left)
		fetch_add(&slot->counts, (__u64)left << 32);
	return 0;
}

/* Another CPU may have begun an epoch after `now` was read. */
static __always_inline int epoch_over(__u64 now, __u64 began)
{
	return (__s64)(now - began) >= (__s64)epoch_jiffies;
}

/* Begins a new epoch; of CPUs that come at once, one does the work. */
subprogram int next_epoch(struct group *g, __u64 now)
{
	__u32 epoch, i;
	__u64 began;

	if (!g)
		return 0;
	began = load_once(g->epoch_at);
	if (!epoch_over(now, began) || compare_and_swap(&g->epoch_at, began, now) != began)
		return 0;
	g->epoch_ns = bpf_ktime_get_ns();
	epoch = (__u32)fetch_add(&g->epoch, 1) + 1;
	/* Free slots too: one that joins in the middle of an epoch must know which it is. */
	for (i = 0; i < SLOTS; i++)
		expire_slot(g, i, epoch, now - began >= 2 * epoch_jiffies);
	for (i = 0; i < BLOCKS; i++) {
		fetch_add(&g->seq[i], 1);
		swap(&g->hint[i], HINT_UNKNOWN);
	}
	return 0;
}

static __always_inline void keep_epoch(struct group *g)
{
	__u64 now = bpf_jiffies64();

	if (epoch_over(now, load_once(g->epoch_at)))
		next_epoch(g, now);
}

/* Jiffies are behind the clock while ticks are missed, as on a machine that gets no CPU: by less than this. */
#define LATE_JIFFIES (epoch_jiffies / 8)

/* Did a handshake that took `us`, until now, begin before the epoch did? Where jiffies can't tell. */
static __always_inline int older_than_epoch(struct group *g, __u32 us)
{
	return (__s64)(bpf_ktime_get_ns() - us * 1000ULL - load_once(g->epoch_ns)) < 0;
}

/* A handshake of slot i that took `us` has finished: its pick is no longer pending, unless it had expired. */
static __always_inline __u64 settle(struct group *g, struct slot_info *info, __u32 us)
{
	__u64 ago = us / jiffy_us, age = bpf_jiffies64() - load_once(g->epoch_at), word;
	__u32 epoch = load_once(g->epoch), tries;

	if (ago > age + epoch_jiffies)
		return 0;
	if (ago + LATE_JIFFIES >= age && older_than_epoch(g, us))
		epoch--;
	for (tries = 0; tries < 3; tries++) {
		word = load_once(info->settled[epoch & 1]);
		if ((__u32)(word >> 32) != epoch)
			return 0;
		if (compare_and_swap(&info->settled[epoch & 1], word, word + 1) == word)
			return ONE_SETTLED;
	}
	return 0;
}

#endif
