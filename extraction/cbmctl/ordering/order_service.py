"""The On-Demand Production API of the Copernicus Data Space: workflows, production orders, their ends.

Built from its documentation (APIs/On-Demand Production API) and recorded answers. One order makes one product
of one input: of these orders the documentation describes state, reason of failure and cancellation, of batch
orders only their creation and a summary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

import requests

from cbmctl.catalogue.http import ServiceError, UnansweredError, excerpt, json_object
from cbmctl.catalogue.record import utc
from cbmctl.config.ordering import Ordering
from cbmctl.errors import UserError
from cbmctl.ordering.access_token import Tokens, sessions
from cbmctl.ordering.paging import read_list

PAGE_SIZE = 50
_OF_ACCOUNT = (HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
_UNSUPPORTED = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_IMPLEMENTED)
ACTIVE = ("queued", "in_progress")
STATES = (*ACTIVE, "completed", "failed", "cancelled")
_OTHER_WORDS = {"canceled": "cancelled", "done": "completed", "error": "failed"}
_WORDS = 400  # of an answer, in a message


@dataclass(frozen=True)
class ServiceOrder:
    """An order as the service lists it.

    Attributes:
        id: of the service.
        name: given by whoever placed it; not unique.
        workflow: name; None if the service does not state it.
        input: name of the input product; None if the service does not state it.
        state: one of STATES. An unknown word counts as in progress, because such an order may cost money.
        message: the service's text about the state, such as the reason of a failure.
        submitted: UTC without a zone; None if the service does not state it.
        temporary: whether its product is kept for its owner only, and only for some days.
    """

    id: str
    name: str
    workflow: str | None
    input: str | None
    state: str
    message: str | None
    submitted: datetime | None
    temporary: bool = False


class RefusedError(Exception):
    """The service refuses an order: it is not accepted.

    Attributes:
        status: of the HTTP answer.
        body: of it, verbatim.
        of_account: whether the account is refused, so that any product would be refused now. Else a
            repetition of this order would be refused, too.
        too_fast: whether the account is refused for a moment only (HTTP 429), not for its quota or rights.
    """

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}: {body}")
        self.status, self.body = status, body
        # the form of a refusal for quota is not documented: the body counts, too
        quota = "quota" in body.lower()
        self.of_account = status in _OF_ACCOUNT or quota
        self.too_fast = status == HTTPStatus.TOO_MANY_REQUESTS and not quota


class LostError(Exception):
    """An order was sent and no readable answer came: it may be accepted."""


class NotSentError(Exception):
    """No connection was made: the order cannot be accepted."""


class NoTokenError(UserError):
    """The account gets no token: a request was not sent, or the service did not carry it out."""


class OrderService:
    """The service, as one account sees it."""

    def __init__(self, ordering: Ordering, tokens: Tokens, note: Callable[[str], None]) -> None:
        """Connect with the first request, not before."""
        self.url, self.account = ordering.url, tokens.account
        self._tokens = tokens
        # an order is sent once: if its answer is lost, sending it again might order it twice
        self._patient, self._once = sessions(note)
        self._sorts = True  # until the service refuses to
        self._workflows: list[dict[str, Any]] | None = None

    def workflow(self, product_type: str) -> str:
        """Return the name of the workflow that makes a product type.

        Raises:
            UserError: this account has no such workflow, or several.
        """
        if self._workflows is None:
            self._workflows = self._listed("Workflows")
        if not self._workflows:
            raise UserError(
                "order.no_workflow",
                f"{self.url}/Workflows lists no workflow for '{self.account}'",
                "The type of the account decides what it may order: check it on the account's page",
                about=self.url,
            )
        types = {str(each.get("OutputProductType")) for each in self._workflows}
        names = [str(e["Name"]) for e in self._workflows if e.get("OutputProductType") == product_type]
        if not names:
            raise UserError(
                "order.no_workflow",
                (
                    f"{self.url}/Workflows lists no workflow that makes {product_type} for '{self.account}',"
                    f" only {', '.join(sorted(types))}"
                ),
                "Check the type of the account",
                about=self.url,
            )
        if len(set(names)) > 1:
            raise UserError(
                "order.several_workflows",
                (
                    f"{self.url}/Workflows lists several workflows that make {product_type}:"
                    f" {', '.join(sorted(set(names)))}"
                ),
                "Report this, so that one of them is chosen",
                about=self.url,
            )
        return names[0]

    def place(self, workflow: str, reference: str, name: str) -> ServiceOrder:
        """Order one product.

        Args:
            workflow: its name.
            reference: name of the input product.
            name: by which the order is found again.

        Raises:
            RefusedError: the service does not accept it (quota, validation).
            NotSentError: it cannot have reached the service.
            LostError: whether the service has accepted it is not known.
            NoTokenError: the account is refused; nothing was accepted.
        """
        body = {
            "WorkflowName": workflow,
            "InputProductReference": {"Reference": reference},
            "Priority": 1,
            "Name": name,
        }
        try:
            response = self._authorized(
                self._once, "POST", f"{self.url}/ProductionOrder/OData.CSC.Order", json=body
            )
        except UnansweredError as error:
            answer = error.response
            if answer is not None and answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                raise RefusedError(answer.status_code, answer.text) from error
            if not error.sent:
                raise NotSentError(error.message) from error
            # an order is not sent again by running the command again, so that advice would mislead
            raise LostError(error.message) from error
        except ServiceError as error:
            raise LostError(error.message) from error
        except requests.RequestException as error:
            raise LostError(str(error)) from error
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise LostError(f"HTTP {response.status_code}: {excerpt(response.text, _WORDS)}")
            raise RefusedError(response.status_code, response.text)
        try:
            return _order(_value(response.json()))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise LostError(f"the answer has no order: {excerpt(response.text, _WORDS)}") from error

    def orders(self) -> list[ServiceOrder]:
        """Return all production orders of the account, of whatever origin.

        Raises:
            UserError: the service does not answer, or not as documented.
        """
        found = {}
        for listed in self._listed("ProductionOrders", "SubmissionDate asc"):
            try:
                order = _order(listed)
            except (LookupError, ValueError, TypeError, AttributeError) as error:
                raise ServiceError(
                    "service.invalid_order",
                    f"{self.url}/ProductionOrders lists an order without Id or Status ({error!r})",
                    "Nothing is ordered; report this",
                    about="ordering.url",
                ) from error
            found[order.id] = order
        return list(found.values())

    def order(self, identifier: str) -> ServiceOrder | None:
        """Return one order; None if the service does not know it, or no longer."""
        url = f"{self.url}/ProductionOrders({identifier})"
        response = self._authorized(self._patient, "GET", url)
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        answer = self._answer(url, response)
        try:
            return _order(_value(answer))
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise ServiceError(
                "service.invalid_order",
                f"{url} answers without an order ({error!r})",
                "Report this",
                about="ordering.url",
            ) from error

    def cancel(self, identifier: str) -> str | None:
        """Cancel an order; return the service's refusal, or None if it accepts the request.

        The service removes a queued order. It finishes an order in progress, which counts against the quota.
        """
        url = f"{self.url}/ProductionOrder({identifier})/OData.CSC.Cancel"
        response = self._authorized(self._patient, "POST", url)
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # the documentation's example uses GET
            response = self._authorized(self._patient, "GET", url)
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            return f"HTTP {response.status_code}: {excerpt(response.text, _WORDS)}"
        return None

    def _listed(self, name: str, order: str | None = None) -> list[dict[str, Any]]:
        """Return all entities, in an order if the service knows it."""
        url = f"{self.url}/{name}"
        return read_list(url, lambda skip: self._page(url, order, skip))

    def _page(self, url: str, order: str | None, skip: int) -> list[dict[str, Any]]:
        """Return one page; without the order if the service refuses it, because no order is documented."""
        paging = {"$top": PAGE_SIZE, "$skip": skip} | ({"$orderby": order} if order and self._sorts else {})
        response = self._authorized(self._patient, "GET", url, params=paging)
        if response.status_code in _UNSUPPORTED and "$orderby" in paging:
            self._sorts = False
            return self._page(url, None, skip)
        page = self._answer(url, response).get("value")
        if not isinstance(page, list) or not all(isinstance(each, dict) for each in page):
            raise ServiceError(
                "service.not_json",
                f"{url} answers without a list",
                "Check ordering.url",
                about="ordering.url",
            )
        return page

    def _answer(self, url: str, response: requests.Response) -> dict[str, Any]:
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            raise ServiceError(
                "service.refused",
                f"{url} refuses the request (HTTP {response.status_code}: {excerpt(response.text, _WORDS)})",
                "Check ordering.url and the rights of the account",
                about="ordering.url",
            )
        return json_object(url, response)

    def _authorized(
        self, session: requests.Session, method: str, url: str, **options: Any
    ) -> requests.Response:
        """Send a request. A token that is refused is renewed once: the request was not carried out then."""
        for attempt in (1, 2):
            headers = {"Authorization": f"Bearer {self._token(renew=attempt == 2)}"}
            response = session.request(method, url, headers=headers, **options)
            if response.status_code != HTTPStatus.UNAUTHORIZED:
                return response
        raise NoTokenError(
            "order.token_refused",
            f"{url} refuses a new token of '{self.account}' (HTTP 401: {excerpt(response.text, _WORDS)})",
            "Check that ordering.url and ordering.token_url belong together",
            about="ordering.url",
        )

    def _token(self, *, renew: bool) -> str:
        try:
            if renew:
                self._tokens.renew()
            return self._tokens.access()
        except UserError as error:
            raise NoTokenError(error.code, error.message, error.hint, about=error.about) from error


def _value(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the entity of an answer, which stands in `value` or is the answer itself."""
    value = answer.get("value", answer)
    if not isinstance(value, dict):
        raise TypeError("value is not an object")
    return value


def _order(entity: dict[str, Any]) -> ServiceOrder:
    identifier = entity["Id"]
    if not isinstance(identifier, str | int) or not str(identifier).strip():
        raise ValueError("Id is empty")
    word = str(entity["Status"]).strip().lower().replace(" ", "_")
    word = _OTHER_WORDS.get(word, word)
    message = entity.get("StatusMessage")
    reference = entity.get("InputProductReference")
    options = entity.get("WorkflowOptions") or []
    return ServiceOrder(
        id=str(identifier),
        name=str(entity.get("Name") or ""),
        workflow=entity.get("WorkflowName") or None,
        input=reference.get("Reference") if isinstance(reference, dict) else None,
        state=word if word in STATES else "in_progress",
        message=str(message) if message else (None if word in STATES else word),
        submitted=_time(entity.get("SubmissionDate")),
        temporary=any(
            option.get("Name") == "output_storage" and option.get("Value") == "TEMPORARY"
            for option in options
            if isinstance(option, dict)
        ),
    )


def _time(value: Any) -> datetime | None:
    try:
        return utc(value)
    except (ValueError, TypeError):
        return None
