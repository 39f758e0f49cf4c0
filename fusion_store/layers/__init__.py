"""Layers: repositories over other repositories' storage operations."""

from fusion_store.layers._encrypted import EncryptedTokenRepository
from fusion_store.layers._keyring import Cipher, Key, Keyring, read_key_file
from fusion_store.layers._layer import Layer

__all__ = ["Cipher", "EncryptedTokenRepository", "Key", "Keyring", "Layer", "read_key_file"]
