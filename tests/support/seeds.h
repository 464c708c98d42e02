#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>

namespace ostinato {

/// How many random graphs a test is to try, from seed 0 on: `usual`, or as many as the environment
/// says for a long run by hand.
inline uint32_t seed_count(uint32_t usual) {
  const char* wanted = std::getenv("OSTINATO_RANDOM_GRAPHS");
  const auto count = wanted != nullptr ? static_cast<uint32_t>(std::stoul(wanted)) : usual;
  std::cout << "seeds 0 to " << count - 1 << "\n";
  return count;
}

}  // namespace ostinato
