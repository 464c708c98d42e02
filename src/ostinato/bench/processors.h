#pragma once

#include <functional>
#include <vector>

namespace ostinato::bench {

/// The processors that this thread may run on, ascending.
std::vector<int> allowed_processors();

/// A number that two processors share when they are threads of one core.
int core_of(int processor);

/// As many of the processors as there are threads, ascending: one of every core before a second of
/// any. All of them where there are fewer than threads.
std::vector<int> choose_processors(const std::vector<int>& allowed, int threads,
                                   const std::function<int(int)>& core_of);

/// Keeps this thread, and the threads that it starts, to the processors. Throws `io`.
void pin_to(const std::vector<int>& processors);

}  // namespace ostinato::bench
