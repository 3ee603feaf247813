# Turn Lua files into C: `const char lua_<name>[]` and `const size_t lua_<name>_size`, declared in api/lua_sources.h.
function(embed_lua result)
    set(outputs)
    foreach(source ${ARGN})
        get_filename_component(name ${source} NAME_WE)
        set(output ${CMAKE_BINARY_DIR}/embedded/lua_${name}.c)
        add_custom_command(OUTPUT ${output}
            COMMAND ${CMAKE_COMMAND} -DSOURCE=${source} -DOUTPUT=${output} -DNAME=lua_${name}
                -P ${CMAKE_SOURCE_DIR}/cmake/embed_file.cmake
            DEPENDS ${source} ${CMAKE_SOURCE_DIR}/cmake/embed_file.cmake VERBATIM)
        list(APPEND outputs ${output})
    endforeach()
    set(${result} ${outputs} PARENT_SCOPE)
endfunction()
