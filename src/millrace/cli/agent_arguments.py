"""What can be typed after `millrace agent`, `millrace upload` and `millrace bridge`."""

from pathlib import Path

from millrace.cli.parsing import Commands, add_server, add_verb


def add_agent(commands: Commands) -> None:
    """Add the command that works on jobs."""
    agent = commands.add_parser(
        "agent",
        help="work on the jobs of a server",
        description="Take jobs from a server, read their uploads, store what is found, until SIGTERM or Ctrl-C. "
        "Settings come from the environment and the file .env: EDGE_BASE_URL and EDGE_API_TOKEN are needed.",
        allow_abbrev=False,
    )
    agent.set_defaults(run="agent:run", refuse=agent.error)
    agent.add_argument("--pipeline", metavar="MODULE:NAME", help="what to do with a job, in place of PIPELINE's")
    agent.add_argument("--cloudflare-queue", action="store_true", help="also take the jobs of CLOUDFLARE_QUEUE_ID")
    agent.add_argument("--show-config", action="store_true", help="print the settings without secrets, and end")


def add_upload(commands: Commands) -> None:
    """Add the command that makes a run of a file."""
    upload = add_verb(commands, "upload", "upload:run", "upload a file, which makes a run and its job")
    upload.add_argument("file", metavar="FILE", type=Path, help="the file")
    upload.add_argument("--tenant", metavar="T", required=True, help="whose it is")
    upload.add_argument("--content-type", metavar="TYPE", help="such as application/pdf (by the file's name)")


def add_bridge(commands: Commands) -> None:
    """Add the command that sends the messages of a queue at Cloudflare on to ours."""
    bridge = commands.add_parser(
        "bridge",
        help="send the messages of a queue at Cloudflare on to this server",
        description="Take the messages of a queue at Cloudflare (CLOUDFLARE_ACCOUNT_ID, CLOUDFLARE_API_TOKEN) and send "
        "them to the queue of that name on this server, until SIGTERM or Ctrl-C.",
        allow_abbrev=False,
    )
    bridge.set_defaults(run="bridge:run", refuse=bridge.error)
    bridge.add_argument("queue", metavar="QUEUE", help="name or id; its consumer must be of type http_pull")
    bridge.add_argument("--to", metavar="QUEUE", help="queue that gets them (of the same name)")
    bridge.add_argument("--back", action="store_true", help="the other way: from this server to Cloudflare")
    bridge.add_argument("--once", action="store_true", help="end when there is nothing more")
    add_server(bridge)
