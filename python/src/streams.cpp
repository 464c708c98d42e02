#include "streams.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "ostinato/base/error.h"

namespace ostinato::python {

namespace {

using Key = std::pair<device::Device*, uintptr_t>;  // how many threads, or the borrowed handle
using Streams = std::map<Key, std::shared_ptr<device::Stream>>;

struct Left {
  std::mutex mutex;
  std::vector<std::pair<Key, std::shared_ptr<device::Stream>>> streams;
};

// Never destroyed: threads may end after static objects have.
Left& left() {
  static Left* const instance = new Left;
  return *instance;
}

struct Own {
  Streams streams;
  ~Own() {
    const std::scoped_lock lock(left().mutex);
    for (auto& entry : streams) left().streams.emplace_back(entry.first, std::move(entry.second));
  }
};

std::shared_ptr<device::Stream> take_left(const Key& key) {
  const std::scoped_lock lock(left().mutex);
  auto& streams = left().streams;
  for (auto it = streams.begin(); it != streams.end(); ++it) {
    if (it->first != key) continue;
    std::shared_ptr<device::Stream> stream = std::move(it->second);
    streams.erase(it);
    return stream;
  }
  return nullptr;
}

thread_local std::vector<int> limits;  // each at most the one before

}  // namespace

void push_thread_limit(int threads) {
  limits.push_back(limits.empty() ? threads : std::min(threads, limits.back()));
}

void pop_thread_limit() {
  if (limits.empty()) {
    fail(ErrorCode::invalid_argument, "python/streams", "Leave only scopes that were entered.",
         "there is no limit of threads to take back");
  }
  limits.pop_back();
}

int limited_threads(int threads) {
  return limits.empty() ? threads : std::min(threads, limits.back());
}

namespace {

template <typename Make>
std::shared_ptr<device::Stream> own_stream(const Key& key, const Make& make) {
  thread_local Own own;
  auto& stream = own.streams[key];
  if (stream == nullptr) stream = take_left(key);
  if (stream == nullptr) stream = make();
  return stream;
}

}  // namespace

std::shared_ptr<device::Stream> thread_stream(device::Device& device, int threads) {
  return own_stream({&device, static_cast<uintptr_t>(threads)},
                    [&] { return device.make_stream(threads); });
}

std::shared_ptr<device::Stream> borrowed_stream(device::Device& device, void* handle) {
  return own_stream({&device, reinterpret_cast<uintptr_t>(handle)},
                    [&] { return device.borrow_stream(handle); });
}

}  // namespace ostinato::python
