// driver_maps.h - tensor maps that a driver encoded: where each field of a map lies on the machine, kept in recordings
// beside the outputs of the cases.
#pragma once
#include "runtime/simulator/tensormap.h"
#include "tests/runtime/simulator/conformance/recording.h"

namespace tilejit::conformance {

struct NamedMap {
  std::string name;
  runtime::simulator::TensorMapDescription what;
};
/// Every type, rank, swizzle, fill, and the least and the most of each number.
std::vector<NamedMap> driver_maps();

/// As the driver's cuTensorMapEncodeTiled gives it, or why it refuses; `driver` false: as the simulator's does. Throws
/// runtime::Error where there is no driver.
Recording::Entry record_map(const NamedMap& map, bool driver);

} // namespace tilejit::conformance
