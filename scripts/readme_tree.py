"""Write the file tree of ``src/hpacells`` into README.md, one line a module, from its docstring.

``python scripts/readme_tree.py`` rewrites the part between the two markers; with ``--check`` it
only says whether that part is up to date (exit 1 when it isn't).
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "hpacells"
README = ROOT / "README.md"
INDENT = "    "
START, END = "<!-- tree -->\n```\n", "```\n<!-- /tree -->"
FLOW = (
    "core", "images", "runtime", "simulate", "segment", "crops", "model", "evaluate",
    "variation", "train", "predict", "report", "export", "review", "notebook", "cli",
)  # fmt: skip


def first_line(path: Path) -> str:
    """Give the first line of a module's docstring, without its full stop."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n", maxsplit=1)[0].removesuffix(".").replace("``", "")


def draw_tree() -> str:
    """Draw packages in the order of the layers, modules by name, under their folder."""
    rows = []
    for name in FLOW:
        for path in sorted((PACKAGE / name).rglob("*.py")):
            shown = path.relative_to(PACKAGE)
            if path.stem == "__init__":
                shown = shown.parent
            mark = "/" if path.stem == "__init__" else ""
            rows.append((INDENT * (len(shown.parts) - 1) + shown.name + mark, first_line(path)))
    column = 2 + max(len(shown) for shown, _ in rows)
    return "".join(f"{shown:{column}s}{text}\n" for shown, text in rows)


def main() -> int:
    """Rewrite or check the README's tree."""
    text = README.read_text(encoding="utf-8")
    start, end = text.index(START) + len(START), text.index(END)
    wanted = text[:start] + draw_tree() + text[end:]
    if "--check" in sys.argv[1:]:
        if wanted != text:
            print("README.md: the file tree is out of date; run python scripts/readme_tree.py")
        return int(wanted != text)
    README.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
