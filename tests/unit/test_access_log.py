"""No value of a request can forge a line of the access log, whatever the format."""

import logging

import pytest

from quart_app.web.pipeline.access_log import in_one_line

FORMAT = '%(h)s "%(m)s %(U)s %(H)s" %(s)s "%({user-agent}i)s" %(D)sus'


def line_of(**values: object) -> str:
    atoms = {"h": "a:1", "m": "GET", "U": "/", "H": "2", "s": "200", "{user-agent}i": "-", "D": 1}
    record = logging.LogRecord("x", logging.INFO, "", 0, FORMAT, ({**atoms, **values},), None)
    assert in_one_line(record)
    return record.getMessage()


@pytest.mark.parametrize("name", ["h", "m", "U", "H", "{user-agent}i"])
@pytest.mark.parametrize(
    "value", ['a" 200 "b', "a\nb", "a\rb", "a\x1b[31mb", "a\u2028b", "a\u202eb", "a\udcffb", "a\\b"]
)
def test_a_value_stays_one_field_of_one_line(name: str, value: str) -> None:
    line = line_of(**{name: value})
    assert line.isprintable()
    assert line.count('"') == 4
    assert line.encode()


def test_different_values_are_different_lines() -> None:
    texts = ['"', "\\", '\\"', "\\x22", "\\\\x22", "\n", "\\n", "/%22", "/%0A"]
    assert len({line_of(m=text) for text in texts}) == len(texts)


def test_an_ordinary_line_is_unchanged() -> None:
    assert line_of(U="/a b") == 'a:1 "GET /a%20b 2" 200 "-" 1us'
