#include "ostinato/image/resize.h"

#include <gtest/gtest.h>

#include "ostinato/image/processor.h"
#include "support/expect_error.h"

namespace ostinato::image {
namespace {

/// A picture of one row whose channels are the values, their doubles and their triples.
Picture row_of(const std::vector<int>& values) {
  Picture picture{static_cast<int64_t>(values.size()), 1, {}};
  for (int value : values) {
    for (int factor = 1; factor <= 3; ++factor) {
      picture.rgb.push_back(static_cast<uint8_t>(factor * value));
    }
  }
  return picture;
}

std::vector<int> reds_of(const Picture& picture) {
  std::vector<int> reds;
  for (size_t i = 0; i < picture.rgb.size(); i += 3) reds.push_back(picture.rgb[i]);
  return reds;
}

TEST(Resize, KeepsAConstantPicture) {
  const Picture picture{5, 4, std::vector<uint8_t>(60, 77)};
  for (int filter = 0; filter <= 5; ++filter) {
    for (const auto& [width, height] : {std::pair{3, 2}, {17, 9}, {5, 11}, {1, 4}}) {
      const Picture result = resize(picture, width, height, static_cast<Filter>(filter));
      EXPECT_EQ(result.width, width);
      EXPECT_EQ(result.height, height);
      EXPECT_EQ(result.rgb, std::vector<uint8_t>(static_cast<size_t>(width * height * 3), 77));
    }
  }
}

// Worked by hand: a box of two is the mean, a triangle stretched to two weighs 1 3 3 1.
TEST(Resize, ShrinksWithAWiderFilter) {
  const Picture picture = row_of({0, 8, 16, 80});
  EXPECT_EQ(reds_of(resize(picture, 2, 1, Filter::box)), (std::vector<int>{4, 48}));
  EXPECT_EQ(reds_of(resize(row_of({0, 8, 16, 80, 80, 80}), 3, 1, Filter::bilinear))[1],
            (8 + 3 * 16 + 3 * 80 + 80) / 8);
  EXPECT_EQ(reds_of(resize(picture, 2, 1, Filter::nearest)), (std::vector<int>{8, 80}));
}

TEST(Resize, ClipsOvershoot) {
  const auto reds = reds_of(resize(row_of({0, 0, 85, 85}), 40, 1, Filter::bicubic));
  EXPECT_EQ(*std::min_element(reds.begin(), reds.end()), 0);
  EXPECT_GT(*std::max_element(reds.begin(), reds.end()), 85);
}

TEST(Resize, RefusesImpossibleSizes) {
  const Picture picture = row_of({1, 2});
  for (const auto& [width, height] :
       {std::pair<int64_t, int64_t>{0, 1}, {1, 0}, {-1, 1}, {int64_t{1} << 40, int64_t{1} << 40}}) {
    expect_error([&, w = width, h = height] { resize(picture, w, h, Filter::box); },
                 ErrorCode::invalid_argument, "expected a size");
  }
}

TEST(CenterCrop, CutsAndPads) {
  const Picture picture = row_of({1, 2, 3, 4, 5});
  EXPECT_EQ(reds_of(center_crop(picture, 2, 1)), (std::vector<int>{2, 3}));
  EXPECT_EQ(reds_of(center_crop(picture, 8, 1)), (std::vector<int>{0, 0, 1, 2, 3, 4, 5, 0}));
  EXPECT_EQ(reds_of(center_crop(picture, 1, 2)), (std::vector<int>{0, 3}));
}

TEST(ImageProcessor, RefusesBadBatches) {
  const auto processor = ImageProcessor::from_json(
      {{"image_processor_type", "ViTImageProcessor"}, {"do_resize", false}}, "test");
  expect_error([&] { processor({}); }, ErrorCode::invalid_argument, "got none");
  const std::vector<Picture> pictures = {row_of({1}), row_of({1, 2})};
  expect_error([&] { processor(pictures); }, ErrorCode::invalid_argument, "2×1 for picture 2");
}

TEST(ImageProcessor, GivesChannelsFirst) {
  const auto processor = ImageProcessor::from_json({{"image_processor_type", "ViTImageProcessor"},
                                                    {"do_resize", false},
                                                    {"do_normalize", false},
                                                    {"rescale_factor", 2}},
                                                   "test");
  const std::vector<Picture> pictures = {row_of({1, 2}), row_of({3, 4})};
  const Tensor values = processor(pictures);
  EXPECT_EQ(values.shape(), (std::vector<int64_t>{2, 3, 1, 2}));
  const std::vector<float> expected = {2, 4, 4, 8, 6, 12, 6, 8, 12, 16, 18, 24};
  EXPECT_EQ(std::vector<float>(values.as<float>(), values.as<float>() + 12), expected);
}

}  // namespace
}  // namespace ostinato::image
