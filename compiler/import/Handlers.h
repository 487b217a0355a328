// The operators that import directly, one table for all of them; a file for each family has the functions.
#pragma once

#include "compiler/import/Node.h"

#include <string_view>

namespace npuc::importer {

/// Builds what `node` means and sets its results. Fails and declines by throwing, see Node.
using Handler = void (*)(Node &node);

/// A range of versions of one operator.
struct HandlerRow {
  std::string_view operation;
  /// The first and last since_version that the handler understands; a newer version of an operator is not
  /// guessed at.
  int first, last;
  Handler handler;
};

/// The rows of `domain` ("" is ai.onnx) in order of the operator's name. Domains: "", "com.microsoft".
ArrayRef<HandlerRow> handlers(std::string_view domain);

/// The handler of the operator `operation` whose schema has this since_version (1 where there is no schema);
/// null if there is none.
Handler findHandler(std::string_view domain, std::string_view operation, int sinceVersion);

// Families. Each names its functions after the operators.
namespace elementwise {
void neg(Node &), abs(Node &), sign(Node &), relu(Node &), logicalNot(Node &), exp(Node &), log(Node &),
    sqrt(Node &), reciprocal(Node &), sin(Node &), cos(Node &), tanh(Node &), erf(Node &), sigmoid(Node &),
    softplus(Node &), floor(Node &), ceil(Node &), round(Node &), gelu(Node &), elu(Node &), swish(Node &),
    isNan(Node &), isInf(Node &), cast(Node &), castLike(Node &), leakyRelu(Node &), hardSigmoid(Node &),
    selu(Node &), prelu(Node &), softsign(Node &), thresholdedRelu(Node &);
void add(Node &), sub(Node &), mul(Node &), div(Node &), pow(Node &), mod(Node &), max(Node &), min(Node &),
    sum(Node &), mean(Node &), logicalAnd(Node &), logicalOr(Node &), logicalXor(Node &), bitShift(Node &),
    clip(Node &);
void equal(Node &), less(Node &), lessOrEqual(Node &), greater(Node &), greaterOrEqual(Node &), where(Node &);
} // namespace elementwise

namespace movement {
void identity(Node &), dropout(Node &), reshape(Node &), flatten(Node &), squeeze(Node &), unsqueeze(Node &),
    transpose(Node &), expand(Node &), tile(Node &), slice(Node &), split(Node &), concat(Node &),
    pad(Node &), gather(Node &), gatherElements(Node &), gatherNd(Node &), scatterElements(Node &),
    scatterNd(Node &), trilu(Node &), depthToSpace(Node &), spaceToDepth(Node &), resize(Node &);
} // namespace movement

namespace shape {
void shape(Node &), size(Node &), constantOfShape(Node &), range(Node &), oneHot(Node &), eyeLike(Node &),
    nonZero(Node &);
} // namespace shape

namespace compute {
void matMul(Node &), gemm(Node &), einsum(Node &), conv(Node &), convTranspose(Node &), maxPool(Node &),
    averagePool(Node &), globalMaxPool(Node &), globalAveragePool(Node &);
void reduceSum(Node &), reduceMean(Node &), reduceMax(Node &), reduceMin(Node &), reduceProd(Node &),
    reduceL1(Node &), reduceL2(Node &), reduceLogSum(Node &), reduceLogSumExp(Node &),
    reduceSumSquare(Node &), argMax(Node &), argMin(Node &), topK(Node &), cumSum(Node &);
} // namespace compute

namespace norm {
void softmax(Node &), softmaxFlattened(Node &), logSoftmax(Node &), logSoftmaxFlattened(Node &),
    layerNormalization(Node &), rmsNormalization(Node &), groupNormalization(Node &),
    instanceNormalization(Node &), batchNormalization(Node &), lpNormalization(Node &);
} // namespace norm

namespace attention {
void attention(Node &), rotaryEmbedding(Node &);
} // namespace attention

namespace quantization {
void quantizeLinear(Node &), dequantizeLinear(Node &), matMulInteger(Node &), convInteger(Node &),
    qLinearMatMul(Node &), qLinearConv(Node &);
} // namespace quantization

/// The operators of domain com.microsoft that onnxruntime's optimizer writes.
namespace microsoft {
void fusedMatMul(Node &), fastGelu(Node &), biasGelu(Node &), quickGelu(Node &), biasSplitGelu(Node &),
    fusedGemm(Node &), fusedConv(Node &), skipLayerNormalization(Node &),
    skipSimplifiedLayerNormalization(Node &), simplifiedLayerNormalization(Node &),
    embedLayerNormalization(Node &);
void attention(Node &), multiHeadAttention(Node &), groupQueryAttention(Node &), rotaryEmbedding(Node &);
void qLinearAdd(Node &), qLinearMul(Node &), qLinearSigmoid(Node &), qLinearLeakyRelu(Node &),
    qLinearSoftmax(Node &), qLinearConcat(Node &), qLinearConv(Node &), qLinearAveragePool(Node &),
    qLinearGlobalAveragePool(Node &), qLinearReduceMean(Node &), qLinearWhere(Node &), qGemm(Node &),
    qAttention(Node &), matMulNBits(Node &), gatherBlockQuantized(Node &), dynamicQuantizeMatMul(Node &),
    matMulIntegerToFloat(Node &);
} // namespace microsoft

} // namespace npuc::importer
