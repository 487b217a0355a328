// Runs an artifact once with inputs that are all zero, prints each output's first bytes, and how long it
// takes on the machine.
#include <npurt.hpp>

#include <cstdio>

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: embed FILE.npa\n");
    return 2;
  }
  try {
    npurt::Device device("npu-sim");
    npurt::Artifact artifact(argv[1]);
    npurt::Session session(device, artifact.program());

    std::vector<std::vector<unsigned char>>
        memory; // bound where it lies: inner vectors do not move their bytes
    for (npurt::Role role : {npurt::Role::Input, npurt::Role::Output}) {
      std::size_t index = 0;
      for (const npurt::Tensor &tensor : session.program().tensors(role)) {
        memory.emplace_back(tensor.bytes);
        session.bind(role, index++, memory.back().data(), memory.back().size());
      }
    }
    std::size_t index = 0;
    for (const npurt::Register &reg : session.program().registers())
      session.setRegister(index++, reg.greatest);
    session.run();

    std::size_t output = session.program().tensors(npurt::Role::Input).size();
    for (const npurt::Tensor &tensor : session.program().tensors(npurt::Role::Output)) {
      std::printf("%s %s:", tensor.name.c_str(), npurt::name(tensor.type).c_str());
      for (std::size_t i = 0; i < tensor.bytes && i < 8; ++i)
        std::printf(" %02x", memory[output][i]);
      std::printf("\n");
      ++output;
    }
    std::printf("%.0f cycles\n", session.time().cycles());
  } catch (const npurt::Error &error) {
    std::fputs(error.what(), stderr);
    return 1;
  }
}
