"""The group `cbmctl order`."""

from cbmctl.cli import cbmctl


@cbmctl.group("order")
def group() -> None:
    """Order Sentinel-1 CARD products, which cost quota or money.

    The account is read from the environment or from files of mode 0600: CBM_ORDER_USER, CBM_ORDER_PASSWORD
    and, for a second factor, CBM_ORDER_TOTP_SECRET; or the same names with _FILE at the end for the names of
    files; or user, password_file and totp_file in the section "ordering" of the configuration.
    """
