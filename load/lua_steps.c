/* What single steps of making a context cost in Lua, in ns: the guesses of the design note, measured.
 *
 *     load_lua_steps [N]
 *
 * Does each step N times (200000) and prints "step TITLE NS" with tabs between, the thread's CPU time for
 * one, the loop itself taken off. What has to be collected afterwards is part of it. One thread. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void print_step(const char *title, double ns)
{
    printf("step\t%s\t%.3f\n", title, ns);
}

static int on_call(lua_State *L)
{
    (void)L;
    return 0;
}

/* An __index that finds nothing to do but to hand out a function, as one that is made beforehand would be. */
static int on_index(lua_State *L)
{
    lua_pushcfunction(L, on_call);
    return 1;
}

/* --- in C --- */

static void push_nothing(lua_State *L)
{
    lua_pushlightuserdata(L, L);
}

static void push_closure(lua_State *L)
{
    lua_pushlightuserdata(L, L);
    lua_pushcclosure(L, on_call, 1);
}

static void push_table(lua_State *L)
{
    lua_createtable(L, 0, 6);
}

/* ns for one push and the pop after it. */
static double time_push(lua_State *L, void (*push)(lua_State *L), long n)
{
    double begin = cpu_ns();
    for (long i = 0; i < n; i++) {
        push(L);
        lua_pop(L, 1);
    }
    return (cpu_ns() - begin) / (double)n;
}

/* --- in Lua --- */

/* Push a table whose missing fields are found by a C function, or in a second table, or nowhere. */
static void push_with_function(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, on_index);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

static void push_with_table(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_newtable(L);
    lua_pushcfunction(L, on_call);
    lua_setfield(L, -2, "field");
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

static void push_filled(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, on_call);
    lua_setfield(L, -2, "field");
}

/* ns for one turn of a loop with that line in it, where t is what `push` pushes. */
static double time_line(lua_State *L, const char *line, void (*push)(lua_State *L), long n)
{
    char chunk[256];
    snprintf(chunk, sizeof(chunk), "local t, n = ... for i = 1, n do %s end", line);
    if (luaL_loadstring(L, chunk) != LUA_OK) {
        fprintf(stderr, "load_lua_steps: %s\n", lua_tostring(L, -1));
        exit(1);
    }
    push(L);
    lua_pushinteger(L, n);
    double begin = cpu_ns();
    lua_call(L, 2, 0);
    return (cpu_ns() - begin) / (double)n;
}

int main(int argc, char **argv)
{
    long n = argc > 1 ? strtol(argv[1], NULL, 10) : 200000;
    if (n <= 0) {
        fputs("usage: load_lua_steps [N]\n", stderr);
        return 2;
    }
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    time_push(L, push_closure, n); /* warm */
    double push = time_push(L, push_nothing, n);
    print_step("make a C closure with one upvalue", time_push(L, push_closure, n) - push);
    print_step("make a table with room for six fields", time_push(L, push_table, n) - push);
    double loop = time_line(L, "", push_filled, n);
    const char *read = "local _ = t.field";
    print_step("read a field that is there", time_line(L, read, push_filled, n) - loop);
    print_step("read a field through an __index table", time_line(L, read, push_with_table, n) - loop);
    print_step("read a field through an __index function in C",
               time_line(L, read, push_with_function, n) - loop);
    lua_close(L);
    return 0;
}
