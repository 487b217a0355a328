// What a Compilation holds, for the files that take its steps.
#pragma once

#include "backends/cuda/codegen/Generate.h"
#include "backends/cuda/ptxas/Ptxas.h"
#include "backends/cuda/time/Predict.h"
#include "backends/npu/schedule/PackConstants.h"
#include "compiler/interpret/ConstantReader.h"
#include "compiler/pipeline/Compile.h"
#include "compiler/pipeline/Dialects.h"
#include "compiler/pipeline/PlanReport.h"
#include "compiler/pipeline/Work.h"
#include "compiler/quantize/CalibrationTable.h"
#include "compiler/quantize/Decide.h"
#include "compiler/quantize/Quantize.h"
#include "compiler/quantize/Report.h"
#include "support/ThreadPool.h"

#include "mlir/IR/Diagnostics.h"

namespace npuc::pipeline {

struct Compilation::State {
  std::string model;
  Options options;
  ThreadPool pool;
  std::vector<Diagnostic> remarks; // Before the context, which adds to it.
  interpret::ConstantReader constants{pool};
  mlir::MLIRContext context{dialects(), mlir::MLIRContext::Threading::DISABLED};
  mlir::OwningOpRef<mlir::ModuleOp> module;
  Level level = Level::Nn;
  target::TargetDescription target;
  std::map<std::string, GroupPlan> groups;
  int64_t expectedCycles = 0; ///< Of the groups, one after another.
  schedule::TileGraph graph;
  schedule::Packings packings;
  std::optional<schedule::Solution> solution;
  std::optional<cuda::Program> kernels;
  std::vector<cuda::Prediction> predictions; ///< Of its launches.
  std::optional<cuda::Assembled> assembled;  ///< What ptxas says of them, if it was asked.
  timing::WorkFacts work;
  bool quantized = false;
  bool own = false; ///< Quantized when it came.
  std::vector<quantize::InFloat> stayedFloat;
  quantize::Decision decision;
  quantize::CalibrationTable ranges;
  std::optional<quantize::Report> reported;
  /// By operation, types and format.
  std::map<std::string, std::optional<double>> timesAlone;
  bool quantizationDone = false;

  explicit State(const Options &options) : options(options), pool(options.threads) {
    context.loadAllAvailableDialects();
  }

  mlir::func::FuncOp main() { return *module->getOps<mlir::func::FuncOp>().begin(); }

  bool tellRemarks(Diagnostics &diagnostics);
  bool loadTarget(Diagnostics &diagnostics);
  bool toNn(Diagnostics &diagnostics);
  bool toLinalg(Diagnostics &diagnostics);
  bool toTiled();
  bool toNpu();
  bool toGraph(Diagnostics &diagnostics);
  bool toIsa(Diagnostics &diagnostics);
  bool toPtx(Diagnostics &diagnostics);
  std::optional<mlir::FloatType> floatType(Diagnostics &diagnostics);

  // Quantize.cpp
  /// Makes multiplications of integers what --precision or the model itself asks for.
  bool quantizeMain(Diagnostics &diagnostics);
  bool checkCalibration(bool wanted, Diagnostics &diagnostics);
  /// What the options name files of: formats of operators, which it sets, ranges, and samples (none if a
  /// table takes their place). Tells all that is wrong with any of them.
  struct Given;
  std::optional<Given> readGiven(const std::vector<std::string> &formats, Diagnostics &diagnostics);
  /// Quantizes a model of floats: what its multiplications see on the samples, formats and factors, integers.
  bool quantizeFloats(Diagnostics &diagnostics);
  /// Measures `main`, which is quantized, beside what it was, for the report.
  bool measureReport(const quantize::FloatReference &floats, const Given &given, Diagnostics &diagnostics);
  /// The cycles of a multiplication that is compiled on its own in a format, with its operands and result in
  /// DRAM; nothing if it does not compile so.
  std::optional<double> timeAlone(mlir::Operation *op, const quantize::OperatorFormat &format);
  void tell(const std::string &step) const {
    if (options.progress)
      options.progress(step);
  }
};

/// The node or the place in a file that an operation came from.
std::string whereOf(mlir::Location location);

/// MLIR's errors as ours while it lives.
class Forward {
public:
  Forward(mlir::MLIRContext &context, Diagnostics &diagnostics)
      : handler(&context, [&diagnostics](mlir::Diagnostic &d) {
          if (d.getSeverity() == mlir::DiagnosticSeverity::Error)
            diagnostics.error(whereOf(d.getLocation()), d.str());
          return mlir::success();
        }) {}

private:
  mlir::ScopedDiagnosticHandler handler;
};

} // namespace npuc::pipeline
