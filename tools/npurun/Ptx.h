// npurun ptx: runs a kernel of a PTX file.
#pragma once

namespace npuc::tool {

/// `argv` begins with the word "ptx". The exit code.
int runPtx(int argc, char **argv);

} // namespace npuc::tool
