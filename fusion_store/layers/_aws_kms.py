"""Keys from AWS KMS, by envelope encryption: data keys wrapped under a KMS key, unwrapped at opening."""

from __future__ import annotations

import base64
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Final, NoReturn

import msgspec

from fusion_store._errors import ConfigError, FusionStoreError, PermissionDenied, Unavailable, WrongKey
from fusion_store.layers._keyring import KEY_BYTES, Key
from fusion_store.layers._provider import AWS_KMS_PREFIX, KeyProvider

CONTEXT_VARIABLE: Final = "FUSION_STORE_KMS_CONTEXT"
_REGION_VARIABLE: Final = "AWS_REGION"
_DEFAULT_CONTEXT: Final = {"application": "fusion-store"}
_WRAPPED_TEXT: Final = re.compile(rf"{AWS_KMS_PREFIX}([A-Za-z0-9_-]+={{0,2}})")
_MAX_BLOB_BYTES: Final = 6144
_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 10
_ATTEMPTS: Final = 3
# At level DEBUG these log requests and answers in full, and an answer holds the key.
_WIRE_LOGS: Final = ("botocore.endpoint", "botocore.parsers")
_asking: Final[ContextVar[bool]] = ContextVar("fusion_store_asking_kms", default=False)


class AwsKmsKeyProvider(KeyProvider):
    """Unwraps data keys with KMS Decrypt, one call a key.

    - ``wrapped_keys``: what ``generate_wrapped_key`` returned, ``aws-kms:`` and url-safe base64; the first seals.
    - ``encryption_context``: names and values, not secret, that must be those the keys were wrapped with. By
      default the JSON object in ``FUSION_STORE_KMS_CONTEXT``, else ``{"application": "fusion-store"}``.
    - ``region``: by default ``AWS_REGION``, else what boto3 finds.
    - ``endpoint_url``: by default what boto3 finds (``AWS_ENDPOINT_URL_KMS``), else the region's own.
    - ``client``: a boto3 KMS client to use as it is; region and endpoint are then its own. The caller closes it.

    ``ConfigError`` for a malformed wrapped key or context.
    """

    __slots__ = ("_blobs", "_client", "_context", "_endpoint_url", "_region")

    def __init__(
        self,
        wrapped_keys: Iterable[str],
        *,
        encryption_context: Mapping[str, str] | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        client: Any = None,
    ) -> None:
        if isinstance(wrapped_keys, str):
            raise ConfigError("wrapped keys must be a sequence of strings, not one string")
        self._blobs = tuple(_parse(text) for text in wrapped_keys)
        if not self._blobs:
            raise ConfigError("no wrapped key is given")
        self._context = _settled_context(encryption_context)
        self._region = region
        self._endpoint_url = endpoint_url
        self._client = client

    def keys(self) -> Sequence[Key]:
        """The unwrapped keys, in the order given.

        Beyond the interface's errors: ``WrongKey`` when KMS doesn't open a wrapped key, since it was altered, or
        wrapped with another encryption context. ``ConfigError`` also when boto3 isn't installed.
        """
        with _connected(self._client, self._region, self._endpoint_url) as client:
            return [
                self._unwrapped(client, blob, f"wrapped key {number}") for number, blob in enumerate(self._blobs, 1)
            ]

    def _unwrapped(self, client: Any, blob: bytes, subject: str) -> Key:
        answer = _ask(client.decrypt, subject, CiphertextBlob=blob, EncryptionContext=self._context)
        material = answer.get("Plaintext")
        if not isinstance(material, bytes) or len(material) != KEY_BYTES:
            raise ConfigError(f"{subject}: what AWS KMS answered isn't a key of {KEY_BYTES} bytes")
        return Key(material)

    def __repr__(self) -> str:
        return f"AwsKmsKeyProvider({len(self._blobs)} wrapped)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key provider can't be pickled")


def generate_wrapped_key(
    key_id: str,
    *,
    encryption_context: Mapping[str, str] | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
    client: Any = None,
) -> str:
    """A new data key, wrapped under the KMS key ``key_id`` (id, ARN or alias); its plain form never leaves KMS.

    The result is text for ``AwsKmsKeyProvider``, ``FUSION_STORE_KEYS`` or a line of a key file. The other arguments
    and the errors are those of ``AwsKmsKeyProvider``.
    """
    context = _settled_context(encryption_context)
    subject = "a new wrapped key"
    with _connected(client, region, endpoint_url) as connected:
        answer = _ask(
            connected.generate_data_key_without_plaintext,
            subject,
            KeyId=key_id,
            KeySpec="AES_256",
            EncryptionContext=context,
        )
    blob = answer.get("CiphertextBlob")
    if not isinstance(blob, bytes) or not 0 < len(blob) <= _MAX_BLOB_BYTES:
        raise ConfigError(f"{subject}: what AWS KMS answered isn't a wrapped key")
    return AWS_KMS_PREFIX + base64.urlsafe_b64encode(blob).decode()


def _parse(text: str) -> bytes:
    match = _WRAPPED_TEXT.fullmatch(text) if isinstance(text, str) else None
    if match is None or len(match[1]) % 4:
        raise ConfigError(
            f"a wrapped key must be {AWS_KMS_PREFIX} and url-safe base64 with padding, "
            "as fusion-store key generate --kms makes it"
        )
    blob = base64.urlsafe_b64decode(match[1])
    if base64.urlsafe_b64encode(blob).decode() != match[1]:
        raise ConfigError("a wrapped key isn't canonical base64: its last character holds stray bits")
    if len(blob) > _MAX_BLOB_BYTES:
        raise ConfigError("a wrapped key is longer than AWS KMS makes them")
    return blob


def _settled_context(given: Mapping[str, str] | None) -> dict[str, str]:
    if given is not None:
        try:
            return msgspec.convert(dict(given), dict[str, str])
        except (msgspec.ValidationError, TypeError, ValueError):
            raise ConfigError("encryption_context must be a mapping of strings to strings") from None
    listed = os.environ.get(CONTEXT_VARIABLE, "").strip()
    if not listed:
        return dict(_DEFAULT_CONTEXT)
    try:
        return msgspec.json.decode(listed, type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeError):
        raise ConfigError(f"{CONTEXT_VARIABLE} must be a JSON object of strings") from None


@contextmanager
def _connected(client: Any, region: str | None, endpoint_url: str | None) -> Iterator[Any]:
    with nullcontext(client) if client is not None else closing(_new_client(region, endpoint_url)) as connected:
        yield connected


def _new_client(region: str | None, endpoint_url: str | None) -> Any:
    try:
        from boto3.session import Session
        from botocore.config import Config
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("boto3", "botocore"):
            raise
        raise ConfigError(
            "keys wrapped by AWS KMS need boto3, which isn't installed: pip install 'fusion-store[kms]'"
        ) from None
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
    )
    return _ask(
        lambda: Session().client(
            "kms",
            # boto3 itself knows only AWS_DEFAULT_REGION; AWS's own runtimes and other SDKs set this one.
            region_name=region or os.environ.get(_REGION_VARIABLE) or None,
            endpoint_url=endpoint_url,
            config=config,
        ),
        "the AWS KMS client",
    )


def _ask(call: Callable[..., Any], subject: str, **parameters: Any) -> Any:
    for name in _WIRE_LOGS:
        logging.getLogger(name).addFilter(_wire_filter)
    asking = _asking.set(True)
    try:
        return call(**parameters)
    except Exception as error:
        raise _translated(error, subject) from None
    finally:
        _asking.reset(asking)


def _wire_filter(_: logging.LogRecord) -> bool:
    return not _asking.get()


_Outcome = tuple[type[FusionStoreError], str]

_DENIED: Final = (
    PermissionDenied,
    "AWS denies access: allow kms:Decrypt on its KMS key (kms:GenerateDataKeyWithoutPlaintext to make one), "
    "and check region and encryption context",
)
_CREDENTIALS: Final = (PermissionDenied, "AWS doesn't accept the credentials: check them, and this machine's clock")
_CREDENTIALS_UNAVAILABLE: Final = (Unavailable, "the AWS credentials can't be fetched now: try again later")
_NO_CREDENTIALS: Final = (ConfigError, "no usable AWS credentials were found: set up those that boto3 looks for")
_NO_REGION: Final = (ConfigError, f"no AWS region is set: set {_REGION_VARIABLE}")
_UNTRUSTED: Final = (ConfigError, "no trusted TLS connection to AWS KMS: check the endpoint and the certificates")
_UNAVAILABLE: Final = (Unavailable, "AWS KMS can't be reached or is overloaded: try again later")
_NOT_OPENED: Final = (
    WrongKey,
    "AWS KMS doesn't open it: it was altered, or wrapped with another encryption context or under another key",
)
_USAGE: Final = (ConfigError, "its KMS key must be one for symmetric encryption, given by its id, ARN or alias")

_CODES: Final[Mapping[str, _Outcome]] = {
    "DisabledException": (ConfigError, "its KMS key is disabled: enable it (aws kms enable-key)"),
    "KMSInvalidStateException": (
        ConfigError,
        "its KMS key can't be used in its present state: if its deletion is pending, cancel that and enable it "
        "(aws kms cancel-key-deletion, aws kms enable-key)",
    ),
    "NotFoundException": (
        ConfigError,
        "no such KMS key in this account and region: check its id and the region, and whether it was deleted",
    ),
    "InvalidArnException": _USAGE,
    "InvalidKeyUsageException": _USAGE,
    "ValidationException": _USAGE,
    "InvalidCiphertextException": _NOT_OPENED,
    "IncorrectKeyException": _NOT_OPENED,
    "AccessDenied": _DENIED,
    "AccessDeniedException": _DENIED,
    "ExpiredToken": _CREDENTIALS,
    "ExpiredTokenException": _CREDENTIALS,
    "IncompleteSignature": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "InvalidSignatureException": _CREDENTIALS,
    "MissingAuthenticationToken": _CREDENTIALS,
    "MissingAuthenticationTokenException": _CREDENTIALS,
    "NotAuthorized": _CREDENTIALS,
    "OptInRequired": _CREDENTIALS,
    "RequestExpired": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "UnrecognizedClientException": _CREDENTIALS,
    "DependencyTimeoutException": _UNAVAILABLE,
    "KMSInternalException": _UNAVAILABLE,
    "KeyUnavailableException": _UNAVAILABLE,
    "LimitExceededException": _UNAVAILABLE,
    "RequestLimitExceeded": _UNAVAILABLE,
    "RequestThrottled": _UNAVAILABLE,
    "RequestThrottledException": _UNAVAILABLE,
    "ThrottledException": _UNAVAILABLE,
    "Throttling": _UNAVAILABLE,
    "ThrottlingException": _UNAVAILABLE,
    "TooManyRequestsException": _UNAVAILABLE,
}


def _translated(error: Exception, subject: str) -> FusionStoreError:
    kind, text = _outcome(error)
    return kind(f"{subject}: {text}")


def _outcome(error: Exception) -> _Outcome:
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return _answered(error)
    outcomes: Sequence[tuple[tuple[type[Exception], ...], _Outcome]] = (
        ((exceptions.SSLError,), _UNTRUSTED),
        (
            # Not all of HTTPClientError: the bare one also stands for a missing file of certificates, say.
            (
                exceptions.ConnectionError,
                exceptions.ConnectionClosedError,
                exceptions.ReadTimeoutError,
                exceptions.ResponseStreamingError,
                exceptions.IncompleteReadError,
            ),
            _UNAVAILABLE,
        ),
        ((exceptions.CredentialRetrievalError, exceptions.MetadataRetrievalError), _CREDENTIALS_UNAVAILABLE),
        ((exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.SSOError), _NO_CREDENTIALS),
        ((exceptions.NoRegionError,), _NO_REGION),
        ((exceptions.ParamValidationError,), _USAGE),
    )
    # Its text may quote a setting or an answer; the name of its type doesn't.
    unknown = ConfigError, f"AWS KMS can't be used as it is set up ({type(error).__name__})"
    return next((outcome for kinds, outcome in outcomes if isinstance(error, kinds)), unknown)


def _answered(error: Any) -> _Outcome:
    code = str(error.response.get("Error", {}).get("Code", ""))
    known = _CODES.get(code)
    if known is not None:
        return known
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= 500 or status == 429:
        return _UNAVAILABLE
    return (
        ConfigError,
        f"AWS KMS refuses it ({code if code.isalnum() and len(code) <= 64 else 'for an unknown reason'})",
    )
