"""Plan what to order over an area: Level-1 products whose CARD product neither exists nor is on order."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from cbmctl.catalogue.orbits import satellites
from cbmctl.catalogue.record import CARDS
from cbmctl.ordering.coherence_pairs import DAYS, pairs
from cbmctl.ordering.level_1_products import Input, Inputs, Key
from cbmctl.ordering.wanted_product import Wanted

# No CARD product of these satellites was seen so far, so one product is ordered before the others.
UNPROVEN = ("1C", "1D")


@dataclass(frozen=True)
class Plan:
    """What is to be ordered, and why other Level-1 products are not.

    Attributes:
        level_1: how many meet area and period.
        existing: how many exist as CARD.
        on_order: how many are on order, or made and not yet in a catalogue.
        no_pair: for coherence, SLC without an earlier SLC.
        held: how many wait for the first product of their satellites, by orbits.satellites.
        other_timeliness: GRD of another timeliness than the manual's.
        offline: how many inputs of `wanted` the archive does not have at once.
        stopped: how many of `wanted` failed, or were refused or cancelled before; only the operator's word
            orders them again.
        wanted: to be ordered: the first product of each satellite that is not proven, then by time.
        satellites: how many are wanted, by orbits.satellites.
    """

    level_1: int
    existing: int
    on_order: int
    no_pair: Sequence[Input]
    held: Counter[str]
    other_timeliness: Sequence[Input]
    offline: int
    stopped: int
    wanted: Sequence[Wanted]
    satellites: Counter[str]

    @property
    def number(self) -> int:
        """How many products are to be ordered."""
        return len(self.wanted) - self.stopped


def search_start(card: str, start: date) -> date:
    """Return the first day to search, which for coherence is that of the earlier acquisition."""
    return start - timedelta(days=DAYS[card] + 1) if card in DAYS else start


def make_plan(
    card: str,
    inputs: Inputs,
    period: tuple[date, date],
    *,
    existing: Collection[Key],
    on_order: Collection[Key],
    stopped: Collection[Key],
    proven: Collection[str] | None,
    label: str,
) -> Plan:
    """Decide what is to be ordered.

    Args:
        card: bs, c6 or c12.
        inputs: Level-1 products from search_start() on.
        period: first day of sensing, and the day after the last.
        existing: slices whose CARD product exists.
        on_order: slices that are on order or made, of any version.
        stopped: slices whose last order failed, or was refused or cancelled.
        proven: satellites, as orbits.satellites, of such products that exist; None holds nothing back.
        label: area and period, for the list of orders.
    """
    start, end = period
    every = [one for one in inputs.taken if start <= one.sensed.date() < end]
    missing = [one for one in every if one.key not in existing]
    earlier = pairs(missing, inputs.taken, DAYS[card]) if card in DAYS else {}
    words = {
        one.name: satellites(one.sensor, earlier[one.name].sensor if one.name in earlier else None)
        for one in missing
    }
    open_ = [one for one in missing if one.key not in on_order]
    possible = [one for one in open_ if card not in DAYS or one.name in earlier]
    tried = {words[one.name] for one in missing if one.key in on_order}
    chosen, held = _chosen(possible, words, tried, proven)
    return Plan(
        level_1=len(every),
        existing=len(every) - len(missing),
        on_order=len(missing) - len(open_),
        no_pair=[one for one in open_ if card in DAYS and one.name not in earlier],
        held=Counter(words[one.name] for one in held),
        other_timeliness=[one for one in inputs.other_timeliness if start <= one.sensed.date() < end],
        offline=sum(not one.online for one in chosen),
        stopped=sum(one.key in stopped for one in chosen),
        wanted=[
            Wanted(
                CARDS[card].ptype, one.name, earlier[one.name].name if one.name in earlier else None, label
            )
            for one in chosen
        ],
        satellites=Counter(words[one.name] for one in chosen),
    )


def _chosen(
    possible: Sequence[Input],
    words: Mapping[str, str],
    tried: Collection[str],
    proven: Collection[str] | None,
) -> tuple[list[Input], list[Input]]:
    """Return what is to be ordered, and what waits for the first product of its satellites."""
    first: dict[str, Input] = {}
    rest, held = [], []
    for one in possible:
        word = words[one.name]
        if proven is None or word in proven or not any(each in word for each in UNPROVEN):
            rest.append(one)
        elif word in tried or word in first:
            held.append(one)
        else:
            first[word] = one
    return [*first.values(), *rest], held
