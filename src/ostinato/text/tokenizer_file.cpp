#include "ostinato/text/tokenizer_file.h"

#include <vector>

#include "ostinato/base/error.h"

namespace ostinato::text {

namespace {

constexpr std::string_view kRemedy =
    "Use an undamaged tokenizer.json, such as the tokenizers library writes.";

/// What nlohmann's parser calls for every event. Builds the document, except for the vocabulary
/// and the merges.
class Reader : public nlohmann::json_sax<Json> {
 public:
  explicit Reader(TokenizerFile& file) : file_(file) {}

  bool null() override { return value(nullptr); }
  bool boolean(bool flag) override { return value(flag); }
  bool number_integer(number_integer_t number) override { return value(number); }
  bool number_float(number_float_t number, const string_t&) override { return value(number); }
  bool binary(binary_t&) override { return false; }  // no JSON text has any

  bool number_unsigned(number_unsigned_t number) override {
    if (section_ != Section::vocabulary) return value(number);
    file_.vocabulary.add(key_, number);
    return true;
  }

  bool string(string_t& text) override {
    if (section_ == Section::merges) return merge(text);
    if (section_ == Section::merge_pair) {
      pair_.push_back(std::move(text));
      return true;
    }
    return value(std::move(text));
  }

  bool key(string_t& name) override {
    key_ = std::move(name);
    if (section_ != Section::document) return true;
    if (open_.back()->contains(key_)) {
      fail(ErrorCode::corrupt, kStage, kRemedy, "expected every key of an object once, got '{}'",
           key_);
    }
    return true;
  }

  bool start_object(size_t) override {
    if (section_ == Section::document && is_in_model("vocab")) {
      section_ = Section::vocabulary;
      file_.has_vocabulary = true;
      once("vocab");
      return true;
    }
    return open(Json::object());
  }

  bool end_object() override {
    if (section_ == Section::vocabulary) {
      section_ = Section::document;
    } else {
      open_.pop_back();
    }
    return true;
  }

  bool start_array(size_t) override {
    if (section_ == Section::merges) {
      section_ = Section::merge_pair;
      pair_.clear();
      return true;
    }
    if (section_ == Section::document && is_in_model("merges")) {
      section_ = Section::merges;
      file_.has_merges = true;
      once("merges");
      return true;
    }
    return open(Json::array());
  }

  bool end_array() override {
    if (section_ == Section::merge_pair) {
      section_ = Section::merges;
      if (pair_.size() != 2) {
        fail(ErrorCode::corrupt, kStage, kRemedy,
             "expected merge {} in model.merges to have two tokens, got {}", file_.merges.size(),
             pair_.size());
      }
      file_.merges.add(pair_[0], pair_[1]);
    } else if (section_ == Section::merges) {
      section_ = Section::document;
    } else {
      open_.pop_back();
    }
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    fail(ErrorCode::corrupt, kStage, kRemedy, "expected JSON, got an error at byte {} ({})",
         position, error.what());
  }

 private:
  enum class Section { document, vocabulary, merges, merge_pair };

  bool is_in_model(std::string_view field) const {
    return open_.size() == 2 && key_ == field && open_[1]->is_object() &&
           open_[0]->contains("model") && open_[1] == &(*open_[0])["model"];
  }

  /// Leaves a mark of a section that is not in the document, so that a second one is noticed.
  void once(const char* field) { (*open_[1])[field] = true; }

  /// Puts a value where the parser stands. @return where it now is
  Json* place(Json&& value) {
    if (section_ != Section::document) {
      const bool vocabulary = section_ == Section::vocabulary;
      fail(ErrorCode::corrupt, kStage, kRemedy, "expected {}, got {}",
           vocabulary ? fmt::format("model.vocab['{}'] to be a non-negative integer", key_)
                      : "model.merges to have pairs of strings",
           describe(value));
    }
    if (open_.empty()) {
      file_.document = std::move(value);
      return &file_.document;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }

  bool value(Json&& value) {
    place(std::move(value));
    return true;
  }

  bool open(Json&& empty) {
    constexpr size_t kMaxDepth = 64;
    if (open_.size() == kMaxDepth) {
      fail(ErrorCode::corrupt, kStage, kRemedy, "expected at most {} levels of JSON, got more",
           kMaxDepth);
    }
    open_.push_back(place(std::move(empty)));
    return true;
  }

  /// A merge as one string: two tokens with a space between. Old files begin with a version.
  bool merge(const std::string& text) {
    if (text.starts_with("#version")) return true;
    const size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      fail(ErrorCode::corrupt, kStage, kRemedy,
           "expected merge {} in model.merges to have two tokens, got '{}'", file_.merges.size(),
           text);
    }
    const std::string_view view = text;
    file_.merges.add(view.substr(0, space), view.substr(space + 1));
    return true;
  }

  TokenizerFile& file_;
  Section section_ = Section::document;
  std::vector<Json*> open_;  // the objects and arrays around where the parser stands
  std::string key_;
  std::vector<std::string> pair_;
};

}  // namespace

TokenizerFile parse_tokenizer_file(std::string_view json) {
  TokenizerFile file;
  Reader reader(file);
  Json::sax_parse(json.begin(), json.end(), &reader);
  file.vocabulary.finish();
  return file;
}

}  // namespace ostinato::text
