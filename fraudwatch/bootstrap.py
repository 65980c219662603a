"""The only file that knows every concrete class: it puts parts together for the commands."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI

from fraudwatch.casework import db, layouts
from fraudwatch.casework.app import create_app
from fraudwatch.casework.auth import Passwords
from fraudwatch.casework.context import Services
from fraudwatch.casework.db import connect_errors
from fraudwatch.casework.label_intake import LabelIntake
from fraudwatch.casework.steering import Registered
from fraudwatch.clock import SystemClock
from fraudwatch.detectors import bundle
from fraudwatch.detectors.model import Model
from fraudwatch.errors import Fenced, Unavailable
from fraudwatch.memory import Memory
from fraudwatch.pipeline import ForwardPath
from fraudwatch.profile_keeper import ProfileKeeper
from fraudwatch.scorers import Scorers
from fraudwatch.settings import Settings
from fraudwatch.warm_up import warm_up, warm_up_model
from streams.carriers import open_publisher, open_source
from streams.growth import partitions_there
from streams.runner import Runner
from streams.watchdog import Pulse, Watchdog

log = logging.getLogger(__name__)


def api(settings: Settings) -> FastAPI:
    """The casework API and console. Raises `ConfigurationError` without a secret key."""
    settings.require_secret()
    clock = SystemClock()
    publisher = open_publisher(settings, clock)
    engine = db.open_database(settings)
    return create_app(
        Services(
            settings=settings,
            engine=engine,
            sessions=db.session_factory(engine),
            clock=clock,
            passwords=Passwords(),
            publisher=publisher,
        )
    )


class Worker:
    """Scores transactions and takes in labels, each topic read by a runner of its own, and keeps
    the merchant profiles up to the day.

    Raises `ConfigurationError` when it cannot work as it is set up, `Unavailable` when the stream
    does not answer.
    """

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        key = settings.require_secret()
        # The stream first: a wrong address of it is told by its name, whatever else is missing.
        partitions = partitions_there(settings)
        sessions = db.session_factory(db.open_database(settings, pool_size=3))
        clock = SystemClock()
        with connect_errors(), sessions.begin() as session:
            layouts.confirm(session, settings.topic_transactions, partitions)
        self._stop = stop
        pulse = Pulse(settings.topic_transactions)

        def opened(registered: Registered) -> Model:
            with pulse.loading():  # the first of its kind is compiled: a minute on a busy machine
                return open_model(settings, registered)

        self._path = ForwardPath(
            sessions=sessions,
            publisher=open_publisher(settings, clock),
            memory=Memory(
                settings.topic_transactions,
                share=settings.dead_letter_share,
                consecutive=settings.dead_letter_consecutive,
            ),
            scorers=Scorers(opened),
            settings=settings,
            key=key,
            clock=clock,
            alive=pulse.beat,
        )
        self._profiles = ProfileKeeper(sessions, settings.topic_transactions, clock)
        group = settings.consumer_group
        self._transactions = Runner(
            open_source(settings, settings.topic_transactions, group),
            self._path,
            stop=stop,
            pulse=pulse,
        )
        self._labels = Runner(
            open_source(settings, settings.topic_labels, f"{group}.labels"),
            LabelIntake(sessions, settings, clock),
            stop=stop,
        )
        self.watchdog = Watchdog([pulse, self._labels.pulse], settings.watchdog_seconds)

    def run(self) -> None:
        """Returns when stopped; when one of the two fails, both end and the error is raised."""
        warm_up()
        self._profiles.start()
        self.watchdog.start()
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="labels") as pool:
                labels = pool.submit(self._until_stop, self._labels)
                self._until_stop(self._transactions)
            labels.result()
        finally:
            self.watchdog.stop()
            self._profiles.stop()
        try:
            self._path.close()
        except (Fenced, Unavailable) as error:
            log.warning("stopped without a last snapshot: %s", error)

    def _until_stop(self, runner: Runner) -> None:
        try:
            runner.run()
        finally:
            self._stop.set()


def open_model(settings: Settings, registered: Registered) -> Model:
    """A registered model from its bundle. Raises `BundleError`."""
    model = bundle.load(settings.models_dir / registered.name, registered.sha256)
    warm_up_model(model)
    return model
