"""How rare something is on ordinary tape, in words."""


def level_in_words(hours: float | None) -> str:
    """`1 in N h`; empty without a level."""
    return "" if hours is None else f"1 in {hours:,.0f} h"
