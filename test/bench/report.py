"""The matrix as text, as JSON and as a page of the documentation."""
import collections

# What a figure must reach to be as good as intended: where it stands in the matrix, which figure, the limit, and whether more is better.
GOALS = [
    ("minilm/ts17 8x128", "atom", "fp16", "sentence_cosines.least", 0.9999, True),
    ("minilm/ts17 8x128", "sapeon-x330", "fp16", "sentence_cosines.least", 0.9999, True),
    ("minilm/ts17 8x128", "rngd", "bf16", "sentence_cosines.least", 0.9995, True),
    *(("minilm/ts17 8x128", target, "int8", "sentence_cosines.mean", 0.85, True)
      for target in ("atom", "sapeon-x220", "sapeon-x330", "warboy", "warboy-2pe", "rngd")),
    ("*", "atom", "fp16", "relative_error", 1e-2, False),
    ("minilm/ts17 1x128", "*", "*", "compile_seconds", 5, False),
    ("minilm/ts17 1x128", "*", "*", "run_seconds", 1, False),
    ("minilm/ts17 1x128", "*", "*", "dram_ratio", 1.02, False),
    ("bert-large-qa-ts 1x384", "*", "*", "compile_seconds", 60, False),
    ("bert-large-qa-ts 1x384", "*", "*", "compile_anonymous_mib", 1024, False),
    ("bert-large-qa-ts 1x384", "*", "*", "run_seconds", 60, False),
    ("bert-large-qa-ts 1x384", "*", "*", "timing_seconds", 5, False),
    ("bert-large-qa-ts 1x384", "atom", "int8", "efficiency", 0.40, True),
    *(("minilm/ts17 8x128", target, "int8", "efficiency", 0.35, True) for target in ("atom", "sapeon-x220", "warboy")),
]


def figure(row, path):
    for key in path.split("."):
        row = row.get(key) if row else None
    return row


def goals(rows):
    """Each goal with its worst figure: (what, figure or None, limit, reached)."""
    for model, target, precision, path, limit, more in GOALS:
        found = [row for row in rows if model in ("*", row["model"]) and target in ("*", row["target"])
                 and precision in ("*", row["precision"])]
        values = [(figure(row, path), row) for row in found if figure(row, path) is not None]
        name = " ".join(part for part in (model, target, precision) if part != "*")
        if not values:
            yield f"{name}: {path}", None, limit, more, None
            continue
        worst, row = (min if more else max)(values, key=lambda value: value[0])
        where = "" if "*" not in (model, target, precision) else f" ({row['model']} {row['target']} {row['precision']})"
        yield f"{name}: {path}{where}", worst, limit, more, worst >= limit if more else worst <= limit


def text(rows, assumed, simulation):
    lines = [f"{'model':36} {'target':12} {'type':5} {'error':>8} {'cosine':>9} {'compile':>9} {'anon':>8} {'run':>7} {'timing':>7} "
             f"{'cycles':>12} {'ms':>9} {'bound':>12} {'eff.':>6} {'DRAM':>10} {'/least':>6} {'int8':>6}"]
    for row in rows:
        place = f"{row['model']:36} {row['target']:12} {row['precision']:5}"
        if "hole" in row:
            lines.append(f"{place}   - {row['hole']}")
            continue
        cosine = figure(row, "sentence_cosines.mean") or row["cosine"]
        dram = (row["dram_bytes"]["read"] + row["dram_bytes"]["written"]) / 1e6
        lines.append(f"{place} {row['relative_error']:8.1e} {cosine:9.6f} {row['compile_seconds']:7.2f} s {row['compile_anonymous_mib']:4.0f} MiB "
                     f"{row['run_seconds']:5.2f} s {row['timing_seconds']:5.2f} s {row['simulated_cycles']:12} {row['simulated_ms']:9.4f} "
                     f"{row['lower_bound_cycles']:12.0f} {row['efficiency']:6.3f} {dram:7.1f} MB {row['dram_ratio']:6.2f} {row['int8_share']:6.1%}")
    if simulation:
        lines += ["", "speed of the simulator"]
        lines += [f"  {name:50} {value:.4g} {unit}" for name, (value, unit) in simulation.items()]
    lines += ["", "goals"]
    for what, value, limit, more, reached in goals(rows):
        said = "not measured" if value is None else f"{value:.6g}"
        verdict = "" if reached is None else "reached" if reached else "MISSED"
        lines.append(f"  {what:90} {said:>12} {'>=' if more else '<='} {limit:<8g} {verdict}")
    lines += ["", "assumed fields that the figures rest on (npuc targets NAME gives reasons)"]
    lines += [f"  {target}: {fieldList(sections)}" for target, sections in assumed.items()]
    return "\n".join(lines) + "\n"


def assumedFields(rows):
    """Takes each row's assumed fields out of it, and returns all of them: {target: {section: [field]}}."""
    found = {}
    for row in rows:
        for entry in row.pop("assumed", []):
            found.setdefault(row["target"], set()).add(entry["path"])
    fields = {}
    for target, paths in found.items():
        sections = fields.setdefault(target, {})
        for path in sorted(paths):
            section, _, field = path.partition(".")
            sections.setdefault(section if field else "description", []).append(field or section)
    return fields


def fieldList(sections):
    return "; ".join(f"{section}: {', '.join(fields)}" for section, fields in sections.items())


HEADER = """# Models on targets

Written by `./dev bench --docs`: change the tool (test/bench), not this file. Every figure is simulated, on descriptions of machines
with assumed fields (docs/targets.md); none depends on the machine that ran the tool.

A cell: simulated milliseconds · efficiency (the lower bound of docs/lower-bound.md over the simulated time) · relative error to
onnxruntime's fp32 (max |y - r| / max |r|, worst output, one digit), or for the sentence encoder the mean cosine of its embeddings.
Weights are real for minilm and smollm2, seeded for the others. A size n+p has p cached positions. In int8, minilm is calibrated on
other sentences than those measured, any other model on the very inputs. A number in brackets is a hole, and the list below the
table says why it is there; an empty cell was not measured.
"""


def page(rows, assumed):
    lines = [HEADER]
    for precision in sorted({row["precision"] for row in rows}, key=["fp16", "bf16", "int8"].index):
        part = [row for row in rows if row["precision"] == precision]
        targets = list(dict.fromkeys(row["target"] for row in part))
        table = collections.defaultdict(dict)
        for row in part:
            table[row["model"]][row["target"]] = row
        reasons = {}
        lines += [f"## {precision}", "", "| model | " + " | ".join(targets) + " |", "| --- |" + " --- |" * len(targets)]
        for model, cells in table.items():
            shown = []
            for target in targets:
                row = cells.get(target)
                if row is None:
                    shown.append("")
                elif "hole" in row:
                    why = row["hole"].removeprefix(f"target {target}: ")
                    shown.append(f"[{reasons.setdefault(why, len(reasons) + 1)}]")
                else:
                    close = (f"{row['sentence_cosines']['mean']:.4f}" if "sentence_cosines" in row else f"{row['relative_error']:.0e}")
                    shown.append(f"{row['simulated_ms']:.3f} · {row['efficiency']:.2f} · {close}")
            lines.append(f"| {model} | " + " | ".join(shown) + " |")
        lines += [""] + [f"{number}. {why}" for why, number in reasons.items()] + ([""] if reasons else [])
    lines += ["## Assumed fields", "", "What the figures rest on that no public source states; `npuc targets NAME` gives each field's reason.", ""]
    lines += [f"- **{target}**. {fieldList(sections)}" for target, sections in assumed.items()]
    return "\n".join(lines) + "\n"
