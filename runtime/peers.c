#include "runtime/peers.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

const char *const peer_late_names[PEER_LATES] = {"idle", "head", "body", "reading", "address", "descriptors"};

static uint64_t ns(uint64_t ms)
{
    return ms * 1000000u;
}

/* --- rings --- */

static void ring_add(peer *ring, peer *p)
{
    p->next = ring->next;
    p->prev = ring;
    p->next->prev = p->prev->next = p;
}

static void ring_remove(peer *p)
{
    p->next->prev = p->prev;
    p->prev->next = p->next;
}

static bool ring_is_empty(const peer *ring)
{
    return ring->next == ring;
}

/* --- life --- */

int peers_init(peers *ps, const peer_limits *limits)
{
    *ps = (peers){
        .limits = *limits,
        .times_ns = {[PEER_IDLE] = limits->idle_ns,
                     [PEER_SENDS_HEAD] = limits->head_ns,
                     [PEER_SENDS_BODY] = limits->body_ns,
                     [PEER_READS] = limits->reading_ns,
                     [PEER_READS_REST] = limits->reading_ns},
        .late_ns = UINT64_MAX,
    };
    ps->recent.next = ps->recent.prev = &ps->recent;
    ps->settled.next = ps->settled.prev = &ps->settled;
    ps->slab = slab_new(sizeof(peer), 0, NULL);
    return ps->slab ? 0 : -ENOMEM;
}

void peers_fini(peers *ps)
{
    assert(!ps->slab || slab_in_use(ps->slab) == 0);
    slab_free(ps->slab);
    ps->slab = NULL;
}

static void format_ip(peer *p, const struct sockaddr *address)
{
    const void *bytes = NULL;
    if (address && address->sa_family == AF_INET)
        bytes = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    else if (address && address->sa_family == AF_INET6)
        bytes = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (!bytes || !inet_ntop(address->sa_family, bytes, p->ip, sizeof(p->ip)))
        p->ip[0] = '\0';
    if (strncmp(p->ip, "::ffff:", 7) == 0 && strchr(p->ip, '.'))
        memmove(p->ip, p->ip + 7, strlen(p->ip + 7) + 1);
}

/* --- deadlines --- */

/* How long it may do what it does, or how long its window is; 0: as long as it likes. */
static uint64_t time_of(const peers *ps, const peer *p)
{
    return p->first ? ps->limits.head_ns : ps->times_ns[p->doing];
}

static void note_time(peers *ps, const peer *p)
{
    uint64_t time = time_of(ps, p);
    if (time && ps->late_ns > p->since_ns + time)
        ps->late_ns = p->since_ns + time;
}

static void shut(peers *ps, peer *p, peer_late why)
{
    if (!p->shut)
        atomic_fetch_add_explicit(&ps->late[why], 1, memory_order_relaxed);
    shutdown(p->fd, SHUT_RDWR);
    p->shut = true;
}

/* --- life --- */

peer *peers_open(peers *ps, int fd, const struct sockaddr *address, uint64_t now_ns)
{
    peer *p = slab_take(ps->slab);
    if (!p)
        return NULL;
    *p = (peer){.fd = fd, .since_ns = now_ns, .first = true};
    format_ip(p, address);
    if (ps->count++ == 0)
        ps->look_ns = ps->look_all_ns = now_ns;
    ring_add(&ps->recent, p);
    note_time(ps, p);
    if (ps->limits.crowd && crowd_key_of(address, &p->key)) {
        p->crowded = crowd_enter(ps->limits.crowd, &p->key);
        if (!p->crowded)
            shut(ps, p, PEER_LATE_CROWD);
    }
    return p;
}

void peers_close(peers *ps, peer *p)
{
    if (p->crowded)
        crowd_leave(ps->limits.crowd, &p->key);
    ring_remove(p);
    ps->count--;
    slab_give(ps->slab, p);
}

static void settle(peers *ps, peer *p, bool settled)
{
    ring_remove(p);
    ring_add(settled ? &ps->settled : &ps->recent, p);
    p->settled = settled;
}

void peers_move(peers *ps, peer *p, peer_doing doing, uint64_t now_ns)
{
    p->doing = doing;
    /* The first head's time began when the connection did. */
    if (doing != PEER_SENDS_HEAD || !p->first)
        p->since_ns = now_ns;
    p->first &= doing == PEER_SENDS_HEAD;
    p->bytes = p->counted = 0;
    p->watched = false;
    if (p->settled)
        settle(ps, p, false);
    note_time(ps, p);
}

/* --- looking --- */

static bool is_at_end(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Count the bytes of replies that the client has acknowledged. A Unix socket does not tell them: there it is
 * what is still on its way, and any change of that counts as enough. Returns: whether they are acknowledged
 * ones. */
static bool count_read(peer *p)
{
    struct tcp_info info;
    socklen_t bytes = sizeof(info);
    int left = 0;
    if (getsockopt(p->fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0 &&
        bytes >= offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked)) {
        p->counted = info.tcpi_bytes_acked;
        return true;
    }
    if (ioctl(p->fd, SIOCOUTQ, &left) == 0)
        p->counted = (uint64_t)left;
    return false;
}

static bool has_read(peer *p, uint64_t least)
{
    uint64_t before = p->counted;
    bool is_tcp = count_read(p);
    return is_tcp ? p->counted - before >= least : p->counted != before;
}

static bool has_sent(peer *p, uint64_t least)
{
    uint64_t before = p->counted;
    p->counted = p->bytes;
    return p->bytes - before >= least;
}

/* Bytes that a window asks for. */
static uint64_t least_of(uint64_t window_ns, uint64_t rate)
{
    uint64_t bytes = (uint64_t)((double)window_ns / 1e9 * (double)rate);
    return bytes ? bytes : 1;
}

/* Its time, or its window, is over: was it slow? */
static bool is_slow(const peer_limits *l, peer *p)
{
    if (p->doing == PEER_SENDS_BODY)
        return !has_sent(p, least_of(l->body_ns, l->body_rate));
    if (p->doing == PEER_READS || p->doing == PEER_READS_REST)
        return !has_read(p, least_of(l->reading_ns, l->reading_rate));
    return true;
}

static bool is_late(const peers *ps, peer *p, uint64_t now_ns)
{
    uint64_t time = time_of(ps, p);
    if (!time || now_ns - p->since_ns < time)
        return false;
    if (is_slow(&ps->limits, p))
        return true;
    p->since_ns = now_ns;
    return false;
}

/* Has anything come of a first request? */
static bool has_begun(const peer *p)
{
    struct tcp_info info;
    socklen_t bytes = sizeof(info);
    return p->first && getsockopt(p->fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0 &&
           bytes >= offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received) &&
           info.tcpi_bytes_received > 0;
}

/* Nothing of ours is under way to a client that sends, so it can be told without the daemon. */
static void tell_late(const peer *p)
{
    static const char text[] =
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    ssize_t sent = send(p->fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent; /* its buffer is empty, so all of it went, or the client is gone */
}

static void shut_late_one(peers *ps, peer *p)
{
    bool is_head = p->doing == PEER_SENDS_HEAD || (p->doing == PEER_IDLE && has_begun(p));
    if (!p->shut && (is_head || p->doing == PEER_SENDS_BODY))
        tell_late(p);
    if (p->doing == PEER_READS || p->doing == PEER_READS_REST) {
        /* Closed without it, the system would go on sending, for minutes, to one that does not read. */
        struct linger none = {.l_onoff = 1};
        setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    }
    shut(ps, p,
         is_head                       ? PEER_LATE_HEAD
         : p->doing == PEER_READS_REST ? PEER_LATE_READING
                                       : (peer_late)p->doing);
}

/* Does the client have the turn to send? */
static bool is_sending(const peer *p)
{
    return p->doing <= PEER_SENDS_BODY || p->doing == PEER_READS_REST;
}

/* That is its own doing, and not counted. */
static void shut_gone(const peer *ring)
{
    for (peer *p = ring->next; p != ring; p = p->next)
        if (is_sending(p) && is_at_end(p->fd))
            shutdown(p->fd, SHUT_RDWR);
}

static void shut_late(peers *ps, peer *ring, uint64_t now_ns)
{
    for (peer *p = ring->next; p != ring; p = p->next) {
        if (is_late(ps, p, now_ns))
            shut_late_one(ps, p);
        else
            note_time(ps, p);
    }
}

static void settle_idle(peers *ps)
{
    for (peer *p = ps->recent.next, *next; p != &ps->recent; p = next) {
        next = p->next;
        if (p->doing <= PEER_SENDS_BODY)
            settle(ps, p, true);
    }
}

static bool is_unread(const peer *p)
{
    int left = 0;
    return ioctl(p->fd, SIOCOUTQ, &left) == 0 && left > 0;
}

/* Most replies are read before anybody looks, at no cost. Where one is not, its window begins now, or its
 * rest becomes what the client does, or is no more. */
static void look_at_reading(peers *ps, uint64_t now_ns)
{
    for (peer *p = ps->recent.next; p != &ps->recent; p = p->next) {
        bool idle = p->doing == PEER_IDLE && !p->first && is_unread(p);
        if (idle || (p->doing == PEER_READS && !p->watched)) {
            p->doing = idle ? PEER_READS_REST : PEER_READS;
            p->watched = true;
            p->since_ns = now_ns;
            count_read(p);
            note_time(ps, p);
        } else if (p->doing == PEER_READS_REST && !is_unread(p)) {
            p->doing = PEER_IDLE;
            p->since_ns = now_ns;
            note_time(ps, p);
        }
    }
}

void peers_look(peers *ps, uint64_t now_ns)
{
    if (now_ns < peers_next_look_ns(ps))
        return;
    if (now_ns - ps->look_all_ns >= ns(PEERS_LOOK_ALL_MS)) {
        ps->look_all_ns = now_ns;
        shut_gone(&ps->settled);
    }
    ps->look_ns = now_ns;
    shut_gone(&ps->recent);
    look_at_reading(ps, now_ns);
    settle_idle(ps);
    if (now_ns < ps->late_ns)
        return;
    ps->late_ns = UINT64_MAX;
    shut_late(ps, &ps->recent, now_ns);
    shut_late(ps, &ps->settled, now_ns);
}

uint64_t peers_next_look_ns(const peers *ps)
{
    if (ps->count == 0)
        return UINT64_MAX;
    uint64_t soon = ps->look_ns + ns(PEERS_LOOK_MS);
    if (!ring_is_empty(&ps->recent))
        return soon;
    uint64_t next = ps->look_all_ns + ns(PEERS_LOOK_ALL_MS);
    if (ps->late_ns < next)
        next = ps->late_ns;
    return next > soon ? next : soon;
}

/* --- by order --- */

/* What came first into a ring is at its end. */
static bool shut_last_idle(peers *ps, peer *ring)
{
    for (peer *p = ring->prev; p != ring; p = p->prev) {
        if (p->doing == PEER_IDLE && !p->shut) {
            shut(ps, p, PEER_LATE_DESCRIPTORS);
            return true;
        }
    }
    return false;
}

void peers_shut_idlest(peers *ps)
{
    if (!shut_last_idle(ps, &ps->settled))
        shut_last_idle(ps, &ps->recent);
}

static void shut_ring(const peer *ring, bool all)
{
    for (peer *p = ring->next; p != ring; p = p->next)
        if (all || is_sending(p))
            shutdown(p->fd, SHUT_RDWR);
}

void peers_shut_idle(peers *ps)
{
    shut_ring(&ps->recent, false);
    shut_ring(&ps->settled, false);
}

void peers_shut_all(peers *ps)
{
    shut_ring(&ps->recent, true);
    shut_ring(&ps->settled, true);
}
