/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * bpf/primitives.h for a processor, and what else select.h and handshake.h need of
 * their surroundings: types, and two clocks.
 */
#ifndef SIM_NATIVE_H
#define SIM_NATIVE_H

#include <linux/types.h>
#include <stddef.h>

#undef __always_inline
#define __always_inline inline __attribute__((always_inline, unused))

#define unrolled
#define rolled
#define subprogram static __attribute__((noinline, unused))

#define opaque(x) asm volatile("" : "+r"(x))
#define barrier() asm volatile("" ::: "memory")
#define load_once(x) (*(const volatile typeof(x) *)&(x))

#define fetch_add(p, n) __atomic_fetch_add(p, n, __ATOMIC_SEQ_CST)
#define swap(p, new)    ((void)__atomic_exchange_n(p, new, __ATOMIC_SEQ_CST))
#define compare_and_swap(p, old, new)                                                                 \
	({                                                                                            \
		typeof(*(p)) seen_ = (old);                                                           \
		__atomic_compare_exchange_n(p, &seen_, new, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
		seen_;                                                                                \
	})

#define mask_index(i, mask) ((__u64)(i) & (mask))

static __u64 bpf_ktime_get_ns(void);
static __u64 bpf_jiffies64(void);

#endif
