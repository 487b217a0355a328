#include "tools/npuc/ModelOptions.h"

#include <charconv>

namespace npuc::tool {
namespace {

/// "1x128" as sizes; nothing if it is not of that form.
std::optional<std::vector<int64_t>> parseShape(std::string_view text) {
  std::vector<int64_t> sizes;
  while (true) {
    size_t end = std::min(text.find('x'), text.size());
    int64_t size = -1;
    auto [rest, error] = std::from_chars(text.data(), text.data() + end, size);
    if (error != std::errc() || rest != text.data() + end || size < 0)
      return std::nullopt;
    sizes.push_back(size);
    if (end == text.size())
      return sizes;
    text.remove_prefix(end + 1);
  }
}

} // namespace

void ModelOptions::add(CLI::App &app) {
  app.add_option("MODEL", model, "the model, an .onnx file")->required();
  app.add_option("--shape", shapes,
                 "sizes of an input, NAME=1x128, or of a symbolic dimension, NAME=128; repeatable");
  app.add_option("--threads", compile.threads, "threads to compile and run with")->capture_default_str();
}

void ModelOptions::addTarget(CLI::App &app) {
  app.add_option("--target", compile.target, "a target's name (see npuc targets) or a description's file");
  app.add_option("--target-option", compile.targetOptions,
                 "PATH=VALUE: another value of a field of the description; repeatable");
  app.add_option("--precision", precision, "type of the model's floats: fp16 or bf16")
      ->check(CLI::IsMember(pipeline::precisionNames()));
}

bool ModelOptions::finish(const std::vector<NamedArray> &inputs, Diagnostics &diagnostics) {
  compile.precision = pipeline::precisionFromName(precision);
  for (const std::string &shape : shapes) {
    size_t equals = shape.find('=');
    std::optional<std::vector<int64_t>> sizes =
        equals == std::string::npos ? std::nullopt : parseShape(std::string_view(shape).substr(equals + 1));
    if (!sizes) {
      diagnostics.error("--shape=" + shape, "is not NAME=SIZES",
                        "sizes are numbers with x between, as in 1x128");
      continue;
    }
    compile.shapes[shape.substr(0, equals)] = *sizes;
  }
  for (const NamedArray &input : inputs)
    compile.shapes.try_emplace(input.name, input.array.shape);
  return !diagnostics.hasErrors();
}

} // namespace npuc::tool
