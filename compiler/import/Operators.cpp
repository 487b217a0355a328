#include "compiler/import/Operators.h"

#include "compiler/import/Handlers.h"
#include "compiler/import/Opsets.h"

#include <map>
#include <onnx/defs/schema.h>
#include <set>

namespace npuc::importer {
namespace {

using Schemas = std::map<std::pair<std::string, std::string>, const onnx::OpSchema *>;

/// The newest form of each operator of ai.onnx.
Schemas newestSchemas() {
  Schemas schemas;
  for (const onnx::OpSchema &schema : onnx::OpSchemaRegistry::get_all_schemas())
    if (schema.domain().empty())
      if (const onnx::OpSchema *newest = onnx::OpSchemaRegistry::Schema(schema.Name(), newestOpset, "");
          newest && !newest->Deprecated())
        schemas[{"", schema.Name()}] = newest;
  return schemas;
}

class Bodies {
public:
  explicit Bodies(const Schemas &schemas) : schemas_(schemas) {}

  /// Whether every node of the function's body imports. Bodies that depend on types are taken to.
  bool importable(const onnx::OpSchema &schema) {
    if (schema.HasContextDependentFunction())
      return true;
    const onnx::FunctionProto *body = schema.HasFunction() ? schema.GetFunction(newestOpset) : nullptr;
    if (!body || !open_.insert(&schema).second)
      return false;
    bool good = true;
    for (const onnx::NodeProto &node : body->node()) {
      auto found = schemas_.find({node.domain(), node.op_type()});
      good = good && found != schemas_.end() &&
             (importsWithoutHandler(node.op_type()) ||
              findHandler("", node.op_type(), found->second->SinceVersion()) || importable(*found->second));
    }
    open_.erase(&schema);
    return good;
  }

private:
  const Schemas &schemas_;
  std::set<const onnx::OpSchema *> open_;
};

} // namespace

std::vector<ImportedOperator> importedOperators() {
  std::map<std::pair<std::string, std::string>, ImportedOperator> found;
  auto entry = [&](std::string domain, std::string_view name) -> ImportedOperator & {
    ImportedOperator &one = found[{domain, std::string(name)}];
    one.domain = domain;
    one.name = name;
    return one;
  };
  for (auto [domain, spelled] : {std::pair("", "ai.onnx"), std::pair("com.microsoft", "com.microsoft")})
    for (const HandlerRow &row : handlers(domain)) {
      ImportedOperator &one = entry(spelled, row.operation);
      one.first = one.first ? std::min(one.first, row.first) : row.first;
      one.last = std::max(one.last, row.last);
    }
  Schemas schemas = newestSchemas();
  Bodies bodies(schemas);
  for (const auto &[key, schema] : schemas) {
    if (importsWithoutHandler(key.second)) {
      ImportedOperator &one = entry("ai.onnx", key.second);
      one.first = 1;
      one.last = newestOpset;
    } else if (bodies.importable(*schema)) {
      entry("ai.onnx", key.second).byFunctionBody = true;
    }
  }
  std::vector<ImportedOperator> result;
  for (auto &[key, one] : found)
    result.push_back(std::move(one));
  return result;
}

} // namespace npuc::importer
