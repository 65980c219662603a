"""A wrong database URL is told by the name of its setting, without what may be a password."""

import pytest

from fraudwatch.casework.db import database_url
from fraudwatch.errors import ConfigurationError
from fraudwatch.settings import load_settings


@pytest.mark.parametrize(
    "url", ["mysql://u:hush@db/x", "hush", "postgresql://u:hush@db:port/x", "postgresql:/hush"]
)
def test_what_is_no_url_of_postgresql_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="FRAUDWATCH_DATABASE_URL must be") as caught:
        database_url(load_settings(database_url=url))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_common_ways_to_write_it_are_taken(scheme: str) -> None:
    url = database_url(load_settings(database_url=f"{scheme}://u@db:5433/x"))
    assert (url.drivername, url.host, url.port) == ("postgresql+psycopg", "db", 5433)
