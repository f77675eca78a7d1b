/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The programs, as far as counts and choices go. Choosing and pending picks are the
 * very code of bpf/; the rest mirrors steer.h and account.h, without sockets, and
 * each function says what.
 *
 * abi.h, select.h and handshake.h beside this file are links to those in bpf/: so
 * a build notices when they change, which it wouldn't with files outside of the
 * package.
 */
#ifndef SIM_PROGRAMS_H
#define SIM_PROGRAMS_H

#include "native.h"
#include "abi.h"
#include "select.h"
#include "handshake.h"

/* The simulation's moment, set by whoever calls in: calls may come from any thread. */
static __thread __u64 moment; /* ns */
static __thread __u64 ticks_behind; /* ns: jiffies of a machine that misses ticks for a while */

static __u64 bpf_ktime_get_ns(void)
{
	return moment;
}

static void stall_ticks(__u64 by)
{
	ticks_behind = by;
}

static __u64 bpf_jiffies64(void)
{
	return (moment - ticks_behind) / (jiffy_us * 1000);
}

/* A new epoch, if it is time. */
static void pass_time(struct group *g, __u64 now)
{
	moment = now;
	keep_epoch(g);
}

/* in_use of account.h */
static int use_is_current(struct group *g, int slot, __u32 generation)
{
	return generation && g->info[slot].generation == generation;
}

/* steer_connection of steer.h; the socket of a slot that is picked is always there. */
static int steer(struct group *g, const struct loads *loads, __u64 now, __u32 random, __u32 client, int migrating)
{
	int i;

	pass_time(g, now);
	i = pick(g, loads, random, client);
	if (i == NO_SLOT)
		i = pick_any(g, random);
	if (i == NO_LIVE || (i < 0 && migrating))
		i = pick_anyway(g, random);
	if (i == ALL_FULL)
		g->counters.refused++;
	return i;
}

/* connection_opens of account.h; the handshake took so many µs. 0 if its slot has another use by now. */
static int opens(struct group *g, __u64 now, int slot, __u32 generation, __u32 us)
{
	moment = now;
	if (!use_is_current(g, slot, generation)) {
		g->counters.stale++;
		return 0;
	}
	fetch_add(&g->slot[slot].counts, ONE_CONNECTION + settle(g, &g->info[slot], us));
	g->info[slot].opened++;
	return 1;
}

/* connection_closes of account.h */
static void closes(struct group *g, int slot, __u32 generation)
{
	if (!use_is_current(g, slot, generation)) {
		g->counters.stale++;
		return;
	}
	fetch_add(&g->slot[slot].counts, -ONE_CONNECTION);
	lower_hint(g, slot);
}

/* listener_closes of account.h */
static void listener_closes(struct group *g, int slot)
{
	g->slot[slot].scale = 0;
	g->info[slot].state = SLOT_GONE;
}

/*
 * steer_connection, move_count and note_migration of steer.h, for an established
 * connection in the queue of a listener that closes.
 */
static int migrate(struct group *g, const struct loads *loads, __u64 now, __u32 random, __u32 client, int from, __u32 generation)
{
	int i = steer(g, loads, now, random, client, 1);

	if (i < 0) {
		g->counters.migrate_failed++;
		return i;
	}
	g->counters.migrated++;
	g->info[i].migrated++;
	fetch_add(&g->slot[i].counts, ONE_CONNECTION);
	g->info[i].opened++;
	if (use_is_current(g, from, generation)) {
		fetch_add(&g->slot[from].counts, -ONE_CONNECTION);
		g->info[from].opened--;
		g->info[from].moved_out++;
	}
	fetch_add(&g->slot[i].picks, -1);
	lower_hint(g, i);
	return i;
}

/* renew of loader/slots.go: the slot's earlier connections no longer count. */
static void renew(struct group *g, int slot, __u32 generation)
{
	fetch_add(&g->slot[slot].counts, -(__u64)(__u32)g->slot[slot].counts);
	g->info[slot].opened = 0;
	g->info[slot].generation = generation;
}

/* forgetHints of loader/weights.go */
static void forget_hints(struct group *g)
{
	int b;

	for (b = 0; b < BLOCKS; b++) {
		fetch_add(&g->seq[b], 1);
		swap(&g->hint[b], HINT_UNKNOWN);
	}
}

#endif
