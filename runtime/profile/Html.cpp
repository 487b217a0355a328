#include "support/Html.h"
#include "runtime/profile/Occupancy.h"
#include "runtime/profile/Report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <ostream>
#include <unordered_map>

namespace npuc::profile {
namespace {

using timing::CommandTime;

constexpr size_t columns = 1200; ///< Of a strip.

constexpr std::string_view page = R"html(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Simulated run</title><style>
body{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1400px;padding:0 1em;color:#1b1f24;background:#fff}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}pre{background:#f5f6f8;padding:1em;overflow-x:auto}
canvas{display:block;width:100%;border:1px solid #d5d9de}
.strip{display:flex;align-items:center;gap:.5em}.strip span{width:11em;text-align:right;font-size:12px;white-space:nowrap}
.strip canvas{height:18px}.plot canvas{height:140px}#tip{position:fixed;background:#1b1f24;color:#fff;padding:.3em .6em;
border-radius:4px;font-size:12px;pointer-events:none;display:none;max-width:50em}
table{border-collapse:collapse;font-size:13px;width:100%}th,td{padding:.2em .6em;text-align:right;border-bottom:1px solid #e4e7eb}
th{cursor:pointer;position:sticky;top:0;background:#fff}th:last-child,td:last-child,th:nth-last-child(2),td:nth-last-child(2){text-align:left}
</style></head><body><h1 id="title"></h1><pre id="summary"></pre>
<h2>Engines over time</h2><div id="strips"></div>
<h2>DRAM, GB/s</h2><div class="plot"><canvas id="dram"></canvas></div>
<h2>Scratchpad, live bytes, one line a core</h2><div class="plot"><canvas id="pads"></canvas></div>
<h2>Operators</h2><input id="filter" placeholder="filter by name"><table><thead><tr id="heads"></tr></thead><tbody id="rows"></tbody></table>
<h2>Assumed fields</h2><pre id="assumed"></pre><div id="tip"></div>
<script type="application/json" id="data">)html";

constexpr std::string_view script = R"html(</script><script>
'use strict';
const d=JSON.parse(document.getElementById('data').textContent),$=i=>document.getElementById(i),tip=$('tip');
$('title').textContent=d.title;$('summary').textContent=d.summary;$('assumed').textContent=d.assumed;
const color=i=>i<0?'#9aa2ab':`hsl(${(i*137.5)%360} 60% 50%)`,time=c=>(c/d.cyclesPerMicrosecond).toFixed(3)+' µs';
function hover(c,text){c.onmousemove=e=>{const r=c.getBoundingClientRect();tip.textContent=text((e.clientX-r.left)/r.width);
tip.style.display='block';tip.style.left=Math.min(e.clientX+12,innerWidth-300)+'px';tip.style.top=e.clientY+12+'px'};
c.onmouseleave=()=>tip.style.display='none'}
for(const s of d.strips){const row=document.createElement('div');row.className='strip';const n=document.createElement('span');
n.textContent=s.name;const c=document.createElement('canvas');c.width=d.columns;c.height=18;row.append(n,c);$('strips').append(row);
const g=c.getContext('2d');for(let x=0;x<d.columns;x++){if(!s.busy[x])continue;g.fillStyle=color(s.operator[x]);
const h=Math.max(1,18*s.busy[x]/100);g.fillRect(x,18-h,1,h)}
hover(c,f=>{const x=Math.min(d.columns-1,Math.floor(f*d.columns));return time(f*d.cycles)+'  '+s.name+' '+s.busy[x]+' % '+(s.busy[x]?d.names[s.operator[x]]||'':'')})}
function plot(id,lines,unit){const c=$(id);c.width=1400;c.height=140;const g=c.getContext('2d');let top=1e-9;
for(const l of lines)for(const p of l)top=Math.max(top,p[1]);lines.forEach((l,i)=>{g.strokeStyle=color(i);g.beginPath();let y=140;
g.moveTo(0,140);for(const p of l){const x=1400*p[0]/d.cycles;g.lineTo(x,y);y=138-134*p[1]/top;g.lineTo(x,y)}g.lineTo(1400,y);g.stroke()});
hover(c,f=>time(f*d.cycles)+'  '+lines.map(l=>{let v=0;for(const p of l){if(p[0]>f*d.cycles)break;v=p[1]}return v.toLocaleString()}).join(', ')+' '+unit+', greatest '+top.toLocaleString())}
plot('dram',[d.dram],'GB/s');plot('pads',d.pads,'bytes');
const heads=['cycles','%','commands','matrix','vector','dma','wait','group','cores','constants','tensors','span','predicted','tile','bound by','operator'];
const last=heads.length-1;let sort=0,up=false;
function rows(){const f=$('filter').value.toLowerCase(),t=$('rows');t.textContent='';
const r=d.operators.filter(o=>o[last].toLowerCase().includes(f)).sort((a,b)=>(a[sort]<b[sort]?-1:a[sort]>b[sort]?1:0)*(up?1:-1));
for(const o of r.slice(0,2000)){const tr=document.createElement('tr');for(const v of o){const td=document.createElement('td');
td.textContent=typeof v==='number'?v.toLocaleString():v;tr.append(td)}t.append(tr)}}
heads.forEach((h,i)=>{const th=document.createElement('th');th.textContent=h;th.onclick=()=>{up=sort===i?!up:i>last-3;sort=i;rows()};$('heads').append(th)});
$('filter').oninput=rows;rows();
</script></body></html>
)html";

/// Busy share of each column in percent, and the operator that takes most of it.
struct Strip {
  std::vector<double> busy = std::vector<double>(columns, 0);
  std::vector<std::unordered_map<uint32_t, double>> operators =
      std::vector<std::unordered_map<uint32_t, double>>(columns);
};

void paint(Strip &strip, const CommandTime &time, uint32_t op, double width) {
  const double start = double(time.start) / width, end = double(time.end) / width;
  for (auto c = static_cast<size_t>(start); c < columns && double(c) < end; ++c) {
    const double part = std::min(end, double(c) + 1) - std::max(start, double(c));
    strip.busy[c] += part;
    strip.operators[c][op] += part;
  }
}

} // namespace

void writeHtml(std::ostream &out, const Report &report, const isa::Program &program,
               const timing::Timeline &timeline, const target::TargetDescription &target) {
  using Json = nlohmann::ordered_json;
  Json data;
  data["title"] = fmt::format("{} on {}", report.program, report.target);
  data["summary"] = totals(report);
  data["cycles"] = std::max<uint64_t>(1, report.cycles);
  data["cyclesPerMicrosecond"] = target.clock_ghz() * 1000;
  data["columns"] = columns;

  std::unordered_map<std::string, uint32_t> number;
  data["names"] = Json::array();
  data["operators"] = Json::array();
  for (const OperatorTime &op : report.operators) {
    number.emplace(op.name, static_cast<uint32_t>(number.size()));
    const std::string name = op.name.empty() ? "(no source)" : op.name;
    data["names"].push_back(name);
    const double share = report.cycles > 0 ? 100 * double(op.cycles) / double(report.cycles) : 0;
    Json row = {op.cycles,       std::round(share * 10) / 10, op.commands, op.busy[0], op.busy[1], op.busy[2],
                op.semaphoreWait};
    if (const auto &plan = op.plan)
      row.insert(row.end(), {plan->groups.empty() ? Json("") : Json(plan->groups.front()), plan->cores,
                             plan->constantBytes, plan->dramReadBytes + plan->dramWrittenBytes,
                             op.lastEnd - op.firstStart, plan->predictedEnd - plan->predictedStart,
                             fmt::format("{}", fmt::join(plan->tile, "x"))});
    else
      row.insert(row.end(), {"", "", "", "", op.lastEnd - op.firstStart, "", ""});
    row.push_back(timing::name(op.bound));
    row.push_back(name);
    data["operators"].push_back(std::move(row));
  }
  std::vector<uint32_t> ofSource;
  for (const std::string &source : program.sources) {
    auto it = number.find(source);
    ofSource.push_back(it == number.end() ? 0 : it->second);
  }

  std::vector<Strip> strips(timeline.engines.size());
  const double width = std::max(1.0, double(timeline.cycles)) / columns;
  for (size_t core = 0; core < timeline.commands.size(); ++core)
    for (size_t i = 0; i < timeline.commands[core].size(); ++i) {
      const CommandTime &time = timeline.commands[core][i];
      if (time.busy() > 0)
        paint(strips[time.engine], time, ofSource[program.streams[core][i].source], width);
    }
  data["strips"] = Json::array();
  for (size_t e = 0; e < strips.size(); ++e) {
    std::vector<int> busy, most;
    for (size_t c = 0; c < columns; ++c) {
      busy.push_back(static_cast<int>(std::lround(100 * std::min(1.0, strips[e].busy[c]))));
      const auto &ops = strips[e].operators[c];
      auto longest = std::ranges::max_element(ops, [](const auto &a, const auto &b) {
        return a.second != b.second ? a.second < b.second : a.first > b.first;
      });
      most.push_back(longest == ops.end() ? -1 : static_cast<int>(longest->first));
    }
    data["strips"].push_back(
        {{"name", fmt::format("core {} {}", report.engines[e].time.core, report.engines[e].name)},
         {"busy", busy},
         {"operator", most}});
  }

  data["dram"] = Json::array();
  const timing::Series &series = timeline.dramBytes;
  for (size_t i = 0; i < series.values.size(); ++i)
    data["dram"].push_back(
        {i * series.bucket, series.values[i] / double(series.bucket) * target.clock_ghz()});
  data["dram"].push_back({series.values.size() * series.bucket, 0});
  data["pads"] = Json::array();
  for (const auto &core : scratchpadOccupancy(program, timeline)) {
    Json line = Json::array();
    for (const Occupancy &change : thinned(core, timeline.cycles, columns))
      line.push_back({change.cycle, change.bytes});
    data["pads"].push_back(line);
  }
  std::string assumed;
  for (const target::AssumedField &field : report.assumed)
    assumed += fmt::format("{} = {} ({}{}{}) {}\n", field.path, field.value,
                           target::Provenance::Grade_Name(field.grade), field.source.empty() ? "" : "; ",
                           field.source, field.reason);
  data["assumed"] = assumed;

  out << page << inScript(data.dump(-1, ' ', false, Json::error_handler_t::replace)) << script;
}

} // namespace npuc::profile
