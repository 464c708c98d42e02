// The loop of a tile, for each ISA: included into a namespace whose functions are compiled for it.
// A `Step` has the types V, A and B of a sum and of an element of either matrix, in vectors of
// `lanes()`, and what is done with them.

// All indices are constants, so that the sums never are in memory: compilers give up on an array
// that a loop walks.
template <int... i, typename F>
inline __attribute__((always_inline)) void for_each_index(std::integer_sequence<int, i...>, F&& f) {
  (f(std::integral_constant<int, i>()), ...);
}

template <typename Step, int rows, int vectors, bool near>
void multiply_vectors(const Tile& tile, const char* b, float* c) {
  constexpr auto kRows = std::make_integer_sequence<int, rows>();
  constexpr auto kVectors = std::make_integer_sequence<int, vectors>();
  constexpr auto kSums = std::make_integer_sequence<int, rows * vectors>();
  const int64_t width = Step::lanes();
  typename Step::V sums[rows * vectors];
  for_each_index(kSums, [&](auto i) {
    constexpr int kRow = decltype(i)::value / vectors, kVector = decltype(i)::value % vectors;
    sums[i] = tile.add ? Step::load_sum(c + kRow * tile.c_stride + kVector * width) : Step::zero();
  });
  const char* a = static_cast<const char*>(tile.a);
  const int64_t a_stride = tile.a_stride, b_stride = tile.b_stride;
  const int64_t before = b - static_cast<const char*>(tile.b);  // columns of other vectors
  const char* ahead = tile.ahead == nullptr ? b : tile.ahead + before;
  const int64_t ahead_stride = tile.ahead == nullptr ? b_stride : tile.ahead_stride;
  for (int64_t step = 0; step < tile.steps; ++step) {
    for (int64_t line = 0; line < vectors * width * Step::kBytesB; line += 64) {
      __builtin_prefetch(ahead + line, 0, near ? 3 : 2);
    }
    typename Step::B right[vectors];
    for_each_index(kVectors,
                   [&](auto v) { right[v] = Step::load_b(b + v * width * Step::kBytesB); });
    for_each_index(kRows, [&](auto r) {
      const typename Step::A left = Step::load_a(a + r * a_stride);
      for_each_index(kVectors, [&](auto v) {
        constexpr int kSum = decltype(r)::value * vectors + decltype(v)::value;
        sums[kSum] = Step::add_product(left, right[v], sums[kSum]);
      });
    });
    a += kLeftStepBytes;
    b += b_stride;
    ahead += ahead_stride;
  }
  for_each_index(kSums, [&](auto i) {
    constexpr int kRow = decltype(i)::value / vectors, kVector = decltype(i)::value % vectors;
    Step::store(sums[i], c + kRow * tile.c_stride + kVector * width);
  });
}

// A loop for each cache that may ask: the choice within it would cost some percent.
template <typename Step, int rows, int vectors>
void multiply_vectors(const Tile& tile, const char* b, float* c) {
  // Without `ahead` it asks for what `b` has there anyway.
  if (tile.ahead == nullptr || tile.ahead_near) {
    multiply_vectors<Step, rows, vectors, true>(tile, b, c);
  } else {
    multiply_vectors<Step, rows, vectors, false>(tile, b, c);
  }
}
