#include "ostinato/base/error.h"

#include <algorithm>
#include <numeric>

namespace ostinato {

Error::Error(ErrorCode code, std::string stage, std::string message, std::string hint)
    : std::runtime_error(fmt::format("[{}] {}. {}", stage, message, hint)),
      code_(code),
      stage_(std::move(stage)),
      message_(std::move(message)),
      hint_(std::move(hint)) {}

namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substituted = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
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
