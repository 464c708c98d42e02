#pragma once

#include <string_view>

#include "ostinato/base/json.h"
#include "ostinato/image/processor.h"

namespace ostinato::image {

/// The options of a `preprocessor_config.json`; see `ImageProcessor::from_json`.
ProcessorOptions read_processor_options(const Json& config, std::string_view source,
                                        std::string_view model_type);

}  // namespace ostinato::image
