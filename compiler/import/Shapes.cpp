#include "compiler/import/Shapes.h"

#include "compiler/import/Types.h"

#include "llvm/ADT/StringExtras.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <set>

namespace npuc::importer {
namespace {

using Symbols = std::map<std::string, int64_t>;

/// Evaluates an expression over symbols that all have sizes, such as `past + sequence`.
class Expression {
public:
  Expression(const std::string &text, const Symbols &symbols) : text_(text), symbols_(symbols) {}

  std::optional<int64_t> evaluate() {
    std::optional<int64_t> value = sum();
    skipSpace();
    return at_ == text_.size() ? value : std::nullopt;
  }

private:
  void skipSpace() {
    while (at_ < text_.size() && llvm::isSpace(text_[at_]))
      ++at_;
  }

  char operatorFrom(const char *set) {
    skipSpace();
    if (at_ < text_.size() && std::string_view(set).find(text_[at_]) != std::string_view::npos)
      return text_[at_++];
    return 0;
  }

  std::optional<int64_t> sum() {
    std::optional<int64_t> left = product();
    while (char sign = left ? operatorFrom("+-") : 0) {
      std::optional<int64_t> right = product();
      int64_t result;
      if (!right || (sign == '+' ? __builtin_add_overflow(*left, *right, &result)
                                 : __builtin_sub_overflow(*left, *right, &result)))
        return std::nullopt;
      left = result;
    }
    return left;
  }

  std::optional<int64_t> product() {
    std::optional<int64_t> left = atom();
    while (char sign = left ? operatorFrom("*/") : 0) {
      while (sign == '/' && at_ < text_.size() && text_[at_] == '/') // Python's floor division
        ++at_;
      std::optional<int64_t> right = atom();
      int64_t result;
      if (!right || (sign == '*' ? __builtin_mul_overflow(*left, *right, &result) : *right <= 0))
        return std::nullopt;
      left = sign == '*' ? result : *left / *right;
    }
    return left;
  }

  std::optional<int64_t> atom() {
    if (operatorFrom("(")) {
      std::optional<int64_t> inner = depth_++ < 100 ? sum() : std::nullopt;
      --depth_;
      return operatorFrom(")") ? inner : std::nullopt;
    }
    size_t start = at_;
    while (at_ < text_.size() && (llvm::isAlnum(text_[at_]) || text_[at_] == '_' || text_[at_] == '.'))
      ++at_;
    std::string word = text_.substr(start, at_ - start);
    int64_t number;
    if (!llvm::StringRef(word).getAsInteger(10, number))
      return number;
    auto found = symbols_.find(word);
    return found == symbols_.end() ? std::nullopt : std::optional(found->second);
  }

  const std::string &text_;
  const Symbols &symbols_;
  size_t at_ = 0;
  int depth_ = 0;
};

std::string inputWhere(const ModelInput &input) {
  return fmt::format("input '{}'", input.name);
}

/// As the user would write the shape, with the symbols that are left.
std::string spelled(const std::vector<ModelInput::Dim> &dims) {
  std::vector<std::string> parts;
  for (const ModelInput::Dim &dim : dims)
    parts.push_back(dim.size >= 0 ? std::to_string(dim.size) : dim.symbol.empty() ? "?" : dim.symbol);
  return fmt::format("[{}]", fmt::join(parts, ", "));
}

class Binder {
public:
  Binder(const std::vector<ModelInput> &inputs, const std::map<std::string, std::vector<int64_t>> &shapes,
         Diagnostics &diagnostics)
      : inputs_(inputs), shapes_(shapes), diagnostics_(diagnostics) {}

  std::optional<std::vector<std::vector<int64_t>>> run() {
    size_t before = diagnostics_.errorCount();
    for (const auto &[name, shape] : shapes_)
      bindName(name, shape);
    for (const ModelInput &input : inputs_)
      if (auto given = shapes_.find(input.name); given != shapes_.end())
        bindInput(input, given->second);
    std::vector<std::vector<int64_t>> result;
    for (const ModelInput &input : inputs_)
      result.push_back(shapeOf(input));
    return diagnostics_.errorCount() == before ? std::optional(result) : std::nullopt;
  }

private:
  bool isInput(const std::string &name) const {
    return std::any_of(inputs_.begin(), inputs_.end(),
                       [&](const ModelInput &input) { return input.name == name; });
  }

  /// A size for a symbol, or for nothing that there is.
  void bindName(const std::string &name, const std::vector<int64_t> &shape) {
    for (int64_t size : shape)
      if (size < 0)
        diagnostics_.error("--shape " + name, fmt::format("the size {} is negative", size));
    if (isInput(name))
      return;
    std::vector<std::string> known;
    std::set<std::string> symbols;
    for (const ModelInput &input : inputs_) {
      known.push_back(input.name);
      for (const ModelInput::Dim &dim : input.shape.value_or(std::vector<ModelInput::Dim>()))
        if (dim.size < 0 && !dim.symbol.empty())
          symbols.insert(dim.symbol);
    }
    // A symbol inside of an expression is a symbol too.
    bool used = std::any_of(symbols.begin(), symbols.end(), [&](const std::string &symbol) {
      return symbol.find(name) != std::string::npos;
    });
    if (used && shape.size() == 1) {
      bindSymbol(name, shape[0], "--shape " + name);
      return;
    }
    known.insert(known.end(), symbols.begin(), symbols.end());
    std::string best = nearest(name, known);
    diagnostics_.error(
        "--shape " + name,
        used ? "a symbol takes one size" : fmt::format("the model has no input or symbol '{}'", name),
        used ? fmt::format("found {}", shape.size()) : fmt::format("it has {}", fmt::join(known, ", ")),
        best.empty() || used ? "" : fmt::format("did you mean '{}'?", best));
  }

  void bindSymbol(const std::string &symbol, int64_t size, const std::string &source) {
    auto [entry, isNew] = symbols_.try_emplace(symbol, size);
    if (isNew)
      sources_[symbol] = source;
    else if (entry->second != size)
      diagnostics_.error(source, fmt::format("the symbol '{}' has two sizes", symbol),
                         fmt::format("{} here and {} by {}", size, entry->second, sources_[symbol]));
  }

  void bindInput(const ModelInput &input, const std::vector<int64_t> &shape) {
    if (!input.shape)
      return;
    const std::vector<ModelInput::Dim> &dims = *input.shape;
    if (dims.size() != shape.size()) {
      diagnostics_.error("--shape " + input.name,
                         fmt::format("{} sizes for an input of rank {}", shape.size(), dims.size()),
                         fmt::format("the model declares {}", spelled(dims)));
      return;
    }
    for (size_t d = 0; d < dims.size(); ++d) {
      if (dims[d].size >= 0 && dims[d].size != shape[d])
        diagnostics_.error("--shape " + input.name, fmt::format("dimension {} cannot be {}", d, shape[d]),
                           fmt::format("the model declares {}", spelled(dims)));
      if (dims[d].size < 0 && !dims[d].symbol.empty())
        bindSymbol(dims[d].symbol, shape[d], "--shape " + input.name);
    }
  }

  std::vector<int64_t> shapeOf(const ModelInput &input) {
    if (auto given = shapes_.find(input.name); given != shapes_.end())
      return given->second;
    if (!input.shape) {
      diagnostics_.error(
          inputWhere(input), "its shape is not known", "the model does not declare one",
          fmt::format("add --shape {}=…, for example --shape {}=1x128", input.name, input.name));
      return {};
    }
    std::vector<int64_t> shape;
    for (size_t d = 0; d < input.shape->size(); ++d) {
      const ModelInput::Dim &dim = (*input.shape)[d];
      std::optional<int64_t> size = dim.size >= 0 ? dim.size : Expression(dim.symbol, symbols_).evaluate();
      if (!size || *size < 0)
        reportUnbound(input, d, size);
      shape.push_back(size.value_or(0));
    }
    return shape;
  }

  /// A symbol once, where it stands first.
  void reportUnbound(const ModelInput &input, size_t d, std::optional<int64_t> size) {
    const ModelInput::Dim &dim = (*input.shape)[d];
    if (!dim.symbol.empty() && !reported_.insert(dim.symbol).second)
      return;
    std::string why = fmt::format("the model declares {}", spelled(*input.shape));
    std::string whole = fmt::format("--shape {}=…", input.name);
    bool isName = !dim.symbol.empty() &&
                  dim.symbol.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                               "0123456789_.") == std::string::npos;
    if (size)
      diagnostics_.error(inputWhere(input),
                         fmt::format("dimension {} ('{}') would be {}", d, dim.symbol, *size), why);
    else
      diagnostics_.error(inputWhere(input),
                         dim.symbol.empty() ? fmt::format("dimension {} has no size", d)
                                            : fmt::format("dimension {} ('{}') has no size", d, dim.symbol),
                         why,
                         isName ? fmt::format("add --shape {}=N, or {}", dim.symbol, whole) : "add " + whole);
  }

  const std::vector<ModelInput> &inputs_;
  const std::map<std::string, std::vector<int64_t>> &shapes_;
  Diagnostics &diagnostics_;
  Symbols symbols_;
  std::map<std::string, std::string> sources_;
  std::set<std::string> reported_;
};

} // namespace

ModelInput describeInput(const onnx::ValueInfoProto &input) {
  ModelInput result;
  result.name = input.name();
  const onnx::TypeProto::Tensor &tensor = input.type().tensor_type();
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  if (mlir::Type element = elementType(tensor.elem_type(), &context)) {
    llvm::raw_string_ostream(result.type) << element;
  } else {
    result.type = onnxTypeName(tensor.elem_type());
  }
  if (!tensor.has_shape())
    return result;
  result.shape.emplace();
  for (const auto &dim : tensor.shape().dim())
    result.shape->push_back(
        {dim.has_dim_value() && dim.dim_value() >= 0 ? dim.dim_value() : -1, dim.dim_param()});
  return result;
}

std::vector<const onnx::ValueInfoProto *> realInputs(const onnx::GraphProto &graph) {
  std::set<std::string> initialized;
  for (const onnx::TensorProto &tensor : graph.initializer())
    initialized.insert(tensor.name());
  std::vector<const onnx::ValueInfoProto *> inputs;
  for (const onnx::ValueInfoProto &input : graph.input())
    if (!initialized.contains(input.name()))
      inputs.push_back(&input);
  return inputs;
}

std::optional<std::vector<std::vector<int64_t>>>
bindShapes(const std::vector<ModelInput> &inputs, const std::map<std::string, std::vector<int64_t>> &shapes,
           Diagnostics &diagnostics) {
  return Binder(inputs, shapes, diagnostics).run();
}

} // namespace npuc::importer
