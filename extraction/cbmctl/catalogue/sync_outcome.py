"""What a sync has found and done, also where it has not come to its end."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import or_

from cbmctl.catalogue.found_products import Findings
from cbmctl.catalogue.product_versions import Arranged
from cbmctl.catalogue.summary import Summary
from cbmctl.catalogue.table import Synced


@dataclass
class Step:
    """What one search of a sync has found and done."""

    findings: Findings = field(default_factory=Findings)
    synced: Synced = field(default_factory=Synced)


@dataclass
class Outcome:
    """What a sync has found and done, as far as it is; it fills up while the sync runs.

    Attributes:
        steps: its searches, in order.
        published: only what was published from then on was asked for; None: everything was.
        full_because: why everything was asked for where only what is new was wanted.
        reached: what was sensed before was known from a sync that was cut short.
        summary: of the catalogue afterwards.
    """

    steps: list[Step] = field(default_factory=list)
    published: datetime | None = None
    full_because: str | None = None
    reached: datetime | None = None
    summary: Summary = field(default_factory=Summary)

    @property
    def findings(self) -> Findings:
        """Everything that was found, each once."""
        found = [step.findings for step in self.steps]
        records = {record.reference: record for each in found for record in each.records}
        broken = dict.fromkeys(one for each in found for one in each.broken)
        elsewhere = reduce(or_, (each.elsewhere for each in found), Counter[str]())
        return Findings(list(records.values()), list(broken), elsewhere)

    @property
    def synced(self) -> Synced:
        """What changed in the catalogue; a scene that was new to the first search is so to the sync."""
        if len(self.steps) < 2:
            return self.steps[0].synced if self.steps else Synced()
        both = sum((step.synced for step in self.steps), Synced())
        added, completed = {*both.added}, {*both.completed} - {*both.added}
        known = {record.reference for step in self.steps for record in step.findings.records}
        versions = both.versions
        return Synced(
            sorted(added),
            sorted(completed),
            len(known - added - completed),
            sorted({*both.offline}),
            Arranged(_once(versions.superseded), _once(versions.offered), _once(versions.renewed)),
        )


def _once[Each](each: tuple[Each, ...]) -> tuple[Each, ...]:
    return tuple(dict.fromkeys(each))
