"""For each opcode what a guest does with it. `SCENARIOS` is complete when this package is imported."""

from tests.recovery.crash_points.scenarios import attributes, directories, files, names
from tests.recovery.crash_points.scenarios.scenario import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "Scenario", "attributes", "directories", "files", "names"]
