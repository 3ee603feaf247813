#!/usr/bin/env bash
# install.sh BUILD: install it into a folder of its own; then use what is there, and only that: the program,
# the manual page, the completion, and examples/embed.c compiled with what pkg-config and CMake say.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(cd "${1:-build/release}" && pwd)
dir=$(mktemp -d)
server=''
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$dir"' EXIT

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

prefix=$dir/prefix
cmake --install "$build" --prefix "$prefix" >"$dir/log" || { cat "$dir/log"; fail "cmake --install failed"; }
version=$("$prefix/bin/poolsrv" --version) || fail "the installed program does not run"
for path in include/poolsrv.h share/man/man1/poolsrv.1 share/bash-completion/completions/poolsrv \
    share/doc/poolsrv/examples/embed.c share/doc/poolsrv/examples/hello.lua \
    share/poolsrv/meta/poolsrv.lua share/poolsrv/luacheckrc; do
    [ -s "$prefix/$path" ] || fail "$path is not installed"
done
bash -n "$prefix/share/bash-completion/completions/poolsrv"

library=$(find "$prefix" -name libpoolsrv.so)
[ -n "$library" ] || fail "libpoolsrv.so is not installed"
names=$(nm -D --defined-only "$library" | awk '$2 != "A" {print $3}' | grep -v '^ps_' || true)
[ -z "$names" ] || fail "the library exports more than ps_...: $names"

# The embedding program, as somebody who has only the installed tree compiles it.
cp "$prefix/share/doc/poolsrv/examples/embed.c" "$dir"
PKG_CONFIG_PATH=$(dirname "$library")/pkgconfig
LD_LIBRARY_PATH=$(dirname "$library")
export PKG_CONFIG_PATH LD_LIBRARY_PATH
[ "poolsrv $(pkg-config --modversion poolsrv)" = "$version" ] || fail "pkg-config names another version"
read -ra flags < <(pkg-config --cflags --libs poolsrv)
(cd "$dir" && cc -Wall -Wextra -Werror embed.c "${flags[@]}" -o embed)

# It prints where it listens and the reply to its own request; both come in any order.
echo 'function api.hello.get(ctx) return "hello " .. ctx:query().name end' >"$dir/app.lua"
mkfifo "$dir/out"
"$dir/embed" "$dir/app.lua" '/hello?name=you' >"$dir/out" &
server=$!
exec 3<"$dir/out"
address='' status='' body=''
while [ -z "$address" ] || [ -z "$body" ]; do
    read -r -t 60 line <&3 || fail "embed ended or says nothing; it should print an address and a reply"
    case $line in
        "listening on "*) address=${line#listening on } ;;
        "GET "*) status=$line ;;
        *) body=$line ;;
    esac
done
[ "$status" = 'GET /hello?name=you: 200' ] || fail "without a socket: $status"
[ "$body" = 'hello you' ] || fail "without a socket: $body"
reply=$(curl -sS --max-time 60 "$address/hello?name=all")
[ "$reply" = 'hello all' ] || fail "over the socket: $reply"
kill -TERM "$server"
wait "$server" || fail "embed ends with $? after SIGTERM"
server=''

# And find_package.
cat >"$dir/CMakeLists.txt" <<'LISTS'
cmake_minimum_required(VERSION 3.25)
project(embed LANGUAGES C)
find_package(poolsrv 0.1 REQUIRED)
add_executable(embed embed.c)
target_link_libraries(embed PRIVATE poolsrv::poolsrv)
LISTS
if ! { cmake -S "$dir" -B "$dir/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" &&
    cmake --build "$dir/build"; } >"$dir/log" 2>&1; then
    cat "$dir/log"
    fail "find_package(poolsrv) does not work"
fi
