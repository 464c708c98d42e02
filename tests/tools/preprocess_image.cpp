// preprocess_image FOLDER PICTURE... OUT.safetensors: writes the decoded pictures as picture_0,
// picture_1, … and, unless FOLDER is "-", the pixel_values that its processor makes of them.
#include <cstring>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "ostinato/error.h"
#include "ostinato/image/processor.h"
#include "ostinato/import/safetensors_writer.h"

namespace {

using ostinato::Tensor;
using ostinato::image::Picture;

Tensor tensor_of(const Picture& picture) {
  Tensor tensor = Tensor::empty(ostinato::DType::uint8, {picture.height, picture.width, 3});
  std::memcpy(tensor.data(), picture.rgb.data(), picture.rgb.size());
  return tensor;
}

void preprocess(const std::string& folder, const std::vector<std::string>& paths,
                const std::string& output) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  std::vector<Picture> pictures;
  for (const std::string& path : paths) {
    pictures.push_back(ostinato::image::read_picture(path));
    tensors.emplace_back("picture_" + std::to_string(tensors.size()), tensor_of(pictures.back()));
  }
  if (folder != "-") {
    const auto processor = ostinato::image::ImageProcessor::from_folder(folder);
    tensors.emplace_back("pixel_values", processor(pictures));
  }
  ostinato::importer::write_safetensors(output, tensors);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: preprocess_image FOLDER PICTURE... OUT.safetensors\n";
    return 2;
  }
  try {
    preprocess(argv[1], {argv + 2, argv + argc - 1}, argv[argc - 1]);
  } catch (const ostinato::Error& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
  return 0;
}
