"""`millrace upload`: a file becomes an object with a run and a job."""

import argparse
import os

from millrace.cli.printing import print_json, print_lines
from millrace.client.address import server_of
from millrace.edge_jobs.client import EdgeJobClient
from millrace.edge_jobs.config import EdgeConfig


def run(arguments: argparse.Namespace) -> int:
    """Upload a file and print its run's id."""
    if not arguments.file.is_file():
        arguments.refuse(f"{arguments.file} is no file")
    url, token = server_of(os.environ, arguments.url, arguments.token)
    with EdgeJobClient(EdgeConfig(base_url=url, api_token=token)) as client:
        made = client.upload(arguments.file, arguments.tenant, arguments.content_type)
    if arguments.json:
        print_json({"runId": made.run_id, "jobId": made.job_id, "r2Key": made.r2_key})
    else:
        print_lines(made.run_id)
    return 0
