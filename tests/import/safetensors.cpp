#include "ostinato/import/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "ostinato/import/safetensors_writer.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato::importer {
namespace {

std::string file_of(const std::string& header, const std::string& data = "") {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header + data;
}

SafetensorsFile parse(const std::string& file) {
  // A heap copy of the exact size, so that a sanitizer sees the smallest step outside.
  auto copy = std::make_shared<std::vector<uint8_t>>(file.begin(), file.end());
  const std::span<const uint8_t> bytes(*copy);
  return SafetensorsFile::parse(bytes, std::move(copy), "w.safetensors");
}

void expect_corrupt(const std::string& file, const std::string& part) {
  expect_error([&] { parse(file); }, ErrorCode::corrupt, part);
  expect_error([&] { parse(file); }, ErrorCode::corrupt, "w.safetensors");
}

constexpr const char* kTwo = R"({"__metadata__":{"format":"pt"},)"
                             R"("b":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
                             R"("a":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}   )";

TEST(Safetensors, ReadsTensorsInPlace) {
  const std::string data("\x00\x00\x80\x3f\x00\x00\x00\xc0\x01\x02\x03", 11);
  std::string header = kTwo;
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const SafetensorsFile file = parse(file_of(header, data));
  EXPECT_EQ(file.names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_TRUE(file.contains("a"));
  EXPECT_FALSE(file.contains("__metadata__"));
  EXPECT_EQ(file.info("b").shape, (std::vector<int64_t>{2, 1}));
  const Tensor b = file.get("b");
  EXPECT_EQ(b.dtype(), DType::float32);
  EXPECT_EQ(b.as<float>()[0], 1.0f);
  EXPECT_EQ(b.as<float>()[1], -2.0f);
  EXPECT_EQ(file.get("b").data(), b.data());
  EXPECT_EQ(file.offset("b"), 8 + header.size());
  EXPECT_EQ(file.get("a").as<uint8_t>()[2], 3);
}

TEST(Safetensors, CopiesUnalignedTensors) {
  std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                       R"("b":{"dtype":"I32","shape":[1],"data_offsets":[1,5]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const SafetensorsFile file = parse(file_of(header, std::string("\x01\x2a\x00\x00\x00", 5)));
  const Tensor b = file.get("b");
  EXPECT_EQ(b.as<int32_t>()[0], 42);
  EXPECT_NE(file.get("b").data(), b.data());
}

TEST(Safetensors, TensorsKeepTheFile) {
  const std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  const Tensor a = parse(file_of(header, "x")).get("a");
  EXPECT_EQ(a.as<uint8_t>()[0], 'x');
}

TEST(Safetensors, HoldsEmptyTensorsAndScalars) {
  const SafetensorsFile file =
      parse(file_of(R"({"a":{"dtype":"F16","shape":[],"data_offsets":[0,2]},)"
                    R"("b":{"dtype":"F32","shape":[0,7],"data_offsets":[2,2]},)"
                    R"("c":{"dtype":"F32","shape":[3,0],"data_offsets":[0,0]}})",
                    "xy"));
  EXPECT_EQ(file.get("a").numel(), 1);
  EXPECT_EQ(file.get("b").numel(), 0);
  EXPECT_TRUE(parse(file_of("{}")).names().empty());
}

TEST(Safetensors, UnsupportedDTypeIsAnErrorOnlyWhenAskedFor) {
  const SafetensorsFile file =
      parse(file_of(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},)"
                    R"("b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]},)"
                    R"("c":{"dtype":"F4","shape":[3,2],"data_offsets":[9,12]}})",
                    "123456789012"));
  EXPECT_EQ(file.get("b").as<uint8_t>()[0], '9');
  expect_error([&] { file.get("a"); }, ErrorCode::unsupported,
               "\"a\" in w.safetensors has dtype F64");
  expect_error([&] { file.info("c"); }, ErrorCode::unsupported, "F4");
  expect_error([&] { file.get("d"); }, ErrorCode::not_found, "\"d\" in w.safetensors");
}

TEST(Safetensors, RefusesABadHeader) {
  expect_corrupt("", "got 0 bytes");
  expect_corrupt("1234567", "got 7 bytes");
  expect_corrupt(std::string(8, '\xff') + "{}", "18446744073709551615");
  expect_corrupt(file_of("{}").substr(0, 9), "a header of 2 bytes at offset 8, got 1");
  expect_corrupt(std::string(8, '\0'), "'{' at offset 8");
  expect_corrupt(file_of(" {}"), "'{' at offset 8");
  expect_corrupt(file_of("{"), "syntax error");
  expect_corrupt(file_of("{}", "rest"), "end with its last tensor at offset 10, got 14");
  expect_corrupt(file_of(R"({"__metadata__":{"a":1}})"), "expected a string");
  expect_corrupt(file_of(R"({"__metadata__":[]})"), "expected an object");
  expect_corrupt("version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull");
}

TEST(Safetensors, RefusesABadTensor) {
  const auto tensor = [](const std::string& fields) {
    return file_of("{\"a\":" + fields + "}", "1234");
  };
  expect_corrupt(tensor("4"), "expected an object for tensor \"a\"");
  expect_corrupt(tensor(R"({"dtype":"F32","shape":[1]})"), "expected a data_offsets");
  expect_corrupt(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":0})"), "only");
  expect_corrupt(tensor(R"({"dtype":"F33","shape":[1],"data_offsets":[0,4]})"), "\"F33\"");
  expect_corrupt(tensor(R"({"dtype":4,"shape":[1],"data_offsets":[0,4]})"), "dtype");
  expect_corrupt(tensor(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"), "[-1]");
  expect_corrupt(tensor(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})"), "[1.0]");
  expect_corrupt(tensor(R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})"), "list of sizes");
  expect_corrupt(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})"), "two offsets");
  expect_corrupt(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})"), "[4, 0]");
  expect_corrupt(tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), "within the 4");
  expect_corrupt(tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})"), "64 bits");
  expect_corrupt(tensor(R"({"dtype":"F4","shape":[7],"data_offsets":[0,4]})"), "28 bits");
  expect_corrupt(tensor(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})"),
                 "fits in memory");
  expect_corrupt(tensor(R"({"dtype":"U8","shape":[9223372036854775807,4,0],"data_offsets":[0,0]})"),
                 "fits in memory");
  expect_corrupt(tensor(R"({"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,4]})"),
                 "list of sizes");
}

TEST(Safetensors, RefusesTensorsThatDoNotTile) {
  const auto two = [](const std::string& first, const std::string& second) {
    return file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)" + first +
                       R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" + second + "}}",
                   "1234");
  };
  EXPECT_NO_THROW(parse(two("[2,4]", "[0,2]")));
  expect_corrupt(two("[0,2]", "[1,3]"), "an overlap");
  expect_corrupt(two("[0,2]", "[0,2]"), "an overlap");
  expect_corrupt(two("[1,3]", "[2,4]"), "a gap");
  expect_corrupt(file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "123"),
                 "end with its last tensor");
}

TEST(Safetensors, RefusesDuplicateNames) {
  expect_corrupt(file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                         R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                         "12"),
                 "\"a\" twice");
}

TEST(Safetensors, EveryTruncationIsAnError) {
  const std::string whole = file_of(kTwo, std::string(11, 'x'));
  EXPECT_NO_THROW(parse(whole));
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(parse(whole.substr(0, size)), Error) << size;
  }
}

Tensor tensor_of(DType dtype, std::vector<int64_t> shape, unsigned char fill) {
  Tensor tensor = Tensor::empty(dtype, std::move(shape));
  if (tensor.bytes() > 0) std::memset(tensor.data(), fill, tensor.bytes());
  return tensor;
}

TEST(WriteSafetensors, WritesAlignedTensorsThatReadBack) {
  const TemporaryFolder folder;
  const std::vector<std::pair<std::string, Tensor>> tensors = {
      {"bool", tensor_of(DType::boolean, {3}, 1)},   {"u8", tensor_of(DType::uint8, {1}, 2)},
      {"half", tensor_of(DType::float16, {1}, 3)},   {"bf", tensor_of(DType::bfloat16, {3}, 4)},
      {"f32", tensor_of(DType::float32, {1, 3}, 5)}, {"i32", tensor_of(DType::int32, {}, 6)},
      {"i64", tensor_of(DType::int64, {1}, 7)},      {"none", tensor_of(DType::float32, {0, 2}, 8)},
  };
  write_safetensors(folder / "f", tensors, {{"by", "a \"test\""}});
  const SafetensorsFile file = SafetensorsFile::open(folder / "f");
  EXPECT_EQ(file.names().size(), tensors.size());
  EXPECT_EQ(file.metadata().at("by"), "a \"test\"");
  for (const auto& [name, expected] : tensors) {
    const Tensor tensor = file.get(name);
    EXPECT_EQ(tensor.dtype(), expected.dtype()) << name;
    EXPECT_EQ(tensor.shape(), expected.shape()) << name;
    EXPECT_EQ(file.offset(name) % size_of(expected.dtype()), 0u) << name;
    EXPECT_EQ(std::string_view(tensor.as<char>(), tensor.bytes()),
              std::string_view(expected.as<char>(), expected.bytes()))
        << name;
  }
}

TEST(WriteSafetensors, RefusesBadNames) {
  const TemporaryFolder folder;
  const Tensor one = tensor_of(DType::uint8, {1}, 0);
  const auto write = [&](const std::string& a, const std::string& b) {
    expect_error(
        [&] {
          write_safetensors(folder / "f", {{a, one}, {b, one}});
        },
        ErrorCode::invalid_argument, "expected");
  };
  write("a", "a");
  write("a", "__metadata__");
  write("a", "\xff");
  EXPECT_FALSE(std::filesystem::exists(folder / "f"));
}

}  // namespace
}  // namespace ostinato::importer
