#include "compiler/interpret/kernels/Contract.h"

#include "compiler/interpret/kernels/Loops.h"

#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>

// Of the OpenMP library that oneDNN is linked with, declared here as the header is another for each compiler.
extern "C" {
int omp_get_max_threads(void);
void omp_set_num_threads(int threads);
}

namespace npuc::interpret {
namespace {

/// While it lives, oneDNN uses the calling thread alone.
class OneThread {
public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }

private:
  int before_;
};

const dnnl::engine &engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, bool>;

/// A product that oneDNN has compiled, with descriptions of its operands.
struct Compiled {
  dnnl::memory::desc a, b, c, bias;
  dnnl::matmul primitive;
};

Compiled compile(const Gemm &g, bool biased) {
  using Desc = dnnl::memory::desc;
  constexpr auto f32 = dnnl::memory::data_type::f32;
  Compiled out;
  out.a = Desc({g.m, g.k}, f32, {g.aRow, g.aColumn});
  out.b = Desc({g.k, g.n}, f32, {g.bRow, g.bColumn});
  out.c = Desc({g.m, g.n}, f32, dnnl::memory::dims{g.cRow, 1});
  if (biased)
    out.bias = Desc({1, g.n}, f32, dnnl::memory::dims{g.n, 1});
  dnnl::matmul::desc desc =
      biased ? dnnl::matmul::desc(out.a, out.b, out.bias, out.c) : dnnl::matmul::desc(out.a, out.b, out.c);
  out.primitive = dnnl::matmul(dnnl::matmul::primitive_desc(desc, engine()));
  return out;
}

/// What this thread has compiled; models repeat few sizes.
const Compiled &compiled(const Gemm &g, bool biased) {
  constexpr size_t most = 256;
  thread_local std::map<Key, Compiled> cache;
  Key key = {g.m, g.n, g.k, g.aRow, g.aColumn, g.bRow, g.bColumn, g.cRow, biased};
  auto found = cache.find(key);
  if (found != cache.end())
    return found->second;
  if (cache.size() >= most)
    cache.clear();
  return cache.emplace(key, compile(g, biased)).first->second;
}

void fillRows(const Gemm &g, float *c, const float *bias) {
  for (int64_t i = 0; i < g.m; ++i)
    for (int64_t j = 0; j < g.n; ++j)
      c[i * g.cRow + j] = bias ? bias[j] : 0;
}

} // namespace

void gemm(const Gemm &g, const float *a, const float *b, float *c, const float *bias) {
  if (g.m == 0 || g.n == 0)
    return;
  if (g.k == 0)
    return fillRows(g, c, bias);
  OneThread guard;
  const Compiled &product = compiled(g, bias != nullptr);
  thread_local dnnl::stream stream(engine());
  auto memory = [](const dnnl::memory::desc &desc, const float *data) {
    return dnnl::memory(desc, engine(), const_cast<float *>(data));
  };
  std::unordered_map<int, dnnl::memory> arguments = {{DNNL_ARG_SRC, memory(product.a, a)},
                                                     {DNNL_ARG_WEIGHTS, memory(product.b, b)},
                                                     {DNNL_ARG_DST, memory(product.c, c)}};
  if (bias)
    arguments.emplace(DNNL_ARG_BIAS, memory(product.bias, bias));
  product.primitive.execute(stream, arguments);
  stream.wait();
}

void gemm(ThreadPool &pool, const Gemm &g, const GemmBatch &batch, const float *a, const float *b, float *c,
          const float *bias) {
  // A tile is large enough to keep a core busy for some ten microseconds, and there are a few for each of
  // many cores.
  constexpr int64_t tileWork = int64_t{1} << 21;
  constexpr int64_t least = 64;
  int64_t tileM = std::max<int64_t>(g.m, 1), tileN = std::max<int64_t>(g.n, 1);
  while (tileM * tileN * g.k > tileWork && (tileN > least || tileM > least)) {
    int64_t &side = tileN >= tileM ? tileN : tileM;
    side = ((side + 1) / 2 + least - 1) / least * least;
  }
  int64_t rows = (g.m + tileM - 1) / tileM, columns = (g.n + tileN - 1) / tileN;
  pool.run(static_cast<int64_t>(batch.cOffsets.size()) * rows * columns, [&](int64_t tile) {
    auto product = static_cast<size_t>(tile / (rows * columns));
    int64_t i = tile / columns % rows * tileM, j = tile % columns * tileN;
    Gemm part = g;
    part.m = std::min(tileM, g.m - i);
    part.n = std::min(tileN, g.n - j);
    gemm(part, a + batch.aOffsets[product] + i * g.aRow, b + batch.bOffsets[product] + j * g.bColumn,
         c + batch.cOffsets[product] + i * g.cRow + j, bias ? bias + j : nullptr);
  });
}

} // namespace npuc::interpret
