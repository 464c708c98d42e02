// list_ops: the names of all operators, one a line.
#include <iostream>

#include "ostinato/ops/ops.h"

int main() {
  for (const ostinato::ir::OpRow* row : ostinato::ops::table().rows()) {
    std::cout << row->name << '\n';
  }
  return 0;
}
