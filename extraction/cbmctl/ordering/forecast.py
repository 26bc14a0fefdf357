"""How long orders take and what they cost, by the quota of the account and a price."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from math import ceil, floor

from cbmctl.errors import UserError

# Of a free account ("General user"), as documented in the quotas of the Copernicus Data Space, note 12.
FREE_PER_MONTH = 25
FREE_IN_PARALLEL = 2


@dataclass(frozen=True)
class Quota:
    """What an account may order.

    Attributes:
        per_month: products a calendar month; None means any number.
        in_parallel: products that are made at a time.
        hours: in which one product is made; None if unknown, because the service promises no time.
    """

    per_month: int | None = FREE_PER_MONTH
    in_parallel: int = FREE_IN_PARALLEL
    hours: float | None = None

    def within(self, budget: float, price: float) -> "Quota":
        """Return the quota, limited to the products that a monthly budget pays for.

        Raises:
            UserError: the budget does not pay for one product.
        """
        paid = floor(budget / price) if price else self.per_month
        if paid == 0:
            raise UserError(
                "order.budget_too_small",
                f"a budget of {budget:g} a month does not pay for one product at {price:g}",
                "Raise the budget",
                about="--budget",
            )
        per_month = paid if self.per_month is None or paid is None else min(paid, self.per_month)
        return replace(self, per_month=per_month)


@dataclass(frozen=True)
class Forecast:
    """When orders are placed and done.

    Attributes:
        this_month: products that can still be ordered this month.
        months: calendar months in which something is ordered, this one included.
        last_month: first day of the last of them; None if nothing is to be ordered.
        done: day on which the last product is made; None if the time of one is not known.
        cost: of all products; None without a price.
    """

    this_month: int
    months: int
    last_month: date | None
    done: date | None
    cost: float | None


def forecast(products: int, quota: Quota, *, used: int, today: date, price: float | None = None) -> Forecast:
    """Predict orders that begin today and use up each month's quota.

    Args:
        products: to be ordered.
        quota: of the account.
        used: products ordered this month.
        today: the first day, UTC.
        price: of one product, in any currency.
    """
    cost = None if price is None else round(products * price, 2)
    first = today.replace(day=1)
    now = products if quota.per_month is None else min(products, max(0, quota.per_month - used))
    if not products:
        return Forecast(0, 0, None, None, cost)
    later = 0 if quota.per_month is None else ceil((products - now) / quota.per_month)
    last = _months_after(first, later)
    done = None
    if quota.hours is not None:
        at_a_time = timedelta(hours=quota.hours)
        # either the quota or the speed is the bottleneck
        in_last = products - now - (later - 1) * (quota.per_month or 0) if later else products
        by_speed = today + ceil(products / quota.in_parallel) * at_a_time
        by_quota = (last if later else today) + ceil(in_last / quota.in_parallel) * at_a_time
        done = max(by_speed, by_quota)
    return Forecast(now, later + (now > 0), last, done, cost)


def _months_after(first: date, months: int) -> date:
    number = first.year * 12 + first.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)
