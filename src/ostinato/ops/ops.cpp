#include "ostinato/ops/ops.h"

namespace ostinato::ops {

const ir::OpTable& table() {
  static const ir::OpTable instance = [] {
    ir::OpTable rows;
    add_binary(rows);
    add_softmax(rows);
    return rows;
  }();
  return instance;
}

}  // namespace ostinato::ops
