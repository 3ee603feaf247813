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

int peers_init(peers *ps, uint64_t idle_ns)
{
    *ps = (peers){.idle_ns = idle_ns, .late_ns = UINT64_MAX};
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

static void note_time(peers *ps, const peer *p)
{
    if (ps->idle_ns && p->doing != PEER_WAITS && ps->late_ns > p->active_ns + ps->idle_ns)
        ps->late_ns = p->active_ns + ps->idle_ns;
}

peer *peers_open(peers *ps, int fd, const struct sockaddr *address, uint64_t now_ns)
{
    peer *p = slab_take(ps->slab);
    if (!p)
        return NULL;
    *p = (peer){.fd = fd, .active_ns = now_ns};
    format_ip(p, address);
    if (ps->count++ == 0)
        ps->look_ns = ps->look_all_ns = now_ns;
    ring_add(&ps->recent, p);
    note_time(ps, p);
    return p;
}

void peers_close(peers *ps, peer *p)
{
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
    p->active_ns = now_ns;
    if (p->settled)
        settle(ps, p, false);
    note_time(ps, p);
}

/* --- looking --- */

static void shut(const peer *p)
{
    shutdown(p->fd, SHUT_RDWR);
}

static bool is_at_end(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Something that changes when the client reads: what it has acknowledged, or where that is not known, what is
 * still on its way. */
static uint64_t progress(int fd)
{
    struct tcp_info info;
    socklen_t bytes = sizeof(info);
    int left = 0;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0 &&
        bytes >= offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked))
        return info.tcpi_bytes_acked;
    return ioctl(fd, SIOCOUTQ, &left) == 0 ? (uint64_t)left : 0;
}

static bool is_late(const peers *ps, peer *p, uint64_t now_ns)
{
    if (p->doing == PEER_WAITS || now_ns - p->active_ns < ps->idle_ns)
        return false;
    uint64_t acked = p->doing == PEER_READS ? progress(p->fd) : p->acked;
    if (acked == p->acked)
        return true;
    p->acked = acked;
    p->active_ns = now_ns;
    return false;
}

static void shut_gone(const peer *ring)
{
    for (peer *p = ring->next; p != ring; p = p->next)
        if (p->doing == PEER_SENDS && is_at_end(p->fd))
            shut(p);
}

static void shut_late(peers *ps, const peer *ring, uint64_t now_ns)
{
    for (peer *p = ring->next; p != ring; p = p->next) {
        if (is_late(ps, p, now_ns))
            shut(p);
        else
            note_time(ps, p);
    }
}

static void settle_idle(peers *ps)
{
    for (peer *p = ps->recent.next, *next; p != &ps->recent; p = next) {
        next = p->next;
        if (p->doing == PEER_SENDS)
            settle(ps, p, true);
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
static bool shut_last_idle(const peer *ring)
{
    for (peer *p = ring->prev; p != ring; p = p->prev) {
        if (p->doing == PEER_SENDS) {
            shut(p);
            return true;
        }
    }
    return false;
}

void peers_shut_idlest(peers *ps)
{
    if (!shut_last_idle(&ps->settled))
        shut_last_idle(&ps->recent);
}

static void shut_ring(const peer *ring, bool all)
{
    for (peer *p = ring->next; p != ring; p = p->next)
        if (all || p->doing == PEER_SENDS)
            shut(p);
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
