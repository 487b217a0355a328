// Operators of com.microsoft that choose, reduce and look up integers.
#pragma once

#include "compiler/import/Node.h"

namespace npuc::importer::microsoft {

void qLinearWhere(Node &), qLinearReduceMean(Node &), gatherBlockQuantized(Node &);

} // namespace npuc::importer::microsoft
