#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ostinato::text {

/// The tokens of a model with their ids, both ways. Loading 150,000 of them is most of what opening
/// a tokenizer costs, so all texts lie in one buffer and the index is one flat table.
class Vocabulary {
 public:
  /// @throws Error when the id is beyond what a vocabulary can have
  void add(std::string_view token, uint64_t id);
  /// Builds the index. @throws Error when a token or an id occurs twice, or ids are sparse
  void finish();

  /// The last two calls need finish() before them.
  std::optional<uint32_t> find(std::string_view token) const;
  /// The token with the id, if there is one.
  std::optional<std::string_view> token(uint64_t id) const;

  size_t size() const { return entries_.size(); }
  /// One past the highest id.
  size_t id_end() const { return by_id_.size(); }

 private:
  struct Entry {
    uint32_t offset, length, id;
  };
  struct Slot {
    uint32_t hash = 0, entry = 0;  // entry 0 is an empty slot, n the entry n - 1
  };

  std::string_view text(const Entry& entry) const {
    return std::string_view(texts_).substr(entry.offset, entry.length);
  }

  std::string texts_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;      // open addressing, a power of two
  std::vector<uint32_t> by_id_;  // as in Slot::entry
};

}  // namespace ostinato::text
