"""The base of every backend and layer."""

from fusion_store.backend._api_tokens import APITokenOperations
from fusion_store.backend._credentials import CredentialOperations
from fusion_store.backend._oauth import OAuthOperations
from fusion_store.backend._system import SystemOperations


class RecordRepository(APITokenOperations, OAuthOperations, CredentialOperations, SystemOperations):
    """All typed operations, written once over the storage operations; a subclass implements those.

    ``clock`` answers the present as an aware datetime; by default it is the system's.
    """
