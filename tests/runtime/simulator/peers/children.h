// children.h - work in processes of their own. On a GPU a kernel that fails takes its process's context with it, and
// one that hangs would be waited for forever; here it takes nothing else along.
//
// Fork before anything of CUDA is opened: the parent must not.
#pragma once
#include <chrono>
#include <functional>
#include <string>

namespace tilejit::peers {

struct Outcome {
  bool good = false;
  std::string text; ///< what the work gave, or why it failed
};
/// Does `work` for 0 .. count - 1, item after item in each of `jobs` children. One that throws, dies or takes longer
/// than `patience` ends its child, and another goes on with the next item. `on_end` is called here.
void in_children(size_t count, size_t jobs, std::chrono::seconds patience,
                 const std::function<std::string(size_t)>& work,
                 const std::function<void(size_t, const Outcome&)>& on_end);

} // namespace tilejit::peers
