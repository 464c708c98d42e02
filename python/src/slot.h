#pragma once

#include <optional>
#include <set>
#include <vector>

#include "runner.h"

namespace ostinato::python {

struct Runner::Slot {
  std::shared_ptr<const runtime::Program> program;
  std::shared_ptr<device::Stream> stream;
  std::unique_ptr<runtime::Context> context;
  runtime::Executable* executable = nullptr;
  std::vector<int64_t> sizes;       // of all inputs and symbols, as the executable is made for
  std::vector<int64_t> next_sizes;  // of the call at hand
  ir::Bindings bindings;            // under which the inputs have `sizes`
  std::vector<void*> inputs, outputs;
  std::vector<size_t> extents;                  // by input: bytes
  std::vector<void*> apart;                     // the inputs that were last found not to overlap
  std::vector<Tensor> staged;                   // by argument: dense copies of those that are not
  std::vector<Tensor> temporaries;              // by output: what is written back
  std::vector<std::optional<NewTensor>> fresh;  // by output
  // On a GPU, in place of `staged` and `temporaries`: tensors of PyTorch's.
  std::vector<nanobind::object> copies;   // by argument
  std::vector<nanobind::object> written;  // by output: what is written back
  std::set<const void*> arenas;           // that its captures had so far
  nanobind::object kept;                  // with zero_copy: the list of results for `sizes`
};

}  // namespace ostinato::python
