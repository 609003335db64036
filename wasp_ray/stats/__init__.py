"""What is counted and what it means: histograms, totals, thresholds, verdict, summary. Pure; no I/O and no clock."""
