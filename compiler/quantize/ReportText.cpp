#include "compiler/quantize/Report.h"

#include "support/Html.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace npuc::quantize {
namespace {

using Json = nlohmann::ordered_json;

std::string text(const Distance &distance) {
  return std::isfinite(distance.decibels)
             ? fmt::format("{:>7.2f} {:>9.6f}", distance.decibels, distance.cosine)
             : fmt::format("{:>7} {:>9.6f}", "exact", distance.cosine);
}

Json json(const Distance &distance) {
  return {{"sqnr_db", std::isfinite(distance.decibels) ? Json(distance.decibels) : Json()},
          {"cosine", distance.cosine}};
}

Json json(const Damage &damage) {
  return {{"isolated", json(damage.isolated)}, {"accumulated", json(damage.accumulated)}};
}

Json json(const OperatorReport &row) {
  return {{"operator", row.name},
          {"operation", row.operation},
          {"format", row.format},
          {"reason", row.reason},
          {"damage", json(row.damage)}};
}

Json json(const TensorReport &row) {
  return {
      {"tensor", row.name},
      {"format", row.format},
      {"weights", row.isWeight},
      {"seen", {row.seen.least, row.seen.greatest}},
      {"range", {row.range.least, row.range.greatest}},
      {"method", row.method},
      {"clipped_share", row.clippedShare},
      {"damage", json(row.damage)},
      {"histogram",
       {{"first", row.histogram.first}, {"width", row.histogram.width}, {"counts", row.histogram.counts}}}};
}

Json json(const Report &report) {
  Json out = {{"schema_version", 1},
              {"model", report.model},
              {"target", report.target},
              {"samples", report.samples},
              {"steps", report.steps}};
  for (const char *list : {"outputs", "operators", "by_damage", "tensors", "in_floats"})
    out[list] = Json::array();
  for (const OutputReport &row : report.outputs)
    out["outputs"].push_back({{"output", row.name}, {"accumulated", json(row.accumulated)}});
  for (const OperatorReport &row : report.operators)
    out["operators"].push_back(json(row));
  for (size_t i : report.byDamage())
    out["by_damage"].push_back(report.operators[i].name);
  for (const TensorReport &row : report.tensors)
    out["tensors"].push_back(json(row));
  for (const InFloat &row : report.inFloat)
    out["in_floats"].push_back(
        {{"operator", row.node}, {"operation", row.operation}, {"reason", row.reason}});
  out["saved"] = Json();
  if (const std::optional<Saved> &saved = report.saved)
    out["saved"] = {{"ms", saved->milliseconds},
                    {"joules", saved->joules},
                    {"float_ms", saved->floatMilliseconds},
                    {"float_joules", saved->floatJoules}};
  out["why_not_saved"] = report.whyNotSaved;
  return out;
}

std::string savedText(const Report &report) {
  if (!report.saved)
    return report.whyNotSaved.empty() ? "" : "time and energy beside floats: " + report.whyNotSaved + "\n";
  const Saved &saved = *report.saved;
  return fmt::format("time: {:.4f} ms, in floats {:.4f} ms: {:.1f} % saved\n"
                     "energy: {:.6f} J, in floats {:.6f} J: {:.1f} % saved\n",
                     saved.milliseconds, saved.floatMilliseconds,
                     100 * (1 - saved.milliseconds / saved.floatMilliseconds), saved.joules,
                     saved.floatJoules, 100 * (1 - saved.joules / saved.floatJoules));
}

std::string operatorsText(const Report &report) {
  std::string out =
      fmt::format("\n{:>17}  {:>17}\n{:>7} {:>9}  {:>7} {:>9}  {:<14} {:<13} {}\n", "isolated", "accumulated",
                  "SQNR dB", "cosine", "SQNR dB", "cosine", "format", "operation", "operator, by damage");
  for (size_t i : report.byDamage()) {
    const OperatorReport &row = report.operators[i];
    out += fmt::format("{}  {}  {:<14} {:<13} {}\n", text(row.damage.isolated), text(row.damage.accumulated),
                       row.format, row.operation, row.name);
  }
  return out;
}

std::string tensorsText(const Report &report) {
  std::string out = fmt::format("\n{:>17}  {:>17}\n{:>7} {:>9}  {:>7} {:>9}  {:<20} {:>23} {:>9} {:<18} {}\n",
                                "isolated", "accumulated", "SQNR dB", "cosine", "SQNR dB", "cosine", "format",
                                "range", "clipped", "method", "tensor");
  for (const TensorReport &row : report.tensors)
    out += fmt::format("{}  {}  {:<20} {:>11.4g} {:>11.4g} {:>7.3f} % {:<18} {}\n", text(row.damage.isolated),
                       text(row.damage.accumulated), row.format, row.range.least, row.range.greatest,
                       100 * row.clippedShare, row.method, row.name);
  return out;
}

/// Operators of both, side by side.
struct Pair {
  const OperatorReport *a, *b;
};
std::vector<Pair> pairs(const Report &a, const Report &b) {
  std::vector<Pair> result;
  for (const OperatorReport &row : a.operators)
    for (const OperatorReport &other : b.operators)
      if (row.name == other.name)
        result.push_back({&row, &other});
  return result;
}

constexpr std::string_view page = R"html(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Quantization</title><style>
body{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1400px;padding:0 1em;color:#1b1f24;background:#fff}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}pre{background:#f5f6f8;padding:1em;overflow-x:auto}
table{border-collapse:collapse;font-size:13px;width:100%}th,td{padding:.2em .6em;text-align:right;border-bottom:1px solid #e4e7eb}
th{cursor:pointer;position:sticky;top:0;background:#fff}td.l,th.l{text-align:left}canvas{width:260px;height:40px;display:block}
</style></head><body><h1 id="title"></h1><pre id="summary"></pre>
<h2>Operators</h2><div id="operators"></div>
<h2>Tensors</h2><p>Counts on a logarithmic scale; what is red is clipped.</p><div id="tensors"></div>
<h2>In floats</h2><div id="floats"></div>
<script type="application/json" id="data">)html";

constexpr std::string_view script = R"html(</script><script>
'use strict';
const d=JSON.parse(document.getElementById('data').textContent),$=i=>document.getElementById(i);
$('title').textContent=d.title;$('summary').textContent=d.summary;
const number=v=>{if(v===null)return'exact';const n=Number.isInteger(v)?0:Math.abs(v)<1?6:2;
return v.toLocaleString(undefined,{minimumFractionDigits:n,maximumFractionDigits:n})};
function histogram(t){const c=document.createElement('canvas'),h=t.histogram,n=h.counts.length;c.width=520;c.height=80;const g=c.getContext('2d');
if(!n)return c;const top=Math.log1p(Math.max(...h.counts)),w=520/n;h.counts.forEach((v,i)=>{const at=h.first+(i+.5)*h.width;
g.fillStyle=at<t.range[0]-h.width||at>t.range[1]+h.width?'#d1242f':'#4a7fb5';const y=v?Math.max(1,78*Math.log1p(v)/top):0;g.fillRect(i*w,80-y,Math.max(1,w-1),y)});
g.fillStyle='#1b1f24';for(const r of t.range){const x=(r-h.first)/h.width*w;g.fillRect(Math.min(518,Math.max(0,x)),0,2,80)}
c.title=`${h.first} to ${h.first+n*h.width}`;return c}
// A column: its name, what is shown of a row, and whether that is text.
function table(id,rows,columns,sorted){let by=sorted,up=true;const t=document.createElement('table');$(id).append(t);
const draw=()=>{t.textContent='';const head=t.insertRow();columns.forEach(([name,,left],i)=>{const th=document.createElement('th');th.textContent=name;
if(left)th.className='l';th.onclick=()=>{up=by===i?!up:true;by=i;draw()};head.append(th)});
const key=r=>{const v=columns[by][1](r);return v===null?Infinity:v};
const list=by<0?rows:[...rows].sort((a,b)=>(key(a)<key(b)?-1:key(a)>key(b)?1:0)*(up?1:-1));
for(const r of list){const tr=t.insertRow();for(const [,of,left] of columns){const td=tr.insertCell(),v=of(r);if(left)td.className='l';
if(v instanceof Node)td.append(v);else td.textContent=typeof v==='string'?v:number(v)}}};draw()}
const damage=[['isolated, dB',r=>r.damage.isolated.sqnr_db],['cosine',r=>r.damage.isolated.cosine],
['accumulated, dB',r=>r.damage.accumulated.sqnr_db],['cosine',r=>r.damage.accumulated.cosine]];
table('operators',d.operators,[...damage,['format',r=>r.format,1],['operation',r=>r.operation,1],['operator',r=>r.operator,1],['reason',r=>r.reason,1]],0);
table('tensors',d.tensors,[...damage,['format',r=>r.format,1],['least',r=>r.range[0]],['greatest',r=>r.range[1]],['clipped, %',r=>100*r.clipped_share],
['method',r=>r.method,1],['tensor',r=>r.tensor,1],['values',histogram,1]],-1);
table('floats',d.in_floats,[['operator',r=>r.operator,1],['operation',r=>r.operation,1],['why',r=>r.reason,1]],-1);
</script></body></html>
)html";

std::string summary(const Report &report) {
  std::string out =
      fmt::format("{}{}{}, measured on {} {}\n", report.model, report.target.empty() ? "" : " for ",
                  report.target, report.samples, report.samples == 1 ? "sample" : "samples");
  for (const std::string &step : report.steps)
    out += "quantization: " + step + "\n";
  out += savedText(report);
  out += fmt::format("\n{:>7} {:>9}  {}\n", "SQNR dB", "cosine", "output");
  for (const OutputReport &row : report.outputs)
    out += fmt::format("{}  {}\n", text(row.accumulated), row.name);
  return out;
}

} // namespace

std::string Report::text() const {
  std::string out = summary(*this) + operatorsText(*this) + tensorsText(*this);
  if (!inFloat.empty())
    out += "\n";
  for (const InFloat &row : inFloat)
    out += fmt::format("in floats: {} ({}): {}\n", row.node, row.operation, row.reason);
  return out;
}

std::string Report::json() const {
  return quantize::json(*this).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string Report::html() const {
  Json data = quantize::json(*this);
  data["title"] = "Quantization of " + model;
  data["summary"] = summary(*this);
  return std::string(page) + inScript(data.dump(-1, ' ', false, Json::error_handler_t::replace)) +
         std::string(script);
}

std::string compareReports(const std::string &nameA, const Report &a, const std::string &nameB,
                           const Report &b) {
  std::string heads =
      fmt::format("{:<12} {:>7} {:>9}  {:>7} {:>9}", "format", "isolated", "cosine", "accum.", "cosine");
  std::string out = fmt::format("{:<49} | {}\n{} | {}\n", nameA, nameB, heads, heads + "  operator");
  auto half = [](const std::string &format, const Damage &damage) {
    return fmt::format("{:<12} {}  {}", format, text(damage.isolated), text(damage.accumulated));
  };
  for (auto [x, y] : pairs(a, b))
    out += fmt::format("{} | {}  {}\n", half(x->format, x->damage), half(y->format, y->damage), x->name);
  for (size_t i = 0; i < std::min(a.outputs.size(), b.outputs.size()); ++i)
    out += fmt::format("{:<31}{} | {:<31}{}  {}\n", "output", text(a.outputs[i].accumulated), "output",
                       text(b.outputs[i].accumulated), a.outputs[i].name);
  return out;
}

std::string compareReportsJson(const std::string &nameA, const Report &a, const std::string &nameB,
                               const Report &b) {
  Json out = {{"schema_version", 1}, {"model", a.model}, {"settings", {nameA, nameB}}};
  out["layers"] = out["outputs"] = Json::array();
  for (auto [x, y] : pairs(a, b)) {
    auto side = [](const OperatorReport &row) {
      return Json{{"format", row.format}, {"damage", json(row.damage)}};
    };
    out["layers"].push_back(
        {{"operator", x->name}, {"operation", x->operation}, {"settings", {side(*x), side(*y)}}});
  }
  for (size_t i = 0; i < std::min(a.outputs.size(), b.outputs.size()); ++i)
    out["outputs"].push_back(
        {{"output", a.outputs[i].name},
         {"settings", {json(a.outputs[i].accumulated), json(b.outputs[i].accumulated)}}});
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace npuc::quantize
