"""`cbmctl repair`: what was left half done becomes ready to be extracted anew."""

import click

from cbmctl.cli import Context, cbmctl, check_option, pass_context
from cbmctl.cli.status import last_line
from cbmctl.database import connect
from cbmctl.errors import counted
from cbmctl.invocation import command
from cbmctl.queue.repair import Repair, Repaired, repair


@cbmctl.command(
    "repair",
    short_help="Make failed and unfinished scenes ready again.",
    epilog="\b\nExamples:\n  cbmctl repair --check\n  cbmctl repair --scene"
    " S2A_MSIL2A_20210305T103021_N0214_R108_T32TMT_20210305T134215.SAFE",
)
@click.option(
    "--scene", "references", metavar="REFERENCE", multiple=True, help="Only this scene; may be repeated."
)
@check_option()
@pass_context
def repair_command(context: Context, references: tuple[str, ...], check: bool) -> None:
    """Take scenes up again that failed or were left half done.

    Their unfinished rows are removed and their tasks become ready. Scenes that are extracted, hold no parcels
    or are being worked on stay as they are, so it may be run at any time. Run cbmctl extract afterwards.
    """
    config = context.config
    with connect(config, purpose="cbmctl repair", autocommit=True) as conn:
        done = repair(conn, config, references, check=check)
    context.output.result(
        {
            "changed": done.changed,
            "check": check,
            "scenes": [vars(scene) for scene in done.scenes],
            "live": done.live,
        },
        *(_line(scene, check=check) for scene in done.scenes),
        _sentence(done, check=check),
        *_about_live(len(done.live)),
    )


def _line(scene: Repaired, *, check: bool) -> str:
    rows = f"{counted(scene.sigs, 'row')} of sigs and {scene.hists} of hists"
    reason = f" ({last_line(scene.reason)})" if scene.reason else ""
    return (
        f"{scene.reference}: was {scene.before}{reason}; {rows} {'would be removed' if check else 'removed'}"
    )


def _sentence(done: Repair, *, check: bool) -> str:
    if not done.scenes:
        return "Nothing to repair."
    if check:
        return f"{counted(len(done.scenes), 'scene')} would be repaired."
    return f"{counted(len(done.scenes), 'scene')} repaired. Run {command('extract')}."


def _about_live(number: int) -> list[str]:
    if not number:
        return []
    verb = (
        "is being extracted and is not changed" if number == 1 else "are being extracted and are not changed"
    )
    return [f"{counted(number, 'scene')} {verb}."]
