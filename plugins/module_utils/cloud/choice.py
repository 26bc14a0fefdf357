"""What the inventory names and the cloud has: image, flavor, networks, volume type."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .findings import Findings, listed
from .survey import Flavor, Image, Network, Survey
from .wish import Wish


@dataclass(frozen=True)
class Choice:
    """What was chosen; None if it does not exist or is not wanted."""

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
        network=network(findings, "network", wish.network, survey),
        eodata_network=network(findings, "eodata network", wish.eodata_network, survey),
        external_network=network(findings, "external network", wish.external_network, survey),
    )


def alike(name: str, names: Iterable[str], most: int = 4) -> list[str]:
    """Names that may have been meant, the likeliest first."""
    folded: dict[str, list[str]] = {}
    for each in sorted(set(names)):
        folded.setdefault(each.lower(), []).append(each)
    close = difflib.get_close_matches(name.lower(), folded, n=most, cutoff=0.6)
    return [each for match in close for each in folded[match]]


def choices(option: str, names: Iterable[str], name: str = "") -> str:
    """`write one of a, b, c in tenant_cloud_x`: names like the one given, or all of them."""
    every = sorted(set(names))
    shown = (alike(name, every) if name else []) or every
    return f"write one of {listed(shown, most=6)} in {option}" if shown else "ask the cloud's support for one"


def image(findings: Findings, wish: Wish, survey: Survey, *, new: bool) -> Image | None:
    """The newest active image of that name: under one name clouds renew their images."""
    known = [each for each in survey.images if wish.image in (each.name, each.id)]
    active = [each for each in known if each.status == "active"]
    if active:
        newest = max(active, key=lambda each: (each.created_at or "", each.id))
        several = f", the newest of {len(active)}" if len(active) > 1 else ""
        since = f" of {newest.created_at[:10]}" if newest.created_at else ""
        findings.ok("image", wish.image, f"{newest.id}{since}{several}")
        return newest
    if not new:
        findings.ok("image", wish.image, "no longer exists, and is not needed: the server exists")
        return None
    if known:
        message = f"The image {wish.image} exists, but its status is {known[0].status}"
    else:
        message = f"The image {wish.image} does not exist" if wish.image else "tenant_cloud_image is empty"
    names = [each.name or "" for each in survey.images if each.status == "active"]
    findings.problem(
        "image", "missing", wish.image, message, choices("tenant_cloud_image", names, wish.image)
    )
    return None


def flavor_words(each: Flavor) -> str:
    """`eo2.2xlarge (8 vCPUs, 32 GB)`."""
    return f"{each.name} ({each.vcpus} vCPUs, {each.ram / 1024:g} GB)"


def flavor(findings: Findings, wish: Wish, survey: Survey, *, new: bool) -> Flavor | None:
    """The flavor, if it is large enough; a cloud's gigabyte may be a few per cent smaller than 1024 MB."""
    wanted = f"{wish.flavor} (≥ {wish.min_vcpus} vCPUs, ≥ {wish.min_memory_gb:g} GB)"
    known = next((each for each in survey.flavors if wish.flavor in (each.name, each.id)), None)
    if known is None and not new:
        findings.ok("flavor", wanted, "no longer exists, and is not needed: the server exists")
        return None
    large = [
        each
        for each in survey.flavors
        if each.vcpus >= wish.min_vcpus and each.ram >= wish.min_memory_gb * 1000
    ]
    if known is not None and (known in large or not new):
        findings.ok("flavor", wanted, flavor_words(known))
        return known
    hint = "ask the cloud's support for one that is large enough: the project has none"
    if large:
        large.sort(key=lambda each: (each.vcpus, each.ram, each.name))
        names = listed(map(flavor_words, large))
        hint = f"write one that is large enough in tenant_cloud_flavor: {names}"
    if known is None:
        close = alike(wish.flavor, (each.name for each in survey.flavors), most=2)
        but = f", but {listed(close)}" if close else ""
        findings.problem("flavor", "missing", wanted, f"The flavor {wish.flavor} does not exist{but}", hint)
    else:
        findings.problem(
            "flavor", "too_small", wanted, f"The flavor {flavor_words(known)} is too small", hint
        )
    return None


def network(findings: Findings, check: str, wanted: str, survey: Survey) -> Network | None:
    """The one network of that name or id."""
    option, external = f"tenant_cloud_{check.replace(' ', '_')}", check == "external network"
    usable = [each for each in survey.networks if bool(each.is_router_external) == external]
    hint = choices(option, [each.name or "" for each in usable], wanted)
    known = [each for each in survey.networks if wanted in (each.name, each.id)]
    fit = [each for each in known if each in usable]
    if not wanted:
        if check != "network":
            findings.ok(check, "none", "none")
        else:
            findings.problem(check, "missing", option, f"{option} is empty", hint)
    elif not known:
        findings.problem(check, "missing", wanted, f"The network {wanted} does not exist", hint)
    elif not fit:
        inside = "is an external one, which no server is connected to"
        kind = "is not an external one, so it has no floating IPs" if external else inside
        findings.problem(check, "unsuitable", wanted, f"The network {wanted} {kind}", hint)
    elif len(fit) > 1:
        hint = f"write the id of the right one in {option}: {listed(sorted(each.id for each in fit))}"
        findings.problem(check, "ambiguous", wanted, f"There are {len(fit)} networks {wanted}", hint)
    else:
        findings.ok(check, wanted, fit[0].id)
        return fit[0]
    return None


def volume_type(findings: Findings, wish: Wish, known: Sequence[str], *, new: bool) -> None:
    """The type of the data volume, if it is to be made."""
    check, wanted = "volume type", wish.volume_type
    if wish.volume:
        findings.ok(check, "the volume's own", "the volume exists")
    elif not wanted:
        findings.ok(check, "the cloud's default", listed(known))
    elif wanted in known or not new:
        findings.ok(check, wanted, wanted if new else "the volume exists")
    else:
        names = f"write one of {listed(known)} in tenant_cloud_volume_type"
        hint = f"{names}, or leave it out for the cloud's default"
        findings.problem(check, "missing", wanted, f"The volume type {wanted} does not exist", hint)
