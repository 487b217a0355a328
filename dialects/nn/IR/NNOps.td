//===- NNOps.td - all operations of the nn dialect ===//
#ifndef NPUC_DIALECTS_NN_IR_NNOPS_TD
#define NPUC_DIALECTS_NN_IR_NNOPS_TD

include "dialects/nn/IR/NNPointwise.td"
include "dialects/nn/IR/NNMovement.td"
include "dialects/nn/IR/NNCompute.td"

#endif // NPUC_DIALECTS_NN_IR_NNOPS_TD
