# The manual page and the completion, made from their templates and the program's own list of options.
add_executable(manual ${CMAKE_SOURCE_DIR}/cmake/manual.c)
target_link_libraries(manual PRIVATE poolsrv_static)
poolsrv_warnings(manual)

function(fill_in template output)
    add_custom_command(OUTPUT ${output} COMMAND manual ${CMAKE_SOURCE_DIR}/${template} ${output}
        DEPENDS manual ${template} VERBATIM)
endfunction()

set(POOLSRV_MAN ${CMAKE_BINARY_DIR}/poolsrv.1)
set(POOLSRV_BASH ${CMAKE_BINARY_DIR}/poolsrv.bash)
fill_in(docs/poolsrv.1.in ${POOLSRV_MAN})
fill_in(docs/poolsrv.bash.in ${POOLSRV_BASH})
add_custom_target(manuals ALL DEPENDS ${POOLSRV_MAN} ${POOLSRV_BASH})
