#include "ostinato/device/null/null_device.h"

#include <cstring>

#include "ostinato/base/error.h"

namespace ostinato::device {

namespace {

class NullStream final : public Stream {};

class NullCapture final : public Capture {
 public:
  void replay(const Bindings&) override {}
};

/// Accepts every node and computes nothing: passes, plans and replays are tested on it without
/// hardware. Memory is real, so that a test may look at it.
class NullDevice final : public Device {
 public:
  std::string_view name() const override { return "null"; }
  Properties properties() const override {
    return {"null device, computes nothing", "none", 0, 0, 0};
  }

  std::shared_ptr<void> allocate(size_t bytes) override { return std::make_shared<char[]>(bytes); }
  void clear(void* target, size_t bytes, Stream&) override { std::memset(target, 0, bytes); }
  void copy_to_device(void* target, const void* host, size_t bytes, Stream&) override {
    std::memcpy(target, host, bytes);
  }
  void copy_to_host(void* host, const void* source, size_t bytes, Stream&) override {
    std::memcpy(host, source, bytes);
  }
  std::unique_ptr<Stream> make_stream(int) override { return std::make_unique<NullStream>(); }
  std::unique_ptr<Kernel> prepare(const Request&) override { return std::make_unique<Kernel>(); }
  void launch(const Step&, const Bindings&, Stream&) override {}
  std::unique_ptr<Capture> capture(std::vector<Step>, Stream&) override {
    return std::make_unique<NullCapture>();
  }
  void synchronise(Stream&) override {}
};

}  // namespace

Device& null_device() {
  static NullDevice instance;
  return instance;
}

}  // namespace ostinato::device
