# SPDX-License-Identifier: Apache-2.0
"""The tables, in Markdown."""


def _number(value):
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(found):
    """A plain number, or a summary: the median, with the spread where there is one."""
    if not isinstance(found, dict):
        return _number(found)
    text = _number(found["median"])
    low, high = _number(found["low"]), _number(found["high"])
    return text if low == high else f"{text} ({low}-{high})"


def table(title, rows):
    """rows: {row: {column: cell}}."""
    if not rows:
        return ""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [f"### {title}", "", "| | " + " | ".join(columns) + " |",
             "|---|" + "--:|" * len(columns)]
    for name, row in rows.items():
        cells = [cell(row[column]) if column in row else "" for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


TITLES = {
    "conversion": "Conversion, beside `gunzip | sha256sum` and `gunzip | zstd -3 -T1` of its layers "
                  "one after the other",
    "mount": "Daemon: mount of a local image, and memory (RssAnon + RssShmem of its processes)",
    "warm": "Daemon: warm tree, time / time on the same tree on the local file system",
    "start": "Cold start with runc on an overlay, from a registry behind 20 ms and 100 Mbit/s with "
             "TCP slow start",
    "page": "A read of one cold page, from a registry 10 ms away, beyond the same request made alone",
    "update": "Two versions",
}


def render(result):
    machine = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
    parts = [f"Machine: {machine}; {result['runs']} runs, median (lowest-highest).\n"]
    parts += [table(title, result[key]) for key, title in TITLES.items() if result.get(key)]
    return "\n".join(parts)
