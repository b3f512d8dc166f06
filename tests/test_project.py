"""What the repository promises as a whole: its version, its public names, its texts."""

import importlib.util
import inspect
import os
import pkgutil
import re
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

import pytest

import skvim

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGES = [
    "skvim",
    *(
        module.name
        for module in pkgutil.iter_modules(skvim.__path__, "skvim.")
        if "._" not in module.name
    ),
]
IGNORED = [
    line.strip("/")
    for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
IGNORED.append(".git")
# A path that exists on one machine only, and places to install from that only one may reach.
FORBIDDEN = re.compile(
    r"(?<![\w.~:/-])/(home|mnt|opt|root|srv|tmp|Users|var|work)/\w"
    r"|--(extra-)?index[-]url|--find[-]links"
    r"|https?://[^\s)>'\"]*(pypi|/simple|/whl)"
)


def test_version_is_the_same_everywhere():
    newest = re.search(
        r"^## \[(?P<version>[^\]]+)\]",
        (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    installed = metadata.version("skvim")
    assert installed == skvim.__version__, 'stale: run pip install -e ".[dev]" again'
    assert newest is not None
    assert newest["version"] == skvim.__version__


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_exist_and_are_documented(package):
    module = importlib.import_module(package)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        member = getattr(module, name)
        if inspect.isclass(member) or inspect.isroutine(member):
            # Its own: the docstring of a base says nothing about this one.
            assert member.__doc__, f"{package}.{name} has no docstring"


def test_reference_lists_every_package():
    # The pages list each package's __all__; the documentation's build fails on a missing name.
    reference = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^   (skvim[.\w]*)$", reference, re.MULTILINE)) == sorted(PACKAGES)


def test_readme_is_short_and_names_both_commands():
    assert len(README.splitlines()) <= 120
    assert re.findall(r"^make (\w+)", README, re.MULTILINE) == ["demo", "test"]


def test_readme_example_runs(capsys):
    (example,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(example.splitlines()) <= 17
    exec(compile(example, "README.md", "exec"), {})
    accuracy = re.fullmatch(r"accuracy (0\.\d\d)\n", capsys.readouterr().out)
    assert accuracy is not None
    assert float(accuracy[1]) > 0.85  # ten classes: chance is 0.1


def test_readme_table_holds_every_model():
    models = [name for name in skvim.__all__ if name.endswith("Transformer")]
    assert sorted(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == sorted(models)


def is_ignored(path):
    relative = path.relative_to(ROOT)
    return any(fnmatch(name, entry) for entry in IGNORED for name in (relative.name, str(relative)))


def texts():
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not is_ignored(Path(folder, name))]
        # In a second worktree .git is a file, with a path of the machine.
        for path in (Path(folder, name) for name in files if name != ".git"):
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # a picture


def test_no_text_names_a_machine_or_an_index():
    found = {
        f"{path.relative_to(ROOT)}:{number}": line
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if FORBIDDEN.search(line)
    }
    assert not found


# In pieces, or the test above would find them here.
@pytest.mark.parametrize(
    "pieces",
    [("see /", "root/x"), ("cd /", "work/main"), ("--index", "-url"), ("https", "://x/simple")],
)
def test_search_for_machines_and_indexes_finds_them(pieces):
    assert FORBIDDEN.search("".join(pieces))


def models_table():
    """Load the script that writes the table of models."""
    spec = importlib.util.spec_from_file_location("models", ROOT / "docs" / "models_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_models_is_what_its_script_writes():
    written = (ROOT / "docs" / "_tables" / "models.md").read_text(encoding="utf-8")
    assert written == models_table().table(), "stale: run python docs/models_table.py"


def test_the_tables_of_time_and_memory_are_those_of_the_results(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    module.write_tables()
    tables = sorted(path.name for path in tmp_path.iterdir())
    assert tables == ["metrics.md", "paths.md", "resources.md", "speed.md", "transductive.md"]
    for name in tables:
        written = (ROOT / "docs" / "_tables" / name).read_text(encoding="utf-8")
        assert written == (tmp_path / name).read_text(encoding="utf-8"), "stale: run tables.py"


def test_a_model_is_a_few_lines():
    script = models_table()
    lines = {name: script.lines_of_code(cls) for name, cls in script.models()}
    assert len(lines) >= 11
    assert max(lines.values()) <= 30, lines
