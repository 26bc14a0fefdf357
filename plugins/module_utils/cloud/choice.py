"""What the inventory names and the cloud has: image, flavor, networks, volume type."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .findings import Findings, listed
from .model import Flavor, Image, Network, Survey, Wish


@dataclass(frozen=True)
class Choice:
    """What was chosen; None where it is not to be had, or not wanted."""

    image: Image | None = None
    flavor: Flavor | None = None
    network: Network | None = None
    eodata_network: Network | None = None
    external_network: Network | None = None


def choose(findings: Findings, wish: Wish, survey: Survey, *, new: bool) -> Choice:
    """Look everything up. `new`: a server is to be made, so image and flavor matter."""
    return Choice(
        image=image(findings, wish, survey, new=new),
        flavor=flavor(findings, wish, survey, new=new),
        network=network(findings, "network", "tenant_cloud_network", wish.network, survey.networks),
        eodata_network=network(
            findings, "eodata network", "tenant_cloud_eodata_network", wish.eodata_network, survey.networks
        ),
        external_network=network(
            findings,
            "external network",
            "tenant_cloud_external_network",
            wish.external_network,
            survey.networks,
            external=True,
        ),
    )


def alike(name: str, names: Iterable[str], most: int = 4) -> list[str]:
    """Names that may have been meant, the likeliest first."""
    folded: dict[str, list[str]] = {}
    for each in sorted(set(names)):
        folded.setdefault(each.lower(), []).append(each)
    close = difflib.get_close_matches(name.lower(), folded, n=most, cutoff=0.6)
    return [each for match in close for each in folded[match]]


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Names that may have been meant; where none looks like it, all of them."""
    every = sorted(set(names))
    return alike(name, every) or every


def choices(line: str, names: Sequence[str], *, most: int = 6) -> str:
    """`write one of a, b, c in tenant_cloud_x`."""
    return (
        f"write one of {listed(names, most=most)} in {line}" if names else "ask the cloud's support for one"
    )


def image(findings: Findings, wish: Wish, survey: Survey, *, new: bool) -> Image | None:
    """The newest active image of that name: under one name clouds renew their images."""
    known = [each for each in survey.images if wish.image in (each.name, each.id)]
    active = sorted(
        (each for each in known if each.status == "active"), key=lambda each: (each.created, each.id)
    )
    if active:
        several = f", the newest of {len(active)}" if len(active) > 1 else ""
        since = f" of {active[-1].created[:10]}" if active[-1].created else ""
        findings.ok("image", wish.image, f"{active[-1].id}{since}{several}")
        return active[-1]
    if not new:
        findings.ok("image", wish.image, "no longer exists, and is not needed: the server exists")
        return None
    others = nearest(wish.image, (each.name for each in survey.images if each.status == "active"))
    if known:
        found = f"The image {wish.image} exists, but its status is {known[0].status}"
    elif wish.image:
        found = f"The image {wish.image} does not exist"
    else:
        found = "tenant_cloud_image is empty"
    findings.missing("image", wish.image, found, choices("tenant_cloud_image", others))
    return None


def flavor(findings: Findings, wish: Wish, survey: Survey, *, new: bool) -> Flavor | None:
    """The flavor of that name, if it is large enough."""
    wanted = f"{wish.flavor} (≥ {wish.min_vcpus} vCPUs, ≥ {wish.min_memory_gb:g} GB)"
    known = next((each for each in survey.flavors if wish.flavor in (each.name, each.id)), None)
    if known is None and not new:
        findings.ok("flavor", wanted, "no longer exists, and is not needed: the server exists")
        return None
    fit = sorted(
        (each for each in survey.flavors if fits(each, wish)),
        key=lambda each: (each.vcpus, each.memory_mb, each.name),
    )
    remedy = (
        f"write one that is large enough in tenant_cloud_flavor: {listed(each.words for each in fit)}"
        if fit
        else "ask the cloud's support for one that is large enough: the project has none"
    )
    if known is None:
        close = alike(wish.flavor, (each.name for each in survey.flavors), most=2)
        hint = f", but {listed(close)}" if close else ""
        findings.missing("flavor", wanted, f"The flavor {wish.flavor} does not exist{hint}", remedy)
        return None
    if not fits(known, wish) and new:
        findings.wrong("flavor", wanted, f"The flavor {known.words} is too small", remedy)
        return None
    findings.ok("flavor", wanted, known.words)
    return known


def fits(each: Flavor, wish: Wish) -> bool:
    """Whether a flavor is large enough; clouds' gigabytes are a few per cent smaller than ours at times."""
    return each.vcpus >= wish.min_vcpus and each.memory_mb >= wish.min_memory_gb * 1000


def network(
    findings: Findings,
    check: str,
    line: str,
    wanted: str,
    networks: Sequence[Network],
    *,
    external: bool = False,
) -> Network | None:
    """The one network of that name or id."""
    if not wanted:
        if check == "network":
            others = [each.name for each in networks if not each.external]
            findings.missing(check, line, f"{line} is empty", choices(line, others))
        else:
            findings.ok(check, "none", "none")
        return None
    known = [each for each in networks if wanted in (each.name, each.id)]
    fit = [each for each in known if each.external == external]
    others = nearest(wanted, (each.name for each in networks if each.external == external))
    if not known:
        findings.missing(check, wanted, f"The network {wanted} does not exist", choices(line, others))
    elif not fit:
        kind = (
            "is not an external one, so it has no floating IPs"
            if external
            else "is an external one, which no server is connected to"
        )
        findings.wrong(check, wanted, f"The network {wanted} {kind}", choices(line, others))
    elif len(fit) > 1:
        ids = listed(sorted(each.id for each in fit))
        findings.wrong(
            check,
            wanted,
            f"There are {len(fit)} networks {wanted}",
            f"write the id of the right one in {line}: {ids}",
        )
    else:
        findings.ok(check, wanted, fit[0].id)
        return fit[0]
    return None


def volume_type(findings: Findings, wish: Wish, survey: Survey, *, new: bool) -> None:
    """The type of the data volume, if it is to be made."""
    if wish.volume:
        findings.ok("volume type", "the volume's own", "the volume exists")
    elif not wish.volume_type:
        findings.ok("volume type", "the cloud's default", listed(survey.volume_types))
    elif wish.volume_type in survey.volume_types or not new:
        findings.ok("volume type", wish.volume_type, wish.volume_type if new else "the volume exists")
    else:
        known = listed(survey.volume_types)
        remedy = f"write one of {known} in tenant_cloud_volume_type, or leave it out for the cloud's default"
        findings.missing(
            "volume type", wish.volume_type, f"The volume type {wish.volume_type} does not exist", remedy
        )
