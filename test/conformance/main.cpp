// Runs ONNX's own operator tests, through importer and interpreter or through compiler and simulator, and
// compares what passes with the list of what is known not to.
//
// A test that starts to pass must leave the list. A test that is refused must be refused for the reason that
// the list has; of wrong results the list says why they are.
//
// A test is a folder with model.onnx and test_data_set_K/{input_I.pb,output_I.pb}. Shapes are bound from the
// inputs. A model whose shapes depend on the values of inputs (a reshape's shape, say) is imported with these
// values as constants.
#include "test/conformance/OnnxTest.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <thread>

using namespace npuc::conformance;
namespace fs = std::filesystem;

namespace {

/// "name: reason" lines; '#' starts a comment.
std::map<std::string, std::string> readExpectedFailures(const std::string &path) {
  std::map<std::string, std::string> out;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    size_t colon = line.find(": ");
    if (!line.empty() && line[0] != '#' && colon != std::string::npos)
      out[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return out;
}

std::string escaped(const std::string &text) {
  std::string out;
  for (char c : text)
    switch (c) {
    case '&':
      out += "&amp;";
      break;
    case '<':
      out += "&lt;";
      break;
    case '>':
      out += "&gt;";
      break;
    case '"':
      out += "&quot;";
      break;
    default:
      // Other control characters are not XML.
      out += static_cast<unsigned char>(c) < 32 && c != '\n' && c != '\t' ? ' ' : c;
    }
  return out;
}

std::string testcase(const std::string &name, double seconds, const char *element,
                     const std::string &message) {
  std::string open =
      fmt::format(R"(<testcase classname="onnx" name="{}" time="{:.3f}")", escaped(name), seconds);
  if (!element)
    return open + "/>\n";
  return fmt::format("{}><{} message=\"{}\"/></testcase>\n", open, element, escaped(message));
}

using Clock = std::chrono::steady_clock;

/// What the threads are at. A test that does not end, or that ends the process, is named.
class Watch {
public:
  static constexpr std::chrono::seconds limit{60};

  explicit Watch(size_t threads) : running_(threads) {}
  void start(size_t thread, const std::string &name) {
    std::lock_guard lock(mutex_);
    running_[thread] = {name, Clock::now()};
  }
  void stop(size_t thread) { start(thread, ""); }
  /// Ends the process if a test takes too long.
  void look() {
    std::lock_guard lock(mutex_);
    for (const auto &[name, since] : running_)
      if (!name.empty() && Clock::now() - since > limit) {
        std::cerr << name << " takes longer than a minute" << std::endl;
        std::_Exit(1);
      }
  }
  std::string names() const {
    std::string all;
    for (const auto &[name, since] : running_)
      all += name.empty() ? "" : name + '\n';
    return all;
  }

private:
  std::mutex mutex_;
  std::vector<std::pair<std::string, Clock::time_point>> running_;
};

Watch *watch = nullptr;

void onCrash(int signal) {
  std::cerr << "signal " << signal << " in one of:\n" << watch->names() << std::flush;
  std::_Exit(1);
}

struct Result {
  Outcome outcome;
  double seconds = 0;
};

std::vector<Result> runAll(const std::vector<fs::path> &folders, unsigned threads,
                           const std::function<std::unique_ptr<Runner>()> &makeRunner) {
  std::vector<Result> results(folders.size());
  std::atomic<size_t> next = 0, done = 0;
  Watch own(threads);
  watch = &own;
  for (int signal : {SIGSEGV, SIGABRT, SIGFPE, SIGILL})
    std::signal(signal, onCrash);
  std::vector<std::thread> workers;
  for (unsigned thread = 0; thread < threads; ++thread)
    workers.emplace_back([&, thread] {
      std::unique_ptr<Runner> runner = makeRunner();
      for (size_t i = next++; i < folders.size(); i = next++) {
        auto start = Clock::now();
        own.start(thread, folders[i].filename());
        results[i].outcome = runner->run(folders[i]);
        own.stop(thread);
        results[i].seconds = std::chrono::duration<double>(Clock::now() - start).count();
      }
      ++done;
    });
  while (done < threads) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    own.look();
  }
  for (std::thread &worker : workers)
    worker.join();
  return results;
}

/// What is wrong with an outcome, given the reason that the list has; empty if nothing is.
std::string judge(const Outcome &outcome, const std::string *known) {
  if (!known)
    return outcome.message;
  if (outcome.passed)
    return "it passes now: remove it from the list";
  if (outcome.refused && outcome.message != *known)
    return "the reason is another than in the list: " + outcome.message;
  return "";
}

} // namespace

int main(int argc, char **argv) {
  std::string junit, filter, data = NPUC_ONNX_NODE_TESTS, folder = NPUC_LISTS, target;
  bool printFailures = false;
  unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  CLI::App app(
      "Runs ONNX's operator tests through importer and interpreter, or with --target through compiler "
      "and simulator.");
  app.add_option("--target", target,
                 "Compile for this target and simulate; what the interpreter does not run "
                 "is left out");
  app.add_option("--junit", junit, "Write a JUnit report to this file");
  app.add_option("--data", data, "The folder of ONNX's node tests");
  app.add_option("--lists", folder, "The folder of the lists of tests that are known to fail, with reasons");
  app.add_option("--threads", threads, "Tests that run at the same time");
  app.add_flag("--print-failures", printFailures, "Print each failing test as a line for the list");
  app.add_option("filter", filter, "Only tests whose name contains this");
  CLI11_PARSE(app, argc, argv);

  std::string list = target; // A file's name.
  std::ranges::replace(list, ':', '-');
  auto interpreted = readExpectedFailures(folder + "/expected-failures.txt");
  auto expected = target.empty() ? interpreted : readExpectedFailures(folder + "/failures-" + list + ".txt");
  std::vector<std::string> names;
  std::error_code error;
  for (const auto &entry : fs::directory_iterator(data, error))
    if (target.empty() || !interpreted.contains(entry.path().filename()))
      names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  if (names.empty()) {
    std::cerr << "no tests in " << data << '\n';
    return 1;
  }
  std::vector<fs::path> folders;
  for (const std::string &name : names)
    if (name.find(filter) != std::string::npos)
      folders.push_back(fs::path(data) / name);
  std::vector<Result> results =
      runAll(folders, threads, [&] { return target.empty() ? interpreterRunner() : compiledRunner(target); });

  std::string cases;
  size_t passed = 0, listed = 0, bad = 0, constantInputs = 0;
  for (size_t i = 0; i < folders.size(); ++i) {
    const Outcome &outcome = results[i].outcome;
    std::string name = folders[i].filename();
    auto known = expected.find(name);
    std::string wrong = judge(outcome, known == expected.end() ? nullptr : &known->second);
    // A reason that somebody wrote stays.
    if (printFailures && !outcome.passed)
      std::cout << name << ": "
                << (outcome.refused || known == expected.end() ? outcome.message : known->second) << '\n';
    else if (!wrong.empty())
      std::cout << name << ": " << wrong << '\n';
    if (!wrong.empty()) {
      ++bad;
      cases += testcase(name, results[i].seconds, "failure", wrong);
    } else if (outcome.passed) {
      ++passed;
      constantInputs += outcome.constantInputs;
      cases += testcase(name, results[i].seconds, nullptr, "");
    } else {
      ++listed;
      cases += testcase(name, results[i].seconds, "skipped", known->second);
    }
  }
  for (const auto &[name, reason] : expected)
    if (!std::binary_search(names.begin(), names.end(), name)) {
      ++bad;
      cases += testcase(name, 0, "failure", "the list of expected failures names a test that does not exist");
    }
  if (!junit.empty())
    std::ofstream(junit) << "<testsuites><testsuite name=\"conformance\">\n"
                         << cases << "</testsuite></testsuites>\n";
  std::cerr << fmt::format(
      "{} passed ({} of them with inputs bound as constants), {} known not to, {} unexpected\n", passed,
      constantInputs, listed, bad);
  return bad ? 1 : 0;
}
