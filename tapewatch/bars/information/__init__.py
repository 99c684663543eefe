"""Bars of other clocks than time: ticks, volume, dollars, and their imbalances and runs (López de Prado 2018, chapter 2)."""
