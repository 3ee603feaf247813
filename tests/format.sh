#!/usr/bin/env bash
# Is every C file laid out as .clang-format says, and every shell script without a fault that shellcheck knows?
set -euo pipefail
cd "$(dirname "$0")/.."

find queue vm runtime api tests load examples cmake -name '*.[ch]' -print0 |
    xargs -0 clang-format --dry-run -Werror

# Scripts have no suffix: their first line tells. What they source is followed.
find . \( -name build -o -name .git \) -prune -o -type f -size -200k -exec \
    awk 'FNR == 1 && /^#!.*\/(env )?(ba)?sh/ { printf "%s%c", FILENAME, 0 } { nextfile }' {} + |
    xargs -0 shellcheck -x
