/* ck, as this tree includes it.
 *
 * ThreadSanitizer does not see ck's assembly, and would report every item passed through a ring as a race. In
 * its build the loads and stores that ck_ring is made of become the compiler's acquire and release atomics:
 * no weaker than what ck asks of the machine, and visible to the sanitizer. No other build is touched. */
#ifndef QUEUE_CK_H
#define QUEUE_CK_H

#ifdef POOLSRV_TSAN
#define CK_USE_CC_BUILTINS 1
#endif

#include <ck_pr.h>

#ifdef POOLSRV_TSAN
#undef ck_pr_load_uint
#undef ck_pr_store_uint
#undef ck_pr_cas_uint
#undef ck_pr_cas_uint_value
#define ck_pr_load_uint(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define ck_pr_store_uint(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define ck_pr_cas_uint(p, old, new)                                                                          \
    ({                                                                                                       \
        unsigned ck_expected_ = (old);                                                                       \
        __atomic_compare_exchange_n((p), &ck_expected_, (new), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);       \
    })
#define ck_pr_cas_uint_value(p, old, new, result)                                                            \
    ({                                                                                                       \
        *(result) = (old);                                                                                   \
        __atomic_compare_exchange_n((p), (unsigned *)(result), (new), 0, __ATOMIC_ACQ_REL,                   \
                                    __ATOMIC_ACQUIRE);                                                       \
    })
#endif

#include <ck_ring.h>

#endif
