#include "backends/cuda/codegen/Ptx.h"

#include "backends/cuda/codegen/Emit.h"
#include "backends/cuda/codegen/Functions.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/Linker/Linker.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/IPO/Internalize.h"

using namespace mlir;

namespace {

constexpr llvm::StringLiteral triple = "nvptx64-nvidia-cuda";

/// The functions of support/Transcendental.h, by the operation that asks for them.
struct Function {
  StringRef operation, name;
};
constexpr Function functions[] = {
    {"math.exp", "npuc_exp"}, {"math.log", "npuc_log"}, {"math.tanh", "npuc_tanh"},  {"math.erf", "npuc_erf"},
    {"math.sin", "npuc_sin"}, {"math.cos", "npuc_cos"}, {"math.rsqrt", "npuc_rsqrt"}};

/// Calls instead of what would become a call of CUDA's library.
void callFunctions(ModuleOp module) {
  module.walk([&](Operation *op) {
    for (const Function &function : functions) {
      if (op->getName().getStringRef() != function.operation)
        continue;
      OpBuilder b(op);
      Value result = op->getResult(0);
      result.replaceAllUsesWith(
          npuc::cuda::Emit{b, op->getLoc()}.call(function.name, result.getType(), op->getOperand(0)));
      op->erase();
      return;
    }
  });
}

/// The module of LLVM with the functions that it calls.
std::unique_ptr<llvm::Module> translate(ModuleOp module, llvm::LLVMContext &context) {
  registerBuiltinDialectTranslation(*module.getContext());
  registerLLVMDialectTranslation(*module.getContext());
  registerNVVMDialectTranslation(*module.getContext());
  std::unique_ptr<llvm::Module> translated = translateModuleToLLVMIR(module, context);
  if (!translated)
    return nullptr;
  llvm::MemoryBufferRef bytes(npuc::cuda::functionsBitcode(), "functions");
  llvm::Expected<std::unique_ptr<llvm::Module>> library = llvm::parseBitcodeFile(bytes, context);
  if (!library) {
    module.emitError("the library of functions does not load: ") << llvm::toString(library.takeError());
    return nullptr;
  }
  // They were compiled for the host, but are of floats and integers alone.
  (*library)->setTargetTriple(translated->getTargetTriple());
  (*library)->setDataLayout(translated->getDataLayout());
  for (llvm::Function &function : **library) {
    function.removeFnAttr("target-cpu");
    function.removeFnAttr("target-features");
    function.removeFnAttr("tune-cpu");
    function.addFnAttr(llvm::Attribute::AlwaysInline);
  }
  if (llvm::Linker::linkModules(*translated, std::move(*library), llvm::Linker::LinkOnlyNeeded)) {
    module.emitError("the library of functions does not link");
    return nullptr;
  }
  llvm::internalizeModule(*translated, [](const llvm::GlobalValue &value) {
    auto *function = llvm::dyn_cast<llvm::Function>(&value);
    return !function || function->getCallingConv() == llvm::CallingConv::PTX_Kernel;
  });
  return translated;
}

void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::PassBuilder builder(&machine);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graphs;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2).run(module, modules);
}

} // namespace

LogicalResult npuc::cuda::toLlvm(ModuleOp module, unsigned capability, unsigned ptxVersion, Look look) {
  callFunctions(module);
  PassManager passes(module.getContext());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addPass(createSCFToControlFlowPass());
  passes.addPass(createArithToLLVMConversionPass({.indexBitwidth = 32}));
  passes.addPass(createConvertMathToLLVMPass());
  passes.addPass(createConvertControlFlowToLLVMPass({.indexBitwidth = 32}));
  passes.addPass(createReconcileUnrealizedCastsPass());
  if (failed(passes.run(module)))
    return failure();

  static bool initialized = [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    // Addresses of shared memory have 32 bits; LLVM has no other way to say so.
    if (llvm::cl::Option *option = llvm::cl::getRegisteredOptions().lookup("nvptx-short-ptr"))
      static_cast<llvm::cl::opt<bool> *>(option)->setValue(true);
    return true;
  }();
  (void)initialized;
  std::string error;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(llvm::Triple(triple), error);
  if (!target)
    return module.emitError("this LLVM has no NVPTX: ") << error;
  llvm::TargetOptions options;
  // A product and a sum are two roundings, as everywhere in the project.
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(
      llvm::Triple(triple), "sm_" + std::to_string(capability), "+ptx" + std::to_string(ptxVersion), options,
      std::nullopt, std::nullopt, llvm::CodeGenOptLevel::Default));
  llvm::LLVMContext context;
  module->setAttr(
      LLVM::LLVMDialect::getDataLayoutAttrName(),
      StringAttr::get(module.getContext(), machine->createDataLayout().getStringRepresentation()));
  module->setAttr(LLVM::LLVMDialect::getTargetTripleAttrName(), StringAttr::get(module.getContext(), triple));
  std::unique_ptr<llvm::Module> translated = translate(module, context);
  if (!translated)
    return failure();
  optimize(*translated, *machine);
  look(*translated, *machine);
  return success();
}

FailureOr<std::string> npuc::cuda::toPtx(llvm::Module &kernels, llvm::TargetMachine &machine) {
  llvm::SmallVector<char, 0> text;
  llvm::raw_svector_ostream stream(text);
  llvm::legacy::PassManager writer;
  if (machine.addPassesToEmitFile(writer, stream, nullptr, llvm::CodeGenFileType::AssemblyFile))
    return failure();
  writer.run(kernels);
  return std::string(text.begin(), text.end());
}
