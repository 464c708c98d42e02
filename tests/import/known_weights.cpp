#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <thread>

#include "ostinato/base/known_files.h"
#include "ostinato/import/model.h"
#include "ostinato/import/new_model.h"
#include "ostinato/import/safetensors_writer.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato::importer {
namespace {

std::span<const uint8_t> bytes_of(const Tensor& tensor) {
  return {static_cast<const uint8_t*>(tensor.data()), tensor.bytes()};
}

/// A model whose embedding is there under both of its names.
class KnownWeights : public testing::Test {
 protected:
  void SetUp() override {
    if (!KnownFiles::times_tell(folder_.path())) GTEST_SKIP() << "of this file system's times";
    Json config = preset("qwen3-0.6b", true).config;
    config["vocab_size"] = 50;
    config.erase("torch_dtype");
    for (const char* id : {"bos_token_id", "eos_token_id"}) config.erase(id);
    folder_.file("config.json", config.dump());
    const Model model =
        Model::from_config(config, "config.json", {.weights = WeightSource::random});
    tensors_.assign(model.weights().begin(), model.weights().end());
    tensors_.emplace_back("lm_head.weight", model.weights().at(kEmbedding));
    write();
  }

  void write() {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // older kernels count in ticks
    write_safetensors(folder_ / "model.safetensors", tensors_);
  }

  std::shared_ptr<KnownFiles> known() const {
    return std::make_shared<KnownFiles>(
        folder_ / "cache/known", [](const std::string& text) { ADD_FAILURE() << text; },
        std::chrono::seconds(0));
  }

  Model load(const std::shared_ptr<KnownFiles>& known, std::optional<DType> dtype = {}) const {
    return Model::load(folder_.path(), {.dtype = dtype, .known_files = known});
  }

  static constexpr const char* kEmbedding = "model.embed_tokens.weight";
  const TemporaryFolder folder_;
  std::vector<std::pair<std::string, Tensor>> tensors_;
};

TEST_F(KnownWeights, AreReadOnce) {
  {
    const auto first = known();
    const Model model = load(first);
    for (const auto& [name, tensor] : model.weights()) {
      const auto note = first->find(bytes_of(tensor));
      ASSERT_TRUE(note) << name;
      EXPECT_TRUE(note->own) << name;
      EXPECT_EQ(note->digest, digest(bytes_of(tensor))) << name;
    }
  }
  const auto later = known();
  const Model model = load(later);
  for (const auto& [name, tensor] : model.weights()) {
    ASSERT_TRUE(later->find(bytes_of(tensor))) << name;
    EXPECT_FALSE(later->find(bytes_of(tensor))->own) << name;
  }
}

TEST_F(KnownWeights, AreCheckedAgainOnceTheyChanged) {
  load(known());
  auto* values = tensors_[3].second.as<float>();
  const float good = std::exchange(values[7], std::numeric_limits<float>::infinity());
  write();
  for (int i = 0; i < 2; ++i) {  // what was refused is not noted either
    expect_error([&] { load(known()); }, ErrorCode::corrupt, tensors_[3].first);
  }
  values[7] = good;
  write();
  load(known());
  Tensor other = Tensor::empty(DType::float32, tensors_.back().second.shape());
  std::memset(other.data(), 0, other.bytes());
  tensors_.back().second = other;
  write();
  for (int i = 0; i < 2; ++i) {
    expect_error([&] { load(known()); }, ErrorCode::invalid_argument, "tied, yet differ");
  }
}

TEST_F(KnownWeights, AreCheckedAgainInAnotherDtype) {
  tensors_[3].second.as<float>()[7] = 1e6f;
  write();
  load(known());
  expect_error([&] { load(known(), DType::float16); }, ErrorCode::invalid_argument,
               "too large for float16");
}

}  // namespace
}  // namespace ostinato::importer
