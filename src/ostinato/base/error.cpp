#include "ostinato/base/error.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace ostinato {

Error::Error(ErrorCode code, std::string stage, std::string message, std::string hint)
    : std::runtime_error(fmt::format("[{}] {}. {}", stage, message, hint)),
      code_(code),
      stage_(std::move(stage)),
      message_(std::move(message)),
      hint_(std::move(hint)) {}

namespace {

/// Letters left out, put in, replaced, or swapped with the next.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      row[j + 1] = std::min({last[j] + (a[i] != b[j]), row[j] + 1, last[j + 1] + 1});
      const bool swapped = i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j];
      if (swapped) row[j + 1] = std::min(row[j + 1], before[j - 1] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last.back();
}

}  // namespace

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& candidates) {
  std::string_view best;
  size_t best_distance = word.size() / 2 + 1;  // further away it is a guess, not a correction
  for (std::string_view candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace ostinato
