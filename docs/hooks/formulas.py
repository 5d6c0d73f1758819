r"""Formulas of the pages, $...$ and $$...$$ as GitHub reads them, as MathML: browsers show it without scripts or fonts.

Markdown must not see a formula (its underscores would become emphasis), and it must not see MathML either. So a
formula is a token while Markdown runs: `hide` before, `show` after.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from latex2mathml.converter import convert

FENCE = re.compile(r"^(```+|~~~+)[^\n]*\n.*?^\1[ \t]*$", flags=re.M | re.S)
CODE = re.compile(r"(?<!`)(`+)(?!`)(?:(?!\n\n).)+?(?<!`)\1(?!`)", flags=re.S)
FORMULA = re.compile(r"\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$]*?[^\s$])?)\$(?![\w$])", flags=re.S)
TOKEN = re.compile(r"xformula(\d+)x")
LETTERS = re.compile(r'(?:<mi mathvariant="normal">\w</mi>){2,}')
FUNCTION = re.compile(r"<m[io]>(?:log|exp|min|max)</m[io]>(?=<m(?!o))")
STYLED = re.compile(r'<(m[in]) mathvariant="(bold|script|double-struck)">(\w)</m[in]>')


def hide(markdown: str) -> tuple[str, list[str]]:
    """Put a token where each formula outside of code stands; return the page and the MathML of the tokens.

    Raises:
        ValueError: a command of LaTeX that the converter does not know.
    """
    found: list[str] = []

    def token(match: re.Match[str]) -> str:
        block = match["block"] is not None
        found.append(mathml(match["block"] or match["inline"], block))
        return f"xformula{len(found) - 1}x"

    return outside_code(markdown, FORMULA, token), found


def show(html: str, found: list[str]) -> str:
    """Put the formulas where their tokens stand. A block that is a paragraph of its own may scroll sideways."""
    alone = re.compile(r"<p>\s*xformula(\d+)x\s*</p>")
    html = alone.sub(lambda match: f'<div class="formula" tabindex="0">{found[int(match[1])]}</div>', html)
    return TOKEN.sub(lambda match: found[int(match[1])], html)


def outside_code(markdown: str, pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str]) -> str:
    """Replace matches of a pattern that do not begin in a code block or a code span."""
    code = [match.span() for match in FENCE.finditer(markdown)]
    code += [m.span() for m in CODE.finditer(markdown) if not any(a <= m.start() < b for a, b in code)]

    def maybe(match: re.Match[str]) -> str:
        if any(start <= match.start() < end for start, end in code):
            return match[0]
        return replace(match)

    return pattern.sub(maybe, markdown)


def mathml(latex: str, block: bool) -> str:
    """One formula.

    Raises:
        ValueError: a command that the converter does not know, which it would print as text.
    """
    html = convert(" ".join(latex.split()), display="block" if block else "inline")
    html = LETTERS.sub(lambda match: f"<mi>{re.sub('<.*?>', '', match[0])}</mi>", html)
    html = html.replace(r"\_", "_").replace("<mover><mrow>", '<mover accent="true"><mrow>')
    html = FUNCTION.sub(r'\g<0><mspace width="0.167em" />', html).replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")
    html = STYLED.sub(styled, html)
    html = html.replace('<mtext mathvariant="monospace">', '<mtext class="code">')
    if unknown := re.search(r"\\\w+", html):
        raise ValueError(f"formula: {unknown[0]} must be a command that latex2mathml knows; in {latex.strip()!r}")
    return html


def styled(match: re.Match[str]) -> str:
    """A letter of a style as the character that Unicode has for it: MathML Core knows no other way."""
    tag, style, letter = match.groups()
    kind = "DIGIT" if letter.isdigit() else "CAPITAL" if letter.isupper() else "SMALL"
    name = unicodedata.name(letter).removeprefix("LATIN CAPITAL LETTER ").removeprefix("DIGIT ").lower()
    for prefix in ("MATHEMATICAL ", ""):
        try:
            found = unicodedata.lookup(f"{prefix}{style} {kind} {name}")
        except KeyError:
            continue
        return f"<{tag}>{found}</{tag}>"
    raise ValueError(f"formula: {letter!r} must be a letter that Unicode has in the style {style}")
