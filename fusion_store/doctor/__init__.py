"""What an operator should know of a store, each thing with what to do about it."""

from fusion_store.doctor._diagnosis import Diagnosis, diagnose
from fusion_store.doctor._finding import Finding, Growth
from fusion_store.doctor._records import RecordSurvey

__all__ = ["Diagnosis", "Finding", "Growth", "RecordSurvey", "diagnose"]
