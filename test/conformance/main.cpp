// Runs ONNX's own operator tests through importer and interpreter, and compares what passes with the list of
// what is known not to.
//
// A test is a folder with model.onnx and test_data_set_K/{input_I.pb,output_I.pb}. Shapes are bound from the
// inputs. A model whose shapes depend on the values of inputs (a reshape's shape, say) is imported with these
// values as constants.
#include "test/conformance/OnnxTest.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <iostream>
#include <map>

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

} // namespace

int main(int argc, char **argv) {
  std::string junit, filter, data = NPUC_ONNX_NODE_TESTS, list = NPUC_EXPECTED_FAILURES;
  bool printFailures = false;
  CLI::App app("Runs ONNX's operator tests through importer and interpreter.");
  app.add_option("--junit", junit, "Write a JUnit report to this file");
  app.add_option("--data", data, "The folder of ONNX's node tests");
  app.add_option("--expected-failures", list, "The list of tests that are known to fail, with reasons");
  app.add_flag("--print-failures", printFailures, "Print each failing test as a line for that list");
  app.add_option("filter", filter, "Only tests whose name contains this");
  CLI11_PARSE(app, argc, argv);

  std::map<std::string, std::string> expected = readExpectedFailures(list);
  std::vector<std::string> names;
  std::error_code error;
  for (const auto &entry : fs::directory_iterator(data, error))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  if (names.empty()) {
    std::cerr << "no tests in " << data << '\n';
    return 1;
  }

  TestRunner runner;
  std::string cases;
  size_t passed = 0, listed = 0, bad = 0, constantInputs = 0;
  for (const std::string &name : names) {
    if (name.find(filter) == std::string::npos)
      continue;
    Outcome outcome = runner.run(fs::path(data) / name);
    auto known = expected.find(name);
    bool isKnown = known != expected.end();
    if (printFailures && !outcome.passed)
      std::cout << name << ": " << (isKnown ? known->second : outcome.message) << '\n';
    if (outcome.passed && isKnown) {
      ++bad;
      cases += testcase(name, outcome.seconds, "failure",
                        "it passes now: remove it from the list of expected failures");
    } else if (outcome.passed) {
      ++passed;
      constantInputs += outcome.constantInputs;
      cases += testcase(name, outcome.seconds, nullptr, "");
    } else if (isKnown) {
      ++listed;
      cases += testcase(name, outcome.seconds, "skipped", known->second);
    } else {
      ++bad;
      cases += testcase(name, outcome.seconds, "failure", outcome.message);
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
