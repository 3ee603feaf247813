/* The Lua chunks that are part of the program, one symbol a file of api/lua/: lua_tree is api/lua/tree.lua.
 *
 * The bytes are made from the files at build time. Each is followed by a NUL that its size does not count.
 * Constant, so any thread may read them. Each file's first comment says what its chunk returns. */
#ifndef API_LUA_SOURCES_H
#define API_LUA_SOURCES_H

#include <stddef.h>

#define LUA_SOURCES(X)                                                                                       \
    X(check)                                                                                                 \
    X(coroutines)                                                                                            \
    X(definition)                                                                                            \
    X(freeze)                                                                                                \
    X(hooks)                                                                                                 \
    X(limit)                                                                                                 \
    X(path)                                                                                                  \
    X(places)                                                                                                \
    X(pubsub)                                                                                                \
    X(queue)                                                                                                 \
    X(shared)                                                                                                \
    X(suggest)                                                                                               \
    X(task)                                                                                                  \
    X(tree)                                                                                                  \
    X(unknown)                                                                                               \
    X(where)

#define X(name)                                                                                              \
    extern const char lua_##name[];                                                                          \
    extern const size_t lua_##name##_size;
LUA_SOURCES(X)
#undef X

#endif
