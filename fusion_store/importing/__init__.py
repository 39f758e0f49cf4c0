"""Bringing data along: from BoltDB files of MCPFusion, and from the file cache it had before."""

from fusion_store.importing._draft import Finding
from fusion_store.importing._plan import COUNTED, ImportPlan, carry_out, plan_import

__all__ = ["COUNTED", "Finding", "ImportPlan", "carry_out", "plan_import"]
