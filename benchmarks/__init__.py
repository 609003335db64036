"""Figures of the engine as ratios, measured in one run: `make bench`. Not tests: no figure is asserted here."""
