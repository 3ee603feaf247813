#include "runtime/lane.h"

void lane_init(lane *l, lane_policy policy, bool pin_heavy)
{
    bool heavy = pin_heavy || policy != LANE_ALL_LIGHT;
    if (policy == LANE_ALL_LIGHT)
        heavy = false;
    atomic_init(&l->heavy, heavy);
    l->pinned = pin_heavy || policy != LANE_AUTO;
    atomic_init(&l->good_runs, 0);
    atomic_init(&l->evidence, LANE_EVIDENCE);
    atomic_init(&l->slow_ns, UINT64_MAX);
}

static void demote(lane *l)
{
    unsigned evidence = atomic_load_explicit(&l->evidence, memory_order_relaxed);
    atomic_store_explicit(&l->good_runs, 0, memory_order_relaxed);
    if (evidence < LANE_EVIDENCE_MAX)
        atomic_store_explicit(&l->evidence, evidence * 2, memory_order_relaxed);
    atomic_store_explicit(&l->heavy, true, memory_order_relaxed);
}

static void remember(lane *l, uint64_t ns)
{
    uint64_t slow = atomic_load_explicit(&l->slow_ns, memory_order_relaxed);
    if (slow == UINT64_MAX || ns > slow)
        atomic_store_explicit(&l->slow_ns, ns, memory_order_relaxed);
    else if (ns < slow / 2)
        atomic_store_explicit(&l->slow_ns, slow - slow / 8, memory_order_relaxed);
}

bool lane_ran(lane *l, uint64_t ns)
{
    if (l->pinned && !lane_is_heavy(l))
        return false;
    if (lane_is_heavy(l))
        remember(l, ns);
    if (l->pinned)
        return false;
    if (!lane_is_heavy(l)) {
        if (ns <= LANE_HEAVY_NS)
            return false;
        remember(l, ns);
        demote(l);
        return true;
    }
    if (ns >= LANE_LIGHT_NS) {
        atomic_store_explicit(&l->good_runs, 0, memory_order_relaxed);
        return false;
    }
    unsigned good = atomic_fetch_add_explicit(&l->good_runs, 1, memory_order_relaxed) + 1;
    if (good < atomic_load_explicit(&l->evidence, memory_order_relaxed))
        return false;
    return atomic_exchange_explicit(&l->heavy, false, memory_order_relaxed);
}

uint64_t lane_expect_ns(const lane *l)
{
    return atomic_load_explicit(&l->slow_ns, memory_order_relaxed);
}
