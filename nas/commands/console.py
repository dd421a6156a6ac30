"""What the console scripts gtn-search and gtn-report and those in bin/ run."""

from __future__ import annotations

import sys

from gtn_tf.commands import command_line
from gtn_tf.commands.console import use_onednn
from nas.commands.report_config import ReportConfig
from nas.search.config import SearchConfig


def search() -> int:
    """The exit code of bin/search."""
    use_onednn()
    return command_line.run(SearchConfig, "nas.commands.search", sys.argv)


def report() -> int:
    """The exit code of bin/report."""
    return command_line.run(ReportConfig, "nas.commands.report", sys.argv, "folders")
