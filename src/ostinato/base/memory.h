#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace ostinato {

/// How many bytes this process can still fill before the kernel would have to end one for it: what
/// is available on the machine with its free swap, or less where a control group limits it.
size_t available_memory();

/// Throws `out_of_memory` when that many bytes are not available. The kernel promises memory that
/// it has not, and kills whoever fills it; so large demands are checked before.
/// @param what what is to be filled, such as `the weights`
/// @param remedy whole sentences
void require_memory(size_t bytes, std::string_view what, std::string_view remedy);

/// What the kernel calls a huge page: memory in such pages streams a third faster.
inline constexpr size_t kHugePage = size_t{2} << 20;

/// Uninitialised memory for packed weights, in huge pages where it fills them. Throws
/// `out_of_memory`.
std::shared_ptr<void> allocate_packed(size_t bytes);

/// A size in the largest binary unit that leaves a digit before the point: `1.4 GiB`.
std::string human_bytes(size_t bytes);

}  // namespace ostinato
