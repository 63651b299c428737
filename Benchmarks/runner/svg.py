"""Draws charts as SVG text, without a library."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 76, 190, 46, 56
INK, FAINT, PAPER = "#24292f", "#d8dee4", "#ffffff"


def text(x, y, words, anchor="start", size=12, extra=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{INK}" {extra}>{escape(words)}</text>')


def rule(x1, y1, x2, y2, colour=FAINT, width=1, extra=""):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}" {extra}/>')


def short(value):
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def steps(low, high):
    """Returns 1, 2, 5, 10, 20 and so on: from the last one at most low to one at least high."""
    found = [factor * 10.0 ** power for power in range(-6, 13) for factor in (1, 2, 5)]
    first = max(step for step in found if step <= low)
    last = min(step for step in found if step >= high and step > first)
    return [step for step in found if first <= step <= last]


class Scale:
    """Maps values to heights, from zero or logarithmic."""

    def __init__(self, values, logarithmic):
        self.place = math.log10 if logarithmic else float
        top = max(values, default=0) or 1
        if logarithmic:
            self.ticks = steps(min(values), top)
        else:
            step = steps(top / 6, top)[1]
            self.ticks = [step * number for number in range(math.ceil(top / step) + 1)]
        self.low, self.high = self.place(self.ticks[0]), self.place(self.ticks[-1])

    def y(self, value):
        share = (self.place(value) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def frame(title, unit, scale):
    parts = [text(LEFT, 24, title, size=15, extra='font-weight="bold"')]
    for tick in scale.ticks:
        y = scale.y(tick)
        parts += [rule(LEFT, y, WIDTH - RIGHT, y), text(LEFT - 8, y + 4, short(tick), "end")]
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(text(18, middle, unit, "middle", extra=f'transform="rotate(-90 18 {middle:.0f})"'))
    return parts


def legend(series):
    parts = []
    for number, (label, colour, dashed, _) in enumerate(series):
        y = TOP + 14 + number * 20
        x = WIDTH - RIGHT + 14
        dash = 'stroke-dasharray="5 3"' if dashed else ""
        parts += [rule(x, y - 4, x + 22, y - 4, colour, 3, dash), text(x + 28, y, label)]
    return parts


def document(parts):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>', *parts, "</svg>", ""])


def lines(title, unit, axis, categories, series, logarithmic=False):
    """Draws a line for each of `series`: (label, colour, dashed, values); None leaves a gap."""
    values = [value for _, _, _, row in series for value in row if value is not None]
    scale = Scale(values, logarithmic)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(categories) - 1)
    parts = frame(title, unit, scale)
    for number, category in enumerate(categories):
        parts.append(text(LEFT + number * step, HEIGHT - BOTTOM + 20, category, "middle"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, axis, "middle"))
    for _, colour, dashed, row in series:
        dash = 'stroke-dasharray="5 3"' if dashed else ""
        points = [(LEFT + number * step, scale.y(value)) for number, value in enumerate(row)
                  if value is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                     f'stroke-width="2" {dash}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
                  for x, y in points]
    return document(parts + legend(series))


def bars(title, unit, categories, series, logarithmic=True):
    """Draws a group of bars for each category, with a bar for each of `series`."""
    values = [value for _, _, _, row in series for value in row if value]
    scale = Scale(values, logarithmic)
    group = (WIDTH - LEFT - RIGHT) / len(categories)
    width = group * 0.84 / len(series)
    parts = frame(title, unit, scale)
    bottom = HEIGHT - BOTTOM
    for number, category in enumerate(categories):
        left = LEFT + number * group + group * 0.08
        parts.append(text(LEFT + (number + 0.5) * group, bottom + 20, category, "middle"))
        for place, (_, colour, dashed, row) in enumerate(series):
            if not row[number]:
                continue
            y = scale.y(row[number])
            opacity = 0.6 if dashed else 1
            parts.append(f'<rect x="{left + place * width:.1f}" y="{y:.1f}" '
                         f'width="{max(1, width - 1.5):.1f}" height="{bottom - y:.1f}" '
                         f'fill="{colour}" fill-opacity="{opacity}"/>')
    return document(parts + legend(series))
