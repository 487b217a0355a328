#include "support/ThreadPool.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <numeric>
#include <thread>
#include <vector>

using namespace npuc;

TEST_CASE("a pool calls the body once for each index, whatever the number of threads") {
  for (unsigned threads : {1u, 2u, 5u}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (int64_t count : {0, 1, 2, 3, 1000}) {
      std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
      pool.run(count, [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
      for (const auto &call : calls)
        CHECK(call == 1);
    }
  }
}

TEST_CASE("a pool used from within a body works in that thread") {
  ThreadPool pool(3);
  std::atomic<int> inner = 0;
  std::atomic<bool> strayed = false;
  pool.run(8, [&](int64_t) {
    auto self = std::this_thread::get_id();
    pool.run(10, [&](int64_t) {
      ++inner;
      if (std::this_thread::get_id() != self)
        strayed = true;
    });
  });
  CHECK(inner == 80);
  CHECK_FALSE(strayed);
}

TEST_CASE("several threads take turns with one pool, over many short loops") {
  ThreadPool pool(2);
  std::vector<int64_t> sums(3, 0);
  std::vector<std::thread> users;
  for (int64_t &sum : sums)
    users.emplace_back([&pool, &sum] {
      for (int round = 0; round < 500; ++round) {
        std::vector<int64_t> parts(7, 0);
        pool.run(7, [&](int64_t i) { parts[static_cast<size_t>(i)] = i; });
        sum += std::accumulate(parts.begin(), parts.end(), int64_t{0});
      }
    });
  for (std::thread &user : users)
    user.join();
  for (int64_t sum : sums)
    CHECK(sum == 500 * 21); // 0 + 1 + … + 6 = 21
}
