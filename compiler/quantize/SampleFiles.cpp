#include "compiler/quantize/SampleFiles.h"

#include "compiler/interpret/Interpreter.h"
#include "support/ArrayFile.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <numeric>

namespace npuc::quantize {
namespace {

using Shape = std::vector<int64_t>;

std::string shapeText(const Shape &shape) {
  std::vector<std::string> sizes;
  for (int64_t size : shape)
    sizes.push_back(size < 0 ? "?" : std::to_string(size));
  return fmt::format("[{}]", fmt::join(sizes, ", "));
}

std::string text(const SampleInput &input) {
  return fmt::format("'{}' {}{}", input.name, input.type ? name(*input.type) : "", shapeText(input.shape));
}

bool fits(std::span<const int64_t> found, std::span<const int64_t> wanted) {
  return std::ranges::equal(found, wanted, [](int64_t f, int64_t w) { return w < 0 || f == w; });
}

/// What an array holds of an input: how many samples, each of which shape; 0 if it does not fit.
struct Held {
  int64_t count = 0;
  Shape shape;
};
Held heldBy(const Shape &found, const Shape &wanted) {
  std::span<const int64_t> sizes = found;
  bool hasFirst = !wanted.empty() && wanted[0] >= 0;
  if (hasFirst && fits(found, wanted))
    return {1, found};
  if (found.size() == wanted.size() + 1)
    return fits(sizes.subspan(1), wanted) ? Held{found[0], {found.begin() + 1, found.end()}} : Held{};
  if (wanted.empty() || found.size() != wanted.size() ||
      !fits(sizes.subspan(1), std::span(wanted).subspan(1)))
    return found.empty() && wanted.empty() ? Held{1, {}} : Held{};
  Shape shape = found;
  shape[0] = hasFirst ? wanted[0] : 1;
  return shape[0] > 0 && found[0] % shape[0] == 0 ? Held{found[0] / shape[0], shape} : Held{};
}

/// The i of NAME[i]; nothing if the text is not of that form.
std::optional<std::pair<std::string, int64_t>> numbered(const std::string &text) {
  size_t open = text.rfind('[');
  if (open == std::string::npos || !text.ends_with(']'))
    return std::nullopt;
  int64_t number = -1;
  const char *end = text.data() + text.size() - 1;
  auto [rest, error] = std::from_chars(text.data() + open + 1, end, number);
  if (error != std::errc() || rest != end || number < 0)
    return std::nullopt;
  return std::pair(text.substr(0, open), number);
}

/// A file itself, or those of a folder.
std::vector<std::string> filesAt(const std::string &path, Diagnostics &diagnostics) {
  std::error_code failed;
  if (!std::filesystem::is_directory(path, failed))
    return {path};
  std::vector<std::string> files;
  for (std::filesystem::directory_iterator entry(path, failed), end; !failed && entry != end;
       entry.increment(failed))
    if (entry->path().extension() == ".npz")
      files.push_back(entry->path().string());
  std::ranges::sort(files);
  if (failed)
    diagnostics.error(path, "cannot read the folder", failed.message());
  else if (files.empty())
    diagnostics.error(path, "the folder has no .npz files", "", "write samples with numpy.savez");
  return files;
}

} // namespace

std::vector<SampleInput> sampleInputs(mlir::func::FuncOp function) {
  std::vector<SampleInput> inputs;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    interpret::GivenArray given = interpret::givenArray(function, i);
    inputs.push_back({given.name, given.type, given.shape});
  }
  return inputs;
}

/// Puts a file's arrays together to samples, and tells all that keeps them from being some.
class SampleFiles::Checker {
public:
  Checker(const std::vector<SampleInput> &inputs, const ArrayFile &file, Diagnostics &diagnostics)
      : inputs(inputs), file(file), diagnostics(diagnostics) {}

  std::optional<File> check(const std::string &path) {
    size_t before = diagnostics.errorCount();
    collect();
    for (size_t i = 0; i < inputs.size(); ++i)
      addInput(i, path);
    if (diagnostics.errorCount() != before)
      return std::nullopt;
    result.path = path;
    return std::move(result);
  }

private:
  /// Which arrays are of which input.
  void collect() {
    whole.resize(inputs.size());
    parts.resize(inputs.size());
    for (size_t i = 0; i < file.arrays().size(); ++i) {
      const std::string &array = file.arrays()[i].name;
      auto named = [&](const std::string &name) {
        return static_cast<size_t>(std::ranges::find(inputs, name, &SampleInput::name) - inputs.begin());
      };
      if (size_t input = named(array); input < inputs.size()) {
        whole[input] = i;
        continue;
      }
      auto part = numbered(array);
      if (size_t input = part ? named(part->first) : inputs.size(); input < inputs.size()) {
        parts[input][part->second] = i;
        continue;
      }
      std::vector<std::string> names, wanted;
      for (const SampleInput &input : inputs) {
        names.push_back(input.name);
        wanted.push_back(text(input));
      }
      std::string near = nearest(part ? part->first : array, names);
      diagnostics.error(file.where(i), "the model has no input of this name",
                        fmt::format("it wants {}", fmt::join(wanted, ", ")),
                        near.empty() ? "" : fmt::format("did you mean '{}'?", near));
    }
  }

  void addInput(size_t index, const std::string &path) {
    const SampleInput &wanted = inputs[index];
    const std::map<int64_t, size_t> &numbers = parts[index];
    Input input{wanted.name, {}, {}, {}, whole[index].has_value()};
    if (whole[index] && !numbers.empty())
      return diagnostics.error(file.where(numbers.begin()->second), "is beside an array with all samples",
                               fmt::format("'{}' and '{}[…]' are both there", wanted.name, wanted.name),
                               "remove one of them");
    if (!whole[index] && numbers.empty())
      return diagnostics.error(path, fmt::format("lacks the input '{}'", wanted.name),
                               "the model wants " + text(wanted));
    if (whole[index])
      input.arrays = {*whole[index]};
    for (auto [number, array] : numbers) {
      if (number != static_cast<int64_t>(input.arrays.size()))
        return diagnostics.error(file.where(array), "does not follow the arrays before it",
                                 fmt::format("there is no '{}[{}]'", wanted.name, input.arrays.size()),
                                 "number samples from 0 without gaps");
      input.arrays.push_back(array);
    }
    size_t before = diagnostics.errorCount();
    size_t samples = 0;
    for (size_t array : input.arrays)
      samples += checkArray(array, wanted, input);
    if (diagnostics.errorCount() != before)
      return;
    if (!result.inputs.empty() && samples != result.count)
      diagnostics.error(
          file.where(input.arrays[0]),
          fmt::format("has {} samples, '{}' has {}", samples, result.inputs[0].name, result.count), "",
          "give each input as often as the others");
    if (result.inputs.empty())
      result.count = samples;
    result.inputs.push_back(std::move(input));
  }

  /// How many samples array number `array` holds.
  size_t checkArray(size_t array, const SampleInput &wanted, Input &input) {
    const ArrayHeader &header = file.arrays()[array];
    std::string where = file.where(array);
    if (wanted.type && header.type != *wanted.type)
      diagnostics.error(where, fmt::format("its type is {}", name(header.type)),
                        "the model wants " + text(wanted),
                        fmt::format("convert it, in NumPy with .astype(), to {}", name(*wanted.type)));
    Held held = input.isStacked                    ? heldBy(header.shape, wanted.shape)
                : fits(header.shape, wanted.shape) ? Held{1, header.shape}
                                                   : Held{};
    bool isFirst = array == input.arrays[0];
    if (held.count == 0)
      diagnostics.error(
          where, "does not hold samples of the model's input",
          fmt::format("it has the shape {}, the input {}", shapeText(header.shape), shapeText(wanted.shape)),
          input.isStacked ? "give samples stacked along a leading dimension, or another --shape"
                          : "fill it up to the input's shape, masked if there is a mask, or "
                            "give another --shape");
    else if (!isFirst && held.shape != input.shape)
      diagnostics.error(where, "has another shape than the sample before",
                        fmt::format("{} after {}", shapeText(held.shape), shapeText(input.shape)),
                        "fill samples up to one shape, masked if there is a mask");
    else if (held.count > 1 && header.isFortran && header.shape.size() > 1)
      diagnostics.error(where, "cannot be read a sample at a time", "it is in Fortran order",
                        "store numpy.ascontiguousarray of it");
    input.type = header.type;
    if (isFirst)
      input.shape = held.shape;
    return static_cast<size_t>(held.count);
  }

  const std::vector<SampleInput> &inputs;
  const ArrayFile &file;
  Diagnostics &diagnostics;
  File result;
  std::vector<std::optional<size_t>> whole;
  std::vector<std::map<int64_t, size_t>> parts;
};

std::optional<SampleFiles> SampleFiles::open(const std::vector<SampleInput> &inputs,
                                             const std::vector<std::string> &paths,
                                             Diagnostics &diagnostics) {
  size_t before = diagnostics.errorCount();
  SampleFiles samples;
  std::vector<SampleInput> bound = inputs;
  for (const std::string &path : paths)
    for (const std::string &name : filesAt(path, diagnostics)) {
      std::optional<ArrayFile> file = ArrayFile::open(name, diagnostics);
      std::optional<File> checked = file ? Checker(bound, *file, diagnostics).check(name) : std::nullopt;
      if (!checked)
        continue;
      samples.files_.push_back(std::move(*checked));
      // All are of the first one's sizes.
      for (size_t i = 0; i < bound.size(); ++i)
        bound[i].shape = samples.files_.front().inputs[i].shape;
    }
  if (diagnostics.errorCount() != before)
    return std::nullopt;
  return samples;
}

std::map<std::string, std::vector<int64_t>> SampleFiles::shapes() const {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const Input &input : files_.front().inputs)
    shapes[input.name] = input.shape;
  return shapes;
}

size_t SampleFiles::count() const {
  return std::accumulate(files_.begin(), files_.end(), size_t{0},
                         [](size_t sum, const File &file) { return sum + file.count; });
}

std::string SampleFiles::nameOf(size_t sample) const {
  for (const File &file : files_) {
    if (sample < file.count)
      return fmt::format("sample {} of {}", sample, file.path);
    sample -= file.count;
  }
  return fmt::format("sample {}", sample);
}

bool SampleFiles::forEach(llvm::function_ref<bool(size_t, std::span<const NamedArray>)> use,
                          Diagnostics &diagnostics) const {
  size_t number = 0;
  for (const File &known : files_) {
    std::optional<ArrayFile> file = ArrayFile::open(known.path, diagnostics);
    if (!file)
      return false;
    std::vector<std::optional<ArrayFile::Reader>> readers(known.inputs.size());
    for (size_t s = 0; s < known.count; ++s) {
      std::vector<NamedArray> sample;
      for (size_t i = 0; i < known.inputs.size(); ++i) {
        const Input &input = known.inputs[i];
        Array array{input.type, input.shape, {}};
        array.data.resize(byteSize(array.type, static_cast<size_t>(array.count())));
        size_t at = input.isStacked ? input.arrays[0] : input.arrays[s];
        if (at >= file->arrays().size() || file->arrays()[at].type != input.type ||
            (!input.isStacked && file->arrays()[at].shape != input.shape)) {
          diagnostics.error(known.path, "was changed while it was read");
          return false;
        }
        if (file->arrays()[at].isFortran) { // It holds one sample.
          std::optional<Array> whole = file->read(at, diagnostics);
          if (!whole)
            return false;
          array.data = std::move(whole->data);
        } else {
          if (!readers[i] || !input.isStacked)
            readers[i] = file->reader(at, diagnostics);
          if (!readers[i] || !readers[i]->read(array.data, diagnostics))
            return false;
        }
        sample.push_back({input.name, std::move(array)});
      }
      if (!use(number++, sample))
        return false;
    }
  }
  return true;
}

} // namespace npuc::quantize
