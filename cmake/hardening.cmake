# What makes a fault in C harder to use, in builds that are for use: position independence, a stack that is guarded and
# not executable, tables that cannot be written once the program runs, libc's checks of buffer sizes. tests/hardening.sh
# looks for it in what was built. Debug builds, which the sanitizers use, go without: they check more.
include(CheckPIESupported)
include(CheckCCompilerFlag)
check_pie_supported(LANGUAGES C)

set(POOLSRV_FOR_USE $<CONFIG:Release,RelWithDebInfo,MinSizeRel>)

# Level 3 knows the sizes of allocated buffers too; compilers and C libraries that have only level 2 take it as that.
set(POOLSRV_HARD_COMPILE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection)
    string(MAKE_C_IDENTIFIER has${flag} known)
    check_c_compiler_flag("-Werror ${flag}" ${known})
    if(${known})
        list(APPEND POOLSRV_HARD_COMPILE ${flag})
    endif()
endforeach()
set(POOLSRV_HARD_LINK -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)

function(poolsrv_hardened target)
    target_compile_options(${target} PRIVATE "$<${POOLSRV_FOR_USE}:${POOLSRV_HARD_COMPILE}>")
    target_link_options(${target} PRIVATE "$<${POOLSRV_FOR_USE}:${POOLSRV_HARD_LINK}>")
endfunction()
