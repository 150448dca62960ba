"""The architecture as tests: who may import whom, how long things grow, what each thing says.

ARCHITECTURE.md tells why; the contracts on imports stand in pyproject.toml.
"""

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = ROOT / "p2pfl"

LINES_PER_FILE: Final = 400
LINES_PER_FUNCTION: Final = 70

HOMES: Final = {
    "torch": ("p2pfl/learning/", "p2pfl/adapters/"),
    "torchvision": (),
    "sklearn": ("p2pfl/learning/",),
    "aiomqtt": ("p2pfl/transport/mqtt.py",),
    "paho": ("p2pfl/transport/mqtt.py",),
    "asyncssh": ("p2pfl/launch/ssh.py",),
    "msgpack": ("p2pfl/codec/frame.py",),
    "networkx": ("p2pfl/topology/",),
    "matplotlib": ("p2pfl/report/",),
    "prometheus_client": ("p2pfl/runtime/metrics.py",),
    "flwr": (),
    "lightning": (),
    "pytorch_lightning": (),
    "transformers": (),
    "ray": ("p2pfl/comparison/sweep_ray.py",),
    "pickle": (),
    "argparse": ("p2pfl/cli/",),
}
"""Each heavy or dangerous module has one home, or none."""

CORE: Final = ("p2pfl/protocol/", "p2pfl/algorithms/", "p2pfl/messages/")
NOT_IN_CORE: Final = (
    "aiomqtt",
    "asyncio",
    "datetime",
    "logging",
    "msgpack",
    "networkx",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
    "torch",
)
NOT_IN_SIMULATOR: Final = ("asyncio", "datetime", "threading", "time")

Source = tuple[str, ast.Module]


@functools.cache
def sources(folder: str = "p2pfl") -> tuple[Source, ...]:
    """Each Python file below a folder: its path from the root, and its syntax tree."""
    return tuple(
        (path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted((ROOT / folder).rglob("*.py"))
    )


def imported(tree: ast.AST) -> Iterator[str]:
    """The dotted names that a module imports, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of(name: str, tree: ast.AST) -> bool:
    return any(each == name or each.startswith(f"{name}.") for each in imported(tree))


def names_used(tree: ast.AST) -> Iterator[str]:
    """Attribute chains as they are written, such as `np.random.default_rng`."""
    return (ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute))


def test_imports_point_down_and_the_other_contracts_hold() -> None:
    """In a process of its own: import-linter switches off the loggers of the one it runs in."""
    linter = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", linter], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", NOT_IN_CORE)
def test_the_core_performs_nothing(module: str) -> None:
    found = [path for path, tree in sources() if path.startswith(CORE) and imports_of(module, tree)]
    assert not found, f"the core takes time, chance and IO as input; it must not import {module}"


def test_the_core_draws_no_numbers() -> None:
    found = [
        path
        for path, tree in sources()
        if path.startswith(CORE)
        and (
            imports_of("numpy.random", tree)
            or any(re.match(r"(np|numpy)\.random\b", name) for name in names_used(tree))
        )
    ]
    assert not found, "a draw comes from p2pfl.draws, by (seed, node, purpose, k)"


@pytest.mark.parametrize("module", NOT_IN_SIMULATOR)
def test_the_simulator_knows_no_wall_clock(module: str) -> None:
    found = [
        path
        for path, tree in sources()
        if path.startswith("p2pfl/simulation/") and imports_of(module, tree)
    ]
    assert not found, "virtual time comes from the heap"


@pytest.mark.parametrize("module", HOMES)
def test_each_heavy_dependency_has_one_home(module: str) -> None:
    found = [
        path
        for path, tree in sources()
        if imports_of(module, tree) and not path.startswith(HOMES[module])
    ]
    assert not found, f"{module} belongs to {HOMES[module] or 'no file'}"


@pytest.mark.parametrize("folder", ["p2pfl", "tests", "examples"])
def test_no_file_is_too_long_to_read(folder: str) -> None:
    lengths = {path: len((ROOT / path).read_bytes().splitlines()) for path, _ in sources(folder)}
    assert not {path: n for path, n in lengths.items() if n > LINES_PER_FILE}


@pytest.mark.parametrize("folder", ["p2pfl", "tests", "examples"])
def test_no_function_is_too_long_to_read(folder: str) -> None:
    lengths = {
        f"{path}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path, tree in sources(folder)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert not {name: n for name, n in lengths.items() if n > LINES_PER_FUNCTION}


def test_only_the_command_line_prints() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources()
        if not path.startswith("p2pfl/cli/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    assert not found, "a library returns, raises or logs"


def test_every_module_says_what_it_is() -> None:
    silent = [path for path, tree in sources() if not ast.get_docstring(tree)]
    assert not silent


def test_every_folder_of_the_package_is_a_package() -> None:
    folders = {(ROOT / path).parent for path, _ in sources()}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


def test_an_init_file_only_describes_and_re_exports() -> None:
    """The root's may also fetch its names when they are first asked for."""
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    for path, tree in sources():
        if path.endswith("/__init__.py") and path != "p2pfl/__init__.py":
            assert all(isinstance(node, allowed) for node in tree.body), path


def test_names_say_what_a_file_is_about() -> None:
    vague = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}
    parts = {part for path, _ in sources() for part in Path(path).with_suffix("").parts}
    assert not vague & parts


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the project, but for this file, which must name what it forbids."""
    endings = {".py", ".toml", ".md", ".txt", ".html", ".js", ".css", ".yml", ".yaml"}
    places = ["p2pfl", "tests", "examples", "topologies", "docs", ".github"]
    files = [path for place in places for path in sorted((ROOT / place).rglob("*"))]
    files = [path for path in [*files, *ROOT.iterdir()] if path.suffix in endings]
    files += [ROOT / "Makefile", ROOT / ".ci/run"]
    for path in files:
        if path.is_file() and path != Path(__file__):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_nothing_is_left_for_later() -> None:
    pattern = re.compile(r"\b(TODO|FIXME|XXX)\b")
    assert not [name for name, text in texts() if pattern.search(text)]


def test_no_text_names_a_folder_of_one_machine() -> None:
    pattern = re.compile(r"(?<![\w.:/-])/(work|home|root|Users|opt)/\w")
    found = [f"{name}: {hit.group()}" for name, text in texts() for hit in pattern.finditer(text)]
    assert not found


def test_the_tree_in_architecture_md_is_the_real_tree() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    block = re.search(r"^```tree\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert block, "ARCHITECTURE.md needs a block ```tree with a line `  folder/   WORDS` for each"
    told = re.findall(r"^  (\w+)/ +\S", block.group(1), re.MULTILINE)
    real = [path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()]
    assert sorted(told) == sorted(real)


@pytest.mark.parametrize("statement", ["", "from p2pfl.cli.main import main; main(['--help'])"])
def test_the_first_glance_loads_nothing_heavy(statement: str) -> None:
    program = f"import p2pfl, sys\n{statement}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    heavy = {"aiomqtt", "asyncio", "matplotlib", "msgpack", "networkx", "numpy", "sklearn", "torch"}
    assert not heavy & set(done.stderr.split())
