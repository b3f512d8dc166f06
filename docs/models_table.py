"""Write docs/_tables/models.md: what each model is made of, read from the code itself.

Run it with ``make docs`` or::

    python docs/models_table.py
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import skvim
from skvim._base import BaseAutoencoder

TABLE = Path(__file__).parent / "_tables" / "models.md"
HEADER = "| model | q(z given x) | p(z) | −log p(x given z) + | paper | reference | lines |"


def models() -> Iterator[tuple[str, Any]]:
    """Yield name and class of every model."""
    for name in skvim.__all__:
        cls = getattr(skvim, name)
        if inspect.isclass(cls) and issubclass(cls, BaseAutoencoder):
            yield name, cls


def lines_of_code(cls: type) -> int:
    """Count the lines that a class takes, without docstring and blank lines."""
    source = textwrap.dedent(inspect.getsource(cls))
    docstring = ast.parse(source).body[0].body[0]  # type: ignore[attr-defined]
    lines = source.splitlines()
    code = lines[: docstring.lineno - 1] + lines[docstring.end_lineno :]
    return sum(bool(line.strip()) for line in code)


def posterior(model: Any) -> str:
    """Name the posterior, with its fixed spread if it has one."""
    made = model._make_posterior()
    name = type(made).__name__.removesuffix("Posterior").lower()
    scale = getattr(made, "scale", None)
    corrupted = ", of corrupted rows" if model.noise is not None else ""
    return f"{name}{corrupted}" if scale is None else f"{name}, spread {scale:g}{corrupted}"


def terms(model: Any) -> str:
    """Write the sum of terms at the default weights."""
    summands = [f"{weight:g} · {type(term).__name__}" for weight, term in model._make_terms()]
    return " + ".join(summands) or "nothing"


def equation(cls: type) -> str:
    """Return the number of the paper's equation that the docstring names."""
    found = re.search(r"(?i:equation) (\(\d+\)) of the (?:VIMAE )?paper", section(cls, "Notes"))
    return found.group(1) if found else "–"


def reference(cls: type) -> str:
    """Return the first reference of the docstring: names and year."""
    text = section(cls, "References")
    found = re.match(r"(?P<names>[^*]+?),\s+\*[^*]+\*.*?(?P<year>(?:19|20)\d\d)", text, re.DOTALL)
    if found is None:
        return "–"
    names = " ".join(re.sub(r"\b[A-Z]\.(?:-[A-Z]\.)?\s+", "", found["names"] + " ").split())
    many = names.count(",") + names.count(" and ") > 1
    return f"{names.split(',')[0] + ' et al.' if many else names}, {found['year']}"


def section(cls: type, title: str) -> str:
    """Return one section of a class's docstring."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", cls.__doc__ or "", re.M | re.S)
    return found.group(1).strip() if found else ""


def table() -> str:
    """Return the table in Markdown."""
    rows = [HEADER, "| --- | --- | --- | --- | --- | --- | --- |"]
    for name, cls in models():
        model = cls()
        cells = [f"`{name}`", posterior(model), getattr(model, "prior", "–"), terms(model)]
        cells += [equation(cls), reference(cls), str(lines_of_code(cls))]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table(), encoding="utf-8")
    print(table())
