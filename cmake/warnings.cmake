# The warnings every target is built with; the tree has none of them.
function(poolsrv_warnings target)
    target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes
        $<$<BOOL:${POOLSRV_WERROR}>:-Werror>)
endfunction()
