#include "runtime/lane.h"

/* Relaxed throughout: see the header. */
#define GET(field)        atomic_load_explicit(&(field), memory_order_relaxed)
#define SET(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

static unsigned verdict_of(lane_reason why, bool heavy)
{
    return (unsigned)why * 2 + heavy;
}

const char *lane_reason_name(lane_reason why)
{
    static const char *const names[] = {
#define X(name, text) text,
        LANE_REASONS(X)
#undef X
    };
    return names[why];
}

void lane_init(lane *l, lane_policy policy, bool pin_heavy, uint64_t now_ns)
{
    lane_reason why = policy != LANE_AUTO ? LANE_OPTION : pin_heavy ? LANE_PINNED : LANE_NEW;
    *l = (lane){.pinned = why != LANE_NEW};
    atomic_init(&l->verdict, verdict_of(why, policy != LANE_ALL_LIGHT));
    atomic_init(&l->since_ns, now_ns);
    atomic_init(&l->longest_ns, UINT64_MAX);
    atomic_init(&l->mean_ns, UINT64_MAX);
}

/* --- what is remembered --- */

static void remember(lane *l, uint64_t ns)
{
    uint64_t longest = GET(l->longest_ns);
    if (longest == UINT64_MAX || ns > longest)
        SET(l->longest_ns, ns);
    else if (ns < longest / 2)
        SET(l->longest_ns, longest - longest / 8);
}

void lane_served(lane *l, uint64_t held_ns)
{
    uint64_t mean = GET(l->mean_ns);
    if (mean == UINT64_MAX)
        mean = held_ns;
    else
        mean = mean - mean / 8 + held_ns / 8;
    SET(l->mean_ns, mean);
}

uint64_t lane_expect_ns(const lane *l)
{
    return GET(l->longest_ns);
}

uint64_t lane_mean_ns(const lane *l)
{
    return GET(l->mean_ns);
}

/* --- decisions --- */

/* The strikes that still count. */
static unsigned strikes_at(const lane *l, uint64_t now_ns)
{
    uint64_t bad = GET(l->bad_ns);
    unsigned strikes = GET(l->strikes);
    uint64_t forgiven = now_ns > bad ? (now_ns - bad) / LANE_FORGIVE_NS : 0;
    return forgiven < strikes ? strikes - (unsigned)forgiven : 0;
}

static unsigned evidence(unsigned strikes)
{
    return (unsigned)LANE_EVIDENCE << 2 * strikes;
}

static uint64_t probation_ns(unsigned strikes)
{
    return strikes ? (uint64_t)LANE_PROBATION_NS << 2 * (strikes - 1) : 0;
}

/* Move to a lane. Of several threads that decide so, one does it. Returns: whether it was this one. */
static bool move(lane *l, lane_reason why, bool heavy, uint64_t now_ns)
{
    unsigned old = GET(l->verdict);
    do
        if ((old & 1) == heavy)
            return false;
    while (!atomic_compare_exchange_weak_explicit(&l->verdict, &old, verdict_of(why, heavy),
                                                  memory_order_relaxed, memory_order_relaxed));
    SET(l->since_ns, now_ns);
    return true;
}

/* The reason why it stays heavy. It does not undo a move that another thread makes meanwhile. */
static void say_why(lane *l, lane_reason why)
{
    unsigned old = GET(l->verdict);
    while (old & 1 && old != verdict_of(why, true) &&
           !atomic_compare_exchange_weak_explicit(&l->verdict, &old, verdict_of(why, true),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

static bool condemn(lane *l, lane_reason why, uint64_t now_ns)
{
    unsigned strikes = strikes_at(l, now_ns);
    SET(l->good_runs, 0);
    SET(l->bad_ns, now_ns);
    if (!move(l, why, true, now_ns)) {
        SET(l->strikes, strikes);
        say_why(l, why);
        return false;
    }
    SET(l->strikes, strikes < LANE_STRIKES_MAX ? strikes + 1 : strikes);
    SET(l->stalled_ns, 0);
    atomic_fetch_add_explicit(&l->demotions, 1, memory_order_relaxed);
    return true;
}

/* A light route's run between the two limits. Returns: whether there were too many of them of late. */
static bool stalls(lane *l, uint64_t ns, uint64_t now_ns)
{
    if (now_ns - GET(l->window_ns) > LANE_STALL_WINDOW_NS) {
        SET(l->window_ns, now_ns);
        SET(l->stalled_ns, 0);
    }
    return atomic_fetch_add_explicit(&l->stalled_ns, ns, memory_order_relaxed) + ns > LANE_STALL_NS;
}

static bool consider(lane *l, uint64_t now_ns)
{
    unsigned good = atomic_fetch_add_explicit(&l->good_runs, 1, memory_order_relaxed) + 1;
    if (good < LANE_EVIDENCE)
        return false;
    unsigned strikes = strikes_at(l, now_ns);
    if (good < evidence(strikes) || now_ns - GET(l->bad_ns) < probation_ns(strikes))
        return false;
    return move(l, LANE_SHORT, false, now_ns);
}

bool lane_ran(lane *l, const lane_run *run, uint64_t now_ns)
{
    uint64_t ns = run->service_ns;
    remember(l, ns);
    if (l->pinned)
        return false;
    /* A run that computed for most of its time is slow, if it is anything. */
    if (run->blocked_ns > LANE_LIGHT_NS && run->blocked_ns >= ns / 2)
        return condemn(l, LANE_BLOCKED, now_ns);
    if (ns > LANE_HEAVY_NS)
        return condemn(l, LANE_SLOW, now_ns);
    if (!lane_is_heavy(l))
        return ns >= LANE_LIGHT_NS && stalls(l, ns, now_ns) && condemn(l, LANE_SLOW, now_ns);
    if (ns < LANE_LIGHT_NS)
        return consider(l, now_ns);
    SET(l->good_runs, 0);
    if (lane_why(l) == LANE_NEW)
        say_why(l, LANE_SLOW);
    return false;
}
