# cmake --install: the program, and what programs that embed it need. The installed tree can be moved.
include(CMakePackageConfigHelpers)

install(TARGETS poolsrv RUNTIME)
install(TARGETS poolsrv_shared EXPORT poolsrv LIBRARY INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES api/poolsrv.h TYPE INCLUDE)

# For pkg-config; prefix is said as the way from the file, so that --prefix and DESTDIR need no rewriting.
file(RELATIVE_PATH POOLSRV_PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(api/poolsrv.pc.in poolsrv.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/poolsrv.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# For find_package(poolsrv), which gives poolsrv::poolsrv.
set(POOLSRV_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/poolsrv)
set_target_properties(poolsrv_shared PROPERTIES EXPORT_NAME poolsrv)
install(EXPORT poolsrv FILE poolsrv-config.cmake NAMESPACE poolsrv:: DESTINATION ${POOLSRV_CMAKE_DIR})
write_basic_package_version_file(poolsrv-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/poolsrv-config-version.cmake DESTINATION ${POOLSRV_CMAKE_DIR})

install(FILES ${POOLSRV_MAN} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${POOLSRV_BASH} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME poolsrv)
install(FILES api/meta/poolsrv.lua DESTINATION ${CMAKE_INSTALL_DATADIR}/poolsrv/meta)
install(FILES api/meta/luacheckrc DESTINATION ${CMAKE_INSTALL_DATADIR}/poolsrv)
install(DIRECTORY examples/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples USE_SOURCE_PERMISSIONS
    FILES_MATCHING PATTERN *.lua PATTERN *.c PATTERN *.md PATTERN *.service PATTERN *.py PATTERN *.cfg PATTERN run
    PATTERN var EXCLUDE PATTERN __pycache__ EXCLUDE)
