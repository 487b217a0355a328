#include "test/conformance/OnnxTest.h"
#include "test/conformance/TestData.h"

#include "compiler/interpret/Elements.h"
#include "compiler/pipeline/Check.h"
#include "compiler/pipeline/Compile.h"
#include "runtime/cuda/Simulated.h"
#include "runtime/device/Runtime.h"
#include "runtime/npu_sim/NpuSim.h"

#include <cstring>
#include <fmt/format.h>

namespace npuc::conformance {
namespace {

namespace fs = std::filesystem;

/// Floats are stored in 16 bits: an error of 2^-8 of the greatest value in bf16, a few times over.
constexpr Tolerance tolerance{.ofGreatest = 1e-2}, tolerance8Bits{.ofGreatest = 3e-2};

std::string message(const Diagnostics &diagnostics) {
  if (diagnostics.all().empty())
    return "an error without a message";
  // All errors of a cause are alike, and the file's own name is not what is wrong.
  Diagnostics first;
  first.add(diagnostics.all().front());
  return oneLine(first.text());
}

class CompiledRunner : public DataSetRunner {
public:
  explicit CompiledRunner(std::string target) : target_(std::move(target)) {
    Diagnostics diagnostics;
    auto options = std::make_shared<device::Options>();
    options->threads = 1;
    options->checks = true;
    deviceOptions_ = options;
    npu_ = npu_sim::createDevice(*options, diagnostics);
    gpu_ = cuda::createPtxSim(*options, diagnostics);
    // Constants of the model are written into a copy of it.
    std::string pattern = fs::temp_directory_path() / "npuc-conformance-XXXXXX";
    scratch_ = mkdtemp(pattern.data());
  }
  ~CompiledRunner() override { fs::remove_all(scratch_); }

private:
  std::string runSet(const TestModel &model, const fs::path &data, Constants constants, bool &imported,
                     bool &refused) override {
    imported = refused = false;
    mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
    auto inputs = readTensors(data, "input", model.inputs, context),
         outputs = readTensors(data, "output", model.outputs, context);
    if (!inputs || !outputs)
      return "the data has a type that nn lacks";
    onnx::ModelProto proto = model.proto;
    auto &declared = *proto.mutable_graph()->mutable_input();
    pipeline::CheckOptions check;
    check.targets = {target_};
    check.threads = 1;
    std::map<std::string, const NamedTensor *> arguments;
    for (const NamedTensor &input : *inputs) {
      if (!isConstant(constants, input.value)) {
        check.shapes[input.name] = input.value.getType().getShape().vec();
        arguments[input.name] = &input;
        continue;
      }
      *proto.mutable_graph()->add_initializer() = input.proto;
      for (int i = 0; i < declared.size(); ++i)
        if (declared[i].name() == input.name)
          declared.DeleteSubrange(i--, 1);
    }
    fs::path path = scratch_ / "model.onnx";
    {
      std::ofstream out(path, std::ios::binary);
      proto.SerializeToOstream(&out);
    }
    Diagnostics found;
    std::optional<pipeline::CheckReport> report = pipeline::check(path, check, found);
    if (!report) {
      refused = true;
      return message(found);
    }
    imported = true;
    pipeline::Options options;
    options.target = target_;
    options.shapes = check.shapes;
    options.threads = 1;
    Diagnostics errors;
    std::unique_ptr<pipeline::Compilation> compilation = pipeline::Compilation::import(path, options, errors);
    std::optional<std::string> artifact;
    if (compilation && compilation->lowerTo(compilation->programLevel(), errors))
      artifact = compilation->encode(true, errors);
    refused = true;
    if (report->targets.front().runs() != artifact.has_value())
      return fmt::format("'npuc check' says that it {}, but: {}", artifact ? "does not compile" : "compiles",
                         artifact ? "it does" : message(errors));
    if (!artifact)
      return message(errors);
    compilation.reset();
    const Tolerance &allowed = report->targets.front().precision == "bf16" ? tolerance8Bits : tolerance;
    return simulate(*artifact, arguments, *outputs, allowed, refused);
  }

  std::string simulate(const std::string &encoded,
                       const std::map<std::string, const NamedTensor *> &arguments,
                       const std::vector<NamedTensor> &outputs, const Tolerance &allowed, bool &refused) {
    // As npurt asks for.
    std::vector<std::byte> memory(encoded.size() + 64);
    std::byte *aligned = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
    std::memcpy(aligned, encoded.data(), encoded.size());
    Diagnostics diagnostics;
    auto artifact = artifact::Artifact::fromMemory({aligned, encoded.size()}, "the model", diagnostics);
    auto session =
        artifact ? runtime::Session::create(artifact->target().has_gpu() ? gpu_ : npu_, deviceOptions_,
                                            std::make_shared<runtime::Program>(artifact, 0), diagnostics)
                 : nullptr;
    refused = true;
    if (!session)
      return message(diagnostics);
    std::vector<Array> arrays;
    arrays.reserve(arguments.size() + outputs.size());
    const auto &wanted = session->program().tensors(runtime::Role::Input);
    for (size_t i = 0; i < wanted.size(); ++i) {
      auto given = arguments.find(wanted[i].name);
      if (given == arguments.end())
        return fmt::format("input '{}' is not one of the model's", wanted[i].name);
      arrays.push_back(interpret::toArray(interpret::fromElements(given->second->value)));
      if (arrays.back().type != wanted[i].type)
        return fmt::format("input '{}' is {}, which the model declares as {}", wanted[i].name,
                           wanted[i].describe(), name(arrays.back().type));
      if (!session->bind(runtime::Role::Input, i, arrays.back().data, nullptr, diagnostics))
        return message(diagnostics);
    }
    const auto &results = session->program().tensors(runtime::Role::Output);
    if (results.size() != outputs.size())
      return fmt::format("{} outputs instead of {}", results.size(), outputs.size());
    std::vector<Array *> bound;
    for (size_t i = 0; i < results.size(); ++i) {
      arrays.push_back({results[i].type, results[i].shape, std::vector<std::byte>(results[i].bytes)});
      bound.push_back(&arrays.back());
      if (!session->bind(runtime::Role::Output, i, arrays.back().data, nullptr, diagnostics))
        return message(diagnostics);
    }
    refused = false; // What a simulator finds in a run is as wrong as other numbers are.
    if (!session->run(diagnostics))
      return message(diagnostics);
    for (size_t i = 0; i < results.size(); ++i)
      if (std::string what = difference(interpret::fromArray(*bound[i]),
                                        interpret::fromElements(outputs[i].value), allowed, pool);
          !what.empty())
        return fmt::format("output '{}': {}", outputs[i].name, what);
    return "";
  }

  std::string target_;
  std::shared_ptr<const device::Options> deviceOptions_;
  std::shared_ptr<device::Device> npu_, gpu_; ///< Simulators.
  fs::path scratch_;
};

} // namespace

std::unique_ptr<Runner> compiledRunner(std::string target) {
  return std::make_unique<CompiledRunner>(std::move(target));
}

} // namespace npuc::conformance
