// Binding symbolic dimensions.
#include "compiler/import/Shapes.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::importer;

namespace {

using Dims = std::vector<ModelInput::Dim>;
using Shapes = std::map<std::string, std::vector<int64_t>>;

ModelInput::Dim symbol(std::string name) {
  return {-1, std::move(name)};
}
ModelInput::Dim size(int64_t value) {
  return {value, ""};
}

std::string errorsOf(const std::vector<ModelInput> &inputs, const Shapes &shapes) {
  Diagnostics diagnostics;
  CHECK_FALSE(bindShapes(inputs, shapes, diagnostics));
  return diagnostics.text();
}

const std::vector<ModelInput> decoder = {
    {"ids", "i64", Dims{symbol("batch"), symbol("sequence")}},
    {"past", "f32", Dims{symbol("batch"), size(4), symbol("past"), size(32)}},
    {"mask", "i64", Dims{symbol("batch"), symbol("past + sequence")}}};

} // namespace

TEST_CASE("an input's shape sizes its symbols in other inputs, and expressions follow") {
  Diagnostics diagnostics;
  auto shapes = bindShapes(decoder, {{"ids", {2, 3}}, {"past", {2, 4, 0, 32}}}, diagnostics);
  REQUIRE(shapes);
  CHECK(*shapes == std::vector<std::vector<int64_t>>{{2, 3}, {2, 4, 0, 32}, {2, 3}});
  std::vector<ModelInput> odd = {{"x", "f32", Dims{symbol("n")}},
                                 {"y", "f32", Dims{symbol("(2*n+1)//3 - 1")}}};
  shapes = bindShapes(odd, {{"n", {7}}}, diagnostics);
  REQUIRE(shapes);
  CHECK(*shapes == std::vector<std::vector<int64_t>>{{7}, {4}}); // (2·7 + 1) / 3 - 1 = 4
}

TEST_CASE("every unbound dimension is named, with the flag to add") {
  CHECK(errorsOf(decoder, {{"batch", {1}}}) ==
        "error: input 'ids': dimension 1 ('sequence') has no size: the model declares [batch, sequence]\n"
        "  hint: add --shape sequence=N, or --shape ids=…\n"
        "error: input 'past': dimension 2 ('past') has no size: the model declares [batch, 4, past, 32]\n"
        "  hint: add --shape past=N, or --shape past=…\n"
        "error: input 'mask': dimension 1 ('past + sequence') has no size: the model declares [batch, past + "
        "sequence]\n"
        "  hint: add --shape mask=…\n");
  CHECK(errorsOf({{"x", "f32", Dims{symbol("")}}, {"y", "f32", std::nullopt}}, {}) ==
        "error: input 'x': dimension 0 has no size: the model declares [?]\n"
        "  hint: add --shape x=…\n"
        "error: input 'y': its shape is not known: the model does not declare one\n"
        "  hint: add --shape y=…, for example --shape y=1x128\n");
}

TEST_CASE("shapes that do not fit the model") {
  std::vector<ModelInput> inputs = {{"ids", "i64", Dims{symbol("batch"), size(384)}},
                                    {"mask", "i64", Dims{symbol("batch"), size(384)}}};
  CHECK(errorsOf(inputs, {{"ids", {1, 128}}, {"mask", {2, 384}}}) ==
        "error: --shape ids: dimension 1 cannot be 128: the model declares [batch, 384]\n"
        "error: --shape mask: the symbol 'batch' has two sizes: 2 here and 1 by --shape ids\n");
  CHECK(errorsOf(inputs, {{"idds", {1, 384}}, {"batch", {1}}}) ==
        "error: --shape idds: the model has no input or symbol 'idds': it has ids, mask, batch\n"
        "  hint: did you mean 'ids'?\n");
  CHECK(errorsOf(inputs, {{"ids", {1}}, {"batch", {1}}}) ==
        "error: --shape ids: 1 sizes for an input of rank 2: the model declares [batch, 384]\n");
}
