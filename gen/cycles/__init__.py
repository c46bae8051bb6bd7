"""The command ``cycles``: the clock of a training step, as report and chart."""
