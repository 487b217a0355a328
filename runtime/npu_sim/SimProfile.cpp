#include "runtime/npu_sim/SimProfile.h"

#include "runtime/profile/Report.h"
#include "runtime/profile/Trace.h"
#include "support/File.h"

#include <functional>
#include <sstream>

namespace npuc::npu_sim {
namespace {

// What stands in the artifact of what the compiler found and decided.
profile::Facts factsOf(const artifact::EntryPoint &entry) {
  profile::Facts facts;
  const artifact::Statistics &statistics = entry.statistics();
  const timing::LowerBound bound = {statistics.multiply_add_cycles(), statistics.vector_cycles(),
                                    statistics.dram_cycles()};
  if (bound.cycles() > 0)
    facts.lowerBound = bound;
  if (statistics.predicted_cycles() > 0)
    facts.predictedCycles = statistics.predicted_cycles();
  for (const artifact::OperatorPlan &plan : entry.operators())
    facts.plans[plan.name()] = {{plan.groups().begin(), plan.groups().end()},
                                {plan.grid().begin(), plan.grid().end()},
                                {plan.blocks().begin(), plan.blocks().end()},
                                plan.cores(),
                                {plan.tile().begin(), plan.tile().end()},
                                plan.constant_bytes(),
                                plan.dram_read_bytes(),
                                plan.dram_written_bytes(),
                                plan.exchanged_bytes(),
                                plan.predicted_start(),
                                plan.predicted_end()};
  return facts;
}

class SimProfile final : public device::Profile {
public:
  SimProfile(std::shared_ptr<const artifact::Artifact> artifact, size_t entryPoint, timing::Timeline timeline)
      : artifact_(std::move(artifact)), program_(artifact_->program(entryPoint)),
        timeline_(std::move(timeline)),
        report_(profile::makeReport(program_, timeline_, artifact_->target(),
                                    factsOf(artifact_->entryPoint(entryPoint)))) {}

  double cycles() const override { return static_cast<double>(timeline_.cycles); }
  double milliseconds() const override { return timeline_.milliseconds; }
  std::string text() const override { return profile::text(report_); }
  std::string json() const override { return profile::json(report_); }

  bool writeTrace(const std::string &path, Diagnostics &diagnostics) const override {
    return write(path, diagnostics, [&](std::ostream &out) {
      profile::writeTrace(out, program_, timeline_, artifact_->target());
    });
  }

  bool writeReport(const std::string &path, Diagnostics &diagnostics) const override {
    return write(path, diagnostics, [&](std::ostream &out) {
      profile::writeHtml(out, report_, program_, timeline_, artifact_->target());
    });
  }

private:
  static bool write(const std::string &path, Diagnostics &diagnostics,
                    const std::function<void(std::ostream &)> &put) {
    std::ostringstream out;
    put(out);
    return writeFile(path, std::as_bytes(std::span(out.view())), diagnostics);
  }

  std::shared_ptr<const artifact::Artifact> artifact_;
  const isa::Program &program_;
  timing::Timeline timeline_;
  profile::Report report_;
};

} // namespace

std::unique_ptr<device::Profile> makeProfile(std::shared_ptr<const artifact::Artifact> artifact,
                                             size_t entryPoint, timing::Timeline timeline) {
  return std::make_unique<SimProfile>(std::move(artifact), entryPoint, std::move(timeline));
}

} // namespace npuc::npu_sim
