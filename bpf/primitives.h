/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What select.h needs of its surroundings, for BPF. */
#ifndef SOCKDIST_PRIMITIVES_H
#define SOCKDIST_PRIMITIVES_H

#define unrolled _Pragma("clang loop unroll(full)")
#define rolled   _Pragma("clang loop unroll(disable)")

/*
 * A function of its own for the verifier too: a global one is verified once, for
 * any arguments, and not again at each call. Its pointers may then be NULL.
 */
#define subprogram __attribute__((noinline))

/* Hides how x came about, so that the compiler makes no branch of arithmetic. */
#define opaque(x) asm volatile("" : "+r"(x))

#define barrier() asm volatile("" ::: "memory")

#define load_once(x) (*(const volatile typeof(x) *)&(x))

/* Atomics that return the old value are fully ordered in BPF. */
#define fetch_add(p, n)              __sync_fetch_and_add(p, n)
#define compare_and_swap(p, old, new) __sync_val_compare_and_swap(p, old, new)
#define swap(p, new)                 ((void)__sync_lock_test_and_set(p, new))

/* The mask must reach the verifier as a mask: compilers like to hoist or drop it. */
#define mask_index(i, mask)                                                      \
	({                                                                       \
		__u64 index_ = (i);                                              \
		asm volatile("%0 &= %1" : "+r"(index_) : "i"(mask));             \
		index_;                                                          \
	})

#endif
