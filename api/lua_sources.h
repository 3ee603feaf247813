/* The Lua chunks that are part of the program, one symbol a file of api/lua/: lua_tree is api/lua/tree.lua.
 *
 * The bytes are made from the files at build time. Each is followed by a NUL that its size does not count.
 * Constant, so any thread may read them. Each file's first comment says what its chunk returns. */
#ifndef API_LUA_SOURCES_H
#define API_LUA_SOURCES_H

#include <stddef.h>

extern const char lua_coroutines[];
extern const size_t lua_coroutines_size;

extern const char lua_definition[];
extern const size_t lua_definition_size;

extern const char lua_freeze[];
extern const size_t lua_freeze_size;

extern const char lua_hooks[];
extern const size_t lua_hooks_size;

extern const char lua_path[];
extern const size_t lua_path_size;

extern const char lua_places[];
extern const size_t lua_places_size;

extern const char lua_suggest[];
extern const size_t lua_suggest_size;

extern const char lua_tree[];
extern const size_t lua_tree_size;

extern const char lua_where[];
extern const size_t lua_where_size;

#endif
