"""The order service on this machine, with the faults that cost money; its Keycloak realm is beside it.

Built from the documentation (APIs/On-Demand Production API, APIs/Token), the recorded answers odp-*.json and
keycloak-token-response.json, and Keycloak's default policies. What no record shows (quota refusal, failed
item) has the form of the service's other errors: {"detail": …}.
"""

import json
import re
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.free_ports import listening
from tests.support.keycloak_realm import Realm
from tests.support.odata_server import Catalogue, reply

WORKFLOWS = [
    {"Id": "12", "Name": "card_bs", "InputProductType": "GRD", "OutputProductType": "CARD-BS"},
    {"Id": "47", "Name": "card_coh12_public", "InputProductType": "SLC", "OutputProductType": "CARD-COH12"},
    {"Id": "46", "Name": "coh", "InputProductType": "SLC", "OutputProductType": "CARD-COH6"},
]
ACTIVE = ("queued", "in_progress")
DEFAULT_PAGE, MOST_PAGE = 20, 100


Fault = Callable[["Odp", BaseHTTPRequestHandler, dict[str, Any]], None]


@dataclass
class Odp:
    """Orders of one account, and what goes wrong.

    Attributes:
        catalogue: products that the catalogue service lists.
        orders: as the service lists them; `_hidden`: number of first pages that do not show it yet.
        faults: each answers one new order in the service's stead.
        quota: products that may still be ordered; None means any number.
        sorts: whether lists can be ordered by SubmissionDate, as strings.
        reads: called before each page of the list of orders.
        keeps_names: whether orders are listed under the names they were given.
        asked: method and path of each request.
        watch: called before and after each request of the API, outside the lock.
    """

    realm: Realm = field(default_factory=Realm)
    catalogue: Catalogue = field(default_factory=lambda: Catalogue([]))
    orders: list[dict[str, Any]] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)
    workflows: list[dict[str, str]] = field(default_factory=lambda: list(WORKFLOWS))
    quota: int | None = None
    keeps_names: bool = True
    sorts: bool = True
    reads: Callable[["Odp"], None] = lambda _odp: None
    cancel_by_get_only: bool = False
    down: bool = False
    accepted: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    watch: Callable[[str], None] = lambda _when: None

    def accept(self, body: dict[str, Any], *, hidden: int = 0) -> dict[str, Any]:
        """Take an order, whatever it says."""
        self.accepted += 1
        order = {
            "Id": str(2322967 + self.accepted),
            "Status": "queued",
            "StatusMessage": "queued",
            "SubmissionDate": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
            "Name": body["Name"] if self.keeps_names else body["InputProductReference"]["Reference"],
            "EstimatedDate": None,
            "InputProductReference": {"ContentDate": None} | body["InputProductReference"],
            "WorkflowOptions": body.get("WorkflowOptions") or [],
            "WorkflowName": body["WorkflowName"],
            "WorkflowId": None,
            "Priority": body.get("Priority", 0),
            "_hidden": hidden,
        }
        self.orders.append(order)
        return order

    def problem(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Return the refusal of an order; None if it is accepted."""
        if body.get("WorkflowName") not in {each["Name"] for each in self.workflows}:
            return 422, {"detail": [{"msg": "Workflow does not exist", "loc": ["body", "WorkflowName"]}]}
        reference = body.get("InputProductReference", {}).get("Reference")
        if not isinstance(reference, str) or not reference.endswith(".SAFE"):
            return 422, {"detail": [{"msg": "Input product not found", "loc": ["body"]}]}
        if self.quota is not None and len(self.orders) >= self.quota:
            return 403, {"detail": "Monthly quota of processed products exceeded"}
        return None

    def made(self, given: str | None = None) -> Counter[str]:
        """How often each input is, or was, carried out."""
        return Counter(
            each["InputProductReference"]["Reference"]
            for each in self.orders
            if each["Status"] in (*ACTIVE, "completed")
            and given in (None, each["InputProductReference"]["Reference"])
        )

    def step(self, given: str, status: str, message: str = "") -> None:
        """Let the orders of an input that are not finished go on."""
        for each in self.orders:
            if each["InputProductReference"]["Reference"] == given and each["Status"] in ACTIVE:
                done = "requested output product is available"
                each["Status"] = status
                each["StatusMessage"] = message or (done if status == "completed" else status)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def lost_after(odp: Odp, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """Accepted, and the answer is lost."""
    odp.accept(body)
    hang_up(handler)


def lost_before(_odp: Odp, handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    """Lost before it was accepted: the client cannot tell."""
    hang_up(handler)


def late(odp: Odp, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """Accepted, the answer is lost, and the next four lists do not show it yet."""
    odp.accept(body, hidden=4)
    hang_up(handler)


def gateway_after(odp: Odp, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """Accepted, but the gateway gave up waiting."""
    odp.accept(body)
    reply(handler, 504, "<html>Gateway Timeout</html>")


def refused(_odp: Odp, handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    """The service refuses the product."""
    reply(handler, 422, {"detail": [{"msg": "Input product not found"}]})


def unavailable(_odp: Odp, handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    reply(handler, 503, "<html>Service Unavailable</html>")


def page_after(odp: Odp, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """Accepted, and answered with a web page."""
    odp.accept(body)
    reply(handler, 200, "<html>Welcome</html>")


def twice(odp: Odp, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """A gateway delivers the request twice."""
    odp.accept(body)
    reply(handler, 201, {"value": _shown(odp.accept(body))})


def expired(odp: Odp, handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
    """The token ends just then."""
    odp.realm.expire_access()
    reply(handler, 401, {"detail": "Token expired"})


@contextmanager
def serve(odp: Odp) -> Iterator[str]:
    """Answer on a free port; yields the address without a path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            odp.watch("before")
            with odp.lock, suppress(BrokenPipeError, ConnectionResetError):  # a client that was killed
                _answer(odp, self)
            odp.watch("after")

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as port:
        yield f"http://127.0.0.1:{port}"


def _answer(odp: Odp, handler: BaseHTTPRequestHandler) -> None:
    length = int(handler.headers.get("Content-Length") or 0)
    content = handler.rfile.read(length).decode()
    if len(content.encode()) < length:  # the client was killed while it sent
        return
    parts = urlsplit(handler.path)
    odp.asked.append((handler.command, parts.path))
    if odp.down:
        hang_up(handler)
    elif parts.path.startswith("/realm/"):
        form = {key: values[0] for key, values in parse_qs(content).items()}
        if parts.path == "/realm/token":
            reply(handler, *odp.realm.token(form))
        else:
            odp.realm.logout(form)
            handler.send_response(204)
            handler.end_headers()
    elif handler.headers.get("Authorization", "").removeprefix("Bearer ") not in odp.realm.access:
        reply(handler, 401, {"detail": "Invalid token"})
    else:
        _api(odp, handler, parts.path.removeprefix("/odata/v1/"), parse_qs(parts.query), content)


def _api(
    odp: Odp, handler: BaseHTTPRequestHandler, path: str, parameters: dict[str, list[str]], content: str
) -> None:
    single = re.fullmatch(r"ProductionOrders?\((\w+)\)(/OData\.CSC\.Cancel)?", path)
    if path == "ProductionOrder/OData.CSC.Order":
        _place(odp, handler, content)
    elif path == "Workflows":
        _page(odp, handler, "Workflows", odp.workflows, parameters)
    elif path == "ProductionOrders":
        odp.reads(odp)
        shown = [each for each in odp.orders if each["_hidden"] <= 0]
        if "0" in parameters.get("$skip", ["0"]):
            for each in odp.orders:
                each["_hidden"] -= 1
        _page(odp, handler, "ProductionOrder/$entity", [_shown(each) for each in shown], parameters)
    elif single:
        order = next((e for e in odp.orders if e["Id"] == single[1] and e["_hidden"] <= 0), None)
        if order is None:
            reply(handler, 404, {"detail": "Order not found"})
        elif single[2]:
            _cancel(odp, handler, order)
        else:
            reply(handler, 200, {"@odata.context": "$metadata#ProductionOrder/$entity", **_shown(order)})
    else:
        reply(handler, 404, {"detail": "Not Found"})


def _place(odp: Odp, handler: BaseHTTPRequestHandler, content: str) -> None:
    body = json.loads(content)
    if odp.faults:
        odp.faults.popleft()(odp, handler, body)
    elif refusal := odp.problem(body):
        reply(handler, *refusal)
    else:
        order = _shown(odp.accept(body))
        reply(handler, 201, {"@odata.context": "$metadata#OData.CSC.Order", "value": order})


def _cancel(odp: Odp, handler: BaseHTTPRequestHandler, order: dict[str, Any]) -> None:
    if odp.cancel_by_get_only and handler.command != "GET":
        reply(handler, 405, {"detail": "Method Not Allowed"})
        return
    if order["Status"] not in ACTIVE:
        reply(handler, 409, {"detail": f"Order is {order['Status']}"})
        return
    if order["Status"] == "queued":  # removed at once; what is being processed is finished
        order["Status"] = order["StatusMessage"] = "cancelled"
    reply(handler, 200, {"value": _shown(order)})


def _shown(order: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in order.items() if not key.startswith("_")}


def _page(
    odp: Odp,
    handler: BaseHTTPRequestHandler,
    context: str,
    entities: list[Any],
    parameters: dict[str, list[str]],
) -> None:
    if order := parameters.get("$orderby"):
        if not odp.sorts or order != ["SubmissionDate asc"]:
            reply(handler, 422, {"detail": [{"loc": ["query", "$orderby"], "msg": "Invalid field"}]})
            return
        entities = sorted(entities, key=lambda each: (each["SubmissionDate"], each["Id"]))
    else:  # in no order: the newest first
        entities = entities[::-1]
    top, skip = (int(parameters.get(name, [str(d)])[0]) for name, d in (("$top", DEFAULT_PAGE), ("$skip", 0)))
    if top > MOST_PAGE:
        message = f"Input should be less than or equal to {MOST_PAGE}"
        reply(handler, 422, {"detail": [{"loc": ["query", "$top"], "msg": message}]})
        return
    reply(handler, 200, {"@odata.context": f"$metadata#{context}", "value": entities[skip : skip + top]})
