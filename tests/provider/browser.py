"""The user and their browser."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx2

_MOST_FORMS = 8


class Browser:
    """A user at a browser of their own: one cookie jar, forms filled in and sent, redirects followed."""

    def __init__(self, login: str = "alice") -> None:
        self._login = login

    def consent(self, url: str, user_code: str = "") -> str:
        """Sign in and agree to everything; answers the last page's text."""
        return self._go(url, user_code, cancels=False)

    def refuse(self, url: str, user_code: str = "") -> str:
        """Cancel on the first page that offers it; answers the last page's text."""
        return self._go(url, user_code, cancels=True)

    def _go(self, url: str, user_code: str, *, cancels: bool) -> str:
        typed = {"login": self._login, "password": "any", "user_code": user_code}
        with httpx2.Client(follow_redirects=True, trust_env=False) as client:
            page = _Page(client.get(url))
            for _ in range(_MOST_FORMS):
                if cancels and page.cancel:
                    return _Page(client.get(page.cancel)).text
                if page.action is None:
                    return page.text
                fields = {name: value or typed[name] for name, value in page.fields.items()}
                page = _Page(client.post(page.action, data=fields))
        raise AssertionError(f"no end of forms: {page.text}")


class _Page(HTMLParser):
    """A page's only form, where it can be cancelled, and its text."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__()
        self._url = str(response.url)
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.cancel = ""
        self.text = ""
        self.feed(response.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = urljoin(self._url, attributes["action"])
        elif tag == "input" and "name" in attributes:
            self.fields[attributes["name"]] = attributes.get("value", "")
        elif tag == "a" and attributes.get("href", "").endswith("/abort"):
            self.cancel = urljoin(self._url, attributes["href"])

    def handle_data(self, data: str) -> None:
        self.text += data
