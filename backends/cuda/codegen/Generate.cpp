#include "backends/cuda/codegen/Generate.h"

#include "backends/cuda/codegen/Divide.h"
#include "backends/cuda/codegen/FourBits.h"
#include "backends/cuda/codegen/Kernel.h"
#include "backends/cuda/codegen/Order.h"
#include "backends/cuda/codegen/Pack.h"
#include "backends/cuda/codegen/Ptx.h"
#include "backends/cuda/codegen/Split.h"
#include "backends/cuda/time/Measure.h"
#include "backends/npu/codegen/VectorProgram.h"
#include "compiler/lower/Lower.h"
#include "compiler/tile/Plan.h"
#include "dialects/nn/IR/NodeName.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;

namespace {

/// As the CUDA driver aligns what it allocates.
constexpr int64_t bufferAlignment = 256;

/// A tensor between kernels, from the launch that makes it first to the last that reads it.
struct Lifetime {
  Value root;
  int64_t bytes = 0, offset = 0;
  size_t first = 0, last = 0;
};

int64_t bytesOf(Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  return type.getNumElements() * memoryType(type.getElementType()).getIntOrFloatBitWidth() / 8;
}

/// Places the largest first, each as low as it fits beside those that live at the same time. Returns the
/// bytes of all.
int64_t place(std::vector<Lifetime> &lifetimes) {
  std::vector<Lifetime *> order, placed;
  for (Lifetime &lifetime : lifetimes)
    order.push_back(&lifetime);
  llvm::stable_sort(order, [](const Lifetime *a, const Lifetime *b) { return a->bytes > b->bytes; });
  int64_t total = 0;
  for (Lifetime *lifetime : order) {
    for (const Lifetime *other : placed) // By offset.
      if (other->first <= lifetime->last && lifetime->first <= other->last &&
          lifetime->offset < other->offset + other->bytes &&
          other->offset < lifetime->offset + lifetime->bytes)
        lifetime->offset = other->offset + other->bytes;
    total = std::max(total, lifetime->offset + lifetime->bytes);
    placed.insert(
        llvm::upper_bound(placed, lifetime,
                          [](const Lifetime *a, const Lifetime *b) { return a->offset < b->offset; }),
        lifetime);
  }
  return total;
}

/// "query_12": what a profiler shows.
std::string kernelName(StringRef node, size_t index) {
  std::string name;
  for (char c : node.substr(node.rfind('/') + 1))
    name += llvm::isAlnum(c) ? c : '_';
  if (name.empty() || llvm::isDigit(name[0]))
    name.insert(0, "k");
  return name + "_" + std::to_string(index);
}

std::string sourceOf(const tile::Group &group) {
  llvm::SetVector<StringRef> names;
  for (linalg::LinalgOp op : group.operations)
    if (StringRef name = nn::nodeName(op.getLoc()); !name.empty())
      names.insert(name);
  return llvm::join(names, ", ");
}

class Generator {
public:
  Generator(func::FuncOp function, const target::TargetDescription &target)
      : function(function), target(target), machine(target),
        module(ModuleOp::create(UnknownLoc::get(function.getContext()))) {}

  FailureOr<Program> run() {
    if (failed(checkTypes()))
      return failure();
    orderResults(function);
    packOperands(function, machine);
    divideSums(function, machine);
    takeFourBits();
    if (failed(addArguments()))
      return failure();
    bool good = true;
    auto contracts = [&](linalg::LinalgOp op) { return tile::isContraction(op) || fourBits.contains(op); };
    auto writeAll = [&](const tile::Group &group) {
      for (const tile::Group &part : splitGroup(group, contracts))
        good &= succeeded(write(part));
    };
    for (tile::Group &group : tile::formGroups(function)) {
      llvm::erase_if(group.operations, [&](linalg::LinalgOp op) { return ofGroups.contains(op); });
      if (group.operations.empty())
        continue;
      writeAll(takeOperands(group));
      if (failed(tryForm(writeAttention, group)))
        writeAll(group);
    }
    if (!good)
      return failure();
    assignMemory();
    FailureOr<std::string> ptx = toPtx(*module, machine.capability, target.gpu().ptx_version(),
                                       [&](const llvm::Module &kernels, llvm::TargetMachine &compiler) {
                                         measure(program, kernels, compiler, target);
                                       });
    if (failed(ptx))
      return failure();
    program.ptx = std::move(*ptx);
    return std::move(program);
  }

private:
  /// Tells every operation on elements that kernels do not compute with.
  LogicalResult checkTypes() {
    bool good = true;
    function.walk([&](linalg::LinalgOp op) {
      for (Value operand : op->getOperands()) {
        Type element = getElementTypeOrSelf(operand.getType());
        if (!element.isInteger(4) || !llvm::is_contained(op.getDpsInits(), operand))
          continue;
        op.emitError("has no kernel: kernels for GPUs read integers of 4 bits but do not write them");
        good = false;
        break;
      }
    });
    return success(good);
  }

  void takeFourBits() {
    SmallVector<Value> constants;
    for (FourBits &found : packFourBits(function, machine)) {
      for (Value constant : {found.weights, found.scales, found.offsets, found.zeroPoints})
        if (constant)
          constants.push_back(constant);
      if (found.contraction != found.sums)
        ofGroups.insert(found.contraction);
      fourBits.try_emplace(found.sums, std::move(found));
    }
    eraseUnread(function, constants);
  }

  LogicalResult addArguments() {
    for (BlockArgument argument : function.getArguments()) {
      auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), lower::nameAttr);
      auto role = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), lower::roleAttr);
      auto type = dyn_cast<RankedTensorType>(argument.getType());
      std::optional<isa::Role> known = role ? isa::roleFromName(role.getValue().str()) : std::nullopt;
      std::optional<ElementType> element;
      if (type)
        element = codegen::elementType(type.getElementType());
      if (!name || !known || !element)
        return function.emitError("argument ")
               << argument.getArgNumber() << " needs a name, a role and a type that buffers have";
      isa::Buffer buffer{
          name.getValue().str(), *known, *element, {type.getShape().begin(), type.getShape().end()}};
      buffer.bytes = llvm::divideCeil(type.getNumElements() * bitWidth(*element), 8);
      buffer.alignment = bufferAlignment;
      program.buffers.push_back(std::move(buffer));
    }
    return success();
  }

  using AnyForm = llvm::function_ref<LogicalResult(const tile::Group &, const Machine &, Kernel &)>;
  LogicalResult tryForm(AnyForm form, const tile::Group &group) {
    Kernel kernel(*module, group.root().getLoc());
    if (failed(form(group, machine, kernel))) {
      kernel.erase();
      return failure();
    }
    kernel.finish();
    launch(group, kernel);
    return success();
  }

  LogicalResult write(const tile::Group &group) {
    for (linalg::LinalgOp op : group.operations)
      if (auto found = fourBits.find(op); found != fourBits.end()) {
        auto form = [&](const tile::Group &all, const Machine &on, Kernel &kernel) {
          return writeFourBits(all, found->second, on, kernel);
        };
        if (succeeded(tryForm(form, group)))
          return success();
        return group.root()->emitError("has no kernel: it has more rows than a launch");
      }
    static constexpr Form forms[] = {writeContraction, writePointwise, writeRows};
    for (Form form : forms)
      if (succeeded(tryForm(form, group)))
        return success();
    if (group.operations.size() == 1)
      return group.root()->emitError("has no kernel: it reduces in a way that kernels cannot");
    bool good = true;
    for (linalg::LinalgOp op : group.operations)
      good &= succeeded(write({{op}}));
    return success(good);
  }

  void launch(const tile::Group &group, Kernel &kernel) {
    Launch launch;
    launch.grid = kernel.grid;
    launch.block = {kernel.threads, 1, 1};
    launch.sharedBytes = kernel.sharedBytes;
    launch.source = sourceOf(group);
    std::string text;
    llvm::raw_string_ostream stream(text);
    kernel.function->print(stream);
    auto [known, isNew] = kernels.try_emplace(text);
    if (isNew) {
      known->second = kernelName(nn::nodeName(group.root().getLoc()), kernels.size() - 1);
      kernel.function.setName(known->second);
    } else {
      kernel.erase();
    }
    launch.kernel = known->second;
    for (Value root : kernel.roots)
      if (!mlir::isa<BlockArgument>(root)) {
        auto [entry, first] = lifetimeOf.try_emplace(root, lifetimes.size());
        if (first)
          lifetimes.push_back(
              {root, int64_t(llvm::alignTo(bytesOf(root), bufferAlignment)), 0, program.launches.size()});
        lifetimes[entry->second].last = program.launches.size();
      }
    rootsOf.push_back(kernel.roots);
    program.launches.push_back(std::move(launch));
  }

  void assignMemory() {
    int64_t bytes = place(lifetimes);
    uint32_t workspace = uint32_t(program.buffers.size());
    if (bytes > 0) {
      isa::Buffer buffer{"workspace", isa::Role::Workspace, ElementType::U8, {bytes}};
      buffer.bytes = bytes;
      buffer.alignment = bufferAlignment;
      program.buffers.push_back(std::move(buffer));
    }
    for (auto [launch, roots] : llvm::zip_equal(program.launches, rootsOf))
      for (Value root : roots)
        if (auto argument = dyn_cast<BlockArgument>(root))
          launch.arguments.push_back({argument.getArgNumber(), 0, uint64_t(bytesOf(root))});
        else
          launch.arguments.push_back(
              {workspace, uint64_t(lifetimes[lifetimeOf[root]].offset), uint64_t(bytesOf(root))});
  }

  func::FuncOp function;
  const target::TargetDescription &target;
  Machine machine;
  OwningOpRef<ModuleOp> module;
  Program program;
  llvm::DenseMap<Operation *, FourBits> fourBits; ///< By what has the sums.
  llvm::DenseSet<Operation *> ofGroups;       ///< Contractions whose results only these have in registers.
  std::map<std::string, std::string> kernels; ///< Names, by their text.
  std::vector<Lifetime> lifetimes;
  llvm::DenseMap<Value, size_t> lifetimeOf;
  std::vector<SmallVector<Value>> rootsOf; ///< Of each launch.
};

} // namespace

FailureOr<Program> npuc::cuda::generate(func::FuncOp function, const target::TargetDescription &target) {
  return Generator(function, target).run();
}
