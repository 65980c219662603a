"""A seeded world of customers, merchants and fraud: for the demo, tests and benchmarks.

`config.WorldConfig` says what it is made of, `world.World` answers with transactions,
`live.stream_live` sends them as time goes by. Described in `docs/simulator.md`.
"""

from streams.simulator.config import WorldConfig
from streams.simulator.live import stream_live
from streams.simulator.places import RATES
from streams.simulator.world import PATTERN_NAMES, World

__all__ = ["PATTERN_NAMES", "RATES", "World", "WorldConfig", "stream_live"]
