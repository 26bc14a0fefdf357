"""An OData catalogue on this machine: the recorded products, moved in time, under the service's own limits.

It understands what the documentation of the interface lists and the clients of others send: $filter with
and, or, not and parentheses, comparisons of fields and attributes, Intersects; $orderby, $top, $skip, $count,
$expand. What it does not understand is an error, as with the service.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit

import shapely
from shapely import from_wkt
from shapely.geometry import shape

from tests.support.free_ports import listening

Product = dict[str, Any]
Test = Callable[[Product], bool]
MOST_TOP, MOST_SKIP = 1000, 10_000
_TOKENS = re.compile(
    r"\s*(geography'[^']*'|'(?:[^']|'')*'|[()=,]|[A-Za-z_@][\w./]*(?::[\w./]+)?|\d{4}-[\d\-T:.]+Z?|-?[\d.]+)"
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "ge": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
    "le": lambda a, b: a <= b,
    "lt": lambda a, b: a < b,
}


class RefusedError(Exception):
    """What the service does not accept."""

    def __init__(self, code: int, answer: dict[str, Any]) -> None:
        super().__init__(str(answer))
        self.code, self.answer = code, answer


class Catalogue:
    """Products, and what is to go wrong with the next answers.

    Attributes:
        shapes: their outlines, by id() of the product.
        products: each with the key `_collection` beside the service's own.
        asked: paths with parameters, in order.
        faults: each takes a request's handler and answers in the catalogue's stead, once.
    """

    def __init__(self, products: Sequence[Product]) -> None:
        self.products, self.asked = list(products), list[str]()
        self.shapes = {id(p): p["GeoFootprint"] and shape(p["GeoFootprint"]) for p in self.products}
        self.faults = deque[Callable[[BaseHTTPRequestHandler], None]]()
        self.lied_count: int | None = None

    def answer(self, address: str, parameters: dict[str, str]) -> dict[str, Any]:
        top, skip = int(parameters.get("$top", 20)), int(parameters.get("$skip", 0))
        _at_most("$top", top, MOST_TOP)
        _at_most("$skip", skip, MOST_SKIP)
        test = (
            _Filter(parameters["$filter"], self.shapes).parse()
            if "$filter" in parameters
            else lambda _product: True
        )
        found = [product for product in self.products if test(product)]
        field, _, way = parameters.get("$orderby", "").partition(" ")
        if field:
            found.sort(key=lambda p: (_field(p, field), p["Id"]), reverse=way == "desc")
        expanded = "Attributes" in parameters.get("$expand", "")
        page = [
            {
                key: value
                for key, value in product.items()
                if key != "_collection" and (expanded or key != "Attributes")
            }
            for product in found[skip : skip + top]
        ]
        answer: dict[str, Any] = {"@odata.context": "$metadata#Products"}
        if parameters.get("$count", "").lower() == "true":
            answer["@odata.count"] = len(found) if self.lied_count is None else self.lied_count
        answer["value"] = page
        if skip + top < len(found) and skip + top <= MOST_SKIP:
            following = parameters | {"$skip": str(skip + top)}
            answer["@odata.nextLink"] = f"{address}?" + "&".join(
                f"{quote_plus(key)}={quote_plus(value)}" for key, value in following.items()
            )
        return answer


@contextmanager
def serve(catalogue: Catalogue) -> Iterator[str]:
    """Answer on a free port; yields the address of the interface."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            catalogue.asked.append(self.path)
            if catalogue.faults:
                catalogue.faults.popleft()(self)
                return
            parameters = {key: values[0] for key, values in parse_qs(parts.query).items()}
            try:
                if parts.path != "/odata/v1/Products":
                    raise RefusedError(404, {"detail": "Not Found"})
                reply(self, 200, catalogue.answer(f"{address}/Products", parameters))
            except RefusedError as refused:
                reply(self, refused.code, refused.answer)

        do_POST = do_GET  # noqa: N815 - for what goes wrong with other protocols

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as port:
        address = f"http://127.0.0.1:{port}/odata/v1"
        yield address


def reply(
    handler: BaseHTTPRequestHandler, code: int, answer: Any, headers: dict[str, str] | None = None
) -> None:
    """Answer JSON, or text as it is."""
    body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
    handler.send_response(code)
    kind = "text/html" if isinstance(answer, str) else "application/json"
    for name, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | (headers or {})).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def _at_most(name: str, value: int, most: int) -> None:
    if value > most:  # in the service's words
        message = f"Input should be less than or equal to {most}"
        detail = {"type": "less_than_equal", "loc": ["query", name], "msg": message, "input": str(value)}
        raise RefusedError(422, {"detail": [detail | {"ctx": {"le": most}}]})


def _field(product: Product, name: str) -> Any:
    if name == "Collection/Name":
        return product["_collection"]
    value: Any = product
    for part in name.split("/"):
        if part not in value:
            raise RefusedError(400, {"detail": f"Invalid field: {name}"})
        value = value[part]
    return _time(value) if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value) else value


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


class _Filter:
    """A recursive descent through $filter."""

    def __init__(self, text: str, shapes: dict[int, Any]) -> None:
        self._shapes = shapes
        self._tokens, place = deque[str](), 0
        text = text.strip()
        while place < len(text):
            match = _TOKENS.match(text, place)
            if match is None:
                raise RefusedError(400, {"detail": f"Invalid filter at: {text[place : place + 40]}"})
            self._tokens.append(match[1])
            place = match.end()

    def parse(self) -> Test:
        test = self._either()
        if self._tokens:
            raise RefusedError(400, {"detail": f"Invalid filter at: {self._tokens[0]}"})
        return test

    def _next(self, *expected: str) -> str:
        token = self._tokens.popleft() if self._tokens else ""
        if expected and token not in expected:
            raise RefusedError(400, {"detail": f"Invalid filter: {token} where {expected} should be"})
        return token

    def _take(self, token: str) -> bool:
        if self._tokens and self._tokens[0] == token:
            self._tokens.popleft()
            return True
        return False

    def _either(self) -> Test:
        tests = [self._both()]
        while self._take("or"):
            tests.append(self._both())
        return lambda product: any(test(product) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._take("and"):
            tests.append(self._one())
        return lambda product: all(test(product) for test in tests)

    def _one(self) -> Test:
        if self._take("not"):
            test = self._one()
            return lambda product: not test(product)
        if self._take("("):
            test = self._either()
            self._next(")")
            return test
        name = self._next()
        if name == "OData.CSC.Intersects":
            return self._intersects()
        if name in ("contains", "startswith", "endswith"):
            return self._text(name)
        if name.startswith("Attributes/"):
            return self._attribute()
        compare, value = _COMPARISONS[self._next(*_COMPARISONS)], self._value()
        return lambda product: compare(_field(product, name), value)

    def _intersects(self) -> Test:
        self._next("(")
        self._next("area")
        self._next("=")
        area = from_wkt(self._next().removeprefix("geography'SRID=4326;").rstrip("'"))
        self._next(")")
        if not area.is_valid:
            raise RefusedError(400, {"detail": "Invalid geometry"})
        shapely.prepare(area)

        def test(product: Product) -> bool:
            place = self._shapes[id(product)]
            return place is not None and bool(area.intersects(place))

        return test

    def _text(self, how: str) -> Test:
        self._next("(")
        name = self._next()
        self._next(",")
        text = self._value()
        self._next(")")
        tests = {"contains": str.__contains__, "startswith": str.startswith, "endswith": str.endswith}
        return lambda product: bool(tests[how](_field(product, name), text))

    def _attribute(self) -> Test:
        """…/any(att:att/Name eq 'x' and att/OData.CSC.StringAttribute/Value eq 'y'), or att/Value."""
        self._next("(")
        self._next()  # att:att/Name
        self._next("eq")
        name = self._value()
        self._next("and")
        self._next()  # att/…/Value
        compare, value = _COMPARISONS[self._next(*_COMPARISONS)], self._value()
        self._next(")")

        def test(product: Product) -> bool:
            given = {each["Name"]: each["Value"] for each in product["Attributes"]}
            return name in given and compare(given[name], value)

        return test

    def _value(self) -> Any:
        token = self._next()
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token in ("true", "false"):
            return token == "true"
        return _time(token) if re.match(r"\d{4}-", token) else float(token)
