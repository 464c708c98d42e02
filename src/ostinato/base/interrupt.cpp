#include "ostinato/base/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <climits>
#include <cstring>

#include "ostinato/base/error.h"

namespace ostinato {

namespace {

// A signal handler may neither lock nor allocate: the paths stand in slots of fixed size, and only
// an atomic state says who may touch one.
enum class SlotState { free, owned, armed };

struct Slot {
  std::atomic<SlotState> state = SlotState::free;
  std::array<char, PATH_MAX> path;
};
static_assert(std::atomic<SlotState>::is_always_lock_free);

constexpr size_t kSlots = 64;
std::array<Slot, kSlots> slots;
std::atomic<bool> on_terminal = false;

bool take(Slot& slot, SlotState from, SlotState to) {
  return slot.state.compare_exchange_strong(from, to);
}

void handle_interrupt(int signal) {
  for (Slot& slot : slots) {
    if (take(slot, SlotState::armed, SlotState::owned)) ::unlink(slot.path.data());
  }
  if (on_terminal) {
    constexpr std::string_view kShowCursor = "\x1b[?25h\n";
    [[maybe_unused]] const auto written =
        ::write(STDERR_FILENO, kShowCursor.data(), kShowCursor.size());
  }
  ::_exit(128 + signal);
}

}  // namespace

void install_interrupt_handler() {
  on_terminal = ::isatty(STDERR_FILENO) == 1;
  struct sigaction action {};
  action.sa_handler = handle_interrupt;
  ::sigfillset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

InterruptCleanup::InterruptCleanup(const std::string& path) {
  if (path.size() >= PATH_MAX) {
    fail(ErrorCode::io, "file/write", "Use a shorter path.",
         "expected a path of less than {} bytes, got {}", PATH_MAX, path.size());
  }
  for (slot_ = 0; slot_ < kSlots; ++slot_) {
    Slot& slot = slots[slot_];
    if (!take(slot, SlotState::free, SlotState::owned)) continue;
    std::memcpy(slot.path.data(), path.c_str(), path.size() + 1);
    slot.state = SlotState::armed;
    return;
  }
  fail(ErrorCode::io, "file/write", "Write fewer files at a time.",
       "expected at most {} files being written at once", kSlots);
}

// Fails to take the slot only while the handler is about to end the process.
InterruptCleanup::~InterruptCleanup() { take(slots[slot_], SlotState::armed, SlotState::free); }

}  // namespace ostinato
