# LLVM and MLIR, found once and linked in one of two ways that never mix:
#
#   shared (default)    libMLIR and libLLVM from the system: links in a moment, for development and tests
#   TILEJIT_STATIC=ON   the static archives, by need: one binary that runs where there is no LLVM
#
#   include(${PROJECT_SOURCE_DIR}/tools/cmake/llvm.cmake)
#   tilejit_link_mlir(TARGET)               # headers, definitions, libraries; PUBLIC, so users of TARGET get them too
#   tilejit_link_mlir(TARGET MLIRPass ...)  # static mode: only these archives (and what they need), for a smaller search
#
# Why they must not mix: a static MLIR archive of the package names the shared libLLVM as what it needs. Linked beside LLVM's
# own archives the program would hold LLVM twice and die at start-up on a corrupt pass registry. So in static mode every
# shared library is taken out of the interface of every MLIR archive, and the component archives come in its place.
include_guard(GLOBAL)

enable_language(C) # LLVM's own CMake files look for C libraries
find_package(MLIR REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
if(LLVM_VERSION_MAJOR LESS 22)
  message(FATAL_ERROR "LLVM ${LLVM_VERSION} found in ${LLVM_DIR}, but tilejit needs LLVM/MLIR 22: install libmlir-22-dev (tools/setup does)")
endif()
list(APPEND CMAKE_MODULE_PATH "${LLVM_CMAKE_DIR}" "${MLIR_CMAKE_DIR}")
# In this order: AddMLIR calls functions of the other two.
include(TableGen)
include(AddLLVM)
include(AddMLIR)
separate_arguments(TILEJIT_LLVM_DEFINITIONS NATIVE_COMMAND "${LLVM_DEFINITIONS}")

# What the compiler uses of LLVM itself: the optimizer and the NVPTX back end.
set(TILEJIT_LLVM_COMPONENTS
    core support passes analysis target targetparser codegen asmprinter nvptxcodegen nvptxdesc nvptxinfo instcombine scalaropts
    ipo irreader bitwriter)

if(TILEJIT_STATIC)
  get_property(todo GLOBAL PROPERTY MLIR_ALL_LIBS)
  set(TILEJIT_MLIR_ARCHIVES)
  while(todo)
    list(POP_FRONT todo archive)
    get_target_property(type ${archive} TYPE)
    if(archive IN_LIST TILEJIT_MLIR_ARCHIVES OR NOT type STREQUAL "STATIC_LIBRARY")
      continue()
    endif()
    list(APPEND TILEJIT_MLIR_ARCHIVES ${archive})
    get_target_property(needs ${archive} INTERFACE_LINK_LIBRARIES)
    set(static_needs)
    foreach(need ${needs})
      if(TARGET ${need})
        get_target_property(type ${need} TYPE)
        if(NOT type STREQUAL "SHARED_LIBRARY")
          list(APPEND static_needs ${need})
          list(APPEND todo ${need})
        endif()
      endif()
    endforeach()
    set_target_properties(${archive} PROPERTIES INTERFACE_LINK_LIBRARIES "${static_needs}")
  endwhile()
  # LLVMSupport names z3 (nothing that we use calls it) and the shared zlib and zstd.
  find_library(TILEJIT_LIBZ libz.a REQUIRED)
  find_library(TILEJIT_LIBZSTD libzstd.a REQUIRED)
  set_target_properties(LLVMSupport PROPERTIES
    INTERFACE_LINK_LIBRARIES "rt;dl;m;${TILEJIT_LIBZ};${TILEJIT_LIBZSTD};LLVMDemangle")
  llvm_map_components_to_libnames(TILEJIT_LLVM_ARCHIVES ${TILEJIT_LLVM_COMPONENTS})
endif()

function(tilejit_link_mlir target)
  target_include_directories(${target} SYSTEM PUBLIC ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
  target_compile_definitions(${target} PUBLIC ${TILEJIT_LLVM_DEFINITIONS})
  if(NOT TILEJIT_STATIC)
    target_link_libraries(${target} PUBLIC MLIR LLVM)
    return()
  endif()
  set(archives ${ARGN})
  if(NOT archives)
    set(archives ${TILEJIT_MLIR_ARCHIVES}) # the linker takes only the members that something refers to
  endif()
  target_link_libraries(${target} PUBLIC ${archives} ${TILEJIT_LLVM_ARCHIVES})
  if(TILEJIT_MOLD)
    target_link_options(${target} PUBLIC -Wl,--icf=all) # identical functions once: 5 MB less
  endif()
endfunction()
