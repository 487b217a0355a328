// What must hold of a description beyond the JSON it was read from.
#pragma once

#include "backends/npu/target/Report.h"
#include "backends/npu/target/target.pb.h"

namespace npuc::target {

/// Ranges, choices, required groups and lists, unique keys: what a reader of JSON checks while it reads.
void checkFields(const TargetDescription &description, Report &report);

/// What relates fields to each other. Says nothing about fields that the report knows to be wrong.
void checkRelations(const TargetDescription &description, Report &report);

/// Every figure has one source; every source names figures and says what its grade asks for.
void checkProvenance(const TargetDescription &description, Report &report);

/// The entry that applies to a figure: the one with the longest path around it; null if there is none.
const Provenance *provenanceOf(const TargetDescription &description, const std::string &path);
bool isAssumed(Provenance::Grade grade);

} // namespace npuc::target
