#!/bin/sh
# Builds the fuzz target with clang's libFuzzer, the front end instrumented, and runs it on the corpus:
#   tests/runtime/simulator/fuzz.sh BUILD_FOLDER SECONDS
# BUILD_FOLDER has libtilejit_simulator.a, whose other parts are linked as they are. What it finds is a file
# BUILD_FOLDER/fuzz/crash-...; new inputs that reach new code are collected in BUILD_FOLDER/fuzz/found.
set -eu
build=$(realpath "$1") seconds=$2 here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../../..")
mkdir -p "$build/fuzz/found" "$build/fuzz/seeds"
for folder in corpus cuda; do
  for file in "$here/$folder"/*.ptx; do cp "$file" "$build/fuzz/seeds/$folder.${file##*/}"; done
done
cd "$build/fuzz"
simulator=$root/runtime/simulator
front_end="lexer words parser parser_module parser_function parser_operand forms operand_check reach cfg uniform liveness
  lower lower_wide lower_calls"
for name in $front_end; do
  clang++ -std=c++20 -O1 -g -fsanitize=fuzzer-no-link,address,undefined -I"$root" -c "$simulator/$name.cpp" -o "$name.o" &
  [ "$name" != forms ] || wait
done
wait
clang++ -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -I"$root" "$here/fuzz_parse.cpp" ./*.o \
  "$build/runtime/simulator/libtilejit_simulator.a" -lpthread -o fuzz_parse
exec ./fuzz_parse -max_total_time="$seconds" -max_len=4000 -timeout=10 -rss_limit_mb=2048 found seeds
