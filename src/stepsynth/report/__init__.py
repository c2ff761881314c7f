"""The report: a run folder as one self-contained HTML file."""

from stepsynth.report.render import write_report, write_studies

__all__ = ["write_report", "write_studies"]
