#include "ostinato/bench/processors.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

#include "ostinato/base/error.h"

namespace ostinato::bench {

std::vector<int> allowed_processors() {
  std::vector<int> processors;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return processors;
  for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
    if (CPU_ISSET(processor, &set)) processors.push_back(processor);
  }
  return processors;
}

int core_of(int processor) {
  // `0-1` or `0,64`: the first number is the same in the files of all threads of a core.
  std::ifstream siblings(
      fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", processor));
  int first = 0;
  return siblings >> first ? first : processor;
}

std::vector<int> choose_processors(const std::vector<int>& allowed, int threads,
                                   const std::function<int(int)>& core_of) {
  std::vector<int> chosen, seconds;
  std::set<int> cores;
  for (int processor : allowed) {
    (cores.insert(core_of(processor)).second ? chosen : seconds).push_back(processor);
  }
  chosen.insert(chosen.end(), seconds.begin(), seconds.end());
  chosen.resize(std::min(chosen.size(), static_cast<size_t>(threads)));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

void pin_to(const std::vector<int>& processors) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int processor : processors) CPU_SET(processor, &set);
  if (sched_setaffinity(0, sizeof(set), &set) == 0) return;
  fail(ErrorCode::io, "bench/lane", "Give the bench processors that it may use, as with taskset.",
       "cannot keep a lane to the processors {}: {}", fmt::join(processors, ", "),
       std::strerror(errno));
}

}  // namespace ostinato::bench
