// Continues token ids with a causal language model, and prints each as it comes.
//
//   generate MODEL NEW_TOKENS ID...
#include <cstdlib>
#include <iostream>

#include "ostinato/session.h"

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: generate MODEL NEW_TOKENS ID...\n";
    return 2;
  }
  try {
    ostinato::GenerateOptions options;
    options.max_new_tokens = std::atoll(argv[2]);
    std::vector<int64_t> prompt;
    for (int i = 3; i < argc; ++i) prompt.push_back(std::atoll(argv[i]));

    ostinato::Generator generator(ostinato::Model::open(argv[1]));
    const ostinato::Generation result =
        generator.generate(prompt, options, [](int64_t token, const ostinato::Tensor&) {
          std::cout << token << ' ' << std::flush;
          return true;
        });
    std::cout << '\n';
    std::cerr << result.tokens.size() << " tokens, the first after " << result.first_token_ms
              << " ms\n";
  } catch (const ostinato::Error& error) {
    std::cerr << "generate: " << error.what() << '\n';
    return 2;
  }
}
