"""Rules about the project as a whole: names, sizes, the README's tree, every command's help."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hpacells
from hpacells.cli.app import COMMANDS, main
from hpacells.core import errors

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "hpacells").rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r'\]\(([^)\s]+)[^)]*\)|(?:src|href)="([^"]+)"')
MODULES = sorted(
    info.name for info in pkgutil.walk_packages(hpacells.__path__, "hpacells.") if not info.ispkg
)


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist_and_are_listed(name):
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    if not name.startswith("hpacells.cli."):
        assert listed, f"{name} has no __all__"
    for item in listed:
        assert hasattr(module, item), f"{name}.__all__ lists {item}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_grows_into_a_god_object(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_readme_tree_is_the_real_tree():
    command = [sys.executable, str(ROOT / "scripts" / "readme_tree.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "name", [n for n in errors.__all__ if n not in ("HpacellsError", "InputError")]
)
def test_every_error_is_expected_by_some_test(name):
    tests = [p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py")]
    assert any(f"raises({name}" in text for text in tests)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_pictures_of_a_page_are_there(page):
    found = LINK.findall(page.read_text(encoding="utf-8"))
    targets = {next(filter(None, groups)).partition("#")[0] for groups in found}
    here = {target for target in targets if target and not target.startswith(("http", "mailto:"))}
    assert sorted(target for target in here if not (page.parent / target).exists()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"hpacells {command}" in text
    assert "Example" in text


def test_the_list_of_commands_imports_none_of_them():
    code = """
import sys
from hpacells.cli.app import main
try:
    main(["--help"])
except SystemExit:
    pass
loaded = {m for m in sys.modules if m.startswith("hpacells.cli.")} - {"hpacells.cli.app"}
sys.exit(str(loaded) if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "No such command"),
        (["run", "--nonsense"], "No such option"),
        (["run"], "Missing argument"),
        (["run", "a", "b", "--border", "x"], "'--border': 'x' is not one of 'keep', 'flag'"),
    ],
)
def test_a_misused_command_line_exits_2_and_says_where_help_is(arguments, told, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert told in error
    assert "--help" in error


def test_without_a_command_the_help_is_shown(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert "hpacells demo" in capsys.readouterr().out
