"""A browser without JavaScript: parses pages, follows links, fills in and sends forms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

from fastapi.testclient import TestClient
from httpx2 import Response

from tests.api.conftest import Api
from tests.api.seed import PASSWORD

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
HTML = {"Accept": "text/html,application/xhtml+xml"}


@dataclass
class Element:
    """An element with its attributes, children and own text."""

    name: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def all(self, *names: str) -> Iterator[Element]:
        """Elements of these names below this one, in order."""
        for child in self.children:
            if not names or child.name in names:
                yield child
            yield from child.all(*names)

    @property
    def text(self) -> str:
        """All text below, in order, with single spaces."""
        return " ".join(" ".join(self.words).split())


class _Tree(HTMLParser):
    """Builds elements; an end tag that closes nothing, or not the last, is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> closes <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.words.append(data)


@dataclass(frozen=True)
class Page:
    """An answer as a page."""

    status: int
    path: str
    root: Element
    response: Response

    @property
    def text(self) -> str:
        """What the page says."""
        return next(self.root.all("main")).text

    def form(self, action: str) -> Element:
        """The form that sends to this path."""
        found = [form for form in self.root.all("form") if form.attributes["action"] == action]
        assert found, f"{self.path} has no form for {action}"
        return found[0]


def parse(response: Response) -> Page:
    """The page; fails where its elements are not nested properly."""
    assert response.headers["content-type"] == "text/html; charset=utf-8", response.text
    tree = _Tree()
    tree.feed(response.text)
    tree.close()
    assert tree.open == [tree.root], [element.name for element in tree.open]
    return Page(response.status_code, response.url.path, tree.root, response)


@dataclass
class Browser:
    """Holds the last page; forms are sent with the hidden fields that the page gave them."""

    client: TestClient
    page: Page | None = None

    @classmethod
    def signed_in(cls, api: Api, name: str, password: str = PASSWORD) -> Browser:
        """Signs in by the form."""
        browser = cls(api.client(**HTML))
        browser.get("/signin")
        browser.submit("/signin", name=name, password=password)
        return browser

    def get(self, path: str) -> Page:
        """Open a page; redirects are followed."""
        self.page = parse(self.client.get(path))
        return self.page

    def submit(self, action: str, **given: str | list[str]) -> Page:
        """Send a form of the page; redirects are followed."""
        assert self.page is not None
        fields: dict[str, str | list[str]] = {}
        for entry in self.page.form(action).all("input", "textarea"):
            at = entry.attributes
            chosen = at.get("type") not in {"checkbox", "radio"} or "checked" in at
            if chosen and entry.name == "input":
                fields[at["name"]] = at.get("value", "")
            elif entry.name == "textarea":
                fields[at["name"]] = "".join(entry.words)
        for choice in self.page.form(action).all("select"):
            options = list(choice.all("option"))
            picked = [each for each in options if "selected" in each.attributes] or options[:1]
            values = fields.setdefault(choice.attributes["name"], [])
            assert isinstance(values, list)
            values += [each.attributes["value"] for each in picked]
        self.page = parse(self.client.post(action, data=fields | given))
        return self.page
