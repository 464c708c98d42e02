#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ostinato/error.h"

namespace ostinato {

/// Expects `action` to throw an Error of that code, with a remedy, whose text contains `part`.
template <typename Action>
void expect_error(Action&& action, ErrorCode code, const std::string& part) {
  try {
    action();
    ADD_FAILURE() << "expected an error with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), testing::HasSubstr(part));
    EXPECT_FALSE(error.hint().empty());
  }
}

}  // namespace ostinato
