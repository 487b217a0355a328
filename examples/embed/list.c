/* Lists what an artifact takes and gives. */
#include <npurt.h>

#include <stdio.h>

static int list(const npurt_program *program, npurt_role role, const char *label) {
  size_t i;
  uint32_t d;
  npurt_tensor tensor;
  for (i = 0; i < npurt_program_tensor_count(program, role); ++i) {
    if (npurt_program_tensor(program, role, i, &tensor) != NPURT_OK)
      return 1;
    printf("%s %s %s[", label, tensor.name, npurt_type_name(tensor.type));
    for (d = 0; d < tensor.rank; ++d)
      printf("%s%lld", d ? "x" : "", (long long)tensor.shape[d]);
    printf("]\n");
  }
  return 0;
}

int main(int argc, char **argv) {
  npurt_artifact *artifact = NULL;
  npurt_program *program = NULL;
  int failed = argc != 2 || npurt_artifact_open(argv[1], &artifact) != NPURT_OK ||
               npurt_artifact_program(artifact, NULL, &program) != NPURT_OK ||
               list(program, NPURT_INPUT, "input") || list(program, NPURT_OUTPUT, "output") ||
               list(program, NPURT_STATE, "state");
  if (failed)
    fputs(argc == 2 ? npurt_last_error() : "usage: list FILE.npa\n", stderr);
  npurt_program_release(program);
  npurt_artifact_release(artifact);
  return failed;
}
