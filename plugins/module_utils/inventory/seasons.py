"""The seasons of a tenant: what a season is called, where it lies, and which of them contradict each other.

The first season is what the tenant's own lines say (tenant_year, tenant_parcels_file, …) and lies in the
schema `public`. `tenant_seasons` lists later ones, each in a schema of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from .formats import is_day
from .problem import Problem, shown

VARIABLE = "tenant_seasons"
PUBLIC, PREFIX = "public", "season_"
# keys of a season that become options of `cbmctl parcels load`, in its words
OPTIONS = {
    "parcels_layer": "layer",
    "parcels_crs": "crs",
    "parcels_axes": "axes",
    "parcels_encoding": "encoding",
    "parcels_id": "key",
    "parcels_where": "where",
}
LEAST_YEARS = 1 / 12  # so that a short trial does not ask for nothing


def table(year: Any) -> str:
    """Name of the table of parcels."""
    return f"parcels_{year}"


def start(year: Any) -> str:
    """First day, as in the manual: in the autumn before, when winter crops are sown."""
    return f"{_whole(year) - 1}-10-01"


def end(year: Any) -> str:
    """Day before which the season ends."""
    return f"{_whole(year) + 1}-01-01"


def season(said: Mapping[str, Any], *, first: bool = False) -> dict[str, Any]:
    """A season with everything that roles need, of what the inventory says about it.

    Returns:
        name (empty for the first one), label (for people), schema, and: year, start, end, parcels_file,
        parcels_options, parcels_table, aoi, aoi_file, expected_parcels.
    """
    year = said.get("year", "")
    name = str(said.get("name") or year)
    parcels = said.get("parcels_table") or table(year)
    return {
        "name": "" if first else name,
        "label": name,
        "schema": PUBLIC if first else f"{PREFIX}{name}",
        "year": year,
        # text, because YAML makes a date of what looks like one
        "start": str(said.get("start") or start(year)),
        "end": str(said.get("end") or end(year)),
        "parcels_file": said.get("parcels_file") or "",
        "parcels_options": [
            *(
                f"--{option}={said[key]}"
                for key, option in OPTIONS.items()
                if said.get(key) and (key, said[key]) != ("parcels_axes", "checked")
            ),
            *(f"--attribute={each}" for each in said.get("parcels_attributes") or []),
        ],
        "parcels_table": parcels,
        "aoi": said.get("aoi") or parcels,
        "aoi_file": said.get("aoi_file") or "",
        "expected_parcels": max(_whole(said.get("expected_parcels")), 0),
    }


def seasons(first: Mapping[str, Any], later: Any) -> list[dict[str, Any]]:
    """All seasons of a tenant, the first one first; entries that are not mappings are left out."""
    entries = later if isinstance(later, Sequence) and not isinstance(later, str) else []
    return [
        season(first, first=True),
        *(season(each) for each in entries if isinstance(each, Mapping)),
    ]


def database(season: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Sections `tables` and `args` of `database` in the db_config.json of a season.

    Args:
        season: with schema, parcels_table, aoi, start and end.
    """
    own = {
        "parcel_table": season["parcels_table"],
        "catalog_table": "dias_catalogue",
        "sigs_table": "sigs",
        "hists_table": "hists",
    }
    return {
        "tables": {"aoi_table": f"{PUBLIC}.aois"}
        | {key: f"{season['schema']}.{name}" for key, name in own.items()},
        "args": {
            "aoi_field": "name",
            "name": season["aoi"],
            "startdate": str(season["start"]),
            "enddate": str(season["end"]),
        },
    }


def configuration(found: Mapping[str, Any]) -> str:
    """Name of the season's db_config.json, as `cbmctl --season` looks for it."""
    return f"db_config.{found['name']}.json" if found["name"] else "db_config.json"


def disk_gb(found: Sequence[Mapping[str, Any]], gb_per_million_parcels: float) -> float:
    """Disk space that the seasons take together; a year where the period is not known."""
    million_years = [each["expected_parcels"] / 1e6 * _years(each["start"], each["end"]) for each in found]
    needed: float = float(gb_per_million_parcels) * sum(million_years)
    return needed


def judge(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of seasons beside each other; what each says is judged like every value."""
    later = values.get(VARIABLE)
    if not isinstance(later, Sequence) or isinstance(later, str):
        return
    entries = [season(each) for each in later if isinstance(each, Mapping)]
    first = str(values.get("tenant_year", ""))
    labels = [first, *(each["label"] for each in entries)]
    for name in dict.fromkeys(each["label"] for each in entries if labels.count(each["label"]) > 1):
        what = f"{VARIABLE}: several seasons have the name {shown(name)}."
        hint = f"{first} is already the season of tenant_year. Correct year, or set another name."
        hint = hint if first == name else "Set a different name for each."
        yield Problem("inventory.season_name", VARIABLE, what, hint)
    for each in entries:
        if is_day(each["start"]) and is_day(each["end"]) and each["start"] >= each["end"]:
            period = f"starts on {each['start']}, which is not before its end ({each['end']})"
            what = f"{VARIABLE}: season {each['label']} {period}."
            yield Problem("inventory.season_period", VARIABLE, what, "Correct one of them, or set only year.")
    yield from _areas(values, entries)


def _areas(values: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """An area of interest belongs to all seasons, so two outlines under one name would take turns."""
    own = season({"year": values.get("tenant_year", ""), "parcels_table": values.get("tenant_parcels_table")})
    outlines = {values.get("tenant_aoi") or own["aoi"]: _outline(values, "tenant_")}
    for each in entries:
        outline = each["aoi_file"] or f"parcels of {each['label']}"
        known = outlines.setdefault(each["aoi"], outline)
        if known != outline:
            pair = f"season {each['label']} and an earlier season"
            what = f"{VARIABLE}: {pair} have different outlines for the area {shown(each['aoi'])}."
            hint = "Set another aoi, or the same aoi_file: all seasons share the areas of interest."
            yield Problem("inventory.season_area", VARIABLE, what, hint)


def _outline(values: Mapping[str, Any], prefix: str) -> str:
    return str(values.get(f"{prefix}aoi_file") or "") or f"parcels of {values.get(f'{prefix}year', '')}"


def _years(first: str, last: str) -> float:
    if not (is_day(first) and is_day(last)):
        return 1
    days = (date.fromisoformat(last) - date.fromisoformat(first)).days
    return max(days / 365, LEAST_YEARS)


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
