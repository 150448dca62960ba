"""Where the broker's password comes from."""

import argparse
from pathlib import Path

import pytest

from p2pfl.cli.arguments import PASSWORD_VARIABLE, add_broker_arguments, password_of
from p2pfl.errors import ConfigError


def password(*words: str) -> str | None:
    parser = argparse.ArgumentParser()
    add_broker_arguments(parser)
    return password_of(parser.parse_args(words))


def test_it_comes_from_the_environment_or_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    assert password() is None
    monkeypatch.setenv(PASSWORD_VARIABLE, "usual")
    monkeypatch.setenv("OTHER", "other")
    assert password() == "usual"
    assert password("--password-env", "OTHER") == "other"
    (tmp_path / "secret").write_text("from a file\n")
    assert password("--password-file", str(tmp_path / "secret")) == "from a file"


def test_what_is_wrong_with_it_never_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "correct horse")
    (tmp_path / "empty").write_text("\n")
    for words, reason in (
        (("--password-env", "NOT_SET"), "NOT_SET: there is no such"),
        (("--password-file", str(tmp_path / "nowhere")), "cannot be read"),
        (("--password-file", str(tmp_path / "empty")), "is empty"),
    ):
        with pytest.raises(ConfigError, match=reason) as caught:
            password(*words)
        assert "horse" not in str(caught.value)
