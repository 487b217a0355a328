#include "compiler/pipeline/Remarks.h"

#include "dialects/nn/IR/NodeName.h"

#include "mlir/IR/Remarks.h"
#include "llvm/Support/Regex.h"

#include <fmt/format.h>

#include <memory>

using namespace mlir;

namespace npuc::pipeline {
namespace {

class Collector : public remark::detail::MLIRRemarkStreamerBase {
public:
  explicit Collector(std::vector<Diagnostic> &remarks) : remarks(remarks) {}

  void streamOptimizationRemark(const remark::detail::Remark &remark) override {
    Diagnostic note{Diagnostic::Severity::Note, nn::nodeName(remark.getLocation()).str(), "", "", ""};
    note.what = fmt::format("[{}] {}", remark.getCategoryName().str(), remark.getRemarkName().str());
    for (const remark::detail::Remark::Arg &part : remark.getArgs())
      note.why +=
          fmt::format("{}{}", note.why.empty() ? "" : ", ",
                      part.key == "Remark" || part.key == "Reason" ? part.val : part.key + " " + part.val);
    remarks.push_back(std::move(note));
  }

private:
  std::vector<Diagnostic> &remarks;
};

} // namespace

std::vector<std::string> remarkCategories() {
  return {"fuse", "tile", "place", "quantize", "schedule"};
}

bool collectRemarks(MLIRContext &context, const std::string &filter, std::vector<Diagnostic> &remarks,
                    Diagnostics &diagnostics) {
  llvm::Regex regex("^(" + filter + ")$"); // As MLIR matches it.
  std::string why;
  std::vector<std::string> categories = remarkCategories();
  const bool valid = regex.isValid(why);
  if (!valid ||
      llvm::none_of(categories, [&](const std::string &category) { return regex.match(category); })) {
    diagnostics.error("--remarks=" + filter,
                      valid ? "matches no kind of remark" : "is not a regular expression", why,
                      fmt::format("kinds are {}", fmt::join(categories, ", ")));
    return false;
  }
  const remark::RemarkCategories enabled = {filter, filter, filter, filter, filter};
  return succeeded(remark::enableOptimizationRemarks(context, std::make_unique<Collector>(remarks),
                                                     std::make_unique<remark::RemarkEmittingPolicyAll>(),
                                                     enabled));
}

} // namespace npuc::pipeline
