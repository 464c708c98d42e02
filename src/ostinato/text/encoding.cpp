#include "ostinato/text/encoding.h"

namespace ostinato::text {

namespace {

template <typename T>
void keep_range(std::vector<T>& values, size_t begin, size_t end) {
  values.erase(values.begin() + static_cast<std::ptrdiff_t>(end), values.end());
  values.erase(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(begin));
}

template <typename T>
void extend(std::vector<T>& values, const std::vector<T>& more) {
  values.insert(values.end(), more.begin(), more.end());
}

}  // namespace

void Encoding::append(int64_t id, std::string piece, std::pair<size_t, size_t> offset,
                      bool special) {
  ids.push_back(id);
  type_ids.push_back(0);
  attention_mask.push_back(1);
  special_tokens_mask.push_back(special ? 1 : 0);
  pieces.push_back(std::move(piece));
  offsets.push_back(offset);
}

void Encoding::append(const Encoding& other) {
  extend(ids, other.ids);
  extend(type_ids, other.type_ids);
  extend(attention_mask, other.attention_mask);
  extend(special_tokens_mask, other.special_tokens_mask);
  extend(pieces, other.pieces);
  extend(offsets, other.offsets);
}

void Encoding::keep(size_t begin, size_t end) {
  keep_range(ids, begin, end);
  keep_range(type_ids, begin, end);
  keep_range(attention_mask, begin, end);
  keep_range(special_tokens_mask, begin, end);
  keep_range(pieces, begin, end);
  keep_range(offsets, begin, end);
}

}  // namespace ostinato::text
