#pragma once

namespace ostinato::python {

/// Lets replays run on the threads of the OpenMP runtime that PyTorch has loaded, if it is GNU's.
/// Returns whether it is.
bool share_openmp_threads();

}  // namespace ostinato::python
