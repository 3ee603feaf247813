# shellcheck shell=bash
# What the scripts here share: tools, servers, CPU clocks. To be sourced by bash; load/compare calls single functions.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
poolsrv=${POOLSRV:-$root/build/release/poolsrv}
scratch=
server_pids=()

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$(basename "$0"): $*"
    exit 2
}

# need COMMAND PACKAGE: ends the script when a tool is missing.
need() { command -v "$1" >/dev/null || die "$1 is missing: apt install $2"; }

# Stops the servers that this script started, by their own pids, and removes its files.
clean_up() {
    local pid
    for pid in "${server_pids[@]}"; do
        kill -TERM "$pid" 2>/dev/null
    done
    for pid in "${server_pids[@]}"; do
        wait "$pid" 2>/dev/null
    done
    server_pids=()
    [ -z "$scratch" ] || rm -rf "$scratch"
}

begin() {
    scratch=$(mktemp -d)
    trap clean_up EXIT
    trap 'exit 130' INT TERM
}

# Where poolsrv is, whether built or not.
poolsrv_path() { echo "$poolsrv"; }

build_poolsrv() {
    [ -x "$poolsrv" ] && return
    [ -z "${POOLSRV:-}" ] || die "$POOLSRV is no program"
    need cmake cmake
    say "building $poolsrv"
    (cd "$root" && cmake --preset release >&2 && cmake --build --preset release >&2) || die "the build failed"
}

# load_program NAME: prints where that program of load/ is: beside poolsrv, as CMake builds it, or else compiled now.
load_program() {
    local built fresh=$root/build/load/$1
    built=$(dirname "$poolsrv")/load/load_$1
    if [ -x "$built" ]; then
        echo "$built"
        return
    fi
    need cc gcc
    mkdir -p "${fresh%/*}"
    cc -std=c17 -D_GNU_SOURCE -O2 -pthread -o "$fresh" "$root/load/$1.c" -lm || die "load/$1.c does not compile"
    echo "$fresh"
}

# start_server NAME COMMAND...: runs it until it says where it listens; sets server_pid and server_port.
start_server() {
    local log=$scratch/$1.log
    shift
    : >"$log"
    "$@" >"$log" 2>&1 &
    server_pid=$!
    server_pids+=("$server_pid")
    server_port=
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        server_port=$(sed -nE 's/.*listening on (http:\/\/)?127\.0\.0\.1:([0-9]+).*/\2/p' "$log" | head -n 1)
        [ -z "$server_port" ] || return 0
        if ! kill -0 "$server_pid" 2>/dev/null; then
            cat "$log" >&2
            die "it ended before it listened: $*"
        fi
        sleep 0.05
    done
    cat "$log" >&2
    die "it does not say where it listens: $*"
}

stop_server() {
    local pid kept=()
    kill -TERM "$1" 2>/dev/null
    wait "$1" 2>/dev/null
    for pid in "${server_pids[@]}"; do
        [ "$pid" = "$1" ] || kept+=("$pid")
    done
    server_pids=("${kept[@]}")
}

# alive PID: still there, and not as a zombie.
alive() { [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# CPU time of a process and its children so far, in microseconds: utime and stime. The kernel counts their sum
# exactly and rounds it to a tick of 10 ms here, so a run should take a second at least.
cpu_us() {
    local pid stat fields total=0
    for pid in "$1" $(pgrep -P "$1"); do
        stat=$(cat "/proc/$pid/stat" 2>/dev/null) || continue
        read -ra fields <<<"${stat##*) }" # from the third field on
        total=$((total + fields[11] + fields[12]))
    done
    echo $((total * (1000000 / $(getconf CLK_TCK))))
}

rss_mib() { awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"; }

# result_of NAME FILE: one figure of the "result" line that the clients print.
result_of() { sed -nE "s/^result .*\\b$1=([0-9]+).*/\\1/p" "$2"; }

# same_json TEXT TEXT: equal but for the order of the members?
same_json() {
    python3 -c 'import json, sys; sys.exit(json.loads(sys.argv[1]) != json.loads(sys.argv[2]))' "$1" "$2" 2>/dev/null
}

set_up_text() {
    printf 'machine    %s, %s of %s cores, %s\n' "$(uname -sr)" "$(nproc)" "$(nproc --all)" \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
    printf 'load       %s before the start\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
}
