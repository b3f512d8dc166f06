"""Write the tables that the documentation includes, from the committed results.

Run it after ``run.py``::

    python examples/paper/pages.py
"""

from pathlib import Path

from claims import beaten, promises
from plan import FIGURES, TABLES
from render import NOT_RUN, markdown, tables_of
from results import Results

__all__ = ["write_pages"]

HERE = Path(__file__).parent
RESULTS = HERE / "results"
FOLDER = HERE.parents[1] / "docs" / "_tables"
# As the including page sees it.
_RELATIVE = "../examples/paper/results"
_PRESETS = ("cpu", "gpu")
_FIGURE_TITLES = {
    "1": "Figure 1, Omniglot: test reconstructions (odd rows are the originals) and samples",
    "2": "Figure 2, MNIST: test reconstructions (odd rows are the originals) and samples",
    "3": "Figure 3, CIFAR-10: test reconstructions (odd rows are the originals) and samples",
    "4": "Figure 4, CelebA: test reconstructions (odd rows are the originals) and samples",
    "noise": "Accuracy against the level of noise",
    "plane": "Rate, distortion and information over λ and β",
}


def paper_page(preset: str) -> str:
    """Return all tables and figures of a preset."""
    results = Results(RESULTS / preset)
    if not results:
        return f"Preset `{preset}`: {NOT_RUN}.\n"
    parts = [_measured_on(results), ""]
    for name in TABLES:
        parts += [markdown(table) for table in tables_of(results, name)]
    for figure in FIGURES:
        files = sorted((RESULTS / preset).glob(f"figure-{figure}*.png"))
        title = _FIGURE_TITLES[figure]
        if not files:
            parts += [f"**{title}**: {NOT_RUN}.", ""]
        for path in files:
            parts += [f"**{title}**", "", f"![{title}]({_RELATIVE}/{preset}/{path.name})", ""]
    return "\n".join(parts)


def _measured_on(results: Results) -> str:
    """Say on what and how long."""
    fits = [c["fit"] for found in results.cells.values() for c in found.values() if c["fit"]]
    parts = [
        part
        for found in results.cells.values()
        for c in found.values()
        for part in c["parts"].values()
    ]
    seconds = sum(item["seconds"] for item in (*fits, *parts))
    where = sorted({_machine(part["measured on"]) for part in parts})
    cells = sum(len(found) for found in results.cells.values())
    return (
        f"{cells} cells, {seconds / 60:.0f} minutes of computing. Measured on: {'; '.join(where)}."
    )


def _machine(on: dict[str, str | int]) -> str:
    device = f"{on['cores']} cores" if on["gpu"] == "none" else f"GPU {on['gpu']}"
    versions = ", ".join(f"{name} {on[name]}" for name in ("skvim", "torch", "sklearn"))
    return f"{on['machine']}, {device}, Python {on['python']}, {versions}"


def promises_page(preset: str) -> str:
    """Return the verdicts of a preset."""
    results = Results(RESULTS / preset)
    tables = (promises(results), beaten(results))
    return "\n".join(map(markdown, tables))


def write_pages() -> None:
    """Write what docs/paper.rst and docs/promises.rst include."""
    for name, page in (("paper", paper_page), ("promises", promises_page)):
        for preset in _PRESETS:
            text = page(preset).rstrip("\n") + "\n"
            (FOLDER / f"{name}-{preset}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_pages()
