"""What a double-precision number holds exactly."""

EXACT_BELOW = 2**53  # whole numbers below this; above, neighbours become one
