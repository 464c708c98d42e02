# The device for NVIDIA's GPUs: built where nvcc is, left out with a line where it is not. Nothing of
# CUDA is linked: the driver and cuBLASLt are loaded when the device is asked for.
option(OSTINATO_CUDA "Build the device for NVIDIA's GPUs where nvcc is" ON)
set(OSTINATO_CUDA_ARCHITECTURES "80;90a" CACHE STRING
    "Generations of GPUs that kernels are compiled for; later ones than the last need another build")

set(OSTINATO_HAS_CUDA OFF)
if(OSTINATO_CUDA)
  find_package(CUDAToolkit 12.8 QUIET)
  if(CUDAToolkit_FOUND AND CUDAToolkit_NVCC_EXECUTABLE)
    set(OSTINATO_HAS_CUDA ON)
  else()
    message(STATUS "No nvcc of CUDA 12.8 or later: building without the device for NVIDIA's GPUs")
  endif()
endif()

# Adds the device to a target: its host code, and its kernels as images that the host code carries.
function(ostinato_add_cuda target)
  set(folder ${PROJECT_SOURCE_DIR}/src/ostinato/device/cuda)
  set(options -std=c++20 -I${PROJECT_SOURCE_DIR}/src -Werror all-warnings)
  foreach(architecture ${OSTINATO_CUDA_ARCHITECTURES})
    list(APPEND options -gencode arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  file(GLOB kernels CONFIGURE_DEPENDS ${folder}/kernels/*.cu)
  set(images)
  set(assembly)
  set(declarations)
  set(names)
  foreach(source ${kernels})
    cmake_path(GET source STEM name)
    set(image ${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.fatbin)
    add_custom_command(
      OUTPUT ${image}
      COMMAND ${CUDAToolkit_NVCC_EXECUTABLE} ${options} -fatbin -MD -MF ${image}.d -o ${image} ${source}
      DEPENDS ${source} DEPFILE ${image}.d COMMENT "Compiling ${name}.cu for the GPU" VERBATIM)
    list(APPEND images ${image})
    string(APPEND assembly
           "    \".balign 16\\n.hidden ostinato_${name}\\n.globl ostinato_${name}\\n\"\n"
           "    \"ostinato_${name}: .incbin \\\"${image}\\\"\\n\"\n"
           "    \".hidden ostinato_${name}_end\\n.globl ostinato_${name}_end\\nostinato_${name}_end:\\n\"\n")
    string(APPEND declarations "extern const char ostinato_${name}[], ostinato_${name}_end[];\n")
    string(APPEND names "    std::string_view(ostinato_${name}, ostinato_${name}_end),\n")
  endforeach()
  set(carrier ${CMAKE_CURRENT_BINARY_DIR}/cuda/images.cpp)
  file(CONFIGURE OUTPUT ${carrier} CONTENT [[
#include "ostinato/device/cuda/images.h"
__asm__(".pushsection .rodata\n"
@assembly@    ".popsection\n");
extern "C" {
@declarations@}
namespace ostinato::cuda {
std::span<const std::string_view> kernel_images() {
  static const std::string_view images[] = {
@names@  };
  return images;
}
}  // namespace ostinato::cuda
]] @ONLY)
  set_source_files_properties(${carrier} PROPERTIES OBJECT_DEPENDS "${images}")
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  # Objects of their own, so that nothing else sees CUDA's headers.
  add_library(${target}_cuda OBJECT ${sources} ${carrier})
  target_include_directories(${target}_cuda PRIVATE ${PROJECT_SOURCE_DIR}/src
                                                    ${PROJECT_SOURCE_DIR}/include)
  target_include_directories(${target}_cuda SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(${target}_cuda PRIVATE ostinato_ops)
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_cuda>)
  set_source_files_properties(device/registry.cpp PROPERTIES COMPILE_DEFINITIONS OSTINATO_HAS_CUDA)
  target_link_libraries(${target} PUBLIC ${CMAKE_DL_LIBS})
endfunction()
