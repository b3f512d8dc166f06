"""What the repository promises as a whole: its version, its names, its imports, its texts."""

import ast
import importlib.util
import inspect
import json
import os
import pkgutil
import re
from collections import defaultdict
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
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


def module_files() -> dict[str, Path]:
    """Return the files of all modules by the modules' full names."""
    files = (ROOT / "skvim").rglob("*.py")
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def imported_names(tree: ast.AST) -> list[tuple[str, str | None, str]]:
    """Return (module, name, bound as) of all imports, those in functions and for types included."""
    names: list[tuple[str, str | None, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [(alias.name, None, alias.asname or alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [(node.module, alias.name, alias.asname or alias.name) for alias in node.names]
    return [name for name in names if name[0].partition(".")[0] == "skvim"]


def import_graph() -> dict[str, set[str]]:
    """Return the modules that each module needs.

    A name that a package only passes on counts for the module that defines it: what runs first is
    the package's ``__init__`` in any case.
    """
    files = module_files()
    imports = {
        module: imported_names(ast.parse(path.read_text(encoding="utf-8")))
        for module, path in files.items()
    }
    passed_on = {
        (module, bound): (source, name)
        for module, path in files.items()
        if path.name == "__init__.py"
        for source, name, bound in imports[module]
    }

    def defining_module(module: str, name: str | None) -> str:
        if name is not None and f"{module}.{name}" in files:
            return f"{module}.{name}"
        if (module, name) in passed_on:
            return defining_module(*passed_on[module, name])
        return module

    return {
        module: {defining_module(source, name) for source, name, _ in imports[module]}
        for module in files
    }


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return nodes that need each other in turn, none where the graph has no cycle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_needs_itself():
    graph = import_graph()
    assert "skvim.engine._net" in graph["skvim.engine._fit"]
    assert cycle(graph | {"skvim.engine._net": {"skvim.engine._fit"}}) != []
    assert cycle(graph) == []


def test_modules_have_names_of_their_own():
    modules = defaultdict(list)
    for module, path in module_files().items():
        if path.name != "__init__.py":
            modules[path.name].append(module)
    assert [names for names in modules.values() if len(names) > 1] == []


def test_commands_that_the_texts_name_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    commands = re.findall(r"(?:^|`)make ([a-z-]+)", README + contributing, re.MULTILINE)
    assert {"demo", "test"} <= set(commands) <= targets


def test_files_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/.-]+\.(?:cfg|md|py|rst|txt))`", text))
    folders = ("skvim", "tests", "benchmarks", "docs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    paths = [path.as_posix() for path in (*ROOT.iterdir(), *files)]
    assert named
    assert {name for name in named if not any(p.endswith(f"/{name}") for p in paths)} == set()


def test_readme_examples_run(capsys):
    for example in re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        exec(compile(example, "README.md", "exec"), {})
    printed = re.fullmatch(r"accuracy (0\.\d\d)\nspecies ([01]\.\d\d)\n", capsys.readouterr().out)
    assert printed is not None
    assert float(printed[1]) > 0.85  # ten classes: chance is 0.1
    assert float(printed[2]) > 0.8  # three species


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
    lines = {
        f"{path.relative_to(ROOT)}:{number}": line
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if FORBIDDEN.search(line)
    }
    assert not lines


# In pieces, or the test above would find them here.
@pytest.mark.parametrize(
    "pieces",
    [("see /", "root/x"), ("cd /", "work/main"), ("--index", "-url"), ("https", "://x/simple")],
)
def test_search_for_machines_and_indexes_finds_them(pieces):
    assert FORBIDDEN.search("".join(pieces))


def script(name):
    """Load a script of the documentation."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_models_is_what_its_script_writes():
    written = (ROOT / "docs" / "_tables" / "models.md").read_text(encoding="utf-8")
    assert written == script("models_table").table(), "stale: run python docs/models_table.py"


def promises():
    """Return the sentences of all markers "trust", read from the tests' code."""
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            node.targets[0].id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        for call in calls:
            if getattr(call.func, "attr", "") == "trust":
                sentence = names.get(getattr(call.args[0], "id", ""), call.args[0])
                found.add(ast.literal_eval(sentence))
    return found


def test_the_table_of_promises_is_that_of_the_tests():
    tables = ROOT / "docs" / "_tables"
    results = json.loads((tables / "trust.json").read_text(encoding="utf-8"))
    assert results["promises"].keys() == promises(), "stale: run make trust"
    module = script("trust_table")
    assert (tables / "trust.md").read_text(encoding="utf-8") == module.table(results)


def test_a_folder_without_the_report_of_promises_is_named(tmp_path):
    (tmp_path / "native-native.json").write_text('{"n_passed": 1}', encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"has no promises\.json, .*Run make trust"):
        script("trust_table").combined(tmp_path)


def test_the_tables_of_time_and_memory_are_those_of_the_results(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location(
        "write_tables", ROOT / "benchmarks" / "write_tables.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    module.write_tables()
    tables = list(tmp_path.iterdir())
    assert tables
    for table in tables:
        written = (ROOT / "docs" / "_tables" / table.name).read_text(encoding="utf-8")
        assert written == table.read_text(encoding="utf-8"), "stale: run write_tables.py"
