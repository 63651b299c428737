"""Draws charts as SVG text, without a library. Series also differ without colour: by the shape of
their points, by dashes and hatching, and by the numbers of bars."""

import dataclasses
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 76, 190, 46, 56
INK, FAINT, PAPER = "#24292f", "#d8dee4", "#ffffff"
# The corners of a point's shape, its turn in degrees, and the radius between two corners.
SHAPES = {"circle": (24, 0, 1), "square": (4, 45, 1), "diamond": (4, 0, 1), "triangle": (3, 0, 1),
          "inverted triangle": (3, 60, 1), "pentagon": (5, 0, 1), "hexagon": (6, 0, 1),
          "star": (5, 0, 0.45), "plus": (4, 0, 0.4), "cross": (4, 45, 0.4)}
RADIUS = 4.5


@dataclasses.dataclass(frozen=True)
class Style:
    """The look of a series. A hollow one has dashed lines, hollow points and hatched bars."""
    colour: str
    shape: str
    hollow: bool = False

    @property
    def dash(self):
        return 'stroke-dasharray="5 3"' if self.hollow else ""

    @property
    def hatch(self):
        return f"hatch-{self.colour.removeprefix('#')}"


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


def marker(x, y, style):
    corners, turn, inner = SHAPES[style.shape]
    places = []
    for number in range(2 * corners):
        angle = math.radians(turn + 180 * number / corners)
        # On the straight side between two corners, unless the shape is a star.
        between = inner if inner < 1 else math.cos(math.pi / corners)
        radius = RADIUS * (1 if number % 2 == 0 else between)
        places.append(f"{x + radius * math.sin(angle):.1f},{y - radius * math.cos(angle):.1f}")
    return (f'<polygon points="{" ".join(places)}" stroke="{style.colour}" stroke-width="1.2" '
            f'fill="{PAPER if style.hollow else style.colour}"/>')


def bar(x, y, width, height, style):
    fill = f"url(#{style.hatch})" if style.hollow else style.colour
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="{fill}" stroke="{style.colour}"/>')


def hatchings(series):
    """Returns a pattern of diagonal lines for each colour that needs one."""
    styles = {style.hatch: style for _, style, _ in series if style.hollow}
    return [f'<pattern id="{name}" width="5" height="5" patternUnits="userSpaceOnUse" '
            f'patternTransform="rotate(45)"><rect width="5" height="5" fill="{PAPER}"/>'
            f'<rect width="2" height="5" fill="{style.colour}"/></pattern>'
            for name, style in styles.items()]


def legend(series, sample):
    """Lists the series; `sample` draws the look of one at a place, by its number from 1."""
    parts = []
    for number, (label, style, _) in enumerate(series, 1):
        y = TOP + 14 + (number - 1) * 20
        x = WIDTH - RIGHT + 14
        parts += [*sample(x, y - 4, style, number), text(x + 28, y, label)]
    return parts


def line_sample(x, y, style, _):
    return [rule(x, y, x + 22, y, style.colour, 2, style.dash), marker(x + 11, y, style)]


def bar_sample(x, y, style, number):
    return [text(x + 5, y + 4, str(number), "middle", 10), bar(x + 12, y - 6, 11, 12, style)]


def document(parts):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>', *parts, "</svg>", ""])


def lines(title, unit, axis, categories, series, logarithmic=False):
    """Draws a line for each of `series`: (label, style, values); None leaves a gap."""
    values = [value for _, _, row in series for value in row if value is not None]
    scale = Scale(values, logarithmic)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(categories) - 1)
    parts = frame(title, unit, scale)
    for number, category in enumerate(categories):
        parts.append(text(LEFT + number * step, HEIGHT - BOTTOM + 20, category, "middle"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, axis, "middle"))
    for _, style, row in series:
        points = [(LEFT + number * step, scale.y(value)) for number, value in enumerate(row)
                  if value is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{style.colour}" '
                     f'stroke-width="2" {style.dash}/>')
        parts += [marker(x, y, style) for x, y in points]
    return document(parts + legend(series, line_sample))


def bars(title, unit, categories, series, logarithmic=True):
    """Draws a group of bars for each category, with a numbered bar for each of `series`."""
    values = [value for _, _, row in series for value in row if value]
    scale = Scale(values, logarithmic)
    group = (WIDTH - LEFT - RIGHT) / len(categories)
    width = group * 0.84 / len(series)
    parts = frame(title, unit, scale)
    bottom = HEIGHT - BOTTOM
    for number, category in enumerate(categories):
        left = LEFT + number * group + group * 0.08
        parts.append(text(LEFT + (number + 0.5) * group, bottom + 20, category, "middle"))
        for place, (_, style, row) in enumerate(series):
            if not row[number]:
                continue
            x, y = left + place * width, scale.y(row[number])
            shown = max(1, width - 2)
            parts += [bar(x, y, shown, bottom - y, style),
                      text(x + shown / 2, y - 3, str(place + 1), "middle", 10)]
    return document(hatchings(series) + parts + legend(series, bar_sample))
