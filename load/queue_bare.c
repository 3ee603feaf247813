/* queue_bare: small tables from one thread to another as JSON over a bare ring: what load/queue_rate holds
 * the queue in memory against. Each thread has a Lua state, as a VM has; encoding, the ring, decoding, and
 * nothing else.
 *
 * usage: load_queue_bare MESSAGES     prints messages a second, and each thread's processor time a message in
 * ns */
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "queue/ring.h"
#include "vm/json.h"

enum { RING_CAPACITY = 4096 };

typedef struct text {
    size_t n;
    char p[];
} text;

typedef struct side {
    ring *ring;
    long messages;
    double cpu_s;
} side;

static double now_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static lua_State *new_state(void)
{
    lua_State *L = luaL_newstate();
    if (!L)
        abort();
    luaL_openlibs(L);
    luaopen_json(L);
    lua_settop(L, 0);
    return L;
}

static void push_table(lua_State *L, long i)
{
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, i);
    lua_setfield(L, -2, "id");
    lua_pushliteral(L, "widget");
    lua_setfield(L, -2, "name");
    lua_pushnumber(L, 9.99);
    lua_setfield(L, -2, "price");
}

static void *produce(void *arg)
{
    side *s = arg;
    lua_State *L = new_state();
    buf out = {0};
    double begin = now_s(CLOCK_THREAD_CPUTIME_ID);
    for (long i = 0; i < s->messages; i++) {
        push_table(L, i);
        out.n = 0;
        json_encode(L, -1, &out, 0);
        lua_pop(L, 1);
        text *t = malloc(sizeof(*t) + out.n);
        if (!t)
            abort();
        t->n = out.n;
        memcpy(t->p, out.p, out.n);
        while (ring_push(s->ring, t) < 0)
            sched_yield();
    }
    s->cpu_s = now_s(CLOCK_THREAD_CPUTIME_ID) - begin;
    buf_fini(&out);
    lua_close(L);
    return NULL;
}

static void *consume(void *arg)
{
    side *s = arg;
    lua_State *L = new_state();
    double begin = now_s(CLOCK_THREAD_CPUTIME_ID);
    for (long i = 0; i < s->messages; i++) {
        json_error error;
        text *t;
        while (!(t = ring_pop(s->ring)))
            sched_yield();
        if (json_decode(L, (str){t->p, t->n}, &error) != 0)
            abort();
        lua_pop(L, 1);
        free(t);
    }
    s->cpu_s = now_s(CLOCK_THREAD_CPUTIME_ID) - begin;
    lua_close(L);
    return NULL;
}

int main(int argc, char **argv)
{
    long n = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    ring *r = ring_new(RING_CAPACITY);
    side from = {r, n, 0}, to = {r, n, 0};
    pthread_t producer, consumer;
    if (n < 1 || !r) {
        fprintf(stderr, "usage: load_queue_bare MESSAGES\n");
        return 2;
    }
    double begin = now_s(CLOCK_MONOTONIC);
    pthread_create(&producer, NULL, produce, &from);
    pthread_create(&consumer, NULL, consume, &to);
    pthread_join(producer, NULL);
    pthread_join(consumer, NULL);
    printf("%.0f %.0f %.0f\n", (double)n / (now_s(CLOCK_MONOTONIC) - begin), from.cpu_s / (double)n * 1e9,
           to.cpu_s / (double)n * 1e9);
    ring_free(r);
    return 0;
}
