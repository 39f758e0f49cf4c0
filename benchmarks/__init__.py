"""Figures next to their floors: each ratio is measured in one run, in rounds that take turns."""
