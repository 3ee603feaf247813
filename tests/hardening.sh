#!/usr/bin/env bash
# hardening.sh BUILD: are the program and the library in that folder, a build for use, hardened as cmake/hardening.cmake
# wants it?
set -euo pipefail
build=${1:?usage: hardening.sh BUILD}
export LC_ALL=C
failed=0

# want FILE WHAT PATTERN: readelf's picture of the file has a line like it.
want() {
    if ! grep -Eq "$3" <<<"$picture"; then
        echo "hardening: $1: $2 is missing" >&2
        failed=1
    fi
}

# refuse FILE WHAT PATTERN
refuse() {
    if grep -Eq "$3" <<<"$picture"; then
        echo "hardening: $1: $2" >&2
        failed=1
    fi
}

for file in "$build/poolsrv" "$build/libpoolsrv.so"; do
    picture=$(readelf -hldW --dyn-syms "$file")
    want "$file" 'position independence (PIE)' 'Type: +DYN'
    want "$file" 'RELRO' '^ +GNU_RELRO'
    want "$file" 'BIND_NOW' '\(FLAGS(_1)?\).*\bNOW\b|BIND_NOW'
    want "$file" 'a stack header' '^ +GNU_STACK'
    refuse "$file" 'the stack is executable' '^ +GNU_STACK.* RWE '
    refuse "$file" 'a segment is both writable and executable' '^ +LOAD.* RWE '
    refuse "$file" 'code is relocated when it is loaded (TEXTREL)' 'TEXTREL'
    refuse "$file" 'libraries are looked for where it was built (RPATH)' '\((RPATH|RUNPATH)\)'
    want "$file" 'the stack protector' '__stack_chk_fail'
    want "$file" '_FORTIFY_SOURCE' '__[a-z]+_chk\b'
done
picture=$(readelf -dW "$build/poolsrv")
want "$build/poolsrv" 'position independence (PIE)' '\(FLAGS_1\).*\bPIE\b'
exit "$failed"
