#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace ostinato {

using Json = nlohmann::json;

/// Parses what strangers wrote: a duplicate key, a NUL byte, or arrays and objects nested deeper
/// than `max_depth` are errors, as is any syntax error. Throws `corrupt` naming the source, the
/// line and the byte offset.
/// @param stage the stage of the errors, such as `import/config`
/// @param source what the text is, usually a path
Json parse_json(std::string_view text, std::string_view stage, std::string_view source,
                size_t max_depth = 64);

/// The text between double quotes, with control characters escaped and broken UTF-8 replaced: how
/// an error quotes a name that comes out of a file.
std::string quote(std::string_view text);

}  // namespace ostinato
