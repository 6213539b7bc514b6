"""The Python client of the jobs application."""

from millrace.edge_jobs.client import EdgeJobClient
from millrace.edge_jobs.config import EdgeConfig, Gemini, load_config
from millrace.edge_jobs.job import Content, Job, JobStats, Result, Upload

__all__ = [
    "Content",
    "EdgeConfig",
    "EdgeJobClient",
    "Gemini",
    "Job",
    "JobStats",
    "Result",
    "Upload",
    "load_config",
]
