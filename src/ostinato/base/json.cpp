#include "ostinato/base/json.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "ostinato/base/error.h"

namespace ostinato {

namespace {

constexpr std::string_view kHint = "Fetch or write the file anew.";

[[noreturn]] void fail_at(std::string_view text, size_t offset, std::string_view stage,
                          std::string_view source) {
  const std::string_view before = text.substr(0, std::min(offset, text.size()));
  fail(ErrorCode::corrupt, stage, kHint,
       "expected JSON, got a syntax error in line {} (byte {}) of {}",
       std::count(before.begin(), before.end(), '\n') + 1, offset, source);
}

}  // namespace

Json parse_json(std::string_view text, std::string_view stage, std::string_view source,
                size_t max_depth) {
  // To the library a NUL is the end, and it would let pass whatever follows.
  if (const size_t nul = text.find('\0'); nul != text.npos) fail_at(text, nul, stage, source);

  std::vector<std::unordered_set<std::string>> open_objects;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if ((event == Event::object_start || event == Event::array_start) &&
        static_cast<size_t>(depth) >= max_depth) {
      fail(ErrorCode::corrupt, stage, kHint, "expected JSON at most {} levels deep in {}",
           max_depth, source);
    }
    if (event == Event::object_start) open_objects.emplace_back();
    if (event == Event::object_end) open_objects.pop_back();
    if (event == Event::key && !open_objects.back().insert(parsed.get<std::string>()).second) {
      fail(ErrorCode::corrupt, stage, kHint, "expected each key once, got {} twice in {}",
           quote(parsed.get_ref<const std::string&>()), source);
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::parse_error& error) {
    fail_at(text, error.byte > 0 ? error.byte - 1 : 0, stage, source);
  } catch (const Json::out_of_range&) {
    fail(ErrorCode::corrupt, stage, kHint,
         "expected numbers within double precision's range, got a larger one in {}", source);
  }
}

std::string quote(std::string_view text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ostinato
