#include "ostinato/text/vocabulary.h"

#include <algorithm>
#include <limits>

#include "ostinato/base/error.h"
#include "ostinato/text/json_part.h"

namespace ostinato::text {

namespace {

constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15;

/// Tokens are short: eight bytes a step, and a mix that spreads into the high half.
uint32_t hash_of(std::string_view text) {
  uint64_t hash = text.size() * kMultiplier;
  const char* at = text.data();
  size_t left = text.size();
  const auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 29;
  };
  for (; left >= 8; at += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    mix(word);
  }
  if (left > 0) {
    uint64_t word = 0;
    std::memcpy(&word, at, left);
    mix(word);
  }
  return static_cast<uint32_t>(hash >> 32);
}

[[noreturn]] void refuse(const std::string& message) {
  fail(ErrorCode::corrupt, kStage, "Use an undamaged tokenizer.json.", "{}", message);
}

}  // namespace

void Vocabulary::add(std::string_view token, uint64_t id) {
  constexpr uint64_t kMaxId = std::numeric_limits<int32_t>::max();
  if (id > kMaxId) {
    refuse(fmt::format("expected model.vocab to have ids up to {}, got {} for '{}'", kMaxId, id,
                       token));
  }
  if (texts_.size() + token.size() > std::numeric_limits<uint32_t>::max()) {
    refuse("expected model.vocab to have less than 4 GiB of text, got more");
  }
  entries_.push_back({static_cast<uint32_t>(texts_.size()), static_cast<uint32_t>(token.size()),
                      static_cast<uint32_t>(id)});
  texts_ += token;
}

void Vocabulary::finish() {
  size_t slots = 16;
  while (slots < entries_.size() * 2) slots *= 2;
  slots_.assign(slots, {});
  uint32_t highest = 0;
  for (const Entry& entry : entries_) highest = std::max(highest, entry.id);
  // Ids may have holes, but an id far out would only ask for memory.
  if (highest > entries_.size() * 8 + 1'000'000) {
    refuse(fmt::format("expected the ids of {} tokens in model.vocab, got an id {}",
                       entries_.size(), highest));
  }
  by_id_.assign(entries_.empty() ? 0 : size_t{highest} + 1, 0);
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    const std::string_view token = text(entries_[i]);
    uint32_t& at_id = by_id_[entries_[i].id];
    if (at_id != 0) {
      refuse(fmt::format("expected every id in model.vocab once, got {} for '{}' and '{}'",
                         entries_[i].id, text(entries_[at_id - 1]), token));
    }
    at_id = i + 1;
    const uint32_t hash = hash_of(token);
    size_t slot = hash & (slots - 1);
    while (slots_[slot].entry != 0) {
      if (slots_[slot].hash == hash && text(entries_[slots_[slot].entry - 1]) == token) {
        refuse(fmt::format("expected every token in model.vocab once, got '{}' again", token));
      }
      slot = (slot + 1) & (slots - 1);
    }
    slots_[slot] = {hash, i + 1};
  }
}

std::optional<uint32_t> Vocabulary::find(std::string_view token) const {
  const uint32_t hash = hash_of(token);
  const size_t mask = slots_.size() - 1;
  for (size_t slot = hash & mask; slots_[slot].entry != 0; slot = (slot + 1) & mask) {
    const Entry& entry = entries_[slots_[slot].entry - 1];
    if (slots_[slot].hash == hash && text(entry) == token) return entry.id;
  }
  return std::nullopt;
}

std::optional<std::string_view> Vocabulary::token(uint64_t id) const {
  if (id >= by_id_.size() || by_id_[id] == 0) return std::nullopt;
  return text(entries_[by_id_[id] - 1]);
}

}  // namespace ostinato::text
