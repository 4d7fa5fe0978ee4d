"""Pages of a list: some items, and the cursor that the next page continues from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

PAGE_SIZE: Final = 50

T = TypeVar("T")
OtherT = TypeVar("OtherT")
CursorT = TypeVar("CursorT", int, str)


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T, CursorT]):
    """Some items in the list's order; `next_cursor` is None on the last page."""

    items: Sequence[T] = ()
    next_cursor: CursorT | None = None

    def map(self, change: Callable[[T], OtherT]) -> "Page[OtherT, CursorT]":
        """Return the same page with each item changed."""
        return Page(items=[change(each) for each in self.items], next_cursor=self.next_cursor)


def page_of(
    found: Sequence[T], *, size: int, cursor_of: Callable[[T], CursorT]
) -> Page[T, CursorT]:
    """Return the page of a query that was asked for one item more than the page's size.

    `cursor_of` returns the cursor that leads to the items after one of them.
    """
    items = found[:size]
    return Page(items=items, next_cursor=cursor_of(items[-1]) if len(found) > size else None)
