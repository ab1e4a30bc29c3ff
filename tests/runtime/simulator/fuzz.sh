#!/bin/sh
# Builds the fuzz target with clang's libFuzzer, the front end instrumented, and runs it on the PTX of nvcc:
#   tests/runtime/simulator/fuzz.sh BUILD_FOLDER SECONDS
# BUILD_FOLDER has libtilejit_simulator.a, whose other parts are linked as they are. What it finds is a file
# BUILD_FOLDER/fuzz/crash-...; new inputs that reach new code are collected in BUILD_FOLDER/fuzz/found.
# $CLANGXX is the compiler, clang++-14 of Debian 12 (tools/setup) if it is not set.
set -eu
build=$(realpath "$1") seconds=$2 here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../../..")
compiler=${CLANGXX:-clang++-14}
command -v "$compiler" > /dev/null || { echo "skipped: no $compiler"; exit 0; }
! command -v ccache > /dev/null || compiler="ccache $compiler"
mkdir -p "$build/fuzz/found" "$build/fuzz/seeds"
cp "$here"/cuda/*.ptx "$build/fuzz/seeds"
cd "$build/fuzz"
simulator=$root/runtime/simulator
flags="-std=c++20 -O1 -g -I$root"
for name in lexer words parser parser_module parser_function parser_operand forms operand_check reach cfg uniform liveness \
  lower lower_arithmetic lower_wide lower_calls lower_async lower_observe; do
  echo "$name"
done | xargs -P 2 -I{} $compiler $flags -fsanitize=fuzzer-no-link,address,undefined -c "$simulator/{}.cpp" -o {}.o
$compiler $flags -fsanitize=fuzzer-no-link,address,undefined -c "$here/fuzz_parse.cpp" -o fuzz_parse.o
$compiler $flags -fsanitize=fuzzer,address,undefined ./*.o "$build/runtime/simulator/libtilejit_simulator.a" -lpthread \
  -o fuzz_parse
exec ./fuzz_parse -max_total_time="$seconds" -max_len=4000 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
  -print_funcs=0 -verbosity=0 found seeds
