"""No output of any command holds a secret of an address."""

from __future__ import annotations

import base64
import copy
import io
import os
import pickle
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

import numpy as np
import pytest
import typer
from PIL import Image
from store_server import StoreServer
from typer.testing import CliRunner

import cdstats
from cdstats.cli.commands import COMMANDS
from cdstats.cli.main import app
from cdstats.core.errors import CdstatsError, UsageError
from cdstats.core.secrets import forget, hidden, sealed
from cdstats.io.addresses import Address
from cdstats.io.found import FoundFile, FoundFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY: Final = "C%C3%A4n%2Bary"
"""A secret as it stands in an address, percent-encoded."""
_SOUGHT: Final = {CANARY, unquote(CANARY), quote(CANARY), "äry", "n+ary", "n%2Bary"}
_DRAWING: Final = ("plot", "report")
_TYPED: Final = ("text", "str", "path", "file", "filename")

FORMS: Final = {
    "login": f"http://me:{CANARY}@HOST/FILE",
    "token as a login": f"http://{CANARY}@HOST/FILE",
    "name in front": f"N=http://me:{CANARY}@HOST/FILE",
    "list": f"@http://me:{CANARY}@HOST/FILE",
    "pattern": f"http://me:{CANARY}@HOST/dav/{{}}.png",
    "folder": f"http://me:{CANARY}@HOST/dav/",
    "at sign": f"http://me:p@{CANARY}@HOST/FILE",
    "number sign": f"http://me:p#{CANARY}@HOST/FILE",
    "slash": f"http://me:12/{CANARY}@HOST/FILE",
    "question mark": f"http://me:p?{CANARY}@HOST/FILE",
    "upper case": f"HTTP://me:{CANARY}@HOST/FILE",
    "ftp": f"ftp://me:{CANARY}@HOST/FILE",
    "one slash": f"http:/me:{CANARY}@HOST/FILE",
    "scheduler": f"tcp://me:{CANARY}@HOST",
    "s3": f"s3://KEY:{CANARY}@masks/FILE",
    "s3 with a slash": f"S3://KEY:ab/{CANARY}@masks/FILE",
    "gs": f"gs://KEY:{CANARY}@masks/FILE",
    "query": f"http://HOST/FILE?token={CANARY}",
    "query of s3": f"s3://masks/FILE?X-Amz-Signature={CANARY}",
    "query of gs": f"gs://masks/FILE?X-Goog-Signature={CANARY}",
    "fragment": f"http://HOST/FILE#access_token={CANARY}",
    "bare fragment": f"http://HOST/FILE#{CANARY}",
    "fragment of s3": f"s3://masks/FILE#token={CANARY}",
}


def commands() -> Any:
    return typer.main.get_command(app)


@pytest.fixture(scope="module")
def web() -> Iterator[StoreServer]:
    """A server that holds a mask, a prediction and a folder."""
    values = np.zeros((8, 8), np.uint8)
    values[0] = 255
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    with StoreServer() as server:
        names = ("a.png", "masks/a.png", "dav/a.png")
        server.files = dict.fromkeys(names, file.getvalue())
        yield server


@pytest.fixture(autouse=True)
def place(
    web: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A working folder with all that commands read, and the stores on this machine."""
    from cdstats.io.stores import _RETRY, _store

    monkeypatch.setitem(_RETRY, "max_retries", 0)
    for name in [n for n in os.environ if n.startswith(("AWS_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    for name, value in {
        "NO_PROXY": "127.0.0.1",
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "AWS_ENDPOINT_URL": web.url,
        "AWS_SKIP_SIGNATURE": "1",
        "AWS_REGION": "us-east-1",
        "STORAGE_EMULATOR_HOST": web.url,
    }.items():
        monkeypatch.setenv(name, value)
    _store.cache_clear()
    monkeypatch.chdir(tmp_path)
    for folder in ("m", "p"):
        Path(folder).mkdir()
        Path(folder, "a.png").write_bytes(web.files["a.png"])
    yield tmp_path
    _store.cache_clear()
    forget()


_PAIR: Final = {"--pred": "p", "--target": "m"}
_ONE_FIGURE: Final = {"--only": "distribution", "--format": "svg"}
BASES: Final[dict[str, dict[str, str]]] = {
    "audit": {"": "m"},
    "compare": {"--pred": "p", "--target": "m", "--csv": "c.csv"},
    "errors": {**_PAIR, "--output": "maps", "--csv": "c.csv", "--summary": "s.json"},
    "explain": {"": "bce"},
    "loss": {**_PAIR, "--csv": "c.csv", "--summary": "s.json"},
    "plot": {**_PAIR, "--masks": "m", "--output": "figures", **_ONE_FIGURE},
    "presets": {},
    "published": {},
    "ratio": {"": "m", "--csv": "c.csv", "--summary": "s.md", "--cache": "c.sqlite"},
    "report": {**_PAIR, "--masks": "m", "--output": "r.html"},
    "verify": {"": "cdstats:0.1.0|thr:0.5|kind:hard|rule:255/0|images:1", **_PAIR},
    "weights": {"": "m", "--cache": "c.sqlite"},
}
"""The arguments with which each command works, of which one is replaced."""


def runs(name: str, step: int) -> Iterator[tuple[str, list[str]]]:
    """The arguments of a command with an address in each place.

    Each form stands in one of so many options; with ``step`` 1 in every option.
    """
    for place, parameter in enumerate(commands().get_command(None, name).params):
        if getattr(parameter, "is_flag", False):
            continue
        is_option = parameter.param_type_name == "option"
        option = max(parameter.opts, key=len) if is_option else ""
        forms = FORMS if parameter.type.name in _TYPED else {"login": FORMS["login"]}
        for form in [*forms.values()][place % step if len(forms) > 1 else 0 :: step]:
            chosen = {**BASES[name], option: form}
            words = [name]
            for one, value in sorted(chosen.items(), reverse=True):
                words += [one, value] if one else [value]
            yield option or parameter.name, words
    for form in [*FORMS.values()][::step]:
        yield "an option that does not exist", [name, f"--{form}"]
        yield "too many arguments", [name, form, form]


def refuse_secrets(where: str, text: str) -> None:
    login = base64.b64encode(b"me:" + unquote(CANARY).encode()).decode().rstrip("=")
    found = [one for one in (*_SOUGHT, login[:12]) if one in text]
    assert not found, f"{where}: {text[:2000]}"


@pytest.mark.parametrize("name", COMMANDS)
def test_no_output_of_a_command_holds_a_secret(
    name: str, web: StoreServer, place: Path, request: pytest.FixtureRequest
) -> None:
    # Figures take long to draw.
    step = 23 if name in _DRAWING else 12
    if request.config.getoption("--full"):
        step = 1
    if name in _DRAWING:
        for module in ("jinja2", "matplotlib"):
            pytest.importorskip(module, reason="needs the extra cdstats[report]")
    seen, codes = set(), set()
    for option, words in runs(name, step):
        typed = [
            one.replace("HOST", web.host).replace("FILE", "a.png") for one in words
        ]
        done = CliRunner().invoke(app, typed)
        where = f"{option} in {typed}"
        error = done.exception
        told = "".join(traceback.format_exception(error)) if error else ""
        refuse_secrets(where, told)
        refuse_secrets(where, done.stdout + done.stderr)
        assert isinstance(error, SystemExit | None), told
        seen.add(option)
        codes.add(done.exit_code)
        for path in place.rglob("*"):
            refuse_secrets(where, str(path.relative_to(place)))
            if path.is_file():
                refuse_secrets(where, path.read_bytes().decode("utf-8", "replace"))
                if path.parent.name not in ("m", "p"):
                    path.unlink()
    assert len(seen) >= len(BASES[name]) + 2
    assert 2 in codes


def test_every_command_has_arguments_in_this_test() -> None:
    assert sorted(BASES) == sorted(COMMANDS)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_functions_of_python_show_no_secret(form: str, web: StoreServer) -> None:
    text = form.replace("HOST", web.host).replace("FILE", "a.png")
    for call in (
        lambda: cdstats.ratio(text, errors="keep"),
        lambda: cdstats.weights("m", cache=text),
        lambda: cdstats.plot(from_files=text),
        lambda: cdstats.ratio("m", scheduler=text),
        lambda: cdstats.ratio("m", cache=[text, text]),  # type: ignore[arg-type]
        lambda: cdstats.ratio("m", changed=text.encode()),  # type: ignore[arg-type]
        lambda: cdstats.ratio({text: "m"}),
        lambda: cdstats.loss(pred=text, target="m"),
        lambda: cdstats.audit({"A": text}),
    ):
        try:
            found = call()
            told = f"{found!r} {found.messages} {[*getattr(found, 'images', ())]}"
        except (CdstatsError, TypeError) as error:
            told = "".join(traceback.format_exception(error))
        refuse_secrets(form, told)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_address_prints_without_its_secrets_wherever_it_goes(form: str) -> None:
    text = hidden(form.replace("HOST", "host.org").replace("FILE", "a.png"))
    place = sealed(text.removeprefix("N=").removeprefix("@"))
    again = copy.deepcopy(place)
    assert again == pickle.loads(pickle.dumps(place))  # noqa: S301 - its own
    assert (again, again.login, again.query) == (place, place.login, place.query)
    told = f"{text} {place} {place!r} {place + '/'} {Path(place)} {[place]}"
    refuse_secrets(form, f"{told} {FoundFile(place, '')}")
    files = FoundFiles([FoundFile(place, "a.png", partner=place.like("b"))])
    assert files[0].path == place
    assert str(files[0].partner) == "b"
    try:
        refuse_secrets(form, f"{Address.parse(place)!r} {Address.parse(place)}")
    except UsageError as error:
        refuse_secrets(form, str(error))


@pytest.mark.parametrize(
    "text",
    [
        "s3://masks/a@2x.png",
        "s3://masks/dir@2x/a.png",
        "gs://masks/a?.png",
        "s3://masks/a#1.png",
        "https://host.org/a@2x.png",
        "https://host.org:8080/dir@2x/a.png",
        "http://localhost:8080/dir@2x/a.png",
        "http://127.0.0.1:80/a@2x.png",
        "http://store:9000/a@2x.png",
        "http://[::1]:80/a@2x.png",
        "https://host.org/a.npz#probs",
        "https://host.org/a.tif#3",
        "s3://masks/a.pt#state/probs",
        "N=https://host.org/dir/#probs",
        "@https://host.org/list.txt",
        "masks/a@2x.png",
        "me:secret@host",
        "C:/masks/a.png",
    ],
)
def test_an_address_without_secrets_stays_whole(text: str) -> None:
    assert hidden(text) == text


def test_a_later_call_without_a_login_sends_none(web: StoreServer) -> None:
    for text in (f"http://me:{CANARY}@{web.host}/a.png", f"http://{web.host}/a.png"):
        web.asked.clear()
        assert cdstats.ratio(text, changed=255, unchanged=0).images[0].status == "ok"
        sent = {"authorization" in one.headers for one in web.asked}
        assert sent == {CANARY in text}


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_a_password_is_sent_decoded(scheme: str, web: StoreServer) -> None:
    web.asked.clear()
    text = f"{scheme}://me:{CANARY}%40%2F@{web.host}/a.png"
    done = CliRunner().invoke(app, ["ratio", text])
    assert done.exit_code == 0, done.stderr
    login = base64.b64encode(f"me:{unquote(CANARY)}@/".encode()).decode()
    assert {one.headers["authorization"] for one in web.asked} == {f"Basic {login}"}


def test_an_option_with_an_equals_sign_keeps_its_login(web: StoreServer) -> None:
    web.asked.clear()
    text = f"http://me:{CANARY}@{web.host}/a.png"
    done = CliRunner().invoke(app, ["loss", f"--pred={text}", "--target=m/a.png"])
    assert done.exit_code == 0, done.stderr
    assert all("authorization" in one.headers for one in web.asked)


def test_worker_processes_get_the_login(web: StoreServer) -> None:
    web.asked.clear()
    text = f"http://me:{CANARY}@{web.host}/dav/"
    done = CliRunner().invoke(app, ["ratio", text, "--jobs", "2"])
    assert done.exit_code == 0, done.stderr
    assert {"authorization" in one.headers for one in web.asked} == {True}


@pytest.mark.parametrize("scheme", ["s3", "gs", "S3"])
def test_keys_in_the_address_of_a_bucket_are_refused(scheme: str) -> None:
    done = CliRunner().invoke(app, ["ratio", f"{scheme}://KEY:{CANARY}@masks/a.png"])
    assert done.exit_code == 2
    assert "environment" in done.stderr
    assert f"{scheme.lower()}://masks/a.png" in done.stderr


def test_a_login_that_is_not_clear_is_not_sent(web: StoreServer) -> None:
    web.asked.clear()
    done = CliRunner().invoke(app, ["ratio", f"http://me:a/b@{web.host}/a.png"])
    assert (done.exit_code, web.asked) == (2, [])
    assert "%2F" in done.stderr


def test_lines_of_a_list_show_no_secret(web: StoreServer, place: Path) -> None:
    forms = [*FORMS.values(), f"/vsicurl/{FORMS['login']}", f"x::{FORMS['query']}"]
    lines = [one.replace("HOST", web.host).replace("FILE", "a.png") for one in forms]
    for line in lines:
        (place / "list.txt").write_text(f"{line}\n")
        options = ["--by", "image", "--csv", "out.csv", "--cache", "c.sqlite"]
        done = CliRunner().invoke(app, ["ratio", "@list.txt", *options])
        refuse_secrets(line, done.stdout + done.stderr + repr(done.exception))
        for path in place.glob("[oc]*"):
            if path.is_file():
                refuse_secrets(line, path.read_bytes().decode("utf-8", "replace"))
