#!/usr/bin/env bash
# Who may include whom: layers.sh [ROOT]. Without an argument the tree is looked through, and then the rules
# themselves are tried on a tree that breaks every one of them.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
problems=0

# includes FOLDER...: "file:line:what is between the quotes or brackets", of every C file below.
includes() {
    grep -rnE --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include' "$@" |
        sed -E 's/^([^:]*:[0-9]+):[^<"]*[<"]([^>"]*)[>"].*/\1:\2/' || true
}

# refuse RULE: whatever comes in, a line each, breaks it.
refuse() {
    local line
    while IFS= read -r line; do
        printf '%s: %s\n' "$line" "$1"
        problems=$((problems + 1))
    done
}

# only ROOM REST: of the tree's own rooms, ROOM may include those of the pattern REST.
only() {
    [ -d "$1" ] || return 0
    refuse "$1/ may include $2 of the tree's rooms only" < <(
        includes "$1" | grep -E ':(queue|vm|runtime|api|tests|load|examples)/' | grep -vE ":($2)/")
}

# never ROOM HEADERS WHY
never() {
    [ -d "$1" ] || return 0
    refuse "$1/ $3" < <(includes "$1" | grep -E ":($2)\$")
}

# quoted FILE-OR-FOLDER...: what is included between quotes, as `includes` shows it.
quoted() {
    grep -rHnE --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$@" |
        sed -E 's/^([^:]*:[0-9]+):[^"]*"([^"]*)".*/\1:\2/' || true
}

# program LUA-HEADERS: api/main.c and api/program/ are what any program round the library could be.
program() {
    local file
    for file in api/main.c api/program; do
        [ -e "$file" ] || continue
        refuse 'the program knows the public header, its own parts and the C library only' < <(
            quoted "$file" | grep -vE ':api/(poolsrv\.h|program/[a-z_]+\.(h|def))$'
            includes -H "$file" | grep -E ":($1|uv\.h|microhttpd\.h|ck_.*)\$")
    done
    [ -d api ] || return 0
    refuse 'only the program knows its parts' < <(
        includes queue vm runtime api 2>/dev/null | grep -vE '^api/(main\.c|program/)' | grep -E ':api/program/')
}

check() {
    local lua='lua\.h|lauxlib\.h|lualib\.h|luaconf\.h|lua\.hpp'
    only queue 'queue'
    only vm 'vm|queue'
    only runtime 'runtime|queue'
    never queue "$lua|microhttpd\.h|uv\.h" 'knows no Lua, no HTTP, no event loop'
    never vm 'microhttpd\.h|uv\.h|pthread\.h|threads\.h|sys/socket\.h|netinet/.*|arpa/.*|sys/epoll\.h' \
        'knows no sockets and no threads'
    never runtime "$lua" 'knows no Lua'
    local room
    for room in vm runtime api; do
        never "$room" 'ck_.*' 'leaves ck to queue/'
    done
    never api 'microhttpd\.h' 'leaves libmicrohttpd to runtime/http'
    if [ -d runtime ]; then
        refuse 'only runtime/http*.c may know libmicrohttpd' < <(
            includes runtime | grep -E ':microhttpd\.h$' | grep -vE '^runtime/http[a-z_]*\.c:')
    fi
    for room in vm runtime api; do
        never "$room" 'sqlite3\.h|hiredis/.*' 'leaves SQLite and hiredis to queue/'
    done
    if [ -d queue ]; then
        refuse 'only queue/*sqlite*.c may know SQLite, and queue/redis*.c hiredis' < <(
            includes queue | grep -E ':sqlite3\.h$' | grep -vE '^queue/[a-z_]*sqlite[a-z_]*\.c:'
            includes queue | grep -E ':hiredis/' | grep -vE '^queue/redis[a-z_]*\.c:')
    fi
    program "$lua"
}

# A tree in which each line is one breach; every one must be found.
control() {
    local tree found breaches=0 file header
    tree=$(mktemp -d)
    while read -r file header; do
        mkdir -p "$tree/${file%/*}"
        printf '#include %s\n' "$header" >>"$tree/$file"
        breaches=$((breaches + 1))
    done <<'BREACHES'
queue/a.h "vm/b.h"
queue/a.c "runtime/b.h"
queue/a.c <lua.h>
queue/a.c <uv.h>
vm/a.c "runtime/b.h"
vm/a.c "api/b.h"
vm/a.c <sys/socket.h>
vm/a.c <pthread.h>
vm/a.c <ck_ring.h>
runtime/a.h "vm/b.h"
runtime/a.c "api/poolsrv.h"
runtime/a.c <lauxlib.h>
runtime/a.c <microhttpd.h>
runtime/http.h <microhttpd.h>
runtime/a.c <ck_pr.h>
api/a.c <microhttpd.h>
api/a.c <ck_ring.h>
vm/a.c <sqlite3.h>
runtime/a.c <hiredis/hiredis.h>
queue/a.c <sqlite3.h>
queue/a.c <hiredis/async.h>
api/main.c "api/options.h"
api/main.c <uv.h>
api/main.c <lua.h>
api/program/a.c "api/options.h"
api/program/a.h "runtime/exposition.h"
api/program/a.c "queue/buf.h"
api/program/a.c <lauxlib.h>
api/a.c "api/program/a.h"
BREACHES
    found=$("$here/tests/layers.sh" "$tree" | wc -l) || true
    rm -rf "$tree"
    if [ "$found" -ne "$breaches" ]; then
        echo "layers.sh finds $found of $breaches breaches made to be found"
        problems=$((problems + 1))
    fi
}

cd "${1:-$here}"
check
[ $# -gt 0 ] || control
[ "$problems" -eq 0 ]
