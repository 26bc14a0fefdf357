"""The group `cbmctl order`."""

from cbmctl.cli import cbmctl


@cbmctl.group("order")
def group() -> None:
    """Order Sentinel-1 CARD products, which cost quota or money.

    \b
    Example: from nothing to a product in the catalogue
      cbmctl --json order plan parcels_2021 2020-10-01 2022-01-01 bs > plan.json
      cbmctl order place plan.json
      cbmctl order status
      cbmctl catalogue sync parcels_2021 2020-10-01 2022-01-01 bs

    All commands but plan need the account of the order service. The environment comes first, then the
    section "ordering" of db_config.json:

    \b
                    value in the environment   file in the environment      ordering
      user          CBM_ORDER_USER             CBM_ORDER_USER_FILE          user
      password      CBM_ORDER_PASSWORD         CBM_ORDER_PASSWORD_FILE      password_file
      TOTP secret   CBM_ORDER_TOTP_SECRET      CBM_ORDER_TOTP_SECRET_FILE   totp_file

    The TOTP secret is needed only if the account has a second factor. Files of secrets must have mode 0600.
    """  # noqa: D301 - for click the control character keeps the lines apart
