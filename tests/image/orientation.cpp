#include "ostinato/image/orientation.h"

#include <gtest/gtest.h>

#include <string>

namespace ostinato::image {
namespace {

using namespace std::string_literals;

std::optional<int> exif(const std::string& bytes) {
  return exif_orientation({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

const std::string kLittle =
    "II*\0\x08\0\0\0\x02\0\x00\x01\x04\0\x01\0\0\0\x09\0\0\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"s;
const std::string kBig = "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0"s;

TEST(Orientation, OfExifInBothByteOrders) {
  EXPECT_EQ(exif(kLittle), 6);
  EXPECT_EQ(exif("Exif\0\0"s + kLittle), 6);
  EXPECT_EQ(exif(kBig), 8);
}

TEST(Orientation, OfDamagedExifIsNone) {
  EXPECT_EQ(exif(""), std::nullopt);
  EXPECT_EQ(exif("II*\0\xff\xff\xff\xff"s), std::nullopt);
  EXPECT_EQ(exif(kLittle.substr(0, 30)), std::nullopt);
  std::string nine = kLittle;
  nine[30] = 9;
  EXPECT_EQ(exif(nine), std::nullopt);
}

TEST(Orientation, OfText) {
  EXPECT_EQ(xmp_orientation("<tiff:Orientation>3</tiff:Orientation>"), 3);
  EXPECT_EQ(xmp_orientation("a tiff:Orientation=\"5\""), 5);
  EXPECT_EQ(xmp_orientation("tiff:Orientation="), std::nullopt);
  EXPECT_EQ(xmp_orientation("tiff:Orientation=\"x\""), std::nullopt);
  EXPECT_EQ(raw_profile_orientation("\nexif\n  22\n4d4d002a0000\n00080001011200030000000100080000"),
            8);
  EXPECT_EQ(raw_profile_orientation("4d4d"), std::nullopt);
}

TEST(Orientation, TurnsThePixels) {
  // 1 2 3
  // 4 5 6
  const std::vector<std::vector<uint8_t>> expected = {
      {1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1}, {4, 5, 6, 1, 2, 3},
      {1, 4, 2, 5, 3, 6}, {4, 1, 5, 2, 6, 3}, {6, 3, 5, 2, 4, 1}, {3, 6, 2, 5, 1, 4},
  };
  for (int orientation = 1; orientation <= 8; ++orientation) {
    Picture picture{3, 2, {}};
    for (uint8_t value = 1; value <= 6; ++value) picture.rgb.insert(picture.rgb.end(), 3, value);
    const Picture result = upright(picture, orientation);
    EXPECT_EQ(result.width, orientation <= 4 ? 3 : 2);
    for (size_t i = 0; i < 6; ++i) {
      EXPECT_EQ(result.rgb[3 * i], expected[static_cast<size_t>(orientation) - 1][i])
          << orientation << " " << i;
    }
  }
}

}  // namespace
}  // namespace ostinato::image
