#include "device/cuda/emulator.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>

namespace ostinato::emulator {

Index thread_index, block_index, block_size, grid_size;

namespace {

enum class State { fresh, runnable, at_warp, at_first, at_block, polling, done };

/// Runs the threads of one block after the other. A fiber goes on with the next thread that has
/// not begun when its own is done, so that kernels without barriers need but one.
class Block {
 public:
  void begin(const Kernel& kernel, const Launch& launch, const void* operands, const void* params) {
    kernel_ = &kernel;
    operands_ = operands;
    params_ = params;
    states_.assign(launch.threads, State::fresh);
    fiber_of_.assign(launch.threads, nullptr);
    waited_.assign(launch.threads, false);
    shared.assign((launch.shared_bytes + 127) / 128, {});
    begun_ = 0;
    rounds_ = 0;
  }

  /// Each thread until it waits; false when all are done.
  bool go_on() {
    while (begun_ < states_.size()) resume(*idle_fiber());
    if (!release()) {
      if (!copies_.empty()) {
        std::fputs("a block ended while copies were on their way\n", stderr);
        std::abort();
      }
      return false;
    }
    for (unsigned i = 0; i < states_.size(); ++i) {
      if (states_[i] != State::runnable) continue;
      thread_index.x = i;
      resume(*fiber_of_[i]);
    }
    return true;
  }

  void wait_for_first(unsigned threads) {
    first_ = threads;
    wait(State::at_first);
  }

  void wait(State state) {
    const unsigned self = thread_index.x;
    states_[self] = state;
    fiber_of_[self] = current_;
    leave(*current_);
    thread_index.x = self;
  }

  void begin_copy(const void* barrier, std::function<void()> copy) {
    copies_.emplace_back(barrier, std::move(copy));
  }

  void finish_copies(const void* barrier) {
    for (auto it = copies_.begin(); it != copies_.end();) {
      if (it->first != barrier) {
        ++it;
        continue;
      }
      it->second();
      it = copies_.erase(it);
    }
  }

  void note_wait() { waited_[thread_index.x] = true; }

  uint64_t slots[32 * 32] = {};
  struct alignas(128) Line {
    char bytes[128];
  };
  std::vector<Line> shared;

 private:
  static constexpr size_t kStackBytes = 128 << 10;
  /// Entered once by its context, and then by the place where it left, which needs no system call.
  struct Fiber {
    ucontext_t context{};
    jmp_buf place;
    bool entered = false;
    std::unique_ptr<char[]> stack{new char[kStackBytes]};
    bool idle = true;
  };

  Fiber* idle_fiber() {
    for (auto& fiber : fibers_) {
      if (fiber->idle) return fiber.get();
    }
    auto fiber = std::make_unique<Fiber>();
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack.get();
    fiber->context.uc_stack.ss_size = kStackBytes;
    makecontext(&fiber->context, reinterpret_cast<void (*)()>(&Block::work), 0);
    fibers_.push_back(std::move(fiber));
    return fibers_.back().get();
  }

  void resume(Fiber& fiber) {
    current_ = &fiber;
    fiber.idle = false;
    if (_setjmp(scheduler_) != 0) return;
    if (fiber.entered) _longjmp(fiber.place, 1);
    fiber.entered = true;
    setcontext(&fiber.context);
  }

  void leave(Fiber& fiber) {
    if (_setjmp(fiber.place) == 0) _longjmp(scheduler_, 1);
  }

  static void work();

  void take_threads() {
    for (;;) {
      while (begun_ < states_.size()) {
        thread_index.x = begun_++;
        states_[thread_index.x] = State::runnable;
        kernel_->run(operands_, params_);
        if (!waited_[thread_index.x]) std::abort();  // the kernels after it could come too early
        states_[thread_index.x] = State::done;
      }
      current_->idle = true;
      leave(*current_);
    }
  }

  /// Lets warps whose lanes all wait for each other go on, and those who asked for a turn, or the
  /// first threads, or else the block; false when all is done. Threads that wait for what can never
  /// come end the process.
  bool release() {
    bool any = false, unfinished = false, all_at_block = true, all_at_first = first_ > 0;
    for (size_t warp = 0; warp < states_.size(); warp += 32) {
      const size_t end = std::min(warp + 32, states_.size());
      bool waits = false, whole = true;
      for (size_t i = warp; i < end; ++i) {
        unfinished = unfinished || states_[i] != State::done;
        waits = waits || states_[i] == State::at_warp;
        whole = whole && (states_[i] == State::at_warp || states_[i] == State::done);
        all_at_block = all_at_block && (states_[i] == State::at_block || states_[i] == State::done);
        if (i < first_) all_at_first = all_at_first && states_[i] == State::at_first;
      }
      if (!waits || !whole) continue;
      set(State::at_warp, warp, end);
      any = true;
    }
    if (all_at_first) {
      set(State::at_first, 0, first_);
      any = true;
    }
    constexpr int kMostRounds = 1 << 20;
    rounds_ = any ? 0 : rounds_ + 1;
    if (rounds_ > kMostRounds) std::abort();
    any = set(State::polling, 0, states_.size()) || any;
    if (!any && unfinished) {
      if (!all_at_block) std::abort();
      set(State::at_block, 0, states_.size());
    }
    return unfinished;
  }

  bool set(State from, size_t begin, size_t end) {
    bool any = false;
    for (size_t i = begin; i < end; ++i) {
      if (states_[i] != from) continue;
      states_[i] = State::runnable;
      any = true;
    }
    return any;
  }

  const Kernel* kernel_ = nullptr;
  const void *operands_ = nullptr, *params_ = nullptr;
  std::vector<State> states_;
  std::vector<bool> waited_;
  std::vector<Fiber*> fiber_of_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<std::pair<const void*, std::function<void()>>> copies_;  // by their barriers
  Fiber* current_ = nullptr;
  unsigned begun_ = 0, first_ = 0;
  int rounds_ = 0;  // in which threads did nothing but poll
  jmp_buf scheduler_;
};

/// Blocks are kept with their fibers, for the next launch.
Block& block(size_t index) {
  static auto* const blocks = new std::vector<std::unique_ptr<Block>>;
  while (blocks->size() <= index) blocks->push_back(std::make_unique<Block>());
  return *(*blocks)[index];
}

Block* running = nullptr;

void Block::work() { running->take_threads(); }

std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> table;
  return table;
}

}  // namespace

void wait_for_block() { running->wait(State::at_block); }
void wait_for_warp() { running->wait(State::at_warp); }
void wait_for_first(unsigned threads) { running->wait_for_first(threads); }
void wait_for_others() { running->wait(State::polling); }
void note_wait() { running->note_wait(); }
void begin_copy(const void* barrier, std::function<void()> copy) {
  running->begin_copy(barrier, std::move(copy));
}
void finish_copies(const void* barrier) { running->finish_copies(barrier); }
uint64_t* lane_slots() { return running->slots + thread_index.x / 32 * 32; }
char* shared_memory() { return running->shared.data()->bytes; }

const Kernel* find(const std::string& name) {
  const auto found = kernels().find(name);
  return found == kernels().end() ? nullptr : &found->second;
}

bool add(const std::string& name, Kernel kernel) {
  return kernels().emplace(name, std::move(kernel)).second;
}

namespace {

/// All blocks of one dim, each as far as it can go, in turns.
void launch_together(const Kernel& kernel, const Launch& launch, const void* operands,
                     const void* params) {
  for (unsigned i = 0; i < launch.grid.x; ++i) block(i).begin(kernel, launch, operands, params);
  std::vector<bool> unfinished(launch.grid.x, true);
  while (std::find(unfinished.begin(), unfinished.end(), true) != unfinished.end()) {
    for (block_index = {}; block_index.x < launch.grid.x; ++block_index.x) {
      if (!unfinished[block_index.x]) continue;
      running = &block(block_index.x);
      unfinished[block_index.x] = running->go_on();
    }
  }
}

}  // namespace

void launch(const Kernel& kernel, const Launch& launch, const void* operands, const void* params) {
  const Index grid = launch.grid;
  grid_size = grid;
  block_size = {launch.threads, 1, 1};
  thread_index = {};
  if (launch.cooperative) return launch_together(kernel, launch, operands, params);
  running = &block(0);
  for (block_index.z = 0; block_index.z < grid.z; ++block_index.z) {
    for (block_index.y = 0; block_index.y < grid.y; ++block_index.y) {
      for (block_index.x = 0; block_index.x < grid.x; ++block_index.x) {
        running->begin(kernel, launch, operands, params);
        while (running->go_on()) {
        }
      }
    }
  }
}

}  // namespace ostinato::emulator
