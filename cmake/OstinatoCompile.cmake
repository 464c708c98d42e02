# How everything here is compiled: one standard, all warnings, no ISA beyond the x86-64 baseline
# (kernels choose theirs at run time).
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

add_compile_options(-Wall -Wextra -Wpedantic)
if(OSTINATO_WERROR)
  add_compile_options(-Werror)
endif()
if(OSTINATO_SANITIZE)
  add_compile_options(-fsanitize=${OSTINATO_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${OSTINATO_SANITIZE})
endif()
if(OSTINATO_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
