// Which class a ViT folder sees in a picture.
//
//   classify MODEL [PIXELS]
//
// PIXELS is a file of float32 values, little-endian, as the model takes them: normalised, channels
// first. Without it the picture is a grey ramp.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <numeric>

#include "ostinato/session.h"

namespace {

/// One picture of the size that the graph takes.
ostinato::Tensor picture(const ostinato::TensorSpec& spec, const char* file) {
  std::vector<int64_t> shape;
  for (const ostinato::Size& size : spec.shape) {
    shape.push_back(size.is_symbolic() ? 1 : size.value());
  }
  ostinato::Tensor pixels = ostinato::Tensor::empty(ostinato::DType::float32, shape);
  const std::span<float> values = pixels.values<float>();
  if (file == nullptr) {
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = -1 + 2 * static_cast<float>(i) / static_cast<float>(values.size());
    }
    return pixels.to(spec.dtype);
  }
  std::ifstream stream(file, std::ios::binary);
  stream.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(pixels.bytes()));
  if (!stream || stream.peek() != EOF) {
    throw ostinato::Error(
        ostinato::ErrorCode::corrupt, "classify",
        std::string("expected ") + std::to_string(pixels.bytes()) + " bytes in " + file,
        "Write the pixels as " + spec.str() + ".");
  }
  return pixels.to(spec.dtype);
}

/// The classes from the most probable on.
void print_top(const std::vector<std::string>& labels, std::span<const float> logits,
               size_t count) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  double sum = 0;
  for (float logit : logits) sum += std::exp(logit - logits[order[0]]);
  for (size_t i = 0; i < std::min(count, order.size()); ++i) {
    std::cout << std::exp(logits[order[i]] - logits[order[0]]) / sum << "  " << labels[order[i]]
              << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: classify MODEL [PIXELS]\n";
    return 2;
  }
  try {
    const auto model = ostinato::Model::open(argv[1]);
    const auto program = ostinato::Program::compile(model.forward());
    ostinato::Session session(program);
    const auto pixels = picture(program.inputs().at(0), argc > 2 ? argv[2] : nullptr);
    const auto outputs = session.run_named({{"pixel_values", pixels}});
    const auto logits = outputs.at("logits").to(ostinato::DType::float32);
    print_top(model.labels(), logits.values<float>(), 5);
  } catch (const ostinato::Error& error) {
    std::cerr << "classify: " << error.what() << '\n';
    return 2;
  }
}
