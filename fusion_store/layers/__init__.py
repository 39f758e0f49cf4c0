"""Layers: repositories over other repositories' storage operations."""

from fusion_store.layers._aws_kms import AwsKmsKeyProvider, generate_wrapped_key
from fusion_store.layers._cached import CachedTokenRepository, CacheOptions
from fusion_store.layers._encrypted import EncryptedTokenRepository
from fusion_store.layers._keyring import Cipher, Key, Keyring, read_key_file
from fusion_store.layers._layer import Layer
from fusion_store.layers._observed import LogObserver, ObservedTokenRepository, Observer
from fusion_store.layers._provider import KeyProvider

__all__ = [
    "AwsKmsKeyProvider",
    "CacheOptions",
    "CachedTokenRepository",
    "Cipher",
    "EncryptedTokenRepository",
    "Key",
    "KeyProvider",
    "Keyring",
    "Layer",
    "LogObserver",
    "ObservedTokenRepository",
    "Observer",
    "generate_wrapped_key",
    "read_key_file",
]
