#include <fmt/format.h>

#include <cstring>

#include "ostinato/device/cuda/persistent/dataflow.h"

namespace ostinato::cuda::persistent {

using device::Address;

namespace {

/// A caller's single integer: a position may be one.
bool is_scalar_input(const Address& address, const device::TensorDesc& desc) {
  return address.kind == Address::Kind::input && desc.dtype == DType::int64 && desc.numel() == 1;
}

}  // namespace

bool Tables::take(const Call& call, Dataflow& flow) {
  const device::Request& request = call.request;
  device::Step step;
  std::optional<size_t> position;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    if (!request.inputs[i]) {
      step.inputs.emplace_back();
      continue;
    }
    void* pointer = const_cast<void*>(request.constants[i]);
    if (is_scalar_input(call.inputs[i], *request.inputs[i])) {
      if (position.value_or(call.inputs[i].index) != call.inputs[i].index) return false;
      position = call.inputs[i].index;
      pointer = &position_;
    } else if (pointer == nullptr) {
      const Datum datum = flow.read(call.inputs[i], *request.inputs[i]);
      if (datum.kind != Datum::Kind::table) return false;
      pointer = datum.host;
    }
    step.inputs.push_back({Address::Kind::fixed, pointer, 0, 0});
  }
  device::Request own = request;
  own.tier = device::Tier::fast;
  own.threads = 1;
  own.packed = &packed_;
  step.kernel = device::get("cpu").prepare(own);
  if (step.kernel == nullptr) return false;
  if (position) check_position({Address::Kind::input, nullptr, *position, 0});
  const auto memory_of = [&](size_t bytes) {
    memory_.emplace_back(std::max<size_t>(bytes, 1));
    return memory_.back().data();
  };
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    std::byte* const memory = memory_of(request.outputs[i].bytes());
    step.outputs.push_back({Address::Kind::fixed, memory, 0, 0});
    flow.write(call.outputs[i], request.outputs[i],
               {.kind = Datum::Kind::table, .call = &call, .host = memory});
  }
  step.scratch = {Address::Kind::fixed, memory_of(step.kernel->scratch_bytes()), 0, 0};
  steps_.push_back(std::move(step));
  return true;
}

void Tables::check_position(const Address& address) {
  if (address.kind != Address::Kind::input) throw Refused{"the position is no input"};
  if (position_input_.value_or(address.index) != address.index) {
    throw Refused{"the graph has more than one position"};
  }
  position_input_ = address.index;
}

size_t Tables::offset_of(const Datum& table, size_t row_bytes, int64_t positions) {
  const std::byte* row = table.host;
  for (const Wanted& wanted : wanted_) {
    if (wanted.row == row && wanted.row_bytes == row_bytes) return wanted.at;
  }
  wanted_.push_back({row, row_bytes, bytes_});
  bytes_ += (row_bytes * static_cast<size_t>(positions) + 255) / 256 * 256;
  return wanted_.back().at;
}

std::vector<std::byte> Tables::make(int64_t positions) {
  std::vector<std::byte> result(bytes_);
  device::Device& cpu = device::get("cpu");
  const auto stream = cpu.make_stream(1);
  for (position_ = 0; position_ < positions; ++position_) {
    for (const device::Step& step : steps_) cpu.launch(step, {}, *stream);
    for (const Wanted& wanted : wanted_) {
      std::memcpy(result.data() + wanted.at + static_cast<size_t>(position_) * wanted.row_bytes,
                  wanted.row, wanted.row_bytes);
    }
  }
  cpu.synchronise(*stream);
  return result;
}

}  // namespace ostinato::cuda::persistent
