// fake_libcuda.h - a libcuda.so.1 for tests: it keeps device memory in host memory, writes down every call, and fails
// where it is told to. What it is used for is the driver's side of the `cuda` device on a machine with no GPU.
//
// A test opens the library under the same path as the device does, so both see one state, and calls these through
// dlsym. Programs that a test starts set it up through the environment: TILEJIT_FAKE_GPUS="Name:9.0,Other:8.9" and
// TILEJIT_FAKE_FAIL="cuLaunchKernel=700".
#pragma once

extern "C" {
/// Forgets calls, failures and objects; one GPU of compute capability 9.0, or what the environment says.
void fake_reset();
/// One GPU for each "Name:major.minor", separated by commas; "" for none.
void fake_gpus(const char* list);
/// From now on `function` returns `code` (0: works again). `log` is what a failing module load reports.
void fake_fail(const char* function, int code, const char* log);
/// The calls so far, one a line: the name, and what matters of the arguments. Valid until the next call.
const char* fake_calls();
/// Objects that were made and not yet released: contexts, buffers, modules, streams, events.
int fake_alive();
/// Context pushes that were not popped.
int fake_pushed();
}
