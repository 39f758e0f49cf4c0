"""The interface of what holds encryption keys elsewhere: a key management service, a secrets manager."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fusion_store.layers._keyring import Key

AWS_KMS_PREFIX: Final = "aws-kms:"
"""What a key wrapped by AWS KMS begins with, where it stands among plain ones."""


class KeyProvider(ABC):
    """Brings the keys of a repository from where they are kept.

    Given to ``get_repository`` or ``Keyring`` in place of keys. It is asked once, when the repository is opened;
    reading and writing never wait for it, and a key that it gives later is not noticed until the next opening.
    Whoever makes a provider closes what it holds; one may serve several repositories, one after the other.
    """

    @abstractmethod
    def keys(self) -> Sequence[Key]:
        """The keys: the first one seals, all of them open. At least one, none of them twice.

        Raises ``ConfigError`` when the provider can't be used as it is set up, ``PermissionDenied`` when it refuses
        access, and ``Unavailable`` when it can't be reached or is overloaded: that may be tried again.
        No message holds a key, wrapped or not.
        """
