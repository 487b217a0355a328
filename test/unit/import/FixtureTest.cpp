// Whole exported graphs, without their weights: everything in them imports, and nothing that computes shapes
// is left.
#include "compiler/interpret/Evaluate.h"
#include "test/unit/import/TextModel.h"

#include "dialects/nn/IR/NN.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::importer;

namespace {

using Shapes = std::map<std::string, std::vector<int64_t>>;

struct Fixture {
  const char *graph;
  const char *data;
  Shapes shapes;
  size_t linears; ///< Multiplications by a matrix of weights: layers times those of one layer, and the rest.
  /// Operations on integers that stay because data goes into them.
  size_t integers = 0;
};

const Shapes bert = {{"input_ids", {2, 16}}};
Shapes decoder(int64_t past) {
  return {{"batch_size", {2}},
          {"sequence_length", {5}},
          {"past_sequence_length", {past}},
          {"total_sequence_length", {past + 5}}};
}

const Fixture fixtures[] = {
    // Query, key, value, output and two of the MLP; pooler and classifier.
    {"bert-tiny-cls-eager-ts11/model.onnx", "model.onnx.data", bert, 2 * 6 + 2},
    {"bert-tiny-cls-ts/model.onnx", "model.onnx.data", bert, 2 * 6 + 2},
    {"bert-tiny-cls-dynamo23/model.onnx", "model.onnx.data", bert, 2 * 6 + 2},
    {"minilm/model-ts17.onnx", "model.safetensors", bert, 6 * 6},
    {"minilm/model-dynamo20.onnx", "model.safetensors", bert, 6 * 6},
    // Query, key and value are one; then the output and two of the MLP; the output layer.
    {"gpt2-tiny-ts/model.onnx", "model.onnx.data", decoder(0), 3 * 4 + 1},
    {"gpt2-tiny-dynamo/model.onnx", "model.onnx.data", decoder(7), 3 * 4 + 1},
    // A gated MLP has three.
    {"llama-tiny-ts/model.onnx", "model.onnx.data", decoder(7), 3 * 7 + 1},
    {"llama-tiny-dynamo/model.onnx", "model.onnx.data", decoder(0), 3 * 7 + 1},
    {"llama-tiny-dynamo23/model.onnx", "model.onnx.data", decoder(7), 3 * 7 + 1},
    {"t5-tiny-encoder-ts/model.onnx", "model.onnx.data", bert, 2 * 7},
    // Self attention has four, cross attention two (its keys and values are cached).
    {"t5-tiny-decoder-with-past-ts/model.onnx",
     "model.onnx.data",
     {{"batch", {2}}, {"encoder_sequence", {6}}, {"past_decoder_sequence", {4}}},
     2 * (4 + 2 + 3) + 1},
    {"vit-tiny-ts/model.onnx", "model.onnx.data", {{"batch", {2}}}, 3 * 6 + 1},
    {"vit-tiny-dynamo/model.onnx", "model.onnx.data", {{"batch", {2}}}, 3 * 6 + 1},
    // The place of each text's last token, an argmax, is joined with the text's index.
    {"clip-text-tiny-dynamo/model.onnx", "model.onnx.data", bert, 2 * 6 + 1, 1},
    {"whisper-tiny-encoder-ts/model.onnx", "model.onnx.data", {{"batch", {1}}}, 4 * 6},
};

} // namespace

TEST_CASE("exported graphs import whole, with all shape arithmetic gone") {
  ThreadPool pool(1);
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  for (const Fixture &fixture : fixtures) {
    CAPTURE(fixture.graph);
    Folder folder;
    std::filesystem::copy_file(std::string(NPUC_SOURCE_DIR) + "/test/models/" + fixture.graph,
                               folder.file("model.onnx"));
    // Weights are not read: a file of holes has the right length.
    folder.write(fixture.data, "");
    std::filesystem::resize_file(folder.file(fixture.data), 100 << 20);
    Diagnostics diagnostics;
    ImportOptions options;
    options.shapes = fixture.shapes;
    options.evaluator = interpret::foldingEvaluator(pool);
    auto module = importModel(folder.file("model.onnx"), options, context, diagnostics);
    CHECK(diagnostics.text() == "");
    REQUIRE(module);
    size_t linears = 0, integers = 0;
    module->walk([&](mlir::Operation *operation) {
      linears += mlir::isa<nn::LinearOp>(operation);
      // Arithmetic on integers is arithmetic on shapes or positions that depend on no data.
      integers +=
          mlir::isa<nn::AddOp, nn::MulOp, nn::SubOp, nn::DivOp, nn::ConcatOp, nn::RangeOp>(operation) &&
          mlir::cast<mlir::RankedTensorType>(operation->getResult(0).getType())
              .getElementType()
              .isInteger(64);
    });
    CHECK(linears == fixture.linears);
    CHECK(integers == fixture.integers);
  }
}
