#include "backends/cuda/codegen/Generate.h"

#include "backends/cuda/codegen/Divide.h"
#include "backends/cuda/codegen/FourBits.h"
#include "backends/cuda/codegen/Join.h"
#include "backends/cuda/codegen/Kernel.h"
#include "backends/cuda/codegen/Order.h"
#include "backends/cuda/codegen/Pack.h"
#include "backends/cuda/codegen/Ptx.h"
#include "backends/cuda/codegen/Split.h"
#include "backends/npu/codegen/VectorProgram.h"
#include "compiler/lower/Lower.h"
#include "compiler/tile/Plan.h"
#include "dialects/nn/IR/NodeName.h"

#include "mlir/IR/Remarks.h"

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

/// Tells whether one kernel takes the place of several, and what decided it.
void tell(const Alternative &alternative, Location loc, bool chosen) {
  auto what = remark::RemarkOpts::name(chosen ? "fused" : "not fused").category("fuse");
  auto remark = chosen ? remark::passed(loc, what) : remark::missed(loc, what);
  remark << remark::add("{0} kernels of {1} as one of {2} blocks", alternative.count,
                        alternative.launch.source, alternative.launch.geometry().blocks())
         << remark::reason("{0:f2} us are predicted, {1:f2} apart", alternative.microseconds,
                           alternative.apart);
}

/// Kernels of the same text are one.
class Kernels {
public:
  /// `alike`: those that differ only in float constants too. They take as long as each other.
  Kernels(MLIRContext *context, bool alike)
      : module(ModuleOp::create(UnknownLoc::get(context))), alike(alike) {}

  /// A launch without its arguments, and what these are of.
  struct Written {
    tile::Group group;
    Form form;
    Launch launch;
    SmallVector<Value> roots;
  };
  std::optional<Written> write(const Form &form, const tile::Group &group, const Machine &machine) {
    Kernel kernel(*module, group.root().getLoc());
    if (failed(form(group, machine, kernel))) {
      kernel.erase();
      return std::nullopt;
    }
    kernel.finish();
    Launch launch;
    launch.grid = kernel.grid;
    launch.block = {kernel.threads, 1, 1};
    launch.sharedBytes = kernel.sharedBytes;
    launch.source = sourceOf(group);
    auto [known, isNew] = names.try_emplace(textOf(kernel));
    if (isNew) {
      known->second = kernelName(nn::nodeName(group.root().getLoc()), names.size() - 1);
      kernel.function.setName(known->second);
    } else {
      kernel.erase();
    }
    launch.kernel = known->second;
    return Written{group, form, std::move(launch), kernel.roots};
  }

  OwningOpRef<ModuleOp> module;

private:
  std::string textOf(Kernel &kernel) const {
    llvm::SmallVector<std::pair<arith::ConstantOp, TypedAttr>> changed;
    if (alike)
      kernel.function.walk([&](arith::ConstantOp constant) {
        if (isa<FloatType>(constant.getType())) {
          changed.emplace_back(constant, constant.getValue());
          constant.setValueAttr(FloatAttr::get(constant.getType(), 0));
        }
      });
    std::string text;
    llvm::raw_string_ostream stream(text);
    kernel.function->print(stream);
    for (auto [constant, value] : changed)
      constant.setValueAttr(value);
    return text;
  }

  bool alike;
  std::map<std::string, std::string> names; ///< By their text.
};

class Generator {
public:
  Generator(func::FuncOp function, const target::TargetDescription &target)
      : function(function), target(target), machine(target) {}

  FailureOr<Program> run() {
    if (failed(checkTypes()))
      return failure();
    orderResults(function);
    packOperands(function, machine);
    divideSums(function, machine);
    takeFourBits();
    if (failed(addArguments()))
      return failure();
    Kernels trial(function.getContext(), /*alike=*/true);
    if (failed(writeAll(trial)) || failed(joinKernels(trial)))
      return failure();
    Kernels kernels(function.getContext(), /*alike=*/false);
    for (Written &one : written)
      one = *kernels.write(one.form, one.group, machine);
    assignMemory();
    auto finish = [&](llvm::Module &module, llvm::TargetMachine &compiler) {
      Meter(module, compiler, target).measure(program);
      FailureOr<std::string> ptx = toPtx(module, compiler);
      if (succeeded(ptx))
        program.ptx = std::move(*ptx);
    };
    if (failed(toLlvm(*kernels.module, machine.capability, target.gpu().ptx_version(), finish)))
      return failure();
    if (program.ptx.empty())
      return function.emitError("this LLVM does not write PTX");
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

  using Written = Kernels::Written;

  LogicalResult writeAll(Kernels &kernels) {
    bool good = true;
    auto contracts = [&](linalg::LinalgOp op) { return tile::isContraction(op) || fourBits.contains(op); };
    auto parts = [&](const tile::Group &group) {
      for (const tile::Group &part : splitGroup(group, contracts))
        good &= succeeded(write(kernels, part));
    };
    for (tile::Group &group : tile::formGroups(function)) {
      llvm::erase_if(group.operations, [&](linalg::LinalgOp op) { return ofGroups.contains(op); });
      if (group.operations.empty())
        continue;
      parts(takeOperands(group));
      if (failed(tryForm(kernels, writeAttention, group)))
        parts(group);
    }
    return success(good);
  }

  LogicalResult tryForm(Kernels &kernels, const Form &form, const tile::Group &group) {
    std::optional<Written> one = kernels.write(form, group, machine);
    if (one)
      written.push_back(std::move(*one));
    return success(one.has_value());
  }

  bool hasFourBits(const tile::Group &group) const {
    return llvm::any_of(group.operations, [&](linalg::LinalgOp op) { return fourBits.contains(op); });
  }

  LogicalResult write(Kernels &kernels, const tile::Group &group) {
    for (linalg::LinalgOp op : group.operations)
      if (auto found = fourBits.find(op); found != fourBits.end()) {
        auto form = [weights = &found->second](const tile::Group &all, const Machine &machine,
                                               Kernel &kernel) {
          return writeFourBits(all, *weights, machine, kernel);
        };
        if (succeeded(tryForm(kernels, form, group)))
          return success();
        return group.root()->emitError("has no kernel: it has more rows than a launch");
      }
    for (const Form &form : {Form(writeContraction), Form(writePointwise), Form(writeRows)})
      if (succeeded(tryForm(kernels, form, group)))
        return success();
    if (group.operations.size() == 1)
      return group.root()->emitError("has no kernel: it reduces in a way that kernels cannot");
    bool good = true;
    for (linalg::LinalgOp op : group.operations)
      good &= succeeded(write(kernels, {{op}}));
    return success(good);
  }

  /// Replaces kernels that follow each other by one where that is predicted to take less time.
  LogicalResult joinKernels(Kernels &kernels) {
    std::vector<tile::Group> groups;
    for (const Written &one : written)
      groups.push_back(one.group);
    std::vector<Written> others;
    std::vector<Alternative> alternatives;
    auto add = [&](const Form &form, const tile::Group &all, size_t first, size_t count) {
      std::optional<Written> one = kernels.write(form, all, machine);
      if (!one)
        return false;
      alternatives.push_back({first, count, {}});
      others.push_back(std::move(*one));
      return true;
    };
    for (size_t first = 0; first < groups.size(); ++first) {
      std::vector<tile::Group> all; // Of two kernels, of three, …
      while (first + all.size() + 1 < groups.size() && !hasFourBits(groups[first]) &&
             !hasFourBits(groups[first + all.size() + 1])) {
        std::optional<tile::Group> more = joined(ArrayRef(groups).slice(first, all.size() + 2));
        if (!more)
          break;
        all.push_back(std::move(*more));
      }
      // As many as there is a form for.
      for (bool found = false; !all.empty() && !found; all.pop_back()) {
        size_t count = all.size() + 1;
        for (int64_t rows : rowsOfTiles(all.back(), machine))
          found |=
              add([rows](const tile::Group &group, const Machine &machine,
                         Kernel &kernel) { return writeContractionOfRows(group, rows, machine, kernel); },
                  all.back(), first, count);
        if (!multiplies(all.back()))
          found = add(writeRows, all.back(), first, count);
      }
    }
    if (alternatives.empty())
      return success();
    assignMemory();
    for (auto [alternative, other] : llvm::zip_equal(alternatives, others))
      alternative.launch = withArguments(other);
    SmallVector<size_t> chosen;
    auto choose = [&](llvm::Module &module, llvm::TargetMachine &compiler) {
      Meter(module, compiler, target).measure(program, alternatives);
      chosen = chooseAlternatives(program, alternatives, target);
    };
    if (failed(toLlvm(*kernels.module, machine.capability, target.gpu().ptx_version(), choose)))
      return failure();
    for (auto [i, alternative] : llvm::enumerate(alternatives))
      tell(alternative, others[i].group.root().getLoc(), llvm::is_contained(chosen, i));
    for (size_t i : llvm::reverse(chosen)) {
      auto at = written.begin() + ptrdiff_t(alternatives[i].first);
      *at = std::move(others[i]);
      written.erase(at + 1, at + ptrdiff_t(alternatives[i].count));
    }
    return success();
  }

  /// The program of what is written.
  void assignMemory() {
    lifetimes.clear();
    lifetimeOf.clear();
    for (auto [i, one] : llvm::enumerate(written))
      for (Value root : one.roots)
        if (!mlir::isa<BlockArgument>(root)) {
          auto [entry, first] = lifetimeOf.try_emplace(root, lifetimes.size());
          if (first)
            lifetimes.push_back({root, int64_t(llvm::alignTo(bytesOf(root), bufferAlignment)), 0, i});
          lifetimes[entry->second].last = i;
        }
    int64_t bytes = place(lifetimes);
    program.buffers.resize(function.getNumArguments());
    if (bytes > 0) {
      isa::Buffer buffer{"workspace", isa::Role::Workspace, ElementType::U8, {bytes}};
      buffer.bytes = bytes;
      buffer.alignment = bufferAlignment;
      program.buffers.push_back(std::move(buffer));
    }
    program.launches.clear();
    for (const Written &one : written)
      program.launches.push_back(withArguments(one));
  }

  Launch withArguments(const Written &one) {
    Launch launch = one.launch;
    for (Value root : one.roots)
      if (auto argument = dyn_cast<BlockArgument>(root))
        launch.arguments.push_back({argument.getArgNumber(), 0, uint64_t(bytesOf(root))});
      else
        launch.arguments.push_back({function.getNumArguments(), uint64_t(lifetimes[lifetimeOf[root]].offset),
                                    uint64_t(bytesOf(root))});
    return launch;
  }

  func::FuncOp function;
  const target::TargetDescription &target;
  Machine machine;
  Program program;
  llvm::DenseMap<Operation *, FourBits> fourBits; ///< By what has the sums.
  llvm::DenseSet<Operation *> ofGroups; ///< Contractions whose results only these have in registers.
  std::vector<Written> written;         ///< One launch after another.
  std::vector<Lifetime> lifetimes;
  llvm::DenseMap<Value, size_t> lifetimeOf;
};

} // namespace

FailureOr<Program> npuc::cuda::generate(func::FuncOp function, const target::TargetDescription &target) {
  return Generator(function, target).run();
}
