"""Checks of the environment. `gather` and `probe` collect facts; pure functions in `checks` evaluate them."""
