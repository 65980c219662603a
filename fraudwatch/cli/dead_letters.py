"""Commands about messages that could not be used, or were gone before they could be read.

Whoever runs them reaches the database and is held by no role: they say who they are and why, which
goes into the audit log.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fraudwatch.casework import db, dead_letter_limits
from fraudwatch.casework import dead_letters as letters
from fraudwatch.casework import gaps as lost
from fraudwatch.casework.audit import By
from fraudwatch.casework.dead_letters import Replayed, Selection
from fraudwatch.clock import SystemClock
from fraudwatch.errors import Invalid
from fraudwatch.settings import load_settings

dead_letters = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="List and replay messages that could not be used.",
)
gaps = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Acknowledge messages that expired unread.",
)

TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", help="The input topic.")]
PartitionArgument = Annotated[int, typer.Argument(metavar="PARTITION", min=0, help="Its number.")]
OffsetArgument = Annotated[int, typer.Argument(metavar="OFFSET", min=0, help="Where it stood.")]
Who = Annotated[str, typer.Option("--by", help="Your name, for the audit log.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the audit log.")]
OfTopic = Annotated[str | None, typer.Option("--topic", help="Only of this topic.")]
OfPartition = Annotated[int | None, typer.Option("--partition", help="Only of this partition.")]
OfReason = Annotated[str | None, typer.Option("--reason", help="Only with this reason.")]
Since = Annotated[str | None, typer.Option("--since", help="From then on (RFC 3339).")]
Until = Annotated[str | None, typer.Option("--until", help="Before then (RFC 3339).")]


@dead_letters.command(name="list")
def list_letters(
    topic: OfTopic = None,
    partition: OfPartition = None,
    reason: OfReason = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=0, max=10_000, help="Most to list.")] = 20,
) -> None:
    """Count dead letters by reason and list the newest, without their content."""
    wanted = Selection(topic, partition, reason, _moment(since), _moment(until))
    summary = Table("Topic", "Reason", "Field", "Count", box=None)
    table = Table(box=None)
    for name in ("Topic", "Partition", "Offset", "Reason", "Field", "Bytes", "Put aside"):
        table.add_column(name, no_wrap=True)
    table.add_column("Replayed")
    with db.open_sessions(load_settings())() as session:
        for name, why, field, count in letters.counts(session, wanted):
            summary.add_row(name, why, field, f"{count:,}")
        for letter, replay in letters.page(session, wanted, limit=limit)[0]:
            table.add_row(
                letter.topic,
                str(letter.partition),
                str(letter.offset),
                letter.reason,
                letter.field,
                "" if letter.size is None else f"{letter.size:,}",
                f"{letter.created_at:%Y-%m-%d %H:%M:%S}",
                f"{replay.replayed_at:%Y-%m-%d %H:%M}" if replay else "",
            )
    console = Console()
    console.print(summary)
    if table.row_count:
        console.print()
        console.print(table)


@dead_letters.command()
def show(
    topic: TopicArgument,
    partition: PartitionArgument,
    offset: OffsetArgument,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the bytes to standard output instead.")
    ] = False,
    by: Who = "",
    why: Why = "",
) -> None:
    """Show why a message was put aside and what became of it, as JSON.

    With --raw write its bytes instead, which may be personal data: --by and --why go into the audit
    log.
    """
    settings = load_settings()
    with db.open_sessions(settings).begin() as session:
        letter = letters.get(session, topic, partition, offset)
        if raw:
            found = letters.reveal(session, letter, By(by, why), SystemClock().now())
        facts = {
            name: getattr(letter, name)
            for name in ("topic", "partition", "offset", "next_offset", "reason", "field", "detail")
        }
        facts |= {"size": letter.size, "kept": len(letter.raw), "created_at": letter.created_at}
        facts |= asdict(letters.chain(session, settings, letter))
    if raw:
        sys.stdout.buffer.write(found)
        sys.stdout.buffer.flush()
    else:
        typer.echo(json.dumps(facts, indent=2, default=str))


@dead_letters.command()
def replay(
    by: Who,
    why: Why,
    topic: OfTopic = None,
    partition: OfPartition = None,
    offset: Annotated[int | None, typer.Option("--offset", help="Only this one.")] = None,
    reason: OfReason = None,
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only, send nothing.")] = False,
) -> None:
    """Put dead letters on their topic again, after what was wrong has been mended.

    Each goes once, into the partition it came from, or where its account lives since partitions
    were added; a worker takes it in after what came since.
    Choose at least one of topic, reason and since. Exits 1 when some were refused.
    """
    wanted = Selection(topic, partition, reason, _moment(since), _moment(until), offset)
    if topic is None and reason is None and since is None:
        raise Invalid("choose: --topic, --reason or --since")
    settings, who, now = load_settings(), By(by, why), SystemClock().now()
    sessions = db.open_sessions(settings)
    total = Replayed()
    after: tuple[str, int, int] | None = None
    while True:
        with sessions.begin() as session:
            done = letters.replay(session, settings, wanted, who, now, after=after, dry_run=dry_run)
        total.dead_letters += done.dead_letters
        total.messages += done.messages
        total.refused += Counter(done.refused)
        if done.last is None:
            break
        after = done.last
    verb = "would be sent" if dry_run else "are sent by the next worker or already under way"
    typer.echo(f"{total.dead_letters:,} dead letters as {total.messages:,} messages {verb}")
    for cause, count in total.refused.most_common():
        typer.echo(f"{count:,} refused: {cause}", err=True)
    if total.refused:
        raise typer.Exit(1)


@dead_letters.command()
def accept(
    topic: TopicArgument,
    partition: PartitionArgument,
    until_offset: Annotated[
        int, typer.Argument(metavar="OFFSET", min=1, help="Bad ones below it count no more.")
    ],
    by: Who,
    why: Why,
) -> None:
    """Let a worker that stopped for too many bad messages go on past an offset.

    The bad messages below it become dead letters without a limit; from it on limits hold as before.
    Start the worker again afterwards.
    """
    with db.open_sessions(load_settings()).begin() as session:
        dead_letter_limits.accept(
            session, topic, partition, until_offset, By(by, why), SystemClock().now()
        )
    typer.echo(f"bad messages of {topic} {partition} below offset {until_offset} are accepted")


@gaps.command(name="list")
def list_gaps() -> None:
    """List messages that expired before they were read."""
    table = Table("Topic", "Partition", "From", "Until", "Messages", "Acknowledged", box=None)
    with db.open_sessions(load_settings())() as session:
        for gap in lost.expired(session):
            known = f"{gap.acknowledged_by}: {gap.why}" if gap.acknowledged_at else "no"
            count = gap.next_offset - gap.first_offset
            table.add_row(
                gap.topic,
                str(gap.partition),
                str(gap.first_offset),
                str(gap.next_offset),
                f"{count:,}",
                known,
            )
    Console().print(table)


@gaps.command()
def acknowledge(
    topic: TopicArgument,
    partition: PartitionArgument,
    first_offset: Annotated[
        int, typer.Argument(metavar="FROM", min=0, help="Where it begins, as `gaps list` shows.")
    ],
    by: Who,
    why: Why,
) -> None:
    """Say that a loss is known: `fraudwatch verify` is ok again, and goes on showing it."""
    with db.open_sessions(load_settings()).begin() as session:
        gap = lost.acknowledge(
            session, topic, partition, first_offset, By(by, why), SystemClock().now()
        )
    typer.echo(f"acknowledged: {gap.next_offset - gap.first_offset:,} messages never read")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{text!r} is no time; write for example 2026-03-02T09:00:00Z") from None
    if moment.tzinfo is None:
        raise Invalid(f"{text!r} has no offset; add Z for UTC")
    return moment
