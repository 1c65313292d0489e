"""Runs the benchmarks that the command line names, or all of them."""

import argparse
import sys

from . import (
    app_start,
    event_files,
    frozen_configs,
    job_overhead,
    list_runs,
    log_metrics,
    oar_submission,
    reader,
    report,
    safe_copy,
    search,
    slurm_sweep,
    system_metrics,
    take_ids,
    top,
    week,
)

_BENCHMARKS = {
    "log_metrics": log_metrics.measure,
    "take_ids": take_ids.measure,
    "system_metrics": system_metrics.measure,
    "job_overhead": job_overhead.measure,
    "app_start": app_start.measure,
    "slurm_sweep": slurm_sweep.measure,
    "oar_submission": oar_submission.measure,
    "frozen_configs": frozen_configs.measure,
    "safe_copy_first": safe_copy.first,
    "safe_copy_later": safe_copy.later,
    "safe_copy_later_work": safe_copy.later_work,
    "list_runs": list_runs.measure,
    "reader_first_open": reader.first_open,
    "reader_first_open_growth": reader.first_open_growth,
    "reader_later_open": reader.later_open,
    "reader_metric": reader.metric,
    "reader_event_files": event_files.first,
    "reader_event_files_later": event_files.later,
    "reader_large_open": reader.large_open,
    "reader_large_memory": reader.large_memory,
    "reader_large_refresh": reader.large_refresh,
    "search": search.measure,
    "report": report.seconds,
    "report_memory": report.memory,
    "report_size": report.size,
    "report_page": report.page,
    "top_first_screen": top.first_screen,
    "top_processor": top.processor,
    "progress": top.progress,
    "week": week.measure,
}

parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument("names", nargs="*", metavar="name", help=f"one of: {', '.join(_BENCHMARKS)}")
names = parser.parse_args().names or list(_BENCHMARKS)
if unknown := set(names).difference(_BENCHMARKS):
    parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(_BENCHMARKS)}")
exceeded = False
for name in names:
    result = str(_BENCHMARKS[name]())
    print(result, flush=True)
    exceeded = exceeded or "EXCEEDED" in result
sys.exit(exceeded)
