#include "compiler/quantize/CalibrationTable.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace npuc::quantize {
namespace {

constexpr std::string_view magic = "npuc-calibration";
constexpr int version = 1;
constexpr std::string_view entryForm = "\"NAME\" LEAST GREATEST [METHOD …]";

std::string quoted(std::string_view name) {
  std::string text = "\"";
  for (char c : name) {
    if (c == '"' || c == '\\')
      text += '\\';
    if (c == '\n')
      text += "\\n";
    else
      text += c;
  }
  return text + '"';
}

struct Word {
  std::string text;
  bool quoted = false;
};

/// The words of a line; nothing if a name does not end.
std::optional<std::vector<Word>> wordsOf(std::string_view line) {
  std::vector<Word> words;
  for (size_t i = 0; i < line.size();) {
    if (line[i] == '#')
      break;
    if (std::string_view(" \t\r").find(line[i]) != std::string_view::npos) {
      ++i;
      continue;
    }
    Word word;
    word.quoted = line[i] == '"';
    if (word.quoted) {
      for (++i; i < line.size() && line[i] != '"'; ++i) {
        bool escaped = line[i] == '\\' && i + 1 < line.size();
        i += escaped;
        word.text += escaped && line[i] == 'n' ? '\n' : line[i];
      }
      if (i == line.size())
        return std::nullopt;
      ++i;
    } else {
      size_t end = std::min(line.find_first_of(" \t\r#", i), line.size());
      word.text = line.substr(i, end - i);
      i = end;
    }
    words.push_back(std::move(word));
  }
  return words;
}

template <typename T>
std::optional<T> number(std::string_view text) {
  T value{};
  auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || rest != text.data() + text.size())
    return std::nullopt;
  if constexpr (std::is_floating_point_v<T>)
    if (!std::isfinite(value))
      return std::nullopt;
  return value;
}

class Reader {
public:
  Reader(const std::string &file, Diagnostics &diagnostics) : file(file), diagnostics(diagnostics) {}

  std::optional<CalibrationTable> read(std::string_view text) {
    size_t before = diagnostics.errorCount();
    while (!text.empty() && good) {
      size_t end = std::min(text.find('\n'), text.size());
      ++line;
      readLine(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    if (!begun && diagnostics.errorCount() == before)
      fail("the table is empty", fmt::format("its first line is '{} {}'", magic, version));
    for (const auto &[name, where] : factorLines)
      if (!entryLines.contains(name)) {
        line = where;
        fail(fmt::format("factors of '{}', which has no line of its own", name));
      }
    if (diagnostics.errorCount() != before)
      return std::nullopt;
    for (CalibrationEntry &entry : table.entries)
      if (auto found = factors.find(entry.name); found != factors.end()) {
        entry.factors = std::move(found->second);
        entry.factorsLine = factorLines.at(entry.name);
      }
    return std::move(table);
  }

private:
  void fail(const std::string &what, const std::string &why = {}, const std::string &hint = {}) {
    diagnostics.error(fmt::format("{}:{}", file, line), what, why, hint);
  }

  void readLine(std::string_view content) {
    std::optional<std::vector<Word>> words = wordsOf(content);
    if (!words)
      return fail("a name does not end", "expected a '\"' before the line's end");
    if (words->empty())
      return;
    if (!begun)
      return readHead(*words);
    if (!words->front().quoted && words->front().text == "factors")
      return readFactors(*words);
    readEntry(*words);
  }

  void readHead(const std::vector<Word> &words) {
    begun = true;
    std::optional<int> found = words.size() == 2 ? number<int>(words[1].text) : std::nullopt;
    good = words[0].text == magic && found == version;
    if (good)
      return;
    if (words[0].text == magic && found)
      return fail(fmt::format("the table has version {}", *found),
                  fmt::format("this npuc reads version {}", version), "calibrate again to write a new one");
    fail("this is no calibration table", fmt::format("expected '{} {}'", magic, version));
  }

  /// Word `i` as a number that `what` names.
  template <typename T>
  T take(const std::vector<Word> &words, size_t i, std::string_view what) {
    std::optional<T> value = number<T>(words[i].text);
    if (!value)
      fail(fmt::format("'{}' is no {}", words[i].text, what),
           std::is_floating_point_v<T> ? "expected a finite number" : "expected a whole number");
    return value.value_or(T{});
  }

  void readEntry(const std::vector<Word> &words) {
    if (words.size() < 3 || words.size() > 9)
      return fail(fmt::format("a line of {} words", words.size()),
                  fmt::format("expected {}, with up to 9 words", entryForm),
                  "names with spaces stand in double quotes");
    CalibrationEntry entry;
    entry.name = words[0].text;
    entry.line = line;
    size_t before = diagnostics.errorCount();
    entry.range = {take<float>(words, 1, "least value"), take<float>(words, 2, "greatest value")};
    if (diagnostics.errorCount() == before && entry.range.least > entry.range.greatest)
      fail(fmt::format("the least value of '{}' is above the greatest", entry.name),
           fmt::format("{} > {}", entry.range.least, entry.range.greatest));
    entry.method = words.size() > 3 ? words[3].text : "given";
    if (words.size() > 4)
      entry.clippedShare = take<double>(words, 4, "clipped share");
    if (words.size() > 5)
      entry.seen.least = take<float>(words, 5, "least value seen");
    if (words.size() > 6)
      entry.seen.greatest = take<float>(words, 6, "greatest value seen");
    if (words.size() > 7)
      entry.values = take<uint64_t>(words, 7, "number of values");
    if (words.size() > 8)
      entry.samples = take<uint64_t>(words, 8, "number of samples");
    auto [known, isNew] = entryLines.try_emplace(entry.name, line);
    if (!isNew)
      return fail(fmt::format("a second line for '{}'", entry.name),
                  fmt::format("the first is line {}", known->second), "remove one of them");
    table.entries.push_back(std::move(entry));
  }

  void readFactors(const std::vector<Word> &words) {
    if (words.size() < 3)
      return fail("a line of factors without factors", "expected factors \"NAME\" FACTOR …");
    auto [known, isNew] = factorLines.try_emplace(words[1].text, line);
    if (!isNew)
      return fail(fmt::format("a second line of factors for '{}'", words[1].text),
                  fmt::format("the first is line {}", known->second), "remove one of them");
    std::vector<float> &values = factors[words[1].text];
    for (size_t i = 2; i < words.size(); ++i) {
      size_t before = diagnostics.errorCount();
      values.push_back(take<float>(words, i, "factor"));
      if (diagnostics.errorCount() == before && !(values.back() > 0))
        fail(fmt::format("the factor {} is not above 0", words[i].text));
    }
  }

  const std::string &file;
  Diagnostics &diagnostics;
  CalibrationTable table;
  size_t line = 0;
  bool begun = false, good = true;
  std::map<std::string, size_t, std::less<>> entryLines, factorLines;
  std::map<std::string, std::vector<float>, std::less<>> factors;
};

} // namespace

const CalibrationEntry *CalibrationTable::find(std::string_view name) const {
  auto found = std::ranges::find(entries, name, &CalibrationEntry::name);
  return found == entries.end() ? nullptr : &*found;
}

std::string CalibrationTable::text() const {
  std::string out = fmt::format("{} {}\n", magic, version);
  out += "# Integers of each tensor are laid over least to greatest, widened to 0; of a tensor with factors, "
         "over its values over them.\n"
         "# name  least  greatest  method  clipped  seen-least  seen-greatest  values  samples\n";
  for (const CalibrationEntry &e : entries)
    out += fmt::format("{}  {}  {}  {}  {:.3g}  {}  {}  {}  {}\n", quoted(e.name), e.range.least,
                       e.range.greatest, e.method, e.clippedShare, e.seen.least, e.seen.greatest, e.values,
                       e.samples);
  for (const CalibrationEntry &e : entries)
    if (!e.factors.empty())
      out += fmt::format("factors  {}  {}\n", quoted(e.name), fmt::join(e.factors, " "));
  return out;
}

std::optional<CalibrationTable> CalibrationTable::parse(std::string_view text, const std::string &file,
                                                        Diagnostics &diagnostics) {
  return Reader(file, diagnostics).read(text);
}

} // namespace npuc::quantize
