"""Run the examples in the pages: `python docs/hooks/doctests.py`. Those of one page share their names."""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", flags=re.M | re.S)


def run(page: Path) -> doctest.TestResults:
    """Count and report the failures of one page; differences go to stdout."""
    text = page.read_text()
    examples: list[doctest.Example] = []
    for match in BLOCK.finditer(text):
        first = text[: match.start(1)].count("\n")
        for example in doctest.DocTestParser().get_examples(match[1], page.name):
            example.lineno += first
            examples.append(example)
    name = page.relative_to(ROOT).as_posix()
    return doctest.DocTestRunner().run(doctest.DocTest(examples, {}, name, str(page), 0, text))


def main() -> None:
    """Run all pages under docs; exit 1 if an example fails."""
    results = [run(page) for page in sorted((ROOT / "docs").rglob("*.md"))]
    failed, attempted = (sum(result[i] for result in results) for i in (0, 1))
    print(f"{attempted} examples in the pages, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
