"""Markdown tables of figures."""


def markdown(lines: list[list[str]]) -> str:
    """Lay out cells below the heading that is the first line; all columns but the first keep to the right."""
    widths = [max(2, *map(len, column)) for column in zip(*lines, strict=True)]
    lines = [lines[0], ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])], *lines[1:]]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    )


def mean_and_sd(number: dict[str, float], n_seeds: int) -> str:
    """Write a figure of summary; with one seed there is no sd, and a share without one is in percent."""
    if "sd" not in number:
        return f"{100 * number['mean']:.1f}%"
    return f"{number['mean']:.4f}" + (f" ± {number['sd']:.4f}" if n_seeds > 1 else "")
