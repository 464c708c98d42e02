#include "ostinato/bench/wire.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

namespace ostinato::bench {
namespace {

class Wire : public testing::Test {
 protected:
  Wire() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends_), 0); }
  ~Wire() override {
    for (int end : ends_) close(end);
  }

  int ends_[2];
};

TEST_F(Wire, CarriesTensorsOfAnySizeAsTheyAre) {
  // Larger than a socket's buffer, of no element, and of no dimension.
  Tensor large = Tensor::empty(DType::float32, {3, 1 << 20});
  for (int64_t i = 0; i < large.numel(); ++i) large.as<float>()[i] = static_cast<float>(i);
  const Tensor none = Tensor::empty(DType::bfloat16, {0, 7});
  Tensor scalar = Tensor::empty(DType::int64, {});
  *scalar.as<int64_t>() = -5;
  std::thread sender([&] {
    EXPECT_TRUE(send(ends_[0], {{{"do", "it"}}, {{"z", large}, {"a", none}, {"m", scalar}}}));
  });
  const auto message = receive(ends_[1]);
  sender.join();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->json, Json({{"do", "it"}}));
  ASSERT_EQ(message->tensors.size(), 3u);
  EXPECT_EQ(message->tensors[0].first, "z");  // in the order of sending
  EXPECT_EQ(message->tensors[0].second.shape(), large.shape());
  EXPECT_EQ(std::memcmp(message->tensors[0].second.data(), large.data(), large.bytes()), 0);
  EXPECT_EQ(message->tensors[1].second.dtype(), DType::bfloat16);
  EXPECT_EQ(message->tensors[1].second.shape(), none.shape());
  EXPECT_EQ(*message->tensors[2].second.as<int64_t>(), -5);
}

TEST_F(Wire, CarriesTextThatIsNotUtf8) {
  ASSERT_TRUE(send(ends_[0], {{{"path", "a\xff"}}}));
  EXPECT_EQ(receive(ends_[1])->json["path"], "a\xEF\xBF\xBD");
}

TEST_F(Wire, KnowsWhenTheOtherSideIsGone) {
  const uint64_t size = 100;
  ASSERT_EQ(::send(ends_[0], &size, sizeof(size), 0), 8);  // and then no text
  close(ends_[0]);
  EXPECT_FALSE(receive(ends_[1]));
  EXPECT_FALSE(receive(ends_[1]));
  EXPECT_FALSE(send(ends_[1], {Json::object()}));
  ends_[0] = dup(ends_[1]);
}

}  // namespace
}  // namespace ostinato::bench
