#include "compiler/pipeline/Check.h"

#include "backends/npu/codegen/VectorProgram.h"
#include "backends/npu/target/Capability.h"
#include "compiler/interpret/Evaluate.h"
#include "compiler/lower/Handlers.h"
#include "compiler/lower/Lower.h"
#include "compiler/pipeline/Integers.h"
#include "compiler/tile/Plan.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"

#include <algorithm>
#include <set>

using namespace mlir;

namespace npuc::pipeline {
namespace {

using target::CapabilityId;
using target::Facts;

/// What a machine must have for one operation.
struct Needs {
  std::set<ElementType> multiplied;
  std::set<std::pair<isa::VectorOp, ElementType>> instructions;
  bool gathers = false;
};

void noteInstructions(linalg::LinalgOp op, Needs &needs) {
  if (tile::isContraction(op)) {
    // With weights of 4 bits the engine multiplies at their rate.
    for (OpOperand *operand : op.getDpsInputOperands())
      if (FailureOr<ElementType> type = codegen::elementType(getElementTypeOrSelf(operand->get()));
          succeeded(type))
        needs.multiplied.insert(*type);
    return;
  }
  needs.gathers |= !op.getBlock()->getOps<tensor::ExtractOp>().empty();
  for (const isa::VectorInstruction &instruction : codegen::instructionsOf(*op.getBlock()))
    needs.instructions.insert({instruction.op, instruction.type});
}

/// Lowers a copy of the operation on its own and looks at what it became.
Needs needsOf(Operation *op) {
  MLIRContext *context = op->getContext();
  OwningOpRef<ModuleOp> scratch = ModuleOp::create(op->getLoc());
  OpBuilder builder(context);
  builder.setInsertionPointToEnd(scratch->getBody());
  auto function = func::FuncOp::create(builder, op->getLoc(), "alone", builder.getFunctionType({}, {}));
  Block *block = function.addEntryBlock();
  builder.setInsertionPointToEnd(block);
  IRMapping known;
  for (Value operand : op->getOperands()) {
    if (known.contains(operand))
      continue;
    if (auto constant = operand.getDefiningOp<nn::ConstantOp>())
      builder.clone(*constant, known);
    else
      known.map(operand, block->addArgument(operand.getType(), operand.getLoc()));
  }
  Operation *copy = builder.clone(*op, known);
  lower::LinalgBuilder linalg(builder, op->getLoc());
  lower::findHandler(op->getName().getStringRef())->lower(copy, linalg);
  Needs needs;
  function.walk([&](linalg::LinalgOp lowered) { noteInstructions(lowered, needs); });
  return needs;
}

/// The obstacles of one target, those of one cause together.
class Findings {
public:
  std::vector<Obstacle> obstacles;

  void add(Operation *op, std::string what, std::string why, std::string hint) {
    std::string name = op ? op->getName().getStringRef().str() : "";
    auto same = std::ranges::find_if(obstacles, [&](const Obstacle &one) {
      return one.operation == name && one.what == what && one.why == why;
    });
    if (same == obstacles.end())
      same = obstacles.insert(same, {name, {}, 0, std::move(what), std::move(why), std::move(hint)});
    if (!op)
      return;
    ++same->count;
    std::string node = interpret::nodeName(op);
    if (std::ranges::find(same->nodes, node) == same->nodes.end())
      same->nodes.push_back(std::move(node));
  }

  void require(Operation *op, CapabilityId id, const target::TargetDescription &description,
               const Facts &facts) {
    if (target::holds(id, description, facts))
      return;
    const target::Capability &capability = target::capability(id);
    add(op, target::sentence(capability, description), capability.found(facts), std::string(capability.hint));
  }
};

/// Bytes of a tensor; the greatest number where there are more.
uint64_t bytesOf(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  uint64_t bits = tensor.getElementTypeBitWidth();
  for (int64_t size : tensor.getShape())
    bits = llvm::SaturatingMultiply(bits, static_cast<uint64_t>(size));
  return llvm::divideCeil(bits, 8);
}

/// `integers`: floats that are multiplied will be quantized to i8.
void checkOperation(Operation *op, const target::TargetDescription &description, bool integers,
                    Findings &findings) {
  if (std::string why = lower::obstacle(op); !why.empty())
    return findings.add(op, why, "", "");
  for (Type type : op->getResultTypes())
    if (Facts bytes = {.count = bytesOf(type)}; !target::holds(CapabilityId::DramBytes, description, bytes))
      return findings.require(op, CapabilityId::DramBytes, description, bytes);
  Needs needs = needsOf(op);
  for (ElementType type : needs.multiplied) {
    // Engines multiply unsigned integers as they do signed ones of their width.
    ElementType asked = (integers && isFloat(type)) || type == ElementType::U8 ? ElementType::I8
                        : type == ElementType::U4                              ? ElementType::I4
                                                                               : type;
    findings.require(op, CapabilityId::MatrixType, description, {.type = asked});
  }
  for (auto [function, type] : needs.instructions) {
    // Any engine chooses between values, of every type.
    if (type != ElementType::Bool && function != isa::VectorOp::Select)
      findings.require(op, CapabilityId::VectorType, description, {.type = type});
    if (!target::isSimple(function))
      findings.require(op, CapabilityId::VectorFunction, description, {.function = function});
  }
  if (needs.gathers)
    findings.require(op, CapabilityId::GatherScatter, description,
                     {.source = target::DRAM, .destination = target::SCRATCHPAD});
}

void countBytes(func::FuncOp function, TargetCheck &report) {
  for (nn::ConstantOp constant : function.getOps<nn::ConstantOp>())
    report.constantBytes += bytesOf(constant.getResult().getType());
  for (Type type : function.getArgumentTypes())
    report.boundaryBytes += bytesOf(type);
  for (Type type : function.getResultTypes())
    report.boundaryBytes += bytesOf(type);
}

/// What floats are stored in: as asked, or the target's; fp16 where it has neither, which is then what is
/// missing.
Precision storage(const target::TargetDescription &description, std::optional<Precision> asked) {
  if (asked)
    return *asked;
  return !target::matrixType(description, ElementType::F16) &&
                 target::matrixType(description, ElementType::BF16)
             ? Precision::Bf16
             : Precision::Fp16;
}

/// Folds the quantization of a model that comes with it, as compiling does; what it says is an obstacle.
void fold(func::FuncOp function, const target::TargetDescription &description,
          interpret::ConstantReader &constants, Findings &findings) {
  ScopedDiagnosticHandler handler(
      function.getContext(), [&](mlir::Diagnostic &error) { findings.add(nullptr, error.str(), "", ""); });
  (void)foldIntegers(function, description, constants);
}

TargetCheck checkTarget(ModuleOp module, const target::TargetDescription &description,
                        std::optional<Precision> asked, interpret::ConstantReader &constants) {
  TargetCheck report;
  Precision precision = storage(description, asked);
  report.target = description.name();
  report.precision = name(precision);
  report.dramBytes = target::usableDramBytes(description);
  OwningOpRef<ModuleOp> own = module.clone();
  func::FuncOp main = *own->getOps<func::FuncOp>().begin();
  Builder builder(module.getContext());
  Findings findings;
  bool comesQuantized = isQuantized(main), exact = comesQuantized && (!asked || asked == Precision::Int8);
  if (comesQuantized)
    fold(main, description, constants, findings);
  lower::setFloatType(
      main, precision == Precision::Bf16 ? FloatType(builder.getBF16Type()) : FloatType(builder.getF16Type()),
      exact ? lower::Narrowed::Multiplied : lower::Narrowed::All);
  countBytes(main, report);
  report.obstacles = std::move(findings.obstacles);
  llvm::append_range(report.obstacles, obstaclesOf(main, description, precision == Precision::Int8));
  return report;
}

std::vector<OperationKind> kindsOf(func::FuncOp function) {
  std::map<std::string, OperationKind> kinds;
  for (Operation &op : function.front()) {
    if (!llvm::isa<nn::NNDialect>(op.getDialect()) || llvm::isa<nn::ConstantOp>(op))
      continue;
    OperationKind &kind = kinds[op.getName().getStringRef().str()];
    kind.operation = op.getName().getStringRef();
    ++kind.count;
    std::string type;
    llvm::raw_string_ostream(type) << cast<RankedTensorType>(op.getResult(0).getType()).getElementType();
    if (std::ranges::find(kind.types, type) == kind.types.end())
      kind.types.push_back(type);
  }
  std::vector<OperationKind> result;
  for (auto &[name, kind] : kinds) {
    std::ranges::sort(kind.types);
    result.push_back(std::move(kind));
  }
  return result;
}

} // namespace

std::vector<Obstacle> obstaclesOf(func::FuncOp function, const target::TargetDescription &target,
                                  bool integers) {
  Findings findings;
  for (Operation &op : function.front())
    if (llvm::isa<nn::NNDialect>(op.getDialect()) && !llvm::isa<nn::ConstantOp>(op))
      checkOperation(&op, target, integers, findings);
  TargetCheck bytes;
  countBytes(function, bytes);
  findings.require(nullptr, CapabilityId::DramBytes, target,
                   {.count = bytes.constantBytes + bytes.boundaryBytes});
  return std::move(findings.obstacles);
}

void report(const Obstacle &obstacle, Diagnostics &diagnostics) {
  constexpr size_t shown = 8;
  std::string where = obstacle.nodes.size() == 1 ? "node " : "nodes ";
  for (size_t i = 0; i < std::min(shown, obstacle.nodes.size()); ++i)
    where += (i ? ", '" : "'") + obstacle.nodes[i] + "'";
  if (obstacle.nodes.size() > shown)
    where += " and " + std::to_string(obstacle.nodes.size() - shown) + " more";
  bool namesKind = llvm::StringRef(obstacle.what).starts_with(obstacle.operation);
  diagnostics.error(obstacle.nodes.empty() ? "" : where,
                    namesKind ? obstacle.what : obstacle.operation + ": " + obstacle.what, obstacle.why,
                    obstacle.hint);
}

std::optional<CheckReport> check(const std::string &model, const CheckOptions &options,
                                 Diagnostics &diagnostics) {
  std::vector<target::TargetDescription> targets;
  for (const std::string &name : options.targets)
    if (auto description = target::load(name, options.targetOptions, diagnostics))
      targets.push_back(std::move(*description));
  Options import;
  import.shapes = options.shapes;
  import.threads = options.threads;
  std::unique_ptr<Compilation> compilation = Compilation::import(model, import, diagnostics);
  if (!compilation || targets.size() != options.targets.size())
    return std::nullopt;
  ModuleOp module = compilation->module();
  PassManager passes(module.getContext());
  passes.addPass(nn::createNNInlineSegments());
  if (failed(passes.run(module)))
    llvm_unreachable("segments are called directly, and from one function");
  CheckReport report;
  report.operations = kindsOf(*module.getOps<func::FuncOp>().begin());
  ThreadPool pool(options.threads);
  interpret::ConstantReader constants(pool);
  for (const target::TargetDescription &description : targets)
    report.targets.push_back(checkTarget(module, description, options.precision, constants));
  return report;
}

} // namespace npuc::pipeline
