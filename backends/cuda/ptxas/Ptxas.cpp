#include "backends/cuda/ptxas/Ptxas.h"

#include "support/File.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Regex.h"

#include <cstdlib>
#include <fmt/format.h>
#include <unistd.h>

namespace npuc::cuda {
namespace {

/// Of what it says as much stands in an error.
constexpr size_t greatestText = 4000;

std::string contentOf(const std::string &file) {
  auto buffer = llvm::MemoryBuffer::getFile(file);
  return buffer ? (*buffer)->getBuffer().str() : std::string();
}

/// The process's environment, with TMPDIR at `folder`.
std::vector<std::string> environmentIn(const std::string &folder) {
  std::vector<std::string> variables;
  for (char **variable = environ; variable && *variable; ++variable)
    if (!llvm::StringRef(*variable).starts_with("TMPDIR="))
      variables.emplace_back(*variable);
  variables.push_back("TMPDIR=" + folder);
  return variables;
}

class Run {
public:
  Run(const std::string &ptxas, std::string folder, Diagnostics &diagnostics)
      : ptxas_(ptxas), folder_(std::move(folder)), diagnostics_(diagnostics) {}

  std::string file(const char *name) const { return folder_ + "/" + name; }

  /// What it prints; nothing, with an error, if it cannot be run or fails, as it does in `doing`.
  std::optional<std::string> run(std::vector<std::string> arguments, const char *doing, const char *hint) {
    arguments.insert(arguments.begin(), ptxas_);
    const std::vector<std::string> variables = environmentIn(folder_);
    const llvm::SmallVector<llvm::StringRef> words(arguments.begin(), arguments.end()),
        environment(variables.begin(), variables.end());
    const std::string said = file("said");
    const std::optional<llvm::StringRef> streams[] = {"", said, said};
    std::string reason;
    bool notRun = false;
    const int status = llvm::sys::ExecuteAndWait(ptxas_, words, environment, streams, 0, 0, &reason, &notRun);
    std::string text = contentOf(said);
    if (status == 0 && !notRun)
      return text;
    if (notRun)
      diagnostics_.error(ptxas_, "cannot be run", reason, hint);
    else
      diagnostics_.error(ptxas_, doing,
                         fmt::format("it ended with {}\n{}", status < 0 ? reason : fmt::format("{}", status),
                                     llvm::StringRef(text).trim().take_front(greatestText).str()),
                         hint);
    return std::nullopt;
  }

private:
  const std::string &ptxas_;
  std::string folder_;
  Diagnostics &diagnostics_;
};

/// "Compiling entry function 'k' for …", then of it, "…, 4 bytes spill stores, 8 bytes spill loads" and
/// "Used 32 registers, …, 1024 bytes smem". Functions that are no entries have properties of their own.
std::vector<AssembledKernel> kernelsIn(llvm::StringRef text) {
  llvm::Regex entry("entry function '([^']+)'"), properties("Function properties for ([^ ]+)"),
      spill("([0-9]+) bytes spill stores, ([0-9]+) bytes spill loads"), used("Used ([0-9]+) registers"),
      shared("([0-9]+) bytes smem");
  std::vector<AssembledKernel> kernels;
  bool ofEntry = false;
  auto number = [](llvm::StringRef digits) {
    unsigned value = 0;
    digits.getAsInteger(10, value);
    return value;
  };
  llvm::SmallVector<llvm::StringRef> lines, found;
  text.split(lines, '\n');
  for (llvm::StringRef line : lines) {
    if (entry.match(line, &found))
      kernels.push_back({found[1].str()});
    if (kernels.empty())
      continue;
    if (properties.match(line, &found))
      ofEntry = found[1].trim() == kernels.back().name;
    if (ofEntry && spill.match(line, &found))
      kernels.back().spilledBytes = number(found[1]) + number(found[2]);
    if (used.match(line, &found)) {
      kernels.back().registers = number(found[1]);
      if (shared.match(line, &found))
        kernels.back().sharedBytes = number(found[1]);
    }
  }
  return kernels;
}

} // namespace

std::string findPtxas() {
  if (auto found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  const char *home = std::getenv("CUDA_HOME");
  if (!home || !*home)
    return {};
  auto found = llvm::sys::findProgramByName("ptxas", {std::string(home) + "/bin"});
  return found ? *found : std::string();
}

std::optional<Assembled> assemble(const std::string &ptxas, const std::string &ptx, unsigned capability,
                                  Diagnostics &diagnostics) {
  llvm::SmallString<128> folder;
  if (std::error_code failed = llvm::sys::fs::createUniqueDirectory("npuc-ptxas", folder)) {
    diagnostics.error(ptxas, "has no folder for its files", failed.message(),
                      "set TMPDIR to a folder with space");
    return std::nullopt;
  }
  auto remove = llvm::scope_exit([&] { llvm::sys::fs::remove_directories(folder); });
  Run run(ptxas, folder.str().str(), diagnostics);
  const std::string input = run.file("kernels.ptx"), output = run.file("kernels.cubin");
  if (!writeFile(input, std::as_bytes(std::span(ptx)), diagnostics))
    return std::nullopt;
  std::optional<std::string> version =
      run.run({"--version"}, "is no ptxas", "--ptxas=FILE names another one, --ptxas=none asks none");
  if (!version)
    return std::nullopt;
  std::optional<std::string> said = run.run(
      {"-v", "--gpu-name=sm_" + std::to_string(capability), "--output-file", output, input},
      "rejects the kernels",
      "if it is older than the PTX, --ptxas=FILE names a newer one; else it is a bug of the compiler: "
      "--ptxas=none --emit=ptx prints the PTX");
  if (!said)
    return std::nullopt;
  Assembled result;
  llvm::SmallVector<llvm::StringRef> found;
  if (llvm::Regex("V([0-9.]+)").match(*version, &found))
    result.version = found[1].str();
  result.kernels = kernelsIn(*said);
  result.cubin = contentOf(output);
  const size_t entries = llvm::StringRef(ptx).count(".entry ");
  if (result.kernels.size() != entries || result.cubin.empty() || result.version.empty()) {
    diagnostics.error(ptxas, "does not do what ptxas does",
                      fmt::format("it tells {} and of {} of {} kernels, and writes {} bytes",
                                  result.version.empty() ? "no version" : "version " + result.version,
                                  result.kernels.size(), entries, result.cubin.size()),
                      "--ptxas=FILE names another one, --ptxas=none asks none");
    return std::nullopt;
  }
  return result;
}

} // namespace npuc::cuda
