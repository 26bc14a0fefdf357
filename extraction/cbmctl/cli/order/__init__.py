"""`cbmctl order`: Sentinel-1 products that the Copernicus Data Space makes on demand."""

from cbmctl.cli import cbmctl


@cbmctl.group("order")
def group() -> None:
    """Order Sentinel-1 CARD products, which cost quota or money.

    The account is read from the environment or from files of mode 0600: CBM_ORDER_USER, CBM_ORDER_PASSWORD
    and, for a second factor, CBM_ORDER_TOTP_SECRET; or the same names with _FILE at the end for the names of
    files; or user, password_file and totp_file in the section "ordering" of the configuration.
    """


from cbmctl.cli.order import cancel, place, plan, status  # noqa: E402, F401 - they register themselves in the group
