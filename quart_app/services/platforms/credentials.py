"""Seal and unseal platform credentials with Fernet: the newest key seals, every key unseals."""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class Credentials:
    """Credentials are sealed before they reach the database and unsealed just before their use."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._newest, *_ = fernets = [Fernet(key) for key in keys]
        self._fernet = MultiFernet(fernets)

    def seal(self, secret: str) -> str:
        """Return the Fernet token of the secret."""
        return self._fernet.encrypt(secret.encode()).decode()

    def reseal(self, token: str) -> str | None:
        """Return the token if the newest key made it, else one of that key for the same secret.

        None if no key of ours made it.
        """
        try:
            self._newest.decrypt(token.encode())
        except (InvalidToken, UnicodeError):
            try:
                return self._fernet.rotate(token.encode()).decode()
            except (InvalidToken, UnicodeError):
                return None
        return token

    def unseal(self, token: str) -> str | None:
        """Return the secret; None if no key of ours made the token."""
        try:
            return self._fernet.decrypt(token.encode()).decode()
        except (InvalidToken, UnicodeError):
            return None
