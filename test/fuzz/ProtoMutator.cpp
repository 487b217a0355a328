#include "test/fuzz/ProtoMutator.h"

#include <limits>
#include <random>
#include <string>
#include <vector>

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

namespace npuc::fuzz {
namespace {

class Mutator {
public:
  Mutator(Message &root, uint32_t seed) : random(seed) { collect(root); }

  void change() {
    if (places.empty())
      return;
    const Place &place = places[pick(places.size())];
    place.field->is_repeated() ? changeRepeated(place) : changeSingle(place);
  }

private:
  /// A field that is set.
  struct Place {
    Message *message;
    const FieldDescriptor *field;
  };

  void collect(Message &message) {
    const Reflection &reflection = *message.GetReflection();
    std::vector<const FieldDescriptor *> fields;
    reflection.ListFields(message, &fields);
    for (const FieldDescriptor *field : fields) {
      places.push_back({&message, field});
      const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
      for (int i = 0; i < count; ++i) {
        if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)
          collect(field->is_repeated() ? *reflection.MutableRepeatedMessage(&message, field, i)
                                       : *reflection.MutableMessage(&message, field));
        else if (field->type() == FieldDescriptor::TYPE_STRING)
          strings.push_back(field->is_repeated() ? reflection.GetRepeatedString(message, field, i)
                                                 : reflection.GetString(message, field));
      }
    }
  }

  size_t pick(size_t count) { return count == 0 ? 0 : random() % count; }

  int64_t integer(int64_t old) {
    constexpr int64_t limits[] = {0,         1,         -1,        2,       INT32_MAX,
                                  INT32_MIN, INT64_MAX, INT64_MIN, 1 << 16, int64_t{1} << 40};
    switch (pick(4)) {
    case 0:
      return limits[pick(std::size(limits))];
    case 1:
      return static_cast<int64_t>(pick(9)) - 2;
    case 2:
      return old + static_cast<int64_t>(pick(5)) - 2;
    default:
      return old ^ (int64_t{1} << pick(64));
    }
  }

  double real(double old) {
    const double limits[] = {0,
                             -1,
                             1e-30,
                             1e30,
                             std::numeric_limits<double>::infinity(),
                             std::numeric_limits<double>::quiet_NaN()};
    return pick(2) ? limits[pick(std::size(limits))] : old * (1 + static_cast<double>(pick(5)));
  }

  std::string text(std::string old, bool isName) {
    if (isName && !strings.empty() && pick(4) != 0)
      return strings[pick(strings.size())];
    if (old.empty() || pick(3) == 0)
      return old + static_cast<char>(random());
    if (pick(2))
      return old.substr(0, pick(old.size()));
    old[pick(old.size())] = static_cast<char>(random());
    return old;
  }

  void changeSingle(const Place &at) {
    const Reflection &r = *at.message->GetReflection();
    if (pick(6) == 0)
      return r.ClearField(at.message, at.field);
    switch (at.field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return r.SetInt32(at.message, at.field,
                        static_cast<int32_t>(integer(r.GetInt32(*at.message, at.field))));
    case FieldDescriptor::CPPTYPE_INT64:
      return r.SetInt64(at.message, at.field, integer(r.GetInt64(*at.message, at.field)));
    case FieldDescriptor::CPPTYPE_UINT32:
      return r.SetUInt32(at.message, at.field,
                         static_cast<uint32_t>(integer(r.GetUInt32(*at.message, at.field))));
    case FieldDescriptor::CPPTYPE_UINT64:
      return r.SetUInt64(
          at.message, at.field,
          static_cast<uint64_t>(integer(static_cast<int64_t>(r.GetUInt64(*at.message, at.field)))));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return r.SetFloat(at.message, at.field, static_cast<float>(real(r.GetFloat(*at.message, at.field))));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return r.SetDouble(at.message, at.field, real(r.GetDouble(*at.message, at.field)));
    case FieldDescriptor::CPPTYPE_BOOL:
      return r.SetBool(at.message, at.field, !r.GetBool(*at.message, at.field));
    case FieldDescriptor::CPPTYPE_ENUM:
      return r.SetEnum(at.message, at.field, anyOf(*at.field->enum_type()));
    case FieldDescriptor::CPPTYPE_STRING:
      return r.SetString(
          at.message, at.field,
          text(r.GetString(*at.message, at.field), at.field->type() == FieldDescriptor::TYPE_STRING));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return; // Its own fields are places of theirs.
    }
  }

  void changeRepeated(const Place &at) {
    const Reflection &r = *at.message->GetReflection();
    const int size = r.FieldSize(*at.message, at.field);
    const int i = static_cast<int>(pick(static_cast<size_t>(size))),
              j = static_cast<int>(pick(static_cast<size_t>(size)));
    switch (pick(4)) {
    case 0:
      r.SwapElements(at.message, at.field, i, size - 1);
      return r.RemoveLast(at.message, at.field);
    case 1:
      return r.SwapElements(at.message, at.field, i, j);
    case 2:
      return append(at, i);
    default:
      return changeElement(at, i);
    }
  }

  void append(const Place &at, int i) {
    const Reflection &r = *at.message->GetReflection();
    switch (at.field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return r.AddMessage(at.message, at.field)->CopyFrom(r.GetRepeatedMessage(*at.message, at.field, i));
    case FieldDescriptor::CPPTYPE_INT32:
      return r.AddInt32(at.message, at.field, static_cast<int32_t>(integer(0)));
    case FieldDescriptor::CPPTYPE_INT64:
      return r.AddInt64(at.message, at.field, integer(0));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return r.AddFloat(at.message, at.field, static_cast<float>(real(1)));
    case FieldDescriptor::CPPTYPE_STRING:
      return r.AddString(at.message, at.field, text("", at.field->type() == FieldDescriptor::TYPE_STRING));
    default:
      return;
    }
  }

  void changeElement(const Place &at, int i) {
    const Reflection &r = *at.message->GetReflection();
    switch (at.field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return r.SetRepeatedInt32(at.message, at.field, i,
                                static_cast<int32_t>(integer(r.GetRepeatedInt32(*at.message, at.field, i))));
    case FieldDescriptor::CPPTYPE_INT64:
      return r.SetRepeatedInt64(at.message, at.field, i,
                                integer(r.GetRepeatedInt64(*at.message, at.field, i)));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return r.SetRepeatedFloat(at.message, at.field, i,
                                static_cast<float>(real(r.GetRepeatedFloat(*at.message, at.field, i))));
    case FieldDescriptor::CPPTYPE_STRING:
      return r.SetRepeatedString(at.message, at.field, i,
                                 text(r.GetRepeatedString(*at.message, at.field, i),
                                      at.field->type() == FieldDescriptor::TYPE_STRING));
    default:
      return;
    }
  }

  const google::protobuf::EnumValueDescriptor *anyOf(const google::protobuf::EnumDescriptor &type) {
    return type.value(static_cast<int>(pick(static_cast<size_t>(type.value_count()))));
  }

  std::mt19937 random;
  std::vector<Place> places;
  std::vector<std::string> strings;
};

} // namespace

void mutate(Message &message, uint32_t seed) {
  Mutator(message, seed).change();
}

} // namespace npuc::fuzz
