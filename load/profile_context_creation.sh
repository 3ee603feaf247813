#!/usr/bin/env bash
# Does a cheaper request context pay? Builds what is needed and measures; see --help and docs/CONTEXT.md.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

case " $* " in
*" --help "* | *" -h "*) ;;
*)
    [ -n "${POOLSRV_BUILD:-}" ] || "$root/script/build" release poolsrv load_profile_context load_lua_steps >&2
    ;;
esac
exec env PYTHONDONTWRITEBYTECODE=1 python3 "$root/load/profile_context.py" "$@"
