"""Tables for readers, in Markdown and in plain text."""


def line(fields):
    return f"| {' | '.join(fields)} |"


def markdown(header, rows, numbers=()):
    """Returns the lines of a table. Columns whose titles are in `numbers` are aligned right."""
    rule = ["---:" if title in numbers else "---" for title in header]
    return [line(header), line(rule), *(line(row) for row in rows)]


def aligned(header, rows, left=()):
    """Returns lines in which columns with these titles are aligned left, and numbers right. A row
    with fewer fields than the header is aligned left, and its last field may be of any length."""
    whole = [row for row in [header, *rows] if len(row) == len(header)]
    widths = [max(map(len, column)) for column in zip(*whole)]
    return ["  ".join(field.ljust(width) if title in left or len(row) < len(header)
                      else field.rjust(width)
                      for field, title, width in zip(row, header, widths)).rstrip()
            for row in [header, *rows]]
