#pragma once

#include <filesystem>
#include <string_view>

/// Folders of caches: what is read from them is believed, so nobody else may write there.
namespace ostinato {

/// Throws `io` for a folder that somebody else could have put files into; one that is not there
/// passes.
void require_own_folder(const std::filesystem::path& folder, std::string_view stage);

/// Makes it with the folders above it, for this user alone. Throws `io`.
void make_own_folder(const std::filesystem::path& folder, std::string_view stage);

}  // namespace ostinato
