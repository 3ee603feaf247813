/* tcp_proxy: stands between a client and a server, and does what networks do: it delays, deals out in small
 * pieces, and cuts a connection off after so many bytes of the server's. With no server behind it, it answers
 * itself, with the bytes that it was given. A thread of its own; the fields but for the atomic ones are set
 * before it is started. */
#ifndef TESTS_TCP_PROXY_H
#define TESTS_TCP_PROXY_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TCP_PROXY_CONNECTIONS = 64, TCP_PROXY_BYTES = 4096 };

typedef struct tcp_proxy {
    int port;               /* its own */
    int server_port;        /* 0: there is none */
    const char *answers[8]; /* without a server: what it says to each read in turn, the last again and again;
                               NULL: it closes */
    atomic_long cut;        /* bytes of the server's that a connection lets through; negative: all */
    atomic_uint piece;      /* at most so many at once; 0: all */
    atomic_uint delay_us;   /* before each of these */
    atomic_int accepted;
    int listener, stop;
    pthread_t thread;
    struct {
        int client, server;
        long left;
        size_t answer;
    } all[TCP_PROXY_CONNECTIONS];
} tcp_proxy;

static inline void tcp_proxy_drop(tcp_proxy *p, size_t i)
{
    if (p->all[i].client >= 0)
        close(p->all[i].client);
    if (p->all[i].server >= 0)
        close(p->all[i].server);
    p->all[i].client = p->all[i].server = -1;
}

static inline void tcp_proxy_accept(tcp_proxy *p)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC), server = -1;
    to.sin_port = htons((uint16_t)p->server_port);
    if (p->server_port) {
        server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(server, (struct sockaddr *)&to, sizeof to) < 0) {
            close(client);
            close(server);
            return;
        }
    }
    atomic_fetch_add(&p->accepted, 1);
    for (size_t i = 0; i < TCP_PROXY_CONNECTIONS; i++)
        if (p->all[i].client < 0) {
            p->all[i].client = client;
            p->all[i].server = server;
            p->all[i].left = atomic_load(&p->cut);
            p->all[i].answer = 0;
            return;
        }
    abort();
}

static inline bool tcp_proxy_send(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* What the server said, as far as it is let through. */
static inline bool tcp_proxy_forward(tcp_proxy *p, size_t i, const char *bytes, size_t n)
{
    size_t most = atomic_load(&p->piece);
    bool cut = p->all[i].left >= 0 && (long)n >= p->all[i].left;
    if (cut)
        n = (size_t)p->all[i].left;
    if (p->all[i].left >= 0)
        p->all[i].left -= (long)n;
    while (n > 0) {
        size_t piece = most && most < n ? most : n;
        unsigned delay_us = atomic_load(&p->delay_us);
        if (delay_us)
            nanosleep(&(struct timespec){.tv_nsec = delay_us * 1000}, NULL);
        if (!tcp_proxy_send(p->all[i].client, bytes, piece))
            return false;
        bytes += piece;
        n -= piece;
    }
    return !cut;
}

static inline bool tcp_proxy_answer(tcp_proxy *p, size_t i)
{
    size_t at = p->all[i].answer;
    if (!p->answers[at])
        return false;
    if (at + 1 < sizeof p->answers / sizeof p->answers[0] && p->answers[at + 1])
        p->all[i].answer++;
    return tcp_proxy_send(p->all[i].client, p->answers[at], strlen(p->answers[at]));
}

static inline void tcp_proxy_read(tcp_proxy *p, size_t i, bool from_client)
{
    char bytes[TCP_PROXY_BYTES];
    ssize_t n = recv(from_client ? p->all[i].client : p->all[i].server, bytes, sizeof bytes, 0);
    bool well = n > 0;
    if (well && !from_client)
        well = tcp_proxy_forward(p, i, bytes, (size_t)n);
    else if (well && p->server_port)
        well = tcp_proxy_send(p->all[i].server, bytes, (size_t)n);
    else if (well)
        well = tcp_proxy_answer(p, i);
    if (!well)
        tcp_proxy_drop(p, i);
}

static inline void *tcp_proxy_run(void *user)
{
    tcp_proxy *p = user;
    for (;;) {
        struct pollfd fds[2 + 2 * TCP_PROXY_CONNECTIONS] = {{.fd = p->stop, .events = POLLIN},
                                                            {.fd = p->listener, .events = POLLIN}};
        for (size_t i = 0; i < TCP_PROXY_CONNECTIONS; i++) {
            fds[2 + 2 * i] = (struct pollfd){.fd = p->all[i].client, .events = POLLIN};
            fds[3 + 2 * i] = (struct pollfd){.fd = p->all[i].server, .events = POLLIN};
        }
        poll(fds, 2 + 2 * TCP_PROXY_CONNECTIONS, -1);
        if (fds[0].revents)
            return NULL;
        for (size_t i = 0; i < TCP_PROXY_CONNECTIONS; i++) {
            if (fds[2 + 2 * i].revents)
                tcp_proxy_read(p, i, true);
            if (fds[3 + 2 * i].revents && p->all[i].server >= 0)
                tcp_proxy_read(p, i, false);
        }
        if (fds[1].revents)
            tcp_proxy_accept(p);
    }
}

static inline void tcp_proxy_start(tcp_proxy *p)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    for (size_t i = 0; i < TCP_PROXY_CONNECTIONS; i++)
        p->all[i].client = p->all[i].server = -1;
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    p->stop = eventfd(0, EFD_CLOEXEC);
    if (bind(p->listener, (struct sockaddr *)&address, n) < 0 || listen(p->listener, 64) < 0 ||
        getsockname(p->listener, (struct sockaddr *)&address, &n) < 0 ||
        pthread_create(&p->thread, NULL, tcp_proxy_run, p) != 0)
        abort();
    p->port = ntohs(address.sin_port);
}

static inline void tcp_proxy_stop(tcp_proxy *p)
{
    uint64_t one = 1;
    if (write(p->stop, &one, sizeof one) != sizeof one)
        abort();
    pthread_join(p->thread, NULL);
    for (size_t i = 0; i < TCP_PROXY_CONNECTIONS; i++)
        tcp_proxy_drop(p, i);
    close(p->listener);
    close(p->stop);
}

#endif
