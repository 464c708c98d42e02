#include "ostinato/plan/branches.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

namespace ostinato::plan {

namespace {

/// Sections are sought no further when so many steps have been looked at, most of them repeatedly:
/// some milliseconds.
constexpr size_t kMostVisits = size_t{1} << 18;

/// Which earlier steps a step has to wait for, by what it touches.
class Hazards {
 public:
  /// Steps come in their order. Those that others on the list wait for may be left out.
  std::vector<size_t> add(size_t index, const Step& step) {
    std::vector<size_t> earlier;
    for (const Place& place : step.inputs) touch(index, place, false, earlier);
    for (const Place& place : step.outputs) touch(index, place, true, earlier);
    touch(index, step.scratch, true, earlier);
    return earlier;
  }

 private:
  struct Access {
    size_t begin, end, step;
  };
  using Accesses = std::vector<Access>;

  void touch(size_t index, const Place& place, bool writes, std::vector<size_t>& earlier) {
    if (place.kind == Place::Kind::none || place.kind == Place::Kind::constant) return;
    const Access now{place.offset, place.offset + place.bytes, index};
    auto& [read, written] = storages_[{place.kind, place.index}];
    const auto wait = [&](const Accesses& accesses) {
      for (const Access& then : accesses) {
        const bool overlap = now.begin < then.end && then.begin < now.end;
        if (overlap && then.step != index) earlier.push_back(then.step);
      }
    };
    wait(written);
    if (!writes) return read.push_back(now);
    wait(read);
    // Who waits for those that are written over waits for this one, too.
    for (Accesses* accesses : {&read, &written}) {
      accesses->erase(std::remove_if(accesses->begin(), accesses->end(),
                                     [&](const Access& then) {
                                       return now.begin <= then.begin && then.end <= now.end;
                                     }),
                      accesses->end());
    }
    written.push_back(now);
  }

  std::map<std::pair<Place::Kind, size_t>, std::pair<Accesses, Accesses>> storages_;
};

class Sections {
 public:
  Sections(std::vector<Step>& steps, const device::Concurrency& machine,
           const std::function<double(const Step&)>& seconds)
      : steps_(steps),
        machine_(machine),
        ask_(seconds),
        seconds_(steps.size(), -1),
        set_(steps.size()),
        next_root_(steps.size() + 1, steps.size() + 1) {
    Hazards hazards;
    for (size_t i = 0; i < steps.size(); ++i) earlier_.push_back(hazards.add(i, steps[i]));
    for (size_t i = steps.size(); i-- > 0;) {
      size_t after = 0;
      for (size_t step : earlier_[i]) after = std::max(after, step + 1);
      next_root_[i] = std::min(next_root_[i + 1], after);
    }
  }

  void mark() {
    for (size_t first = 0; first + 1 < steps_.size() && visits_ < kMostVisits;) {
      const Section best = has_root(first + 1, first) ? best_from(first) : Section{};
      for (size_t i = first; i < best.end; ++i) {
        steps_[i].branch = {best.end, best.sides[i - first]};
      }
      first = std::max(first + 1, best.end);
    }
  }

 private:
  struct Section {
    size_t end = 0;
    std::vector<size_t> sides;  // of each of its steps
    double saved = 0;           // seconds
  };

  /// Whether a step from `at` on waits for nothing from `first` on.
  bool has_root(size_t at, size_t first) const { return next_root_[at] <= first; }

  /// The section from this step on that saves most, if one does.
  Section best_from(size_t first) {
    Section best;
    const auto consider = [&](size_t end) {
      Section section = pack(first, end);
      if (section.saved > best.saved) best = std::move(section);
    };
    size_t sets = 0, i = first;
    std::vector<size_t> joined;
    widest_ = 1;
    for (; i < steps_.size(); ++i, ++visits_) {
      const int workers = steps_[i].kernel->workers();
      if (2 * workers > machine_.workers) break;
      joined.clear();
      for (size_t step : earlier_[i]) {
        if (step < first) continue;
        const size_t set = set_of(step);
        if (std::find(joined.begin(), joined.end(), set) == joined.end()) joined.push_back(set);
      }
      if (joined.size() > 1) consider(i);
      set_[i] = i;
      for (size_t set : joined) set_[set] = i;
      sets = sets + 1 - joined.size();
      widest_ = std::max(widest_, workers);
      if (sets == 1 && !has_root(i + 1, first)) break;
    }
    if (sets > 1) consider(i);
    return best;
  }

  /// The sets of those steps on sides: the longest first, each on the side that has least to do.
  Section pack(size_t first, size_t end) {
    visits_ += end - first;
    std::map<size_t, double> sets;
    for (size_t i = first; i < end; ++i) sets[set_of(i)] += seconds(i);
    std::vector<std::pair<double, size_t>> longest;
    for (const auto& [set, time] : sets) longest.emplace_back(time, set);
    std::sort(longest.rbegin(), longest.rend());
    const auto room = static_cast<size_t>(machine_.workers / widest_);
    std::vector<double> sides(std::min(sets.size(), room));
    std::map<size_t, size_t> side_of;
    for (const auto& [time, set] : longest) {
      const auto least = std::min_element(sides.begin(), sides.end());
      *least += time;
      side_of[set] = static_cast<size_t>(least - sides.begin());
    }
    const double saved = std::accumulate(sides.begin(), sides.end(), 0.0) -
                         *std::max_element(sides.begin(), sides.end());
    // Clearly: a prediction may be off.
    if (saved < 2 * machine_.section_seconds) return {};
    Section section{end, {}, saved};
    for (size_t i = first; i < end; ++i) section.sides.push_back(side_of.at(set_of(i)));
    return section;
  }

  size_t set_of(size_t step) {
    while (set_[step] != step) {
      set_[step] = set_[set_[step]];
      step = set_[step];
    }
    return step;
  }

  double seconds(size_t i) {
    if (seconds_[i] < 0) seconds_[i] = ask_(steps_[i]);
    return seconds_[i];
  }

  std::vector<Step>& steps_;
  const device::Concurrency& machine_;
  const std::function<double(const Step&)>& ask_;
  std::vector<double> seconds_;               // by step, once asked for
  std::vector<std::vector<size_t>> earlier_;  // by step: those that it waits for
  std::vector<size_t> set_;                   // by step: another of its set, at last the set's name
  std::vector<size_t> next_root_;             // by step: the least that any from it on can follow
  int widest_ = 1;                            // the most workers that a step takes
  size_t visits_ = 0;
};

template <typename F>
void for_each_buffer(const Step& step, const F& f) {
  const auto visit = [&](const Place& place) {
    if (place.kind == Place::Kind::arena) f(place.index);
  };
  std::for_each(step.inputs.begin(), step.inputs.end(), visit);
  std::for_each(step.outputs.begin(), step.outputs.end(), visit);
  visit(step.scratch);
}

}  // namespace

void mark_branches(std::vector<Step>& steps, const device::Concurrency& machine,
                   const std::function<double(const Step&)>& seconds) {
  if (machine.workers > 1) Sections(steps, machine, seconds).mark();
}

void keep_sides_apart(const std::vector<Step>& steps, std::vector<Buffer>& buffers) {
  std::map<size_t, size_t> firsts;                              // steps, by section
  std::map<size_t, std::set<std::pair<size_t, size_t>>> users;  // sections and sides, by buffer
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto [section, side] = steps[i].branch;
    if (section == 0) continue;
    firsts.try_emplace(section, i);
    for_each_buffer(steps[i], [&, section = section, side = side](size_t buffer) {
      users[buffer].emplace(section, side);
    });
  }
  for (const auto& [index, sides] : users) {
    Buffer& buffer = buffers[index];
    if (sides.size() == 1) {
      buffer.branch = {sides.begin()->first, sides.begin()->second};
      continue;
    }
    for (const auto& [section, side] : sides) {
      buffer.first = std::min(buffer.first, firsts.at(section));
      buffer.last = std::max(buffer.last, section - 1);
    }
  }
}

}  // namespace ostinato::plan
