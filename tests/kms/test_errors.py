"""What KMS, the network and the set-up can do wrong: the right error, and no key in it."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from fusion_store import ConfigError, FusionStoreError, PermissionDenied, Unavailable, WrongKey
from fusion_store.layers import AwsKmsKeyProvider, Key, Keyring, generate_wrapped_key

from .conftest import CLOSED_PORT, REGION, MakeKey

BLOB = b"wrapped-canary-" * 8
CANARY = b"plain-canary-of-exactly-32-bytes"
WRAPPED = "aws-kms:" + base64.urlsafe_b64encode(BLOB).decode()
CONTEXT = {"application": "fusion-store"}


def assert_hidden(text: str, *secrets: bytes) -> None:
    """None of the secrets is in a text, in any of the forms in which boto3 and we handle them."""
    for secret in secrets:
        for form in (
            secret.decode("latin-1"),
            repr(secret)[2:-1],
            secret.hex(),
            base64.b64encode(secret).decode().rstrip("="),
            base64.urlsafe_b64encode(secret).decode().rstrip("="),
        ):
            assert form not in text


def shown(error: BaseException) -> str:
    """All that is usually shown of an error."""
    return "\n".join([str(error), repr(error), *traceback.format_exception(error), repr(pickle.dumps(error))])


@pytest.fixture(scope="module")
def client(loopback_only: None) -> Iterator[Any]:
    """A client for a Stubber, made once: boto3 takes long to make one."""
    with closing(boto3.session.Session().client("kms", region_name=REGION)) as made:
        yield made


@pytest.mark.parametrize(
    ("code", "status", "kind", "says"),
    [
        ("DisabledException", 400, ConfigError, "enable-key"),
        ("KMSInvalidStateException", 400, ConfigError, "cancel-key-deletion"),
        ("NotFoundException", 400, ConfigError, "no such KMS key"),
        ("InvalidKeyUsageException", 400, ConfigError, "symmetric"),
        ("ValidationException", 400, ConfigError, "id, ARN or alias"),
        ("UnheardOfException", 400, ConfigError, "UnheardOfException"),
        (WRAPPED, 400, ConfigError, "for an unknown reason"),
        ("AccessDeniedException", 400, PermissionDenied, "kms:Decrypt"),
        ("UnrecognizedClientException", 400, PermissionDenied, "credentials"),
        ("InvalidSignatureException", 400, PermissionDenied, "credentials"),
        ("ExpiredTokenException", 400, PermissionDenied, "credentials"),
        ("InvalidCiphertextException", 400, WrongKey, "altered"),
        ("IncorrectKeyException", 400, WrongKey, "another key"),
        ("ThrottlingException", 400, Unavailable, "try again"),
        ("LimitExceededException", 400, Unavailable, "try again"),
        ("KMSInternalException", 500, Unavailable, "try again"),
        ("KeyUnavailableException", 500, Unavailable, "try again"),
        ("DependencyTimeoutException", 503, Unavailable, "try again"),
        ("UnheardOfException", 503, Unavailable, "try again"),
        ("429", 429, Unavailable, "try again"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:30]),
)
def test_each_refusal_is_told_apart(
    code: str, status: int, kind: type[FusionStoreError], says: str, *, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    message = f"arn:aws:kms {WRAPPED} {CANARY.decode()}"
    with Stubber(client) as stubber:
        for method in ("decrypt", "generate_data_key_without_plaintext"):
            stubber.add_client_error(method, code, message, status)
        with pytest.raises(kind) as opening:
            AwsKmsKeyProvider([WRAPPED], client=client).keys()
        with pytest.raises(kind) as making:
            generate_wrapped_key("alias/vault", client=client)

    assert opening.value.args[0].startswith("wrapped key 1: ")
    assert says in str(opening.value)
    assert making.value.args[0].startswith("a new wrapped key: ")
    assert getattr(opening.value, "retryable", False) is (kind is Unavailable)
    for error in (opening.value, making.value):
        assert_hidden(shown(error), CANARY, BLOB)
    assert_hidden(caplog.text, CANARY, BLOB)


def test_kms_is_asked_with_the_blob_and_context_and_for_a_256_bit_key(client: Any) -> None:
    with Stubber(client) as stubber:
        stubber.add_response("decrypt", {"Plaintext": CANARY}, {"CiphertextBlob": BLOB, "EncryptionContext": CONTEXT})
        stubber.add_response(
            "generate_data_key_without_plaintext",
            {"CiphertextBlob": BLOB},
            {"KeyId": "alias/vault", "KeySpec": "AES_256", "EncryptionContext": CONTEXT},
        )

        assert [key.key_id for key in Keyring(AwsKmsKeyProvider([WRAPPED], client=client))] == [Key(CANARY).key_id]
        assert generate_wrapped_key("alias/vault", client=client) == WRAPPED


@pytest.mark.parametrize(
    "material", [CANARY[:-1], CANARY + b"x", CANARY * 2, b"", None], ids=lambda value: repr(value)[:9]
)
def test_what_is_no_key_of_32_bytes_is_a_config_error(material: bytes | None, client: Any) -> None:
    with Stubber(client) as stubber:
        stubber.add_response("decrypt", {} if material is None else {"Plaintext": material})
        with pytest.raises(ConfigError, match="32 bytes") as caught:
            AwsKmsKeyProvider([WRAPPED], client=client).keys()

    assert_hidden(shown(caught.value), CANARY[:-1], BLOB)


@pytest.mark.parametrize("answer", [{}, {"CiphertextBlob": b"x" * 6145}], ids=["nothing", "too long"])
def test_an_answer_that_is_no_wrapped_key_is_a_config_error(answer: dict[str, bytes], client: Any) -> None:
    with Stubber(client) as stubber:
        stubber.add_response("generate_data_key_without_plaintext", answer)
        with pytest.raises(ConfigError, match="isn't a wrapped key"):
            generate_wrapped_key("alias/vault", client=client)


def test_an_endpoint_that_is_not_there_is_unavailable_soon() -> None:
    begun = time.monotonic()

    with pytest.raises(Unavailable, match="can't be reached") as caught:
        AwsKmsKeyProvider([WRAPPED], endpoint_url=CLOSED_PORT).keys()

    assert time.monotonic() - begun < 10
    assert caught.value.retryable
    assert_hidden(shown(caught.value), BLOB)


def test_a_connection_that_breaks_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def break_off() -> None:
            for _ in range(3):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)

        thread = threading.Thread(target=break_off, daemon=True)
        thread.start()
        with pytest.raises(Unavailable) as caught:
            AwsKmsKeyProvider([WRAPPED], endpoint_url=f"http://127.0.0.1:{server.getsockname()[1]}").keys()
        thread.join()

    assert_hidden(shown(caught.value), BLOB)


def test_an_endpoint_that_never_answers_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusion_store.layers._aws_kms._READ_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(Unavailable):
        AwsKmsKeyProvider([WRAPPED], endpoint_url=f"http://127.0.0.1:{server.getsockname()[1]}").keys()


@pytest.mark.parametrize(
    "changes",
    [
        {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
        {"AWS_SECRET_ACCESS_KEY": None},
        {"AWS_PROFILE": "nosuch"},
        {"AWS_REGION": None},
        {"AWS_REGION": "not a region"},
        {"AWS_ENDPOINT_URL": "no url"},
        {"AWS_CONFIG_FILE": __file__},
    ],
    ids=lambda changes: " ".join(f"{name}={value}" for name, value in changes.items())[:60],
)
def test_a_set_up_that_boto3_refuses_is_a_config_error(
    changes: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changes.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as caught:
        Keyring([WRAPPED])
    assert_hidden(shown(caught.value), BLOB)


def test_a_missing_file_of_certificates_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent")
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(ConfigError):
        AwsKmsKeyProvider([WRAPPED], endpoint_url=f"https://127.0.0.1:{server.getsockname()[1]}").keys()


Answer = Callable[[], tuple[int, bytes]]


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server on loopback that answers every request alike, and what was asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.headers["X-Amz-Target"])
            status, body = answer()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html>Please log in to this network</html>", ConfigError),
        (200, b"{}", ConfigError),
        (200, b"", ConfigError),
        (200, b"[]", ConfigError),
        (200, b"null", ConfigError),
        (200, b'{"Plaintext": "not base64"}', ConfigError),
        (200, b'{"Plaintext": 5}', ConfigError),
        (200, b'{"Plaintext": "' + base64.b64encode(CANARY), ConfigError),
        (403, b"<html>" + base64.b64encode(CANARY) + b"</html>", ConfigError),
        (400, json.dumps({"__type": "DisabledException", "message": CANARY.decode()}).encode(), ConfigError),
        (502, b"<html>bad gateway</html>", Unavailable),
        (503, b"", Unavailable),
    ],
)
def test_whatever_answers_only_our_errors_come_out(
    status: int, body: bytes, kind: type[FusionStoreError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(lambda: (status, body)) as (url, _), pytest.raises(kind) as caught:
        AwsKmsKeyProvider([WRAPPED], endpoint_url=url).keys()

    assert_hidden(shown(caught.value), CANARY, BLOB)
    assert_hidden(caplog.text, CANARY, BLOB)


def test_throttling_that_passes_is_waited_out() -> None:
    answers = iter(
        [
            (400, b'{"__type": "ThrottlingException"}'),
            (200, json.dumps({"Plaintext": base64.b64encode(CANARY).decode()}).encode()),
        ]
    )
    with serving(lambda: next(answers)) as (url, asked):
        (key,) = AwsKmsKeyProvider([WRAPPED], endpoint_url=url).keys()

    assert key.key_id == Key(CANARY).key_id
    assert asked == ["TrentService.Decrypt"] * 2


def test_throttling_that_stays_is_unavailable_after_few_attempts() -> None:
    with serving(lambda: (400, b'{"__type": "ThrottlingException"}')) as (url, asked), pytest.raises(Unavailable):
        AwsKmsKeyProvider([WRAPPED], endpoint_url=url).keys()

    assert len(asked) == 3


def test_no_key_is_logged_while_boto3_logs_all_it_can(
    kms: Any, make_key: MakeKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrapped = generate_wrapped_key(make_key())

    (key,) = Keyring([wrapped])

    assert_hidden(caplog.text, key.material(), base64.urlsafe_b64decode(wrapped.removeprefix("aws-kms:")))


def test_other_calls_are_logged_as_before(kms: Any, make_key: MakeKey, caplog: pytest.LogCaptureFixture) -> None:
    Keyring([generate_wrapped_key(make_key())])
    caplog.set_level(logging.DEBUG)

    kms.list_keys()

    assert "Response body" in caplog.text
