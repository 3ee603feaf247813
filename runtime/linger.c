#include "runtime/linger.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct linger_one {
    linger_one *next, *prev;
    lingering *all;
    int fd;
    size_t bytes;
    int open_handles;
    uv_poll_t poll;
    uv_timer_t timer;
};

static void on_closed(uv_handle_t *handle)
{
    linger_one *one = handle->data;
    if (--one->open_handles)
        return;
    close(one->fd);
    one->all->closing--;
    free(one);
}

static void finish(linger_one *one)
{
    lingering *l = one->all;
    if (one->next)
        one->next->prev = one->prev;
    if (one->prev)
        one->prev->next = one->next;
    else
        l->first = one->next;
    l->count--;
    l->closing++;
    uv_close((uv_handle_t *)&one->poll, on_closed);
    uv_close((uv_handle_t *)&one->timer, on_closed);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    linger_one *one = poll->data;
    char waste[16384];
    (void)events;
    ssize_t n = status < 0 ? 0 : recv(one->fd, waste, sizeof(waste), MSG_DONTWAIT);
    if (n > 0)
        one->bytes += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        one->bytes = LINGER_BYTES;
    if (one->bytes >= LINGER_BYTES)
        finish(one);
}

static void on_timeout(uv_timer_t *expired)
{
    finish(expired->data);
}

void linger_add(lingering *l, int fd)
{
    linger_one *one = l->count < LINGER_MAX ? calloc(1, sizeof(*one)) : NULL;
    if (!one || uv_poll_init(l->loop, &one->poll, fd) != 0) {
        free(one);
        close(fd);
        return;
    }
    one->all = l;
    one->fd = fd;
    one->open_handles = 2;
    one->poll.data = one->timer.data = one;
    one->next = l->first;
    if (one->next)
        one->next->prev = one;
    l->first = one;
    l->count++;
    uv_timer_init(l->loop, &one->timer);
    uv_timer_start(&one->timer, on_timeout, LINGER_MS, 0);
    uv_poll_start(&one->poll, UV_READABLE, on_readable);
}

void linger_close_all(lingering *l)
{
    while (l->first)
        finish(l->first);
    while (l->closing)
        uv_run(l->loop, UV_RUN_ONCE);
}
