// Linked with every object of the runtime; what the test of its size weighs.
#include "runtime/device.h"

#include <cstdio>

int main() {
  for (const std::string& line : tilejit::runtime::describe_devices()) std::puts(line.c_str());
}
