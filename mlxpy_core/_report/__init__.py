"""The report: runs, their curves and their ends in one HTML file that needs nothing else."""

from ._content import report_content
from ._page import make_page

__all__ = ["make_page", "report_content"]
