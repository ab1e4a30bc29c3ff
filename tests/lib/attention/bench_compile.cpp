// bench_compile - how long compiling attention takes before ptxas or the driver: a warm process, medians of each stage.
//
//   bench_compile [repetitions]
//
// The last line is the time that the process had a core, the mean of all: other work on the machine does not count.
//
// For comparison, compiling the same work takes other systems 450 ms (cuTile, to cubin) to 2.5 s (TileLang), measured
// on two cores; a hand-written LLVM program of this kernel took 28 ms.
#include "compiler/compile.h"
#include "lib/attention/softmax/attention.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>

using namespace tilejit;

static double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

static double cpu_milliseconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return 1e3 * static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_nsec);
}

int main(int argc, char** argv) {
  int repetitions = argc > 1 ? std::max(1, std::atoi(argv[1])) : 30;
  for (const char* target : {"sm_90a", "sm_80"})
    for (bool causal : {true, false}) {
      Program program =
          attention::attention_info().program(attention::attention_info().example, DType::bf16, {{"causal", causal}});
      CompileOptions options;
      options.target = target;
      compile(program, options); // warm
      std::vector<std::string> order;
      std::map<std::string, std::vector<double>> times;
      const double begin = cpu_milliseconds();
      for (int n = 0; n < repetitions; ++n) {
        double total = 0;
        for (const StageTime& stage : compile(program, options).stages) {
          if (n == 0) order.push_back(stage.name);
          times[stage.name].push_back(stage.milliseconds);
          total += stage.milliseconds;
        }
        times["total"].push_back(total);
      }
      const double cpu = (cpu_milliseconds() - begin) / repetitions;
      std::printf("attention d 128 bf16%s, %s, median of %d\n", causal ? " causal" : "", target, repetitions);
      order.push_back("total");
      for (const std::string& stage : order) std::printf("  %-18s %7.2f ms\n", stage.c_str(), median(times[stage]));
      std::printf("  %-18s %7.2f ms\n", "core time", cpu);
    }
}
