"""What can be typed about crons: `crons list`, `crons run`."""

from millrace.cli.parsing import Commands, add_verb


def add_crons(commands: Commands) -> None:
    """Add the commands about crons."""
    crons = commands.add_parser("crons", help="see crons and run one now", description="See crons, or run one now.")
    verbs = crons.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_verb(verbs, "list", "crons:list_crons", "list the crons of the account, with their next and last runs")
    run = add_verb(verbs, "run", "crons:run", "send a run of a cron now, whatever its expression says")
    run.add_argument("program", metavar="PROGRAM", help="name of the program, as `crons list` shows it")
    run.add_argument("--cron", metavar="EXPRESSION", help="which of its crons; needed where it has several")
