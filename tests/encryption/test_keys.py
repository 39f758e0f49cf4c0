"""Keys are read strictly, from where others can't read them, and never shown."""

from __future__ import annotations

import base64
import copy
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_store import ConfigError, FusionStoreError, PermissionDenied, TokenRepository, get_repository
from fusion_store.layers import Cipher, EncryptedTokenRepository, Key, KeyProvider, Keyring, read_key_file

KEYS, KEY_FILE, CIPHER = "FUSION_STORE_KEYS", "FUSION_STORE_KEY_FILE", "FUSION_STORE_CIPHER"

GOOD = base64.urlsafe_b64encode(b"\xfb\xff" + bytes(range(30))).decode()
"""A key whose text has both characters that the other base64 alphabet lacks."""


def encoded(size: int) -> str:
    return base64.urlsafe_b64encode(b"\xa5" * size).decode()


MALFORMED = {
    "empty": "",
    "31 bytes": encoded(31),
    "33 bytes": encoded(33),
    "no padding": GOOD[:-1],
    "more padding": GOOD + "=",
    "trailing rubbish": GOOD + "rubbish",
    "trailing key": GOOD + GOOD,
    "trailing newline": GOOD + "\n",
    "leading space": " " + GOOD,
    "inner space": GOOD[:10] + " " + GOOD[10:],
    "standard alphabet": GOOD.replace("-", "+").replace("_", "/"),
    "stray bits": GOOD[:-2] + chr(ord(GOOD[-2]) + 1) + "=",
    "hex": "5a" * 32,
    "foreign digits": GOOD[:-2] + "\u0661=",
    "foreign letters": "\uff21" + GOOD[1:],
    "NUL": GOOD[:-1] + "\0",
    "surrogate": "\ud800" * 44,
}


def shown(error: BaseException) -> str:
    """All that a screen or a log would get to see of an error."""
    return "".join((str(error), repr(error), str(error.args), str(vars(error)), *traceback.format_exception(error)))


def assert_unseen(text: str, error: BaseException) -> None:
    """No part of a key's text stands in an error."""
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    for start in range(0, len(text) - 8, 4):
        assert text[start : start + 8] not in shown(error)


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_key_is_refused_unseen(text: str) -> None:
    makers: list[Callable[[], object]] = [
        lambda: Key.parse(text),
        lambda: Keyring([text]),
        lambda: Keyring([GOOD, text]),
        lambda: get_repository("memory://", encryption_keys=[text]),
        lambda: EncryptedTokenRepository(get_repository("memory://"), [text]),  # type: ignore[arg-type]
    ]
    for make in makers:
        with pytest.raises(ConfigError, match="an encryption key") as caught:
            make()
        assert_unseen(text, caught.value)


@given(st.text(max_size=60) | st.text(alphabet="AQw-_=+/", min_size=43, max_size=45))
def test_a_key_is_32_bytes_in_one_spelling(text: str) -> None:
    try:
        key = Key.parse(text)
    except ConfigError:
        return
    assert key.reveal() == text
    assert len(key.material()) == 32


def test_a_key_reads_back() -> None:
    key = Key.generate()
    assert Key.parse(key.reveal()).material() == key.material()
    assert Key.parse(GOOD).reveal() == GOOD
    assert Key.parse(GOOD).key_id == Key.parse(GOOD).key_id != key.key_id
    assert key.reveal() != Key.generate().reveal()


@pytest.mark.parametrize("keys", [GOOD, b"x" * 44, [GOOD.encode()], [1], [None]])
def test_keys_of_the_wrong_type_are_refused_unseen(keys: Any) -> None:
    for make in (Keyring, lambda keys: get_repository("memory://", encryption_keys=keys)):
        with pytest.raises(ConfigError, match="encryption key") as caught:
            make(keys)
        assert_unseen(GOOD, caught.value)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="exactly 32 bytes"):
        Key(b"\xa5" * size)


def test_a_key_given_twice_is_refused_unseen() -> None:
    with pytest.raises(ConfigError, match="given twice") as caught:
        Keyring([GOOD, Key.generate(), Key.parse(GOOD)])
    assert_unseen(GOOD, caught.value)


def test_an_unknown_cipher_is_refused_unseen() -> None:
    with pytest.raises(ConfigError) as caught:
        Keyring([Key.generate()], cipher=GOOD)
    assert_unseen(GOOD, caught.value)
    assert "fernet" in str(caught.value)
    assert "aes-256-gcm" in str(caught.value)


def test_key_material_is_never_shown_or_pickled(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    key = Key.generate()
    with get_repository("memory://", encryption_keys=Keyring([key])) as repository:
        assert isinstance(repository, EncryptedTokenRepository)
        held: list[object] = [key, repository.keyring, repository, repository.seal]
        held += repository.seal._sealers.values()
        texts = ["".join((str(each), repr(each), f"{each}")) for each in held]
        for each in held:
            for refuse in (pickle.dumps, copy.deepcopy):
                with pytest.raises(TypeError, match="pickle") as caught:
                    refuse(each)
                texts.append(shown(caught.value))
    texts += [record.getMessage() for record in caplog.records]
    for secret in (key.reveal(), key.reveal()[:12], key.material().hex(), repr(key.material())[2:-1]):
        assert not any(secret in text for text in texts)
    assert key.key_id in repr(key)


def test_no_keys_are_an_empty_keyring() -> None:
    assert not Keyring()
    assert list(Keyring()) == []


def test_a_provider_brings_keys_and_nothing_else() -> None:
    class Given(KeyProvider):
        def __init__(self, keys: list[Any]) -> None:
            self._keys = keys

        def keys(self) -> list[Key]:
            return self._keys

    first, second = Key.generate(), Key.generate()
    assert Keyring(Given([first, second])).keys == (first, second)
    for odd in ([], [GOOD], [first, GOOD]):
        with pytest.raises(ConfigError, match="provider") as caught:
            Keyring(Given(odd))
        assert_unseen(GOOD, caught.value)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.touch(0o600)
    path.chmod(0o600)
    return path


def test_a_key_file_has_one_key_a_line_among_comments(key_file: Path) -> None:
    other = Key.generate().reveal()
    key_file.write_text(f"# the newest\n{GOOD}\n\n  # an old one\r\n{other}\r\n")
    assert read_key_file(key_file) == [GOOD, other]
    assert [key.reveal() for key in Keyring(read_key_file(key_file))] == [GOOD, other]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o660, 0o666, 0o610, 0o601])
@pytest.mark.parametrize("linked", [False, True])
def test_a_key_file_that_others_can_use_is_refused(key_file: Path, mode: int, linked: bool) -> None:
    key_file.write_text(GOOD)
    key_file.chmod(mode)
    path = key_file
    if linked:
        path = key_file.with_name("link")
        path.symlink_to(key_file)
    with pytest.raises(PermissionDenied) as caught:
        read_key_file(path)
    assert "chmod 600" in str(caught.value)
    assert_unseen(GOOD, caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_link_to_a_key_file_of_its_owner_alone_is_followed(key_file: Path, mode: int) -> None:
    key_file.write_text(GOOD)
    key_file.chmod(mode)
    link = key_file.with_name("link")
    link.symlink_to(key_file)
    assert read_key_file(link) == [GOOD]


def test_what_is_no_key_file_is_refused(key_file: Path) -> None:
    pipe, loop = key_file.with_name("pipe"), key_file.with_name("loop")
    os.mkfifo(pipe, 0o600)
    loop.symlink_to(loop)
    for path in (key_file.parent, key_file.with_name("absent"), pipe, loop, Path("/dev/null")):
        with pytest.raises(ConfigError, match="the key file"):
            read_key_file(path)


@pytest.mark.parametrize("content", ["k\u00e9y".encode(), b"\xff\xfe", GOOD.encode() + b"\x80", b"#\xc3\xa4\n"])
def test_a_key_file_holds_nothing_but_ascii(key_file: Path, content: bytes) -> None:
    key_file.write_bytes(content)
    with pytest.raises(ConfigError, match="something else than keys") as caught:
        read_key_file(key_file)
    assert_unseen(GOOD, caught.value)


def test_a_key_file_of_a_megabyte_is_not_read_on(key_file: Path) -> None:
    key_file.write_bytes(b"#" * 1024 * 1024)
    assert read_key_file(key_file) == []
    key_file.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="too long"):
        read_key_file(key_file)


def opened() -> TokenRepository:
    with get_repository("memory://") as repository:
        return repository


def key_ids(repository: TokenRepository) -> list[str]:
    assert isinstance(repository, EncryptedTokenRepository)
    return [key.key_id for key in repository.keyring]


def test_the_environment_names_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Key.generate(), Key.generate()
    monkeypatch.setenv(KEYS, f"{first.reveal()},{second.reveal()}")
    assert key_ids(opened()) == [first.key_id, second.key_id]


def test_the_environment_names_a_key_file(monkeypatch: pytest.MonkeyPatch, key_file: Path) -> None:
    key_file.write_text(f"# only one\n{GOOD}\n")
    monkeypatch.setenv(KEY_FILE, str(key_file))
    assert key_ids(opened()) == [Key.parse(GOOD).key_id]


def test_keys_and_a_key_file_are_one_too_many(monkeypatch: pytest.MonkeyPatch, key_file: Path) -> None:
    key_file.write_text(GOOD)
    monkeypatch.setenv(KEYS, GOOD)
    monkeypatch.setenv(KEY_FILE, str(key_file))
    with pytest.raises(ConfigError, match=f"{KEYS}.*{KEY_FILE}") as caught:
        opened()
    assert_unseen(GOOD, caught.value)


def test_a_key_file_without_keys_is_refused(monkeypatch: pytest.MonkeyPatch, key_file: Path) -> None:
    key_file.write_text("# none yet\n\n")
    monkeypatch.setenv(KEY_FILE, str(key_file))
    with pytest.raises(ConfigError):
        opened()


@pytest.mark.parametrize(
    "value",
    [f"{GOOD},", f",{GOOD}", f"{GOOD},,{GOOD}", ",", f"{GOOD},{GOOD}", f"{GOOD};{GOOD}", f"{GOOD}, {GOOD}", "x"],
)
def test_malformed_keys_in_the_environment_are_refused_unseen(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(KEYS, value)
    with pytest.raises(ConfigError) as caught:
        opened()
    assert_unseen(GOOD, caught.value)


def test_a_malformed_line_in_a_key_file_is_refused_unseen(monkeypatch: pytest.MonkeyPatch, key_file: Path) -> None:
    monkeypatch.setenv(KEY_FILE, str(key_file))
    for line in (f"{GOOD},{GOOD}", f"KEY={GOOD}", f"{GOOD} # comment", GOOD[:-1]):
        key_file.write_text(line)
        with pytest.raises(ConfigError) as caught:
            opened()
        assert_unseen(GOOD, caught.value)


def test_an_unreadable_key_file_never_means_a_plain_store(monkeypatch: pytest.MonkeyPatch, key_file: Path) -> None:
    for path in (key_file.with_name("absent"), key_file.parent):
        monkeypatch.setenv(KEY_FILE, str(path))
        with pytest.raises(FusionStoreError):
            opened()


def test_given_keys_come_before_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    key = Key.generate()
    monkeypatch.setenv(KEYS, "malformed")
    with get_repository("memory://", encryption_keys=[key.reveal()]) as repository:
        assert key_ids(repository) == [key.key_id]


@pytest.mark.parametrize("cipher", Cipher)
def test_the_environment_names_the_cipher(monkeypatch: pytest.MonkeyPatch, cipher: Cipher) -> None:
    monkeypatch.setenv(KEYS, GOOD)
    monkeypatch.setenv(CIPHER, cipher)
    repository = opened()
    assert isinstance(repository, EncryptedTokenRepository)
    assert repository.keyring.cipher is cipher


def test_fernet_is_the_cipher_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEYS, GOOD)
    monkeypatch.setenv(CIPHER, "")
    repository = opened()
    assert isinstance(repository, EncryptedTokenRepository)
    assert repository.keyring.cipher is Cipher.FERNET
    monkeypatch.setenv(CIPHER, "rot13")
    with pytest.raises(ConfigError, match="fernet, aes-256-gcm"):
        opened()
