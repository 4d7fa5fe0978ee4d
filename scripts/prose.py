"""Find the prose patterns that this project does not use, for `scripts/check`.

It reads Markdown, templates, comments, names of tests, and Python's docstrings and strings of
several words. docs/glossary.md says which words to use.
"""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Each pattern with what to write instead. Matched against text whose line breaks are single spaces.
PATTERNS: dict[str, str] = {
    r"(?:^|(?<=[.!:;] )|(?<=[.!]\) ))(?:Who|Whoever|Whom|Whose)\b(?![^.?!]*\?)": (
        "begin with the noun: 'Users who …', 'A client that …'"
    ),
    r"(?:^|(?<=[.!] ))What\b(?![^.?!:]*[?:])": "begin with the noun; keep 'What' for questions",
    r"\bonce more\b": "write 'again'",
    r"\bas of (?:a|an|the|every|each)\b": "write 'as in' or 'like'",
    r"\b(?:by|from|to|in|with|of) (?:which|whom)\b": "use two sentences, or 'that … by'",
    r"\b(?:stands?|stood|standing) (?:in|on|there|at|beside|behind|before|above|below|by|for)\b": (
        "write 'is'"
    ),
    r"\b(?:is|are|was|were|be|been) told (?:of|by|that|to|once|on|at|what|at)\b": (
        "say who notifies or shows what to whom"
    ),
    r"\bcan(?:'t| not|not)? be had\b": "write 'is available'",
    r"\boneself\b|(?<!this )(?<!that )(?<!last )\bone (?:is|acts|has|may)\b": (
        "write 'you', or name the person"
    ),
    r"\bnobody (?:is|can|need|knows)\b(?= told)": "name the thing",
    r"(?<=.)\bjust now\b": "write 'at the moment', or 'currently'",
    r"\bact(?:s|ing)? for\b": "write 'the current account'",
    r"\bby itself\b(?=, (?:and|or|that))": "say what does it",
    r"\bfor whom\b": "name the person",
    r"\b(?:no|any) more\b(?=[.,;:])": "write 'no longer' before the verb",
    r"\b(?:the )?other ones?\b": "name the thing",
    r"\bhear(?:s|d)? of\b": "write 'learns of', 'is notified of'",
    r"\bmen(?:d|ds|ded|ding)\b": "write 'fix' or 'repair'",
    r"\banew\b": "write 'again'",
    r"(?i)\b(?:recogn|author)is(?:e|ed|es|ing|ation)\b": "spell it with z",
    r"\bgo(?:es)? on\b": "write 'continue'",
    r"\blet(?:s)? go of\b": "write 'release' or 'close'",
    r"\blook(?:s|ed)? after\b": "write 'check', 'maintain'",
    r"\b[Ww]hoever\b": "name the person",
    r"\bTell whether\b": "write 'Return whether'",
    r"\bas a rule\b": "write 'usually'",
    r"\b(?:as ever|this once|as it stands)\b": "leave it out, or say when",
    r", for (?:it|they|he|nobody|these|those|there)\b": "write 'because'",
    r"\bso (?:long|many)\b(?! (?:as|that))": "write 'this long', or name the number",
    r"\b(?:session|login|stream|request|test)s? (?:is|are|was|were) over\b": "write 'has ended'",
}

_SLASH_COMMENT = r"/\*+([\s\S]*?)\*/|(?:^|\s)//(.*)"
_HASH_COMMENT = r"(?:^|\s)##?(?: |$)(.*)"


@dataclass(frozen=True)
class Text:
    """A piece of prose, and where it begins."""

    path: Path
    line: int
    words: str


def report(folders: Sequence[str]) -> bool:
    """Print every pattern found in these files and folders; return whether there is one."""
    checked = [ROOT / folder for folder in folders]
    found = 0
    for path in _files():
        if not any(path == each or each in path.parents for each in checked):
            continue
        for text in _texts(path):
            for line, words, advice in _matches(text):
                found += 1
                print(f"{path.relative_to(ROOT)}:{line}: {words!r}: {advice}")
    if found:
        print(f"{found} places to rewrite; docs/glossary.md has the words of this project.")
    return found > 0


def _files() -> Iterator[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if "vendor" not in path.parts and path != Path(__file__).resolve() and path.is_file():
            yield path


def _texts(path: Path) -> Iterator[Text]:
    if path.suffix == ".md":
        yield from _of_markdown(path)
    elif path.suffix == ".py" or _is_python_script(path):
        yield from _of_python(path)
    elif path.suffix == ".html":
        yield from _of_template(path)
    elif path.suffix in {".js", ".css"}:
        yield from _joined(path, _comments(path.read_text(), _SLASH_COMMENT))
    elif path.suffix in {".toml", ".mako"} or path.name == "run":
        yield from _joined(path, _comments(path.read_text(), _HASH_COMMENT))


def _is_python_script(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix == "" and b"python" in file.readline()


def _of_markdown(path: Path) -> Iterator[Text]:
    """Yield the paragraphs, table rows and list items outside code."""
    text = path.read_text()
    text = re.sub(r"(?ms)^```.*?^```", lambda code: "\n" * code[0].count("\n"), text)
    text = re.sub(r"`[^`\n]*`", "`…`", text)
    paragraph: list[str] = []
    begins = 1
    for number, line in enumerate([*text.splitlines(), ""], 1):
        is_break = not line.strip() or re.match(r"\s*(?:[-*|#>]|\d+\.)\s?", line)
        if is_break and paragraph:
            yield Text(path, begins, " ".join(paragraph))
            paragraph = []
        if line.strip() and not line.startswith("    "):
            if not paragraph:
                begins = number
            paragraph.append(re.sub(r"^\s*(?:[-*>]|\d+\.|#+)\s*", "", line).strip())


def _of_python(path: Path) -> Iterator[Text]:
    """Yield strings of several words, names of tests, and comments."""
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:5] == "test_":
            sentence = node.name[5:].replace("_", " ").capitalize()
            yield Text(path, node.lineno, sentence)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield Text(path, node.lineno, " ".join(node.value.split()))
    yield from _joined(path, _python_comments(source))


def _python_comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            words = re.sub(r"^#[!:]?\s*|\bnoqa\b[^#]*|type: ignore\S*", "", token.string)
            yield token.start[0], words.strip()


def _comments(text: str, pattern: str) -> Iterator[tuple[int, str]]:
    for match in re.finditer(pattern, text, re.MULTILINE):
        words = next(each for each in match.groups() if each is not None)
        words = " ".join(re.sub(r"(?m)^\s*\*", "", words).split())
        yield text.count("\n", 0, match.end()) + 1, words


def _joined(path: Path, comments: Iterable[tuple[int, str]]) -> Iterator[Text]:
    """Join comments on consecutive lines, given as (line, words), to one text."""
    begins = last = 0
    parts: list[str] = []
    for number, words in comments:
        if parts and number != last + 1:
            yield Text(path, begins, " ".join(parts))
            parts = []
        if not parts:
            begins = number
        parts.append(words)
        last = number
    if parts:
        yield Text(path, begins, " ".join(parts))


def _of_template(path: Path) -> Iterator[Text]:
    """Yield the text between tags and Jinja's expressions, line by line."""
    text = re.sub(r"(?s)\{[%#].*?[%#]\}|\{\{.*?\}\}|<[^>]*>", "\0", path.read_text())
    for number, line in enumerate(text.splitlines(), 1):
        for words in line.split("\0"):
            if words.strip():
                yield Text(path, number, " ".join(words.split()))


def _matches(text: Text) -> Iterator[tuple[int, str, str]]:
    for pattern, advice in PATTERNS.items():
        for match in re.finditer(pattern, text.words):
            begin = max(0, match.start() - 20)
            yield text.line, text.words[begin : match.end() + 20], advice
