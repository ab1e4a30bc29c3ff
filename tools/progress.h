// progress.h - a line that says that a long step is still at work.
#pragma once
#include <chrono>
#include <functional>
#include <string>

namespace tilejit::tools {

/// Runs `work` and meanwhile shows on standard error what it is and for how long it has run: on a terminal a line that
/// is written over every half second, elsewhere a new line every ten seconds. Nothing for work that ends sooner.
/// `share`, where given, tells how much is done (0 to 1; negative: unknown). Returns the seconds that it took.
double with_progress(const std::string& what, const std::function<void()>& work,
                     const std::function<double()>& share = {});

} // namespace tilejit::tools
