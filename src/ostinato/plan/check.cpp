#include <algorithm>
#include <map>
#include <set>

#include "ostinato/base/error.h"
#include "ostinato/plan/plan.h"

namespace ostinato::plan {

namespace {

/// Plays the plan on an arena whose every byte remembers who wrote it last, as intervals.
class Checker {
 public:
  explicit Checker(const Plan& plan) : plan_(plan), outputs_(plan.graph.outputs().size(), false) {}

  void run() {
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      const Step& step = plan_.steps[i];
      step_ = i;
      for (const Place& place : step.inputs) read(place);
      // What a step writes must not lie on what it reads, nor on its own other results.
      std::vector<const Place*> written;
      for (const Place& place : step.outputs) written.push_back(&place);
      written.push_back(&step.scratch);
      for (const Place* place : written) write(*place);
      for (size_t from = 0; from < step.inputs.size(); ++from) {
        for (size_t to = 0; to < written.size(); ++to) {
          if (is_in_place(step, from, to)) continue;
          check_apart(step.inputs[from], *written[to]);
        }
      }
      for (const Place* place : written) {
        if (place->kind == Place::Kind::arena) read(*place);  // still whole after all writes
      }
    }
    check_sections();
    for (size_t i = 0; i < outputs_.size(); ++i) {
      if (!outputs_[i] && !plan_.in_input.at(i)) reject("output {} is never written", i);
    }
  }

 private:
  struct Interval {
    size_t end;
    size_t buffer;
  };

  void read(const Place& place) {
    if (place.kind == Place::Kind::output && !outputs_.at(place.index)) {
      reject("output {} is read before it is written", place.index);
    }
    if (place.kind != Place::Kind::arena) return;
    const Buffer& buffer = plan_.buffers.at(place.index);
    size_t covered = buffer.offset;
    const size_t end = buffer.offset + buffer.bytes;
    auto it = owners_.upper_bound(covered);
    if (it != owners_.begin()) --it;
    for (; covered < end && it != owners_.end() && it->first <= covered; ++it) {
      if (it->second.end <= covered) continue;
      if (it->second.buffer != place.index) break;
      covered = it->second.end;
    }
    if (covered < end) {
      reject("buffer {} is read, but its byte {} is not its own", place.index, covered);
    }
  }

  void write(const Place& place) {
    const bool donated =
        place.kind == Place::Kind::input &&
        std::any_of(plan_.donations.begin(), plan_.donations.end(),
                    [&](const Donation& donation) { return donation.input == place.index; });
    if ((place.kind == Place::Kind::input && !donated) || place.kind == Place::Kind::constant) {
      reject("it writes to an input or a constant");
    }
    if (place.kind == Place::Kind::output) outputs_.at(place.index) = true;
    if (place.kind != Place::Kind::arena) return;
    const Buffer& buffer = plan_.buffers.at(place.index);
    const size_t begin = buffer.offset, end = buffer.offset + buffer.bytes;
    if (end > plan_.arena_bytes || end < begin) reject("buffer {} leaves the arena", place.index);
    if (begin % 64 != 0) reject("buffer {} is not aligned", place.index);
    if (begin == end) return;
    // Cut what lay there out of the map.
    auto it = owners_.upper_bound(begin);
    if (it != owners_.begin()) --it;
    while (it != owners_.end() && it->first < end) {
      const auto [old_begin, old] = *it;
      if (old.end <= begin) {
        ++it;
        continue;
      }
      it = owners_.erase(it);
      if (old_begin < begin) owners_[old_begin] = {begin, old.buffer};
      if (old.end > end) owners_[end] = {old.end, old.buffer};
    }
    owners_[begin] = {end, place.index};
  }

  /// Whether a call that works element by element, or whose row lets it, writes a result just where
  /// it reads an operand.
  static bool is_in_place(const Step& step, size_t operand, size_t result) {
    if (result >= step.outputs.size()) return false;
    const ir::OpTraits& traits = step.node->op->traits;
    const bool may =
        (traits.elementwise && result == 0) ||
        std::any_of(traits.in_place.begin(), traits.in_place.end(), [&](const ir::InPlace& pair) {
          return pair.result == result && pair.operand == operand;
        });
    const Place &from = step.inputs[operand], &to = step.outputs[result];
    return may && from.index == to.index && from.offset == to.offset && from.bytes == to.bytes;
  }

  void check_apart(const Place& a, const Place& b) const {
    if (a.kind != Place::Kind::arena || b.kind != Place::Kind::arena) return;
    const Buffer& x = plan_.buffers.at(a.index);
    const Buffer& y = plan_.buffers.at(b.index);
    if (x.bytes == 0 || y.bytes == 0) return;
    const bool apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
    if (a.index == b.index && apart) return;  // slices of one
    if (x.offset < y.offset + y.bytes && y.offset < x.offset + x.bytes) {
      reject("buffer {} is written over buffer {}, which it reads", b.index, a.index);
    }
  }

  /// What a side of a section touches: bytes of a storage, of the arena by address.
  struct Touch {
    size_t begin, end, step, side;
    bool writes;
  };
  using Touches = std::map<std::pair<Place::Kind, size_t>, std::vector<Touch>>;

  void check_sections() {
    const std::vector<Step>& steps = plan_.steps;
    for (size_t first = 0, end = 0; first < steps.size(); first = end) {
      const size_t section = steps[first].branch.section;
      Touches touches;
      for (; end < steps.size() && steps[end].branch.section == section; ++end) {
        for (const Place& place : steps[end].inputs) note(place, end, false, touches);
        for (const Place& place : steps[end].outputs) note(place, end, true, touches);
        note(steps[end].scratch, end, true, touches);
      }
      if (section == 0) continue;
      step_ = first;
      if (section != end) reject("its section is to end before step {}", section);
      for (auto& [storage, list] : touches) check_sides(list);
    }
    step_ = steps.size();
  }

  void note(const Place& place, size_t step, bool writes, Touches& touches) const {
    if (place.kind == Place::Kind::none || place.kind == Place::Kind::constant) return;
    const bool in_arena = place.kind == Place::Kind::arena;
    const size_t begin = place.offset + (in_arena ? plan_.buffers.at(place.index).offset : 0);
    touches[{place.kind, in_arena ? 0 : place.index}].push_back(
        {begin, begin + place.bytes, step, plan_.steps[step].branch.side, writes});
  }

  void check_sides(std::vector<Touch>& touches) {
    std::sort(touches.begin(), touches.end(),
              [](const Touch& a, const Touch& b) { return a.begin < b.begin; });
    for (auto a = touches.begin(); a != touches.end(); ++a) {
      for (auto b = a + 1; b != touches.end() && b->begin < a->end; ++b) {
        if (a->side == b->side || !(a->writes || b->writes) || b->begin == b->end) continue;
        step_ = a->step;
        reject("it may run beside step {}, and one writes what the other touches", b->step);
      }
    }
  }

  template <typename... Args>
  [[noreturn]] void reject(fmt::format_string<Args...> message, Args&&... args) const {
    const std::string what = fmt::format(message, std::forward<Args>(args)...);
    const bool at_step = step_ < plan_.steps.size();
    fail(ErrorCode::internal, "plan/check", "Report this as a defect, with the graph's text.",
         "step {} ({}): {}", step_, at_step ? plan_.steps[step_].node->op->name : "end", what);
  }

  const Plan& plan_;
  std::vector<bool> outputs_;
  std::map<size_t, Interval> owners_;  // by first byte
  size_t step_ = 0;
};

}  // namespace

void check_plan(const Plan& plan) { Checker(plan).run(); }

}  // namespace ostinato::plan
