#pragma once

#include <string>
#include <vector>

#include "ostinato/device/cuda/persistent/schedule.h"

namespace ostinato::cuda::persistent {

/// Why a graph has no schedule.
struct Refused {
  std::string reason;
};

/// What stands at a place in memory.
struct Datum {
  enum class Kind {
    memory,    ///< elements
    table,     ///< what depends on the position alone, computed on the host
    normed,    ///< an RMSNorm's result, computed by whatever reads it
    turned,    ///< queries after the rotary embedding, likewise
    cached,    ///< a cache that has taken this step's keys or values
    attended,  ///< what the splits of an attention left
  };
  Kind kind = Kind::memory;
  Ref ref = {};
  int stage = -1;              ///< whose tasks write it; negative: nobody in this step
  const Call* call = nullptr;  ///< of other kinds than `memory`: what computes it
  std::byte* host = nullptr;   ///< of `table`: where
};

/// Follows values through memory by where calls write and read, so that views of them are seen
/// through, and memory that is used again for another value is told apart.
class Dataflow {
 public:
  explicit Dataflow(Schedule& schedule) : schedule_(schedule) {}

  void write(const device::Address& address, const device::TensorDesc& desc, Datum datum);

  /// What the last call before wrote there; memory of the caller's or the program's where none did.
  /// Throws Refused where the elements are not all of one call's.
  Datum read(const device::Address& address, const device::TensorDesc& desc);

  /// A place among the launch's pointers.
  Ref external(const device::Address& address);

 private:
  struct Spot {
    device::Address::Kind kind;
    size_t index, begin, end;
  };
  struct Written {
    Spot spot;
    Datum datum;
  };
  static Spot spot_of(const device::Address& address, const device::TensorDesc& desc);

  Schedule& schedule_;
  std::vector<Written> written_;
};

/// Tables of what a graph computes from the position alone, such as the cosines and sines of rotary
/// embeddings: computed once for every position by the CPU's kernels, from the graph's own calls.
class Tables {
 public:
  /// Takes the call if all that it reads is constant, the position, or a table; and then says where
  /// its results stand.
  bool take(const Call& call, Dataflow& flow);

  /// Where the rows of a table begin among all tables, were there that many positions.
  size_t offset_of(const Datum& table, size_t row_bytes, int64_t positions);

  /// All tables that were asked for. Throws Refused where the CPU cannot compute them.
  std::vector<std::byte> make(int64_t positions);

  /// Which input of the caller's is the position; throws Refused for another.
  void check_position(const device::Address& address);

 private:
  struct Wanted {
    const std::byte* row;
    size_t row_bytes, at;
  };
  std::vector<device::Step> steps_;
  std::vector<std::vector<std::byte>> memory_;
  device::PackedWeights packed_;
  std::vector<Wanted> wanted_;
  size_t bytes_ = 0;
  std::optional<size_t> position_input_;
  int64_t position_ = 0;
};

}  // namespace ostinato::cuda::persistent
