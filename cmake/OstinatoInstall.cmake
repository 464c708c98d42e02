# `cmake --install`: the command, the shared library, its five headers, and what
# `find_package(ostinato)` reads to offer the target ostinato::ostinato.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/ostinato)
install(TARGETS ostinato)
install(TARGETS ostinato_library EXPORT ostinatoTargets FILE_SET HEADERS)
install(EXPORT ostinatoTargets NAMESPACE ostinato:: FILE ostinatoConfig.cmake
        DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/ostinatoConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ostinatoConfigVersion.cmake DESTINATION ${package_folder})
