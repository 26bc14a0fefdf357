"""The options of the extraction: each is one line of the inventory, and one or more keys of db_config.json.

This is the only list of them. From it come `extraction` of db_config.json, as Ansible writes it and as cbmctl
reads it, and the lines' specification in roles/tenant/meta (scripts/role_pages.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cbmctl.config.bandsets import BANDSETS
from cbmctl.config.section import Section

REFLECTANCE = ("harmonised", "as-stored")
EDGES = ("drop", "keep")
OVERLAPS = ("first", "all")


@dataclass(frozen=True)
class Option:
    """An option of the extraction.

    Attributes:
        name: of the inventory's line, without `tenant_`.
        places: its keys in `extraction` of db_config.json, with dots.
        kind: of a value, or of the elements of a list.
        default: also of a configuration without the key.
        description: for people, in the markup of Ansible's documentation.
        choices: the allowed texts.
        limits: the smallest and the largest number.
        hint: what to write, for a list of numbers.
    """

    name: str
    places: tuple[str, ...]
    kind: type
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    limits: tuple[int, int] | None = None
    hint: str = ""

    @property
    def listed(self) -> bool:
        """Whether the value is a list."""
        return isinstance(self.default, tuple)

    def value(self, given: Any) -> Any:
        """Return a value of the inventory as db_config.json has it."""
        return [self.kind(each) for each in given] if self.listed else self.kind(given)

    def read(self, section: Section) -> dict[str, Any]:
        """Return the values in a configuration by place.

        Args:
            section: `extraction` of the configuration.

        Raises:
            UserError: a value is invalid.
        """
        return {place: self._read(*_parent(section, place)) for place in self.places}

    def _read(self, section: Section, key: str) -> Any:
        if self.listed:
            return self._read_list(section, key)
        if self.kind is bool:
            return section.flag(key, default=self.default)
        if self.choices:
            return section.choice(key, self.choices, self.default)
        _, most = self.limits or (0, 0)
        return section.number(key, self.default, most)

    def _read_list(self, section: Section, key: str) -> tuple[Any, ...]:
        found = section.get(key, list(self.default))
        valid = isinstance(found, list) and all(self._valid(each) for each in found)
        if not valid:
            raise section.error(key, f"is {found!r}", f"Use a list of {self.hint or ', '.join(self.choices)}")
        return tuple(found)

    def _valid(self, element: Any) -> bool:
        if self.choices:
            return element in self.choices
        low, high = self.limits or (0, 0)
        return type(element) is int and low <= element <= high


def _bands(name: str, place: str, description: str) -> Option:
    bandset = BANDSETS[place.partition(".")[0] if place.endswith(".bands") else place.rpartition(".")[2]]
    return Option(name, (place,), str, bandset.default, description, choices=bandset.bands)


OPTIONS = (
    Option(
        "scl",
        ("s2.scl",),
        bool,
        True,
        "Whether the Sentinel-2 scene classification is counted per parcel (table C(hists)).",
    ),
    _bands("bands_10", "s2.10", "Sentinel-2 bands read at 10 m."),
    _bands("bands_20", "s2.20", "Sentinel-2 bands read at 20 m."),
    _bands("bands_bs", "bs.bands", "Polarisations of backscatter. An empty list leaves the card out."),
    _bands("bands_c6", "c6.bands", "Polarisations of 6-day coherence. An empty list leaves the card out."),
    _bands("bands_c12", "c12.bands", "Polarisations of 12-day coherence. An empty list leaves the card out."),
    Option(
        "reflectance",
        ("s2.reflectance",),
        str,
        "harmonised",
        "C(harmonised) adds each product's own offset, so that all processing baselines compare."
        " C(as-stored) takes the raw values.",
        choices=REFLECTANCE,
    ),
    Option(
        "cloud_classes",
        ("s2.cloud_classes",),
        int,
        (9,),
        "Parcels that hold no other class of SCL get a histogram, but no statistics. An empty list keeps"
        " all.",
        limits=(0, 11),
        hint="SCL classes from 0 to 11, or []",
    ),
    Option(
        "edge_s2",
        ("s2.edge",),
        str,
        "drop",
        "Parcels that reach beyond a Sentinel-2 image are left out there, or kept with the pixels inside.",
        choices=EDGES,
    ),
    Option(
        "edge_s1",
        ("bs.edge", "c6.edge", "c12.edge"),
        str,
        "keep",
        "The same for Sentinel-1, whose slices do not overlap.",
        choices=EDGES,
    ),
    Option(
        "overlap",
        ("s2.overlap",),
        str,
        "first",
        "Of a parcel that several Sentinel-2 tiles of one instant show, C(first) keeps the rows of one tile,"
        " C(all) those of each.",
        choices=OVERLAPS,
    ),
    Option(
        "parcels_buffer_m",
        ("parcels_buffer_m",),
        float,
        0.0,
        "Metres by which parcels are shrunk before statistics are computed, so that border pixels do not"
        " count. A change has all scenes extracted again.",
        limits=(0, 50),
    ),
    Option(
        "checksums",
        ("checksums",),
        bool,
        True,
        "Each file that is read is compared with the checksum in its product's C(manifest.safe). A damaged"
        " file fails its scene instead of becoming wrong statistics.",
    ),
    Option(
        "retry_seconds",
        ("retry_seconds",),
        int,
        (10, 60),
        "Pauses in seconds after the first, second … failure of a task. After the last one the task fails.",
        limits=(0, 86400),
        hint="seconds from 0 to 86400",
    ),
)


def section_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `extraction` of db_config.json.

    Args:
        values: of the inventory's lines by their names without `tenant_`; of all options.
    """
    made: dict[str, Any] = {}
    for option in OPTIONS:
        for place in option.places:
            *parents, key = place.split(".")
            inner = made
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[key] = option.value(values[option.name])
    return made


def read_values(section: Section) -> dict[str, Any]:
    """Return the values of all options in a configuration by place, as in `s2.edge`.

    Raises:
        UserError: a key is unknown or a value is invalid.
    """
    places = [place for option in OPTIONS for place in option.places]
    for parent, keys in _keys(places):
        inner = section.section(parent, {}) if parent else section
        inner.only(*keys)
    found: dict[str, Any] = {}
    for option in OPTIONS:
        found |= option.read(section)
    return found


def _keys(places: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each object and its keys, the outermost first."""
    parents = dict.fromkeys(place.rpartition(".")[0] for place in places)
    outer = [place.partition(".")[0] for place in places]
    yield "", list(dict.fromkeys(outer))
    for parent in parents:
        if parent:
            yield parent, [place.rpartition(".")[2] for place in places if place.rpartition(".")[0] == parent]


def _parent(section: Section, place: str) -> tuple[Section, str]:
    parent, _, key = place.rpartition(".")
    return (section.section(parent, {}) if parent else section), key
