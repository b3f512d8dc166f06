"""Sphinx configuration. The build reaches no network: no intersphinx, and warnings are errors."""

import importlib
import inspect
import pkgutil

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import skvim

project = "skvim"
author = "skvim developers"
project_copyright = "2026, skvim developers"
version = release = skvim.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",  # the changelog and the contributor's page are Markdown files of the repository
]
exclude_patterns = ["_build", "_tables", "_templates"]
templates_path = ["_templates"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}

html_theme = "pydata_sphinx_theme"
html_title = "skvim"
html_show_sourcelink = False
html_theme_options = {"navbar_end": ["theme-switcher"], "show_prev_next": False}

# The reference: every name in the ``__all__`` of a package, and nothing else.
autosummary_generate = True
autosummary_imported_members = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"  # the docstrings give types, with shapes and ranges
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # autodoc lists them

smartquotes = False  # quotes in defaults are code
nitpicky = True
nitpick_ignore_regex = [
    # Names of other libraries: resolving them would take their inventories from the network.
    (r"py:.*", r"(matplotlib|numpy|pandas|scipy|skorch|sklearn|torch)(\..*)?"),
]


def is_foreign(member: object) -> bool:
    """Tell whether a member comes from a base class of another library, or was generated."""
    function = getattr(member, "fget", None) or inspect.unwrap(getattr(member, "__func__", member))
    return not (getattr(function, "__module__", None) or "").startswith("skvim")


def skip_foreign(
    app: Sphinx, what: str, name: str, member: object, skip: bool, options: object
) -> bool | None:
    """Leave the methods of other libraries to their own documentation."""
    return True if what == "class" and is_foreign(member) else None


def check_reference(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of every public name that the reference does not document."""
    documented = env.domains["py"].objects
    found = (module.name for module in pkgutil.iter_modules(skvim.__path__, "skvim."))
    for package in ("skvim", *(name for name in found if "._" not in name)):
        for name in importlib.import_module(package).__all__:
            if name != "__version__" and f"{package}.{name}" not in documented:
                message = "%s.%s is public, but the API reference does not document it"
                logging.getLogger(__name__).warning(message, package, name)


def setup(app: Sphinx) -> None:
    """Register the functions above (Sphinx's hook)."""
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("env-check-consistency", check_reference)
