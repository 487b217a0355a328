// Einsum, as transposes around one batched matmul per pair of operands.
#include "compiler/import/Handlers.h"

#include "llvm/ADT/StringExtras.h"

#include <map>

namespace npuc::importer::compute {
namespace {

using namespace mlir;

/// A tensor whose dimensions have labels; `...` has become capital pseudo-labels below 'A'.
struct Labelled {
  Value value;
  std::string labels;
};

using Sizes = std::map<char, int64_t>;

/// The labels of `text`, an ellipsis replaced by one label for each of `count` dimensions, numbered from the
/// right.
std::string expandEllipsis(Node &node, std::string text, int64_t count) {
  size_t at = text.find("...");
  if (at == std::string::npos)
    return text;
  std::string labels;
  for (int64_t i = count; i-- > 0;)
    labels += static_cast<char>('0' + i);
  if (count > 10)
    node.fail("an ellipsis of more than 10 dimensions is not supported");
  return text.replace(at, 3, labels);
}

void checkLabels(Node &node, StringRef labels) {
  for (char label : labels)
    if (!llvm::isAlnum(label))
      node.fail("the equation has an unexpected '" + Twine(label) + "'");
  for (size_t i = 0; i < labels.size(); ++i)
    if (labels.substr(i + 1).contains(labels[i]))
      node.fail("'" + labels + "' takes a diagonal, which is not supported");
}

/// `tensor` without the dimensions that `keep` does not have: summed.
Labelled sumAway(Node &node, Labelled tensor, llvm::function_ref<bool(char)> keep) {
  Ints axes;
  std::string kept;
  for (auto [i, label] : llvm::enumerate(tensor.labels))
    if (keep(label))
      kept += label;
    else
      axes.push_back(static_cast<int64_t>(i));
  if (axes.empty())
    return tensor;
  return {node.reduce(nn::ReduceKind::Sum, tensor.value, axes, false), kept};
}

Value arrange(Node &node, const Labelled &tensor, StringRef order) {
  Ints permutation;
  for (char label : order)
    permutation.push_back(static_cast<int64_t>(tensor.labels.find(label)));
  return node.transpose(tensor.value, permutation);
}

int64_t product(StringRef labels, const Sizes &sizes) {
  int64_t count = 1;
  for (char label : labels)
    count *= sizes.at(label);
  return count;
}

/// The contraction of two tensors over the labels that both have and that `keep` does not.
Labelled contract(Node &node, Labelled a, Labelled b, const Sizes &sizes,
                  llvm::function_ref<bool(char)> keep) {
  auto inB = [&](char label) { return b.labels.find(label) != std::string::npos; };
  auto inA = [&](char label) { return a.labels.find(label) != std::string::npos; };
  a = sumAway(node, a, [&](char label) { return keep(label) || inB(label); });
  b = sumAway(node, b, [&](char label) { return keep(label) || inA(label); });
  std::string batch, rows, columns, summed;
  for (char label : a.labels)
    (inB(label) ? keep(label) ? batch : summed : rows) += label;
  for (char label : b.labels)
    if (!inA(label))
      columns += label;
  Ints shape;
  for (char label : batch)
    shape.push_back(sizes.at(label));
  auto matrix = [&](StringRef first, StringRef second) {
    Ints result = shape;
    result.append({product(first, sizes), product(second, sizes)});
    return result;
  };
  Value lhs = node.reshape(arrange(node, a, batch + rows + summed), matrix(rows, summed));
  Value rhs = node.reshape(arrange(node, b, batch + summed + columns), matrix(summed, columns));
  for (char label : rows + columns)
    shape.push_back(sizes.at(label));
  return {node.reshape(node.make<nn::MatmulOp>({lhs, rhs}), shape), batch + rows + columns};
}

/// The operands' labels and the result's, from "ij,jk->ik"; without an arrow the result has the labels that
/// stand once, in order, after the ellipsis.
std::pair<SmallVector<std::string>, std::string> parse(Node &node) {
  std::string equation = node.text("equation", "");
  llvm::erase(equation, ' ');
  size_t arrow = equation.find("->");
  SmallVector<StringRef> terms;
  StringRef(equation).substr(0, arrow).split(terms, ',');
  if (terms.size() != node.inputCount())
    node.fail("the equation has " + Twine(terms.size()) + " terms for " + Twine(node.inputCount()) +
              " operands");
  SmallVector<std::string> operands;
  int64_t widest = 0;
  for (auto [i, term] : llvm::enumerate(terms)) {
    bool open = term.contains("...");
    int64_t rest = node.type(i).getRank() - static_cast<int64_t>(term.size()) + (open ? 3 : 0);
    if (rest < 0 || (!open && rest != 0))
      node.fail("'" + term + "' does not fit an operand of rank " + Twine(node.type(i).getRank()));
    widest = std::max(widest, rest);
    operands.push_back(expandEllipsis(node, term.str(), rest));
  }
  std::string result = expandEllipsis(node, "...", widest);
  if (arrow != std::string::npos)
    return {operands, expandEllipsis(node, equation.substr(arrow + 2), widest)};
  std::map<char, int> counts;
  for (const std::string &labels : operands)
    for (char label : labels)
      ++counts[label];
  for (auto [label, count] : counts)
    if (count == 1 && !llvm::isDigit(label))
      result += label;
  return {operands, result};
}

} // namespace

void einsum(Node &node) {
  auto [terms, result] = parse(node);
  Sizes sizes;
  SmallVector<Labelled> tensors;
  checkLabels(node, result);
  for (auto [i, labels] : llvm::enumerate(terms)) {
    checkLabels(node, labels);
    for (auto [label, size] : llvm::zip(labels, node.type(i).getShape())) {
      int64_t &known = sizes.try_emplace(label, 1).first->second;
      if (known != 1 && size != 1 && known != size)
        node.fail("label '" + Twine(label) + "' has sizes " + Twine(known) + " and " + Twine(size));
      known = size == 1 ? known : size;
    }
  }
  for (char label : result)
    if (!sizes.contains(label))
      node.fail("label '" + Twine(label) + "' of the result stands in no operand");
  for (auto [i, labels] : llvm::enumerate(terms)) {
    Ints shape;
    for (char label : labels)
      shape.push_back(sizes.at(label));
    tensors.push_back({node.broadcast(node.input(i), shape), labels});
  }
  Labelled all = tensors[0];
  for (size_t i = 1; i < tensors.size(); ++i) {
    auto keep = [&](char label) {
      return result.find(label) != std::string::npos ||
             llvm::any_of(ArrayRef(tensors).drop_front(i + 1),
                          [&](const Labelled &t) { return t.labels.find(label) != std::string::npos; });
    };
    all = contract(node, all, tensors[i], sizes, keep);
  }
  all = sumAway(node, all, [&](char label) { return result.find(label) != std::string::npos; });
  node.result(0, arrange(node, all, result));
}

} // namespace npuc::importer::compute
