// A profile as one page, nothing fetched.
#include "support/Html.h"
#include "runtime/cuda/Profile.h"

#include <nlohmann/json.hpp>

namespace npuc::cuda {
namespace {

constexpr std::string_view page = R"html(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Kernels</title><style>
body{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1400px;padding:0 1em;color:#1b1f24;background:#fff}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}pre{background:#f5f6f8;padding:1em;overflow-x:auto}
table{border-collapse:collapse;font-size:13px;width:100%}th,td{padding:.2em .6em;text-align:right;border-bottom:1px solid #e4e7eb}
th{cursor:pointer;position:sticky;top:0;background:#fff}th:nth-child(-n+3),td:nth-child(-n+3){text-align:left}
</style></head><body><h1 id="title"></h1><pre id="summary"></pre>
<h2>Kernels</h2><input id="filter" placeholder="filter by name"><table><thead><tr id="heads"></tr></thead><tbody id="rows"></tbody></table>
<script type="application/json" id="data">)html";

constexpr std::string_view script = R"html(</script><script>
'use strict';
const d=JSON.parse(document.getElementById('data').textContent),$=i=>document.getElementById(i);
$('title').textContent=d.title;$('summary').textContent=d.summary;
const part=(a,b,f)=>b?+(f*a/b).toFixed(2):null,counted=(k,f)=>k.counters?f(k.counters):null;
const heads=[['launch',(k,i)=>i],['kernel',k=>k.kernel],['node',k=>k.source],['grid',k=>k.grid.join(' x ')],
['block',k=>k.block.join(' x ')],['registers',k=>k.registers??null],['ms',k=>k.ms],['predicted us',k=>k.predicted_us??null],['bound by',k=>k.bound??null],
['instructions',k=>counted(k,c=>c.instructions.all.warps)],['sectors',k=>counted(k,c=>part(c.global.sectors,c.global.requests,1))],
['least',k=>counted(k,c=>part(c.global.least_sectors,c.global.requests,1))],
['conflicts',k=>counted(k,c=>part(c.shared.wavefronts,c.shared.least_wavefronts,1))],
['tensor %',k=>counted(k,c=>c.multiply_adds?+(100*c.tensor_share).toFixed(2):null)],
['divergences',k=>counted(k,c=>c.divergences)]];
const all=d.profile.kernels.map((k,i)=>heads.map(h=>h[1](k,i)));let sort=0,up=true;
function rows(){const f=$('filter').value.toLowerCase(),t=$('rows');t.textContent='';
const r=all.filter(o=>(o[1]+' '+o[2]).toLowerCase().includes(f)).sort((a,b)=>(a[sort]<b[sort]?-1:a[sort]>b[sort]?1:0)*(up?1:-1));
for(const o of r){const tr=document.createElement('tr');for(const v of o){const td=document.createElement('td');
td.textContent=v===null?'-':typeof v==='number'?v.toLocaleString():v;tr.append(td)}t.append(tr)}}
heads.forEach((h,i)=>{const th=document.createElement('th');th.textContent=h[0];
th.onclick=()=>{up=sort===i?!up:i<5;sort=i;rows()};$('heads').append(th)});
$('filter').oninput=rows;rows();
</script></body></html>
)html";

} // namespace

std::string toHtml(const std::string &title, const std::string &summary, const std::string &json) {
  using Json = nlohmann::ordered_json;
  const Json data = {{"title", title}, {"summary", summary}, {"profile", Json::parse(json)}};
  return std::string(page) + inScript(data.dump(-1, ' ', false, Json::error_handler_t::replace)) +
         std::string(script);
}

} // namespace npuc::cuda
