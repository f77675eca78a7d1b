/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The choosing. Plain C over struct group, so that it also compiles natively
 * (give it the few primitives of primitives.h).
 *
 * `least` finds the exact minimum of the score without reading every slot.
 * Slots stand in blocks of eight. A block's hint is one word, key << 16 | levels:
 * a lower bound of the scores in the block, and for each slot how far above it
 * is at the least.
 *
 *     level 0   key          the candidates
 *     level 1   key + 1
 *     level 2   key + 2, or more
 *     level 3   the slot is barred: full, or not to be picked
 *
 * A pick reads the hints only: the lowest key, then one of all candidates that
 * have it, each equally likely. What keeps this exact without a lock:
 *
 *   1. A hint may be too low, never too high. So the candidate is checked
 *      against its own counts; where they disagree the block is read anew
 *      (rescan) and the pick starts again. So are blocks with the lowest key
 *      and no candidate.
 *   2. Who takes a slot first raises its level (compare-and-swap), then its
 *      count. Two CPUs can't take the same place, and a burst that arrives
 *      before any handshake ends spreads. When a block's last candidate goes,
 *      the key goes up, and level 1 becomes level 0.
 *   3. Who lowers a score first lowers the count, then bumps the block's seq,
 *      then lowers the hint. A rescan that ran at the same time sees the new
 *      count, or the new seq, and then forgets its result (HINT_UNKNOWN).
 *
 * So in the steady state hardly anything is read but hints: a close names its
 * slot, a pick takes it, and three levels are enough to follow both. With
 * every epoch all hints are forgotten, so that no mistake would last.
 *
 * When it behaves badly: weights that differ put scores far apart, so that a
 * block is read anew at every other pick; and a load that a worker publishes
 * changes without any event here, so blocks with such slots are read at every
 * pick.
 */
#ifndef SOCKDIST_SELECT_H
#define SOCKDIST_SELECT_H

#define HINT_UNKNOWN 0ULL         /* no score is below 0: a bound that always holds */
#define LEVELS       16           /* bits of a hint below its key: high bits of the levels, then low bits */
#define EACH_SLOT    0xffULL      /* of a block */
#define KEY_NONE     (~0ULL >> 17) /* nothing to pick here */
#define COUNT_MAX    0xfffffULL    /* a slot's count saturates here, so that a key has 47 bits */

#define EIGHT  8U /* blocks that are compared together: 64 slots */
#define EIGHTS (BLOCKS / EIGHT)

#define NO_SLOT   (-1)
#define NO_LIVE   (-2) /* no slot is live */
#define ALL_FULL  (-3) /* there are live slots, and all are full */
#define AGAIN     (-4)
#define TRIES     8
#define TRIES_LEAST (TRIES + BLOCKS) /* each that fails puts a block right */

/* All ones where x is negative, else 0: choices without branches keep the
 * verifier's states, and the processor's guesses, few. */
static __always_inline __u64 negative(__s64 x)
{
	opaque(x);
	x >>= 63;
	opaque(x);
	return (__u64)x;
}

/* All ones where x, below 2^63, is zero. */
static __always_inline __u64 is_zero(__u64 x)
{
	return negative((__s64)(x - 1));
}

/*
 * 1 where x, below 2^63, is zero, else 0. The verifier follows both ways of an
 * all-ones-or-zero that meets a constant; it doesn't follow this.
 */
static __always_inline __u64 one_if_zero(__u64 x)
{
	return (x - 1) >> 63;
}

/* The smaller of two numbers below 2^63. */
static __always_inline __u64 smaller(__u64 a, __u64 b)
{
	return a + ((b - a) & negative((__s64)(b - a)));
}

/* Connections and pending; never less than the connections. */
static __always_inline __u64 slot_held(const struct slot *slot)
{
	__u64 counts = load_once(slot->counts);
	__s64 pending = (__s32)((__u32)load_once(slot->picks) - (__u32)(counts >> 32));

	return (__u64)(__u32)counts + ((__u64)pending & ~negative(pending));
}

/* The score as an integer, KEY_NONE if the slot is full or not to be picked. */
static __always_inline __u64 slot_key(const struct slot *slot, __u64 extra)
{
	__u64 held = slot_held(slot);
	__u64 scale = load_once(slot->scale);
	__u64 barred = is_zero(scale) | ~negative((__s64)(held - load_once(slot->max)));
	__u64 count = held + extra;

	return (smaller(count, COUNT_MAX) * scale | barred) & KEY_NONE;
}

/* What the slot's worker says of itself, cut to what it may say. */
static __always_inline __u64 slot_load(struct group *g, const struct loads *loads, __u32 i)
{
	__u64 load = load_once(loads->slot[mask_index(i, SLOTS - 1)].load);
	__u64 reports = load_once(g->info[mask_index(i, SLOTS - 1)].reports) & 1;

	load = (load | negative((__s64)load)) & (~0ULL >> 1);
	return smaller(load, COUNT_MAX) & (0 - reports);
}

static __always_inline __u64 hint_of(__u64 key, __u64 high, __u64 low)
{
	return key << LEVELS | (high & EACH_SLOT) << 8 | (low & EACH_SLOT);
}

static __always_inline __u64 high_bits(__u64 hint)
{
	return hint >> 8 & EACH_SLOT;
}

static __always_inline __u64 low_bits(__u64 hint)
{
	return hint & EACH_SLOT;
}

/* The slots on level 0. */
static __always_inline __u64 candidates(__u64 hint)
{
	return ~(hint | hint >> 8) & EACH_SLOT;
}

/* The level of a slot in a block whose lowest score is `least`. */
static __always_inline __u64 level_of(__u64 key, __u64 least)
{
	return smaller(key - least, 2) | one_if_zero(key ^ KEY_NONE) * 3;
}

/* Reads the slots of a block and writes its hint. */
subprogram int rescan(struct group *g, const struct loads *loads, __u32 block)
{
	__u64 keys[BLOCK], least = KEY_NONE, high = 0, low = 0, before;
	__u32 seq, i, reporting;

	if (!g || !loads)
		return 0;
	block = mask_index(block, BLOCKS - 1);
	seq = load_once(g->seq[block]);
	before = load_once(g->hint[block]);
	barrier();
	reporting = g->reporting >> block & 1;
	rolled
	for (i = 0; i < BLOCK; i++) {
		__u32 n = block * BLOCK + i;

		keys[i] = slot_key(&g->slot[mask_index(n, SLOTS - 1)], reporting ? slot_load(g, loads, n) : 0);
		least = smaller(least, keys[i]);
	}
	rolled
	for (i = 0; i < BLOCK; i++) {
		__u64 level = level_of(keys[i], least);

		high |= (level >> 1) << i;
		low |= (level & 1) << i;
	}
	if (compare_and_swap(&g->hint[block], before, hint_of(least, high, low)) != before)
		return 0;
	if (load_once(g->seq[block]) != seq)
		swap(&g->hint[block], HINT_UNKNOWN);
	return 0;
}

/* The block's hint was too low. If it was forgotten, so were others. */
subprogram int correct(struct group *g, const struct loads *loads, __u32 block)
{
	__u32 b;

	if (!g || !loads)
		return 0;
	if (load_once(g->hint[mask_index(block, BLOCKS - 1)]) != HINT_UNKNOWN)
		return rescan(g, loads, block);
	for (b = 0; b < BLOCKS; b++) {
		if (b % EIGHT == 0 && b >= g->blocks)
			break;
		if (load_once(g->hint[b]) == HINT_UNKNOWN)
			rescan(g, loads, b);
	}
	return 0;
}

/* Reads the blocks with the key that have no candidate. */
subprogram int rescan_bounds(struct group *g, const struct loads *loads, __u64 key)
{
	__u32 b;

	if (!g || !loads)
		return 0;
	for (b = 0; b < BLOCKS; b++) {
		__u64 hint = load_once(g->hint[b]);

		if (hint >> LEVELS == key && !candidates(hint))
			rescan(g, loads, b);
	}
	return 0;
}

/* Published loads may be others than at the last pick. */
subprogram int rescan_reporting(struct group *g, const struct loads *loads)
{
	__u32 b;

	if (!g || !loads)
		return 0;
	for (b = 0; b < BLOCKS; b++)
		if (g->reporting >> b & 1)
			rescan(g, loads, b);
	return 0;
}

/* The hint after the score of the slot with that bit fell to `key`. No level goes up but those that a lower key asks for. */
static __always_inline __u64 lowered(__u64 hint, __u64 bit, __u64 key)
{
	__u64 least = hint >> LEVELS, high = high_bits(hint), low = low_bits(hint), barred = high & low;

	if (key > least + 1)
		return hint_of(least, high, low & ~(bit & barred));
	if (key == least + 1)
		return hint_of(least, high & ~bit, low | (bit & high));
	if (key == least)
		return hint_of(least, high & ~bit, low & ~bit);
	if (key == least - 1) /* 0 and 1 become 1 and 2, 2 stays */
		return hint_of(key, ((high ^ low) | barred) & ~bit, (~(high | low) | barred) & ~bit);
	return hint_of(key, ~bit, barred & ~bit);
}

/* To be called after the count of slot i fell; see rule 3 above. */
subprogram int lower_hint(struct group *g, __u32 i)
{
	__u32 block = mask_index(i / BLOCK, BLOCKS - 1);
	__u64 key, hint, lower;

	if (!g)
		return 0;
	fetch_add(&g->seq[block], 1);
	hint = load_once(g->hint[block]);
	key = slot_key(&g->slot[mask_index(i, SLOTS - 1)], 0);
	if (key == KEY_NONE)
		return 0;
	lower = lowered(hint, 1ULL << (i % BLOCK), key);
	if (lower != hint && compare_and_swap(&g->hint[block], hint, lower) != hint)
		swap(&g->hint[block], HINT_UNKNOWN);
	return 0;
}

/* Set bits of each byte of x, in that byte. */
static __always_inline __u64 byte_counts(__u64 x)
{
	x -= x >> 1 & 0x5555555555555555ULL;
	x = (x & 0x3333333333333333ULL) + (x >> 2 & 0x3333333333333333ULL);
	return (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
}

#define EACH_BYTE 0x0101010101010101ULL
#define HIGH_BITS 0x8080808080808080ULL

/* How many bytes of sums, all below 128, are at most n. Sums rise, so this is the place of the first above n. */
static __always_inline __u32 bytes_up_to(__u64 sums, __u64 n)
{
	__u64 at_most = (((n * EACH_BYTE) | HIGH_BITS) - sums) & HIGH_BITS;

	return (at_most >> 7) * EACH_BYTE >> 56;
}

/* The place of the n-th set bit of x, n from 0 (Vigna, "Broadword Implementation of Rank/Select Queries", 2008). */
static __always_inline __u32 select_bit(__u64 x, __u64 sums, __u64 n)
{
	__u32 byte = bytes_up_to(sums, n) & 7;
	__u64 spread;

	n -= (sums << 8) >> (byte * 8) & 0xff;
	spread = (x >> (byte * 8) & 0xff) * EACH_BYTE & 0x8040201008040201ULL;
	spread = (spread + 0x7f7f7f7f7f7f7f7fULL) >> 7 & EACH_BYTE;
	return byte * 8 + bytes_up_to(spread * EACH_BYTE, n);
}

/* The lowest of eight hints; in pairs, so that none waits for the one before. */
static __always_inline __u64 lowest_of_eight(const __u64 *hint)
{
	__u64 a = smaller(load_once(hint[0]), load_once(hint[1])), b = smaller(load_once(hint[2]), load_once(hint[3]));
	__u64 c = smaller(load_once(hint[4]), load_once(hint[5])), d = smaller(load_once(hint[6]), load_once(hint[7]));

	return smaller(smaller(a, b), smaller(c, d));
}

static __always_inline __u64 lowest_key(const struct group *g)
{
	__u64 lowest = lowest_of_eight(g->hint);
	__u32 e;

	for (e = 1; e < EIGHTS; e++) {
		if (e * EIGHT >= g->blocks)
			break;
		lowest = smaller(lowest, lowest_of_eight(&g->hint[e * EIGHT]));
	}
	return lowest >> LEVELS;
}

/* The candidates of those of eight blocks that have the key, a byte a block. */
static __always_inline __u64 ties_of(const __u64 *hint, __u64 key)
{
	__u64 ties = 0;
	__u32 b;

	for (b = 0; b < EIGHT; b++) {
		__u64 word = load_once(hint[b]);

		ties |= (candidates(word) & is_zero(word >> LEVELS ^ key)) << (b * BLOCK);
	}
	return ties;
}

/* One of all candidates that have the key, or NO_SLOT if there is none. */
static __always_inline int one_of(const struct group *g, __u64 key, __u32 random)
{
	__u64 ties[EIGHTS] = {}, sums[EIGHTS] = {}, total = 0, n;
	__u32 e;

	for (e = 0; e < EIGHTS; e++) {
		if (e * EIGHT >= g->blocks)
			break;
		ties[e] = ties_of(&g->hint[e * EIGHT], key);
		sums[e] = byte_counts(ties[e]) * EACH_BYTE;
		total += sums[e] >> 56;
	}
	n = (__u64)random * total >> 32;
	for (e = 0; e < EIGHTS; e++) {
		if (n < sums[e] >> 56)
			return e * EIGHT * BLOCK + select_bit(ties[e], sums[e], n);
		n -= sums[e] >> 56;
	}
	return NO_SLOT;
}

/* The same where there are no more than eight blocks. */
static __always_inline int one_of_eight(const struct group *g, __u64 key, __u32 random)
{
	__u64 ties = ties_of(g->hint, key), sums = byte_counts(ties) * EACH_BYTE;

	if (!ties)
		return NO_SLOT;
	return select_bit(ties, sums, (__u64)random * (sums >> 56) >> 32);
}

/* Adds a pick to slot i unless it got full meanwhile. */
static __always_inline int take(struct group *g, __u32 i)
{
	struct slot *slot = &g->slot[mask_index(i, SLOTS - 1)];

	fetch_add(&slot->picks, 1);
	if (slot->max != ~0U && slot_held(slot) > slot->max) {
		fetch_add(&slot->picks, -1);
		lower_hint(g, i);
		return 0;
	}
	return 1;
}

/* The hint after a pick of the slot with that bit, from level 0; its score went up by one, or by more. */
static __always_inline __u64 raised(__u64 hint, __u64 bit, int by_one)
{
	__u64 key = hint >> LEVELS, high = high_bits(hint), low = low_bits(hint), barred = high & low;
	__u32 n;

	if (!by_one)
		return hint_of(key, high | bit, low);
	low |= bit;
	unrolled
	for (n = 0; n < 2; n++) {
		if ((high | low) != EACH_SLOT)
			break;
		/* No candidate is left: 1 and 2 become 0 and 1. */
		low = (high & ~low) | barred;
		high = barred;
		key++;
	}
	return hint_of(key, high, low);
}

/* Takes slot i out of its block's candidates. Fails if somebody else changed the hint. */
static __always_inline int claim(struct group *g, __u32 i, __u64 key)
{
	__u32 block = mask_index(i / BLOCK, BLOCKS - 1);
	__u64 hint = load_once(g->hint[block]), bit = 1ULL << (i % BLOCK);
	int by_one = load_once(g->slot[mask_index(i, SLOTS - 1)].scale) == 1;

	if (hint >> LEVELS != key || !(candidates(hint) & bit))
		return 0;
	return compare_and_swap(&g->hint[block], hint, raised(hint, bit, by_one)) == hint;
}

/* Why nothing can be picked. */
subprogram int none_reason(struct group *g)
{
	__u32 i;

	if (!g)
		return NO_LIVE;
	for (i = 0; i < SLOTS; i++)
		if (g->slot[i].scale)
			return ALL_FULL;
	return NO_LIVE;
}

/*
 * Does what the hint said of slot i hold? A lower score is one that somebody is
 * about to raise. A published load may have moved since; then the slot must just
 * be free to pick.
 */
static __always_inline int holds(struct group *g, __u32 i, __u64 key)
{
	__u64 now = slot_key(&g->slot[mask_index(i, SLOTS - 1)], 0);

	if (g->reporting >> (i / BLOCK & (BLOCKS - 1)) & 1)
		return now != KEY_NONE;
	return now <= key;
}

/* One try of pick_least; AGAIN if what it saw changed under it. */
static __always_inline int try_least(struct group *g, const struct loads *loads, __u32 random)
{
	__u64 key = lowest_key(g);
	int i;

	if (key == KEY_NONE)
		return none_reason(g);
	i = g->blocks > EIGHT ? one_of(g, key, random) : one_of_eight(g, key, random);
	if (i < 0)
		rescan_bounds(g, loads, key);
	else if (!holds(g, i, key))
		correct(g, loads, i / BLOCK);
	else if (claim(g, i, key) && take(g, i))
		return i;
	return AGAIN;
}

subprogram int try_least_again(struct group *g, const struct loads *loads, __u32 random)
{
	if (!g || !loads)
		return NO_SLOT;
	return try_least(g, loads, random);
}

static __always_inline __u32 mix(__u32 x)
{
	x ^= x >> 16;
	x *= 0x7feb352d;
	x ^= x >> 15;
	x *= 0x846ca68b;
	return x ^ x >> 16;
}

subprogram int retry_least(struct group *g, const struct loads *loads, __u32 random)
{
	__u32 tries;
	int i;

	if (!g || !loads)
		return NO_SLOT;
	for (tries = 0; tries < TRIES_LEAST; tries++) {
		random = mix(random + 1);
		i = try_least_again(g, loads, random);
		if (i != AGAIN)
			return i;
	}
	return NO_SLOT;
}

/* Policy least: a slot with the lowest score, already taken. The first try, which nearly always does, is a call of its own. */
subprogram int pick_least(struct group *g, const struct loads *loads, __u32 random)
{
	int i;

	if (!g || !loads)
		return NO_SLOT;
	if (g->reporting)
		rescan_reporting(g, loads);
	i = try_least(g, loads, random);
	return i == AGAIN ? retry_least(g, loads, random) : i;
}

static __always_inline int pickable(struct group *g, __u32 i)
{
	const struct slot *slot = &g->slot[mask_index(i, SLOTS - 1)];

	return slot->scale && slot_held(slot) < slot->max;
}

static __always_inline int take_if_pickable(struct group *g, __u32 i)
{
	return pickable(g, i) && take(g, i);
}

/* A number below n out of 32 random bits (Lemire, "Fast Random Integer Generation in an Interval", 2019). */
static __always_inline __u32 below(__u32 random, __u32 n)
{
	return (__u64)random * n >> 32;
}

/* Policy p2c: the better of two different places of the sequence (Mitzenmacher, "The Power of Two Choices", 2001). */
subprogram int pick_p2c(struct group *g, const struct loads *loads, __u32 random)
{
	__u32 turns, a, b;
	__u64 key_a, key_b, extra_a = 0, extra_b = 0;

	if (!g || !loads || !g->turns)
		return NO_SLOT;
	turns = g->turns;
	a = below(random, turns);
	b = a + 1 + below(mix(random), turns - 1);
	b -= b >= turns ? turns : 0;
	a = g->order[mask_index(a, ORDER - 1)];
	b = g->order[mask_index(b, ORDER - 1)];
	if (g->reporting) {
		extra_a = slot_load(g, loads, a);
		extra_b = slot_load(g, loads, b);
	}
	key_a = slot_key(&g->slot[mask_index(a, SLOTS - 1)], extra_a);
	key_b = slot_key(&g->slot[mask_index(b, SLOTS - 1)], extra_b);
	if (key_b < key_a)
		a = b;
	if (take_if_pickable(g, a))
		return a;
	return NO_SLOT;
}

/* Policy rr: the next place of the sequence. */
subprogram int pick_rr(struct group *g)
{
	__u32 turns, tries, i;
	__u64 turn;

	if (!g || !g->turns)
		return NO_SLOT;
	turns = g->turns;
	for (tries = 0; tries < TRIES; tries++) {
		turn = fetch_add(&g->turn, 1);
		i = g->order[mask_index(turn % turns, ORDER - 1)];
		if (take_if_pickable(g, i))
			return i;
	}
	return NO_SLOT;
}

/* Policy random: any place of the sequence, in which a slot stands as often as its weight asks. */
subprogram int pick_random(struct group *g, __u32 random)
{
	__u32 turns, tries, i;

	if (!g || !g->turns)
		return NO_SLOT;
	turns = g->turns;
	for (tries = 0; tries < TRIES; tries++) {
		i = g->order[mask_index(below(random, turns), ORDER - 1)];
		if (take_if_pickable(g, i))
			return i;
		random = mix(random + 1);
	}
	return NO_SLOT;
}

/*
 * Policy hash: the client's own row of the table. While that slot can't be had
 * the client goes along its own sequence of further rows, then of slots: only
 * its clients move, and they come back with it.
 */
subprogram int pick_hash(struct group *g, __u32 client)
{
	__u32 tries, i, row = mix(client);

	if (!g)
		return NO_SLOT;
	for (tries = 0; tries < TRIES; tries++) {
		i = g->rows[mask_index(row, ROWS - 1)];
		if (take_if_pickable(g, i))
			return i;
		row = mix(row + 0x9e3779b9);
	}
	for (tries = 0; tries < SLOTS; tries++) {
		i = mask_index(row + tries, SLOTS - 1);
		if (take_if_pickable(g, i))
			return i;
	}
	return NO_SLOT;
}

/* The group's policy; where it finds nothing, least decides what is left. */
static __always_inline int pick(struct group *g, const struct loads *loads, __u32 random, __u32 client)
{
	int i = NO_SLOT;

	switch (g->policy) {
	case POLICY_P2C:
		i = pick_p2c(g, loads, random);
		break;
	case POLICY_RR:
		i = pick_rr(g);
		break;
	case POLICY_RANDOM:
		i = pick_random(g, random);
		break;
	case POLICY_HASH:
		i = pick_hash(g, client);
		break;
	}
	if (i < 0)
		i = pick_least(g, loads, random);
	return i;
}

/* Any slot that can be had, or why none can. */
subprogram int pick_any(struct group *g, __u32 random)
{
	__u32 n, i;

	if (!g)
		return NO_SLOT;
	for (n = 0; n < SLOTS; n++) {
		i = mask_index(random + n, SLOTS - 1);
		if (pickable(g, i))
			return take(g, i) ? i : NO_SLOT;
	}
	return none_reason(g);
}

#define NOT_PICKED (1ULL << 52)
#define HELD_SHIFT 52 /* HOLD_START becomes bit 53, HOLD_HANG bit 54 */
#define EMPTY      (1ULL << 55)

/*
 * For who must be served by somebody: the slot that holds least, full or not. If
 * every one is held back, a draining one, else one that starts, else one that
 * hangs. One word a slot, the smallest wins: what is wrong with it, what it
 * holds, its turn, its number.
 */
subprogram int pick_anyway(struct group *g, __u32 random)
{
	__u64 best = EMPTY, word;
	__u32 i;

	if (!g)
		return NO_LIVE;
	for (i = 0; i < SLOTS; i++) {
		word = smaller(slot_held(&g->slot[i]), ~0U) << 16 | ((i - random) & 0xff) << 8 | i;
		word |= is_zero(load_once(g->slot[i].scale)) & NOT_PICKED;
		word |= (__u64)(load_once(g->info[i].hold) & (HOLD_START | HOLD_HANG)) << HELD_SHIFT;
		word |= ~is_zero(load_once(g->info[i].state) ^ SLOT_LIVE) & EMPTY;
		best = smaller(best, word);
	}
	if (best >= EMPTY)
		return NO_LIVE;
	i = mask_index(best, SLOTS - 1);
	fetch_add(&g->slot[i].picks, 1);
	return i;
}

#endif
