// estimate_report.h - a time estimate as JSON and as a table.
#pragma once
#include "runtime/simulator/estimate.h"

#include <string>

namespace tilejit::tools {

/// Everything, by instruction of the PTX and by line of the source too.
std::string estimate_json(const runtime::Estimate& estimate, const runtime::LaunchCounters& launch);
/// The time, what bounds it, and the lines at which warps wait longest.
std::string estimate_table(const runtime::Estimate& estimate, const runtime::LaunchCounters& launch);

} // namespace tilejit::tools
