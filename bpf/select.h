/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The choosing. Plain C over struct group, so that it also compiles natively
 * (give it the few primitives of primitives.h).
 *
 * `least` finds the exact minimum of the score without reading every slot.
 * Slots stand in blocks of eight. A block's hint is one word,
 *
 *     key << 16 | mask        key:  the lowest score in the block
 *                             mask: all slots that have it
 *                             mask 0: key is only a bound, no score is lower
 *
 * and a pick reads the hints only: the lowest key, then one of all slots tied
 * for it, each equally likely. What keeps this exact without a lock:
 *
 *   1. A hint may be too low, never too high. So the slot that a hint names is
 *      checked against its own counts; where they disagree the block is scanned
 *      anew (rescan) and the pick starts again. A block with the lowest key but
 *      no mask is scanned too.
 *   2. Who takes a slot first takes it out of the mask (compare-and-swap), then
 *      raises its count. Two CPUs can't take the same place, and a burst that
 *      arrives before any handshake ends spreads. When the mask runs empty, all
 *      scores in the block are above the key: key + 1 is the new bound.
 *   3. Who lowers a score first lowers the count, then bumps the block's seq,
 *      then lowers the hint. A rescan that ran at the same time sees the new
 *      count, or the new seq, and then forgets its result (HINT_UNKNOWN).
 *
 * So in the steady state, where closes and picks alternate, nothing is scanned:
 * the close names the slot, and the next pick takes it.
 *
 * When it behaves badly: a load that a worker publishes changes without any
 * event here, so blocks with such slots are scanned at every pick.
 */
#ifndef SOCKDIST_SELECT_H
#define SOCKDIST_SELECT_H

#define HINT_UNKNOWN 0ULL         /* no score is below 0: a bound that always holds */
#define KEY_NONE     (~0ULL >> 17) /* nothing to pick here */
#define COUNT_MAX    0xfffffULL    /* a slot's count saturates here, so that a key has 47 bits */

#define MASK         0xffULL

#define NO_SLOT   (-1)
#define NO_LIVE   (-2) /* no slot is live */
#define ALL_FULL  (-3) /* there are live slots, and all are full */
#define AGAIN     (-4)
#define TRIES     8

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

/* Reads the slots of a block and writes its hint. */
subprogram int rescan(struct group *g, const struct loads *loads, __u32 block)
{
	__u64 extra[BLOCK] = {}, keys[BLOCK], least = KEY_NONE, hint, before;
	struct slot *slot;
	__u32 seq, i;

	if (!g || !loads)
		return 0;
	block = mask_index(block, BLOCKS - 1);
	seq = load_once(g->seq[block]);
	before = load_once(g->hint[block]);
	barrier();
	if (g->reporting >> block & 1)
		for (i = 0; i < BLOCK; i++)
			extra[i] = slot_load(g, loads, block * BLOCK + i);
	slot = &g->slot[block * BLOCK];
	unrolled
	for (i = 0; i < BLOCK; i++) {
		keys[i] = slot_key(slot + i, extra[i]);
		least = smaller(least, keys[i]);
	}
	hint = least << 16;
	unrolled
	for (i = 0; i < BLOCK; i++)
		hint |= is_zero(keys[i] ^ least) & (1ULL << i);

	if (compare_and_swap(&g->hint[block], before, hint) != before)
		return 0;
	if (load_once(g->seq[block]) != seq)
		swap(&g->hint[block], HINT_UNKNOWN);
	return 0;
}

/* Scans the blocks whose hint is the bound `key` and no more. */
subprogram int rescan_bounds(struct group *g, const struct loads *loads, __u64 key)
{
	__u32 b;

	if (!g || !loads)
		return 0;
	for (b = 0; b < BLOCKS; b++) {
		if (b >= g->blocks)
			break;
		if (load_once(g->hint[b]) == key << 16)
			rescan(g, loads, b);
	}
	return 0;
}

/* Blocks with published loads can't be trusted from one pick to the next. */
subprogram int forget_reporting(struct group *g)
{
	__u32 b;

	if (!g)
		return 0;
	for (b = 0; b < BLOCKS; b++)
		if (g->reporting >> b & 1)
			swap(&g->hint[b], HINT_UNKNOWN);
	return 0;
}

/* To be called after the count of slot i fell; see rule 3 above. */
static __always_inline void lower_hint(struct group *g, __u32 i)
{
	__u32 block = mask_index(i / BLOCK, BLOCKS - 1);
	__u64 key, hint, lower;

	fetch_add(&g->seq[block], 1);
	hint = load_once(g->hint[block]);
	key = slot_key(&g->slot[mask_index(i, SLOTS - 1)], 0);
	if (key == KEY_NONE || key > hint >> 16 || (key == hint >> 16 && !(hint & MASK)))
		return;
	lower = (key < hint >> 16 ? key << 16 : hint) | 1ULL << (i % BLOCK);
	if (lower != hint && compare_and_swap(&g->hint[block], hint, lower) != hint)
		swap(&g->hint[block], HINT_UNKNOWN);
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

static __always_inline __u64 least_hint(const struct group *g)
{
	__u64 least = KEY_NONE << 16 | MASK;
	__u32 b;

	for (b = 0; b < BLOCKS; b++) {
		if (b >= g->blocks)
			break;
		least = smaller(least, load_once(g->hint[b]));
	}
	return least;
}

/* The masks of those of eight blocks whose lowest key is `key`, a byte a block: 64 slots. */
static __always_inline __u64 ties_of(const __u64 *hint, __u64 key)
{
	__u64 ties = 0;
	__u32 b;

	for (b = 0; b < 8; b++) {
		__u64 word = load_once(hint[b]);

		ties |= (word & MASK & is_zero(word >> 16 ^ key)) << (b * 8);
	}
	return ties;
}

/* One of the slots whose hint has the key, or NO_SLOT if the last has just been taken. */
static __always_inline int one_of(const struct group *g, __u64 key, __u32 random)
{
	__u64 ties[BLOCKS / 8] = {}, sums[BLOCKS / 8] = {}, total = 0, n;
	__u32 q;

	for (q = 0; q < BLOCKS / 8; q++) {
		if (q * 8 >= g->blocks)
			break;
		ties[q] = ties_of(&g->hint[q * 8], key);
		sums[q] = byte_counts(ties[q]) * EACH_BYTE;
		total += sums[q] >> 56;
	}
	n = (__u64)random * total >> 32;
	for (q = 0; q < BLOCKS / 8; q++) {
		if (n < sums[q] >> 56)
			return q * 64 + select_bit(ties[q], sums[q], n);
		n -= sums[q] >> 56;
	}
	return NO_SLOT;
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

/* Takes slot i out of its block's hint. Fails if somebody else changed the hint. */
static __always_inline int claim(struct group *g, __u32 i, __u64 key)
{
	__u32 block = mask_index(i / BLOCK, BLOCKS - 1);
	__u64 hint = load_once(g->hint[block]), bit = 1ULL << (i % BLOCK), rest;

	if (hint >> 16 != key || !(hint & bit))
		return 0;
	rest = hint & ~bit;
	if (!(rest & MASK))
		rest = (key + 1) << 16;
	return compare_and_swap(&g->hint[block], hint, rest) == hint;
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

/* Does what the hint said of slot i hold? A published load may have moved since; then it must just be free to pick. */
static __always_inline int holds(struct group *g, __u32 i, __u64 key)
{
	__u64 now = slot_key(&g->slot[mask_index(i, SLOTS - 1)], 0);

	if (g->reporting >> (i / BLOCK & (BLOCKS - 1)) & 1)
		return now != KEY_NONE;
	return now == key;
}

/* One try of pick_least; AGAIN if what it saw changed under it. */
subprogram int try_least(struct group *g, const struct loads *loads, __u32 random)
{
	__u64 least, key;
	int i;

	if (!g || !loads)
		return NO_SLOT;
	least = least_hint(g);
	key = least >> 16;
	if (key == KEY_NONE)
		return none_reason(g);
	if (!(least & MASK)) {
		rescan_bounds(g, loads, key);
		return AGAIN;
	}
	i = one_of(g, key, random);
	if (i < 0)
		return AGAIN;
	if (!holds(g, i, key))
		rescan(g, loads, i / BLOCK);
	else if (claim(g, i, key) && take(g, i))
		return i;
	return AGAIN;
}

/* Policy least: a slot with the lowest score, already taken. */
subprogram int pick_least(struct group *g, const struct loads *loads, __u32 random)
{
	__u32 tries;
	int i;

	if (!g || !loads)
		return NO_SLOT;
	if (g->reporting)
		forget_reporting(g);
	for (tries = 0; tries < TRIES; tries++) {
		i = try_least(g, loads, random);
		if (i != AGAIN)
			return i;
	}
	return NO_SLOT;
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

static __always_inline __u32 mix(__u32 x)
{
	x ^= x >> 16;
	x *= 0x7feb352d;
	x ^= x >> 15;
	x *= 0x846ca68b;
	return x ^ x >> 16;
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

/* Policy random: any slot, as likely as its weight. */
subprogram int pick_random(struct group *g, __u32 random)
{
	__u32 tries, i;

	if (!g)
		return NO_SLOT;
	for (tries = 0; tries < TRIES; tries++) {
		i = g->rows[mask_index(random, ROWS - 1)];
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

#define DRAINED (1ULL << 52)
#define EMPTY   (1ULL << 53)

/*
 * For who must be served by somebody: the slot that holds least, full or not; a
 * drained one if there is no other. One word a slot, the smallest wins: what is
 * wrong with it, what it holds, its turn, its number.
 */
subprogram int pick_anyway(struct group *g, __u32 random)
{
	__u64 best = EMPTY, word;
	__u32 i;

	if (!g)
		return NO_LIVE;
	for (i = 0; i < SLOTS; i++) {
		word = smaller(slot_held(&g->slot[i]), ~0U) << 16 | ((i - random) & 0xff) << 8 | i;
		word |= is_zero(load_once(g->slot[i].scale)) & DRAINED;
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
