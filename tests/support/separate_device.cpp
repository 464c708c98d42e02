#include "support/separate_device.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <utility>

#include "ostinato/base/error.h"

namespace ostinato {

namespace {

using device::Address;
using device::Bindings;
using device::Step;

/// Work that waits, and the stream of the CPU that it will run on.
class SeparateStream final : public device::Stream {
 public:
  explicit SeparateStream(std::unique_ptr<device::Stream> below) : below_(std::move(below)) {}
  int threads() const override { return below_->threads(); }
  device::Stream& below() { return *below_; }

  void queue(std::function<void()> work) { queue_.push_back(std::move(work)); }
  size_t queued() const { return done_ + queue_.size(); }  ///< ever

  /// What was queued before there were so many. What a failure leaves undone is dropped, as a
  /// kernel's fault ends a GPU's replay.
  void run_until(size_t queued) {
    while (done_ < queued) {
      const auto work = std::move(queue_.front());
      queue_.pop_front();
      ++done_;
      try {
        work();
      } catch (...) {
        done_ += queue_.size();
        queue_.clear();
        throw;
      }
    }
  }

 private:
  std::unique_ptr<device::Stream> below_;
  std::deque<std::function<void()>> queue_;
  size_t done_ = 0;
};

class SeparateEvent final : public device::Event {
 public:
  explicit SeparateEvent(SeparateStream& stream) : stream_(stream) {}
  void record() override { queued_ = stream_.queued(); }
  void wait() override { stream_.run_until(queued_); }

 private:
  SeparateStream& stream_;
  size_t queued_ = 0;
};

/// One range of addresses that nothing can read or write, and beside it the memory they stand for.
class Memory {
 public:
  Memory() : addresses_(map(PROT_NONE)), data_(map(PROT_READ | PROT_WRITE)) {
    free_.emplace(0, kBytes);
  }

  std::shared_ptr<void> allocate(size_t bytes) {
    const size_t needed = (std::max<size_t>(bytes, 1) + 255) / 256 * 256;
    const auto found = std::find_if(free_.begin(), free_.end(),
                                    [&](const auto& hole) { return hole.second >= needed; });
    if (found == free_.end()) {
      fail(ErrorCode::out_of_memory, "device/separate", "Ask for less.", "no {} bytes", bytes);
    }
    const size_t offset = found->first, rest = found->second - needed;
    free_.erase(found);
    if (rest > 0) free_.emplace(offset + needed, rest);
    used_ += needed;
    return {addresses_ + offset,
            [this, offset, needed](void*) { given_back_.emplace(offset, needed); }};
  }

  /// Queued work may still use what was given back; after it nothing may.
  void reclaim() {
    for (const auto& [offset, bytes] : given_back_) {
      std::memset(data_ + offset, 0xff, bytes);  // NaN as a float
      free_.emplace(offset, bytes);
      used_ -= bytes;
    }
    given_back_.clear();
  }

  /// What an address of the device stands for; throws for any other.
  void* data(const void* address) const {
    if (address == nullptr) return nullptr;
    if (is_host(address)) {
      fail(ErrorCode::internal, "device/separate", "Copy it to the device.",
           "a kernel was given host memory");
    }
    return data_ + (static_cast<const char*>(address) - addresses_);
  }

  /// A host pointer, unchanged; throws for an address of the device.
  template <typename T>
  T* host(T* pointer) const {
    if (is_host(pointer)) return pointer;
    fail(ErrorCode::internal, "device/separate", "Copy it from the device.",
         "an address of the device was given as host memory");
  }

  size_t used() const { return used_; }

 private:
  static constexpr size_t kBytes = size_t{1} << 30;

  static char* map(int protection) {
    void* memory =
        mmap(nullptr, kBytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail(ErrorCode::out_of_memory, "device/separate", "", "mmap");
    return static_cast<char*>(memory);
  }

  bool is_host(const void* pointer) const {
    const std::less<> before;
    return before(pointer, addresses_) || !before(pointer, addresses_ + kBytes);
  }

  char *addresses_, *data_;
  std::map<size_t, size_t> free_, given_back_;
  size_t used_ = 0;
};

Memory& memory() {
  static auto* const instance = new Memory;  // handles to it may outlive everything else
  return *instance;
}

Address below(const Address& address) {
  Address result = address;
  if (result.kind == Address::Kind::fixed) result.pointer = memory().data(result.pointer);
  return result;
}

Step below(const Step& step) {
  Step result{step.kernel, {}, {}, below(step.scratch)};
  for (const Address& input : step.inputs) result.inputs.push_back(below(input));
  for (const Address& output : step.outputs) result.outputs.push_back(below(output));
  return result;
}

/// The memory behind the pointers of one call, kept until the queue comes to it.
struct Operands {
  explicit Operands(const Bindings& bindings) {
    for (void* pointer : bindings.inputs) inputs.push_back(memory().data(pointer));
    for (void* pointer : bindings.outputs) outputs.push_back(memory().data(pointer));
  }
  Bindings bindings() const { return {inputs, outputs}; }

  std::vector<void*> inputs, outputs;
};

class SeparateCapture final : public device::Capture {
 public:
  SeparateCapture(std::unique_ptr<device::Capture> below, SeparateStream& stream)
      : below_(std::move(below)), stream_(stream) {}

  void replay(const Bindings& bindings) override {
    stream_.queue([this, operands = Operands(bindings)] { below_->replay(operands.bindings()); });
  }
  void advance(const Bindings& bindings, const device::Feedback& feedback) override {
    memory().host(feedback.seen);
    stream_.queue([this, operands = Operands(bindings), feedback] {
      below_->advance(operands.bindings(), feedback);
    });
  }

 private:
  std::unique_ptr<device::Capture> below_;
  SeparateStream& stream_;
};

struct Reclaim {
  ~Reclaim() { memory().reclaim(); }
};

class SeparateDevice final : public device::Device {
 public:
  std::string_view name() const override { return "separate"; }
  device::Properties properties() const override { return {"separate memory", "none", 0, 0, 0}; }
  bool shares_host_memory() const override { return false; }

  bool has(const ir::OpRow& op) const override { return cpu_.has(op); }

  std::shared_ptr<void> allocate(size_t bytes) override { return memory().allocate(bytes); }
  std::shared_ptr<void> allocate_staging(size_t bytes) override { return cpu_.allocate(bytes); }

  void clear(void* target, size_t bytes, device::Stream& stream) override {
    queue(stream, [data = memory().data(target), bytes] { std::memset(data, 0, bytes); });
  }
  void copy_to_device(void* target, const void* host, size_t bytes,
                      device::Stream& stream) override {
    queue(stream, [to = memory().data(target), from = memory().host(host), bytes] {
      if (bytes > 0) std::memcpy(to, from, bytes);
    });
  }
  void copy_to_host(void* host, const void* source, size_t bytes, device::Stream& stream) override {
    queue(stream, [to = memory().host(host), from = memory().data(source), bytes] {
      if (bytes > 0) std::memcpy(to, from, bytes);
    });
  }

  std::unique_ptr<device::Stream> make_stream(int threads) override {
    return std::make_unique<SeparateStream>(cpu_.make_stream(threads));
  }
  std::unique_ptr<device::Event> make_event(device::Stream& stream) override {
    return std::make_unique<SeparateEvent>(static_cast<SeparateStream&>(stream));
  }
  std::unique_ptr<device::Kernel> prepare(const device::Request& request) override {
    return cpu_.prepare(request);
  }
  void launch(const Step& step, const Bindings& bindings, device::Stream& stream) override {
    queue(stream, [this, &stream, step = below(step), operands = Operands(bindings)] {
      cpu_.launch(step, operands.bindings(), static_cast<SeparateStream&>(stream).below());
    });
  }
  std::unique_ptr<device::Capture> capture(std::vector<Step> steps,
                                           device::Stream& stream) override {
    for (Step& step : steps) step = below(step);
    auto& own = static_cast<SeparateStream&>(stream);
    return std::make_unique<SeparateCapture>(cpu_.capture(std::move(steps), own.below()), own);
  }
  void synchronise(device::Stream& stream) override {
    auto& own = static_cast<SeparateStream&>(stream);
    const Reclaim afterwards;
    own.run_until(own.queued());
  }

 private:
  template <typename F>
  static void queue(device::Stream& stream, F&& work) {
    static_cast<SeparateStream&>(stream).queue(std::forward<F>(work));
  }

  device::Device& cpu_ = device::get("cpu");
};

}  // namespace

device::Device& separate_device() {
  static SeparateDevice instance;
  return instance;
}

size_t separate_bytes() {
  memory().reclaim();
  return memory().used();
}

}  // namespace ostinato
