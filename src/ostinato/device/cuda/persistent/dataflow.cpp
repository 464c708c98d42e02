#include "ostinato/device/cuda/persistent/dataflow.h"

#include <algorithm>

namespace ostinato::cuda::persistent {

using device::Address;
using device::TensorDesc;

Dataflow::Spot Dataflow::spot_of(const Address& address, const TensorDesc& desc) {
  size_t elements = 1;
  for (size_t i = 0; i < desc.sizes().size(); ++i) {
    elements += static_cast<size_t>((desc.sizes()[i] - 1) * desc.strides()[i]);
  }
  const size_t begin = address.kind == Address::Kind::fixed
                           ? reinterpret_cast<uintptr_t>(address.pointer)
                           : address.offset;
  return {address.kind, address.index, begin, begin + elements * size_of(desc.dtype)};
}

void Dataflow::write(const Address& address, const TensorDesc& desc, Datum datum) {
  written_.push_back({spot_of(address, desc), datum});
}

Ref Dataflow::external(const Address& address) {
  if (address.kind == Address::Kind::none) return {};
  if (address.kind == Address::Kind::fixed) {
    return {Ref::kFixed, reinterpret_cast<uintptr_t>(address.pointer)};
  }
  auto& pointers = schedule_.pointers;
  const auto found = std::find_if(pointers.begin(), pointers.end(), [&](const Address& other) {
    return other.kind == address.kind && other.index == address.index;
  });
  const auto at = static_cast<int32_t>(found - pointers.begin());
  if (found == pointers.end()) {
    if (pointers.size() + 1 == kPointers) {
      throw Refused{"the graph has more inputs and outputs than a launch takes"};
    }
    pointers.push_back({address.kind, nullptr, address.index, 0});
  }
  return {at + 1, address.offset};
}

Datum Dataflow::read(const Address& address, const TensorDesc& desc) {
  const Spot spot = spot_of(address, desc);
  const auto last = std::find_if(written_.rbegin(), written_.rend(), [&](const Written& written) {
    const Spot& other = written.spot;
    return other.kind == spot.kind && other.index == spot.index && other.begin < spot.end &&
           spot.begin < other.end;
  });
  if (last == written_.rend()) return {.ref = external(address)};
  if (spot.begin < last->spot.begin || spot.end > last->spot.end) {
    throw Refused{"a call reads what several calls wrote"};
  }
  Datum datum = last->datum;
  const size_t into = spot.begin - last->spot.begin;
  if (datum.kind == Datum::Kind::memory) {
    datum.ref.offset += into;
  } else if (datum.kind == Datum::Kind::table) {
    datum.host += into;
  } else if (spot.begin != last->spot.begin || spot.end != last->spot.end) {
    throw Refused{"a call reads a part of what a fused call makes"};
  }
  return datum;
}

}  // namespace ostinato::cuda::persistent
