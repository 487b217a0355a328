#include "runtime/ptx_sim/Opcodes.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>

namespace npuc::ptx {
namespace {

#define NPUC_ROUND "[.rn|.rz|.rm|.rp]"
#define NPUC_SCOPE "[.cta|.cluster|.gpu|.sys]"
// The order of an access. Triton writes space and scope before it.
#define NPUC_ORDER(orders) "[.global|.shared|.shared::cta]" NPUC_SCOPE orders NPUC_SCOPE
#define NPUC_SPACE "[.global|.shared|.shared::cta|.local|.const|.param|.param::entry]"
#define NPUC_HINTS                                                                                           \
  "[.ca|.cg|.cs|.lu|.cv|.wb|.wt][.nc][.L1::evict_normal|.L1::evict_unchanged|.L1::evict_first|.L1::evict_"   \
  "last|.L1::no_allocate]"                                                                                   \
  "[.L2::evict_normal|.L2::evict_first|.L2::evict_last][.L2::cache_hint][.L2::64B|.L2::128B|.L2::256B]"
#define NPUC_ATOMIC(name)                                                                                    \
  name NPUC_ORDER("[.relaxed|.acquire|.release|.acq_rel]") "[.global|.shared|.shared::cta]"
#define NPUC_MEMORY_TYPES "b8 u8 s8 b16 u16 s16 b32 u32 s32 f32 b64 u64 s64 f64"
#define NPUC_COMPARISONS "(.eq|.ne|.lt|.le|.gt|.ge|.lo|.ls|.hi|.hs|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan)"
#define NPUC_NUMBERS "u8 s8 u16 s16 u32 s32 u64 s64 f16 bf16 f32 f64"
#define NPUC_MMA(shape, d, ab, c)                                                                            \
  {"mma.sync.aligned" shape ".row.col" d ab c, "", "", Family::Mma, Class::Tensor}

constexpr Row rows[] = {
    // Integers.
    {"add[.sat].T", "s32", "ttt", Family::Lanes, Class::Integer},
    {"add.T", "s16 s64 u16 u32 u64 s16x2 u16x2", "ttt", Family::Lanes, Class::Integer},
    {"sub[.sat].T", "s32", "ttt", Family::Lanes, Class::Integer},
    {"sub.T", "s16 s64 u16 u32 u64", "ttt", Family::Lanes, Class::Integer},
    {"add.cc.T", "u32 s32 u64 s64", "ttt", Family::Carry, Class::Integer},
    {"addc[.cc].T", "u32 s32 u64 s64", "ttt", Family::Carry, Class::Integer},
    {"sub.cc.T", "u32 s32 u64 s64", "ttt", Family::Carry, Class::Integer},
    {"subc[.cc].T", "u32 s32 u64 s64", "ttt", Family::Carry, Class::Integer},
    {"mad(.lo|.hi).cc.T", "u32 s32 u64 s64", "tttt", Family::Carry, Class::Integer},
    {"madc(.lo|.hi)[.cc].T", "u32 s32 u64 s64", "tttt", Family::Carry, Class::Integer},
    {"mul(.lo|.hi).T", "s16 s32 s64 u16 u32 u64", "ttt", Family::Lanes, Class::Integer},
    {"mul.wide.T", "s16 s32 u16 u32", "wtt", Family::Lanes, Class::Integer},
    {"mad(.lo|.hi).T", "s16 s32 s64 u16 u32 u64", "tttt", Family::Lanes, Class::Integer},
    {"mad.hi.sat.T", "s32", "tttt", Family::Lanes, Class::Integer},
    {"mad.wide.T", "s16 s32 u16 u32", "wttw", Family::Lanes, Class::Integer},
    {"mul24(.lo|.hi).T", "s32 u32", "ttt", Family::Lanes, Class::Integer},
    {"mad24(.lo|.hi).T", "s32 u32", "tttt", Family::Lanes, Class::Integer},
    {"sad.T", "s16 s32 s64 u16 u32 u64", "tttt", Family::Lanes, Class::Integer},
    {"(div|rem).T", "s16 s32 s64 u16 u32 u64", "ttt", Family::Lanes, Class::Integer},
    {"(abs|neg).T", "s16 s32 s64", "tt", Family::Lanes, Class::Integer},
    {"(min|max).T", "s16 s64 u16 u32 u64 u16x2", "ttt", Family::Lanes, Class::Integer},
    {"(min|max)[.relu].T", "s32 s16x2", "ttt", Family::Lanes, Class::Integer},
    {"(and|or|xor).T", "b16 b32 b64", "ttt", Family::Lanes, Class::Integer},
    {"(and|or|xor).T", "pred", "ttt", Family::Lanes, Class::Compare},
    {"(not|cnot).T", "b16 b32 b64", "tt", Family::Lanes, Class::Integer},
    {"not.T", "pred", "tt", Family::Lanes, Class::Compare},
    {"shl.T", "b16 b32 b64", "tti", Family::Lanes, Class::Integer},
    {"shr.T", "b16 b32 b64 u16 u32 u64 s16 s32 s64", "tti", Family::Lanes, Class::Integer},
    {"shf(.l|.r)(.clamp|.wrap).T", "b32", "ttti", Family::Lanes, Class::Integer},
    {"lop3.T", "b32", "ttttt", Family::Lanes, Class::Integer},
    {"prmt.b32[.f4e|.b4e|.rc8|.ecl|.ecr|.rc16]", "", "iiii", Family::Lanes, Class::Integer},
    {"(popc|clz).T", "b32 b64", "it", Family::Lanes, Class::Integer},
    {"bfind[.shiftamt].T", "u32 u64 s32 s64", "it", Family::Lanes, Class::Integer},
    {"brev.T", "b32 b64", "tt", Family::Lanes, Class::Integer},
    {"bfe.T", "u32 u64 s32 s64", "ttii", Family::Lanes, Class::Integer},
    {"bfi.T", "b32 b64", "tttii", Family::Lanes, Class::Integer},
    {"bmsk(.clamp|.wrap).b32", "", "iii", Family::Lanes, Class::Integer},
    {"szext(.clamp|.wrap).T", "u32 s32", "tti", Family::Lanes, Class::Integer},
    {"fns.b32", "", "iiii", Family::Lanes, Class::Integer},
    {"dp4a(.u32|.s32)(.u32|.s32)", "", "iiii", Family::Lanes, Class::Integer},
    {"dp2a(.lo|.hi)(.u32|.s32)(.u32|.s32)", "", "iiii", Family::Lanes, Class::Integer},

    // Moves.
    {"mov.T", "b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64 pred", "tt", Family::Move, Class::Move},
    {"selp.T", "b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64", "tttp", Family::Bits, Class::Move},
    {"slct[.ftz].T.S", "b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64", "ttts", Family::Bits, Class::Move,
     "s32 f32"},
    {"cvta(.global|.shared|.shared::cta|.local|.const|.param).T", "u64", "", Family::AddressOf, Class::Move},
    {"cvta.to(.global|.shared|.shared::cta|.local|.const|.param).T", "u64", "", Family::AddressOf,
     Class::Move},
    {"isspacep(.global|.shared|.shared::cta|.local|.const|.param)", "", "", Family::IsSpace, Class::Compare},

    // fp32 and fp64.
    {"(add|sub|mul)" NPUC_ROUND "[.ftz][.sat].T", "f32", "ttt", Family::Lanes, Class::Float},
    {"(add|sub|mul)" NPUC_ROUND ".T", "f64", "ttt", Family::Lanes, Class::Float},
    {"(fma|mad)(.rn|.rz|.rm|.rp)[.ftz][.sat].T", "f32", "tttt", Family::Lanes, Class::Float},
    {"(fma|mad)(.rn|.rz|.rm|.rp).T", "f64", "tttt", Family::Lanes, Class::Float},
    // Of sm_100: 16-bit operands, widened, with fp32.
    {"(add|sub)" NPUC_ROUND "[.sat].T.S", "f32", "tst", Family::Lanes, Class::Float, "f16 bf16"},
    {"fma(.rn|.rz|.rm|.rp)[.sat].T.S", "f32", "tsst", Family::Lanes, Class::Float, "f16 bf16"},
    {"div(.rn|.rz|.rm|.rp|.approx|.full)[.ftz].T", "f32", "ttt", Family::Lanes, Class::Special},
    {"div(.rn|.rz|.rm|.rp).T", "f64", "ttt", Family::Lanes, Class::Special},
    {"(rcp|sqrt)(.rn|.rz|.rm|.rp|.approx)[.ftz].T", "f32", "tt", Family::Lanes, Class::Special},
    {"(rcp|sqrt)(.rn|.rz|.rm|.rp).T", "f64", "tt", Family::Lanes, Class::Special},
    {"(rsqrt|sin|cos|lg2|ex2).approx[.ftz].T", "f32", "tt", Family::Lanes, Class::Special},
    {"tanh.approx.T", "f32", "tt", Family::Lanes, Class::Special},
    {"rsqrt.approx[.ftz].T", "f64", "tt", Family::Lanes, Class::Special},
    {"rcp.approx.ftz.T", "f64", "tt", Family::Lanes, Class::Special},
    {"(abs|neg)[.ftz].T", "f32", "tt", Family::Lanes, Class::Float},
    {"(abs|neg).T", "f64", "tt", Family::Lanes, Class::Float},
    {"(min|max)[.ftz][.NaN].T", "f32", "ttt", Family::Lanes, Class::Float},
    {"(min|max)[.ftz][.NaN].xorsign.abs.T", "f32", "ttt", Family::Lanes, Class::Float},
    {"(min|max).T", "f64", "ttt", Family::Lanes, Class::Float},
    {"copysign.T", "f32 f64", "ttt", Family::Lanes, Class::Float},
    {"testp(.finite|.infinite|.number|.notanumber|.normal|.subnormal).T", "f32 f64", "pt", Family::Test,
     Class::Compare},

    // fp16 and bf16.
    {"(add|sub|mul)[.rn][.ftz][.sat].T", "f16 f16x2", "ttt", Family::Lanes, Class::Half},
    {"(add|sub|mul)[.rn].T", "bf16 bf16x2", "ttt", Family::Lanes, Class::Half},
    {"fma.rn[.ftz][.sat][.relu].T", "f16 f16x2", "tttt", Family::Lanes, Class::Half},
    {"fma.rn[.relu].T", "bf16 bf16x2", "tttt", Family::Lanes, Class::Half},
    {"(abs|neg)[.ftz].T", "f16 f16x2", "tt", Family::Lanes, Class::Half},
    {"(abs|neg).T", "bf16 bf16x2", "tt", Family::Lanes, Class::Half},
    {"(min|max)[.ftz][.NaN].T", "f16 f16x2", "ttt", Family::Lanes, Class::Half},
    {"(min|max)[.ftz][.NaN].xorsign.abs.T", "f16 f16x2", "ttt", Family::Lanes, Class::Half},
    {"(min|max)[.NaN].T", "bf16 bf16x2", "ttt", Family::Lanes, Class::Half},
    {"(min|max)[.NaN].xorsign.abs.T", "bf16 bf16x2", "ttt", Family::Lanes, Class::Half},
    {"ex2.approx.T", "f16 f16x2", "tt", Family::Lanes, Class::Special},
    {"ex2.approx.ftz.T", "bf16 bf16x2", "tt", Family::Lanes, Class::Special},
    {"tanh.approx.T", "f16 f16x2 bf16 bf16x2", "tt", Family::Lanes, Class::Special},

    // Comparisons and conversions.
    {"setp" NPUC_COMPARISONS "[.and|.or|.xor].T", "b16 b32 b64 u16 u32 u64 s16 s32 s64 f64 bf16", "",
     Family::Compare, Class::Compare},
    {"setp" NPUC_COMPARISONS "[.and|.or|.xor][.ftz].T", "f32 f16", "", Family::Compare, Class::Compare},
    {"setp" NPUC_COMPARISONS "[.and|.or|.xor][.ftz].T", "f16x2 bf16x2", "", Family::ComparePair,
     Class::Compare},
    {"set" NPUC_COMPARISONS "[.and|.or|.xor][.ftz](.u32|.s32|.f32).T",
     "b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64 f16 bf16", "", Family::Set, Class::Compare},
    {"set" NPUC_COMPARISONS "[.and|.or|.xor][.ftz](.f16|.bf16|.u16|.s16).T", "f16 bf16", "", Family::Set,
     Class::Compare},
    {"set" NPUC_COMPARISONS "[.and|.or|.xor][.ftz](.f16x2|.bf16x2).T", "f16x2 bf16x2", "",
     Family::ComparePair, Class::Compare},
    {"cvt[.rn|.rz|.rm|.rp|.rni|.rzi|.rmi|.rpi][.relu][.satfinite][.ftz][.sat].T.S", NPUC_NUMBERS, "",
     Family::Convert, Class::Convert, NPUC_NUMBERS},
    {"cvt(.rn|.rz)[.relu][.satfinite](.f16x2|.bf16x2).f32", "", "i44", Family::Lanes, Class::Convert},
    {"cvt.rn.satfinite[.relu](.e4m3x2|.e5m2x2).f32", "", "h44", Family::Lanes, Class::Convert},
    {"cvt.rn.satfinite[.relu](.e4m3x2|.e5m2x2).f16x2", "", "hi", Family::Lanes, Class::Convert},
    {"cvt.rn[.relu].f16x2(.e4m3x2|.e5m2x2)", "", "ih", Family::Lanes, Class::Convert},
    {"cvt(.rna|.rn|.rz)[.relu][.satfinite].tf32.f32", "", "i4", Family::Lanes, Class::Convert},

    // Memory.
    {"ld" NPUC_ORDER("[.weak|.relaxed|.acquire|.volatile]") NPUC_SPACE NPUC_HINTS "[.v2|.v4].T",
     NPUC_MEMORY_TYPES, "", Family::Load, Class::Load},
    {"ldu[.global]"
     "[.v2|.v4].T",
     NPUC_MEMORY_TYPES, "", Family::Load, Class::Load},
    {"st" NPUC_ORDER("[.weak|.relaxed|.release|.volatile]") NPUC_SPACE NPUC_HINTS "[.v2|.v4].T",
     NPUC_MEMORY_TYPES, "", Family::Store, Class::Store},
    {NPUC_ATOMIC("atom") "(.and|.or|.xor|.exch|.cas)[.L2::cache_hint].T", "b32 b64", "", Family::Atomic,
     Class::Atomic},
    {NPUC_ATOMIC("atom") ".cas.T", "b16", "", Family::Atomic, Class::Atomic},
    {NPUC_ATOMIC("atom") ".add.noftz[.L2::cache_hint].T", "f16 f16x2 bf16 bf16x2", "", Family::Atomic,
     Class::Atomic},
    {NPUC_ATOMIC("atom") ".add[.L2::cache_hint].T", "u32 s32 u64 s64 f32 f64", "", Family::Atomic,
     Class::Atomic},
    {NPUC_ATOMIC("atom") "(.inc|.dec)[.L2::cache_hint].T", "u32", "", Family::Atomic, Class::Atomic},
    {NPUC_ATOMIC("atom") "(.min|.max)[.L2::cache_hint].T", "u32 s32 u64 s64", "", Family::Atomic,
     Class::Atomic},
    {NPUC_ATOMIC("red") "(.and|.or|.xor)[.L2::cache_hint].T", "b32 b64", "", Family::Reduce, Class::Atomic},
    {NPUC_ATOMIC("red") ".add.noftz[.L2::cache_hint].T", "f16 f16x2 bf16 bf16x2", "", Family::Reduce,
     Class::Atomic},
    {NPUC_ATOMIC("red") ".add[.L2::cache_hint].T", "u32 s32 u64 s64 f32 f64", "", Family::Reduce,
     Class::Atomic},
    {NPUC_ATOMIC("red") "(.inc|.dec)[.L2::cache_hint].T", "u32", "", Family::Reduce, Class::Atomic},
    {NPUC_ATOMIC("red") "(.min|.max)[.L2::cache_hint].T", "u32 s32 u64 s64", "", Family::Reduce,
     Class::Atomic},
    {"cp.async(.ca|.cg)(.shared|.shared::cta).global[.L2::cache_hint][.L2::64B|.L2::128B|.L2::256B]", "", "",
     Family::CopyAsync, Class::AsyncCopy},
    {"cp.async.commit_group", "", "", Family::CommitGroup, Class::AsyncCopy},
    {"cp.async.wait_group", "", "", Family::WaitGroup, Class::AsyncCopy},
    {"cp.async.wait_all", "", "", Family::WaitGroup, Class::AsyncCopy},
    {"ldmatrix.sync.aligned.m8n8(.x1|.x2|.x4)[.trans][.shared|.shared::cta].b16", "", "", Family::LoadMatrix,
     Class::MatrixLoad},
    {"prefetch[.global|.local](.L1|.L2)", "", "[", Family::Nothing, Class::Load},
    {"prefetch.global(.L2::evict_last|.L2::evict_normal)", "", "[", Family::Nothing, Class::Load},
    {"createpolicy.fractional(.L2::evict_last|.L2::evict_normal|.L2::evict_first|.L2::evict_unchanged)[.L2::"
     "evict_first|"
     ".L2::evict_unchanged].b64",
     "", "", Family::Policy, Class::Move},

    // Control and what warps do together.
    {"bra[.uni]", "", "", Family::Branch, Class::Control},
    {"brx.idx[.uni]", "", "", Family::BranchIndexed, Class::Control},
    {"ret[.uni]", "", "", Family::Exit, Class::Control},
    {"exit", "", "", Family::Exit, Class::Control},
    {"call[.uni]", "", "", Family::Call, Class::Control},
    {"trap", "", "", Family::Trap, Class::Control},
    {"brkpt", "", "", Family::Nothing, Class::Control},
    {"pmevent[.mask]", "", "n", Family::Nothing, Class::Control},
    {"nanosleep.u32", "", "n", Family::Nothing, Class::Control},
    {"membar(.cta|.gl|.sys)", "", "", Family::Nothing, Class::Barrier},
    {"fence[.sc|.acq_rel|.acquire|.release](.cta|.cluster|.gpu|.sys)", "", "", Family::Nothing,
     Class::Barrier},
    {"bar[.cta](.sync|.arrive)", "", "", Family::Barrier, Class::Barrier},
    {"bar[.cta].red(.popc|.and|.or)(.u32|.pred)", "", "", Family::Barrier, Class::Barrier},
    {"bar.warp.sync", "", "", Family::WarpBarrier, Class::Barrier},
    {"barrier[.cta](.sync|.arrive)[.aligned]", "", "", Family::Barrier, Class::Barrier},
    {"barrier[.cta].red(.popc|.and|.or)[.aligned](.u32|.pred)", "", "", Family::Barrier, Class::Barrier},
    {"shfl.sync(.up|.down|.bfly|.idx).b32", "", "", Family::Shuffle, Class::Shuffle},
    {"vote.sync(.all|.any|.uni).pred", "", "", Family::Vote, Class::Shuffle},
    {"vote.sync.ballot.b32", "", "", Family::Vote, Class::Shuffle},
    {"match(.any|.all).sync.T", "b32 b64", "", Family::Match, Class::Shuffle},
    {"redux.sync(.add|.min|.max).T", "u32 s32", "", Family::ReduceWarp, Class::Shuffle},
    {"redux.sync(.and|.or|.xor).T", "b32", "", Family::ReduceWarp, Class::Shuffle},
    {"activemask.b32", "", "", Family::ActiveMask, Class::Shuffle},

    // Tensor cores: the shapes of sm_80 and, of fp8, sm_89. The types are those of d, a, b and c.
    {"movmatrix.sync.aligned.m8n8.trans.b16", "", "", Family::MoveMatrix, Class::Shuffle},
    NPUC_MMA("(.m16n8k8|.m16n8k16)", ".f16", ".f16.f16", ".f16"),
    NPUC_MMA("(.m16n8k8|.m16n8k16)", ".f32", ".f16.f16", ".f32"),
    NPUC_MMA("(.m16n8k8|.m16n8k16)", ".f32", ".bf16.bf16", ".f32"),
    NPUC_MMA("(.m16n8k4|.m16n8k8)", ".f32", ".tf32.tf32", ".f32"),
    NPUC_MMA("(.m16n8k16|.m16n8k32)", ".f16", "(.e4m3|.e5m2)(.e4m3|.e5m2)", ".f16"),
    NPUC_MMA("(.m16n8k16|.m16n8k32)", ".f32", "(.e4m3|.e5m2)(.e4m3|.e5m2)", ".f32"),
    NPUC_MMA("(.m8n8k16|.m16n8k16|.m16n8k32)", "[.satfinite].s32", "(.s8|.u8)(.s8|.u8)", ".s32"),
    NPUC_MMA(".m8n8k4", "[.rn].f64", ".f64.f64", ".f64"),
};

/// Modifiers that are flags or change nothing, and so are not of the names of functions on lanes.
const std::map<std::string_view, uint32_t> &flagsOf() {
  static const std::map<std::string_view, uint32_t> flags = {
      {".rn", RoundNearest},
      {".rz", RoundZero},
      {".rm", RoundDown},
      {".rp", RoundUp},
      {".rni", RoundNearest | ToInteger},
      {".rzi", RoundZero | ToInteger},
      {".rmi", RoundDown | ToInteger},
      {".rpi", RoundUp | ToInteger},
      {".rna", RoundAway},
      {".ftz", Ftz},
      {".sat", Sat},
      {".relu", Relu},
      {".NaN", PropagateNaN},
      {".satfinite", SatFinite},
      {".xorsign", XorSign},
      {".approx", 0},
      {".full", 0},
      {".wrap", Wrap},
      {".clamp", 0},
      {".and", CombineAnd},
      {".or", CombineOr},
      {".xor", CombineXor},
  };
  return flags;
}

struct Element {
  enum Kind : uint8_t { Literal, Optional, Choice, FirstType, SecondType } kind;
  std::vector<std::string_view> words;
};

struct Pattern {
  const Row *row;
  std::vector<Element> elements;
};

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= text.size() && !text.empty();) {
    const size_t end = std::min(text.find(at, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// "ld.global.f32" as "ld", ".global", ".f32".
std::vector<std::string_view> tokensOf(std::string_view opcode) {
  std::vector<std::string_view> tokens;
  for (size_t begin = 0; begin < opcode.size();) {
    const size_t end = std::min(opcode.find('.', begin + 1), opcode.size());
    tokens.push_back(opcode.substr(begin, end - begin));
    begin = end;
  }
  return tokens;
}

Pattern compile(const Row &row) {
  Pattern pattern{&row, {}};
  std::string_view text = row.pattern;
  while (!text.empty()) {
    if (text[0] == '[' || text[0] == '(') {
      const size_t end = text.find(text[0] == '[' ? ']' : ')');
      pattern.elements.push_back(
          {text[0] == '[' ? Element::Optional : Element::Choice, split(text.substr(1, end - 1), '|')});
      text.remove_prefix(end + 1);
      continue;
    }
    const size_t end = std::min(text.find_first_of(".[(", 1), text.size());
    const std::string_view word = text.substr(0, end);
    pattern.elements.push_back({word == ".T"   ? Element::FirstType
                                : word == ".S" ? Element::SecondType
                                               : Element::Literal,
                                {word}});
    text.remove_prefix(end);
  }
  return pattern;
}

std::optional<Match> matches(const Pattern &pattern, const std::vector<std::string_view> &tokens) {
  Match match;
  match.row = pattern.row;
  size_t at = 0;
  auto take = [&] {
    match.tokens.push_back(tokens[at]);
    return tokens[at++];
  };
  auto takeType = [&](const char *types, std::optional<Type> &type) {
    if (at == tokens.size())
      return false;
    const std::string_view name = tokens[at].substr(1);
    const auto allowed = split(types, ' ');
    if (std::ranges::find(allowed, name) == allowed.end())
      return false;
    // Pairs of integers are bits to everyone but the function that computes them.
    type = name == "s16x2" || name == "u16x2" ? Type::B32 : typeFromName(name);
    take();
    match.key += '.';
    match.key += pattern.row->family == Family::Bits && type && &type == &match.type
                     ? "b" + std::to_string(byteWidth(*type) * 8)
                     : std::string(name);
    return true;
  };
  for (const Element &element : pattern.elements) {
    if (element.kind == Element::FirstType || element.kind == Element::SecondType) {
      const bool first = element.kind == Element::FirstType;
      if (!takeType(first ? pattern.row->types : pattern.row->secondTypes, first ? match.type : match.second))
        return std::nullopt;
      continue;
    }
    if (at == tokens.size() || std::ranges::find(element.words, tokens[at]) == element.words.end()) {
      if (element.kind == Element::Optional)
        continue;
      return std::nullopt;
    }
    const std::string_view token = take();
    if (auto flag = flagsOf().find(token); flag != flagsOf().end())
      match.flags |= flag->second;
    else if (token != ".abs")
      match.key += token;
  }
  if (at != tokens.size())
    return std::nullopt;
  return match;
}

/// By the first word.
const std::multimap<std::string_view, Pattern> &patterns() {
  static const std::multimap<std::string_view, Pattern> all = [] {
    std::multimap<std::string_view, Pattern> map;
    for (const Row &row : rows) {
      const Pattern pattern = compile(row);
      for (std::string_view word : pattern.elements[0].words)
        map.emplace(word, pattern);
    }
    return map;
  }();
  return all;
}

} // namespace

std::string listInstructions() {
  std::string text;
  for (const Row &row : rows) {
    text += row.pattern;
    if (*row.types)
      text += fmt::format("    .T: {}", row.types);
    if (*row.secondTypes)
      text += fmt::format("    .S: {}", row.secondTypes);
    text += '\n';
  }
  return text;
}

bool Match::has(std::string_view token) const {
  return std::ranges::find(tokens, token) != tokens.end();
}

std::optional<Match> match(std::string_view opcode) {
  const std::vector<std::string_view> tokens = tokensOf(opcode);
  auto [begin, end] = patterns().equal_range(tokens[0]);
  for (; begin != end; ++begin)
    if (auto found = matches(begin->second, tokens))
      return found;
  return std::nullopt;
}

} // namespace npuc::ptx
