"""Lengths of time and limits of what is kept of an account. Times are microseconds."""

from __future__ import annotations

import numpy as np

# Whoever changes what a measure means here raises `catalogue.DEFINITIONS`.
SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
WINDOWS = (600 * SECOND, HOUR, DAY, 7 * DAY, 30 * DAY)
LONGEST = WINDOWS[-1]
RETAIN = LONGEST + 7 * DAY  # rows up to 7 days late have whole windows
KEEP = 8_192
REMEMBER = 365 * DAY
NEVER = np.iinfo(np.int64).min

# Measures of one window (second axis of `Measures.windows`).
COUNT, SUM, MAX, MERCHANTS, COUNTRIES, DEVICES = range(6)

# Measures of the account's past (columns of `Measures.past`, in the order of `layout.PAST`).
(SINCE, MEAN, DEVIATION, BELOW, SAME_HOUR, SAME_WEEKDAY, FIRST) = range(7)
(BEFORE, AGE, KM, SPEED, PAST_MAX, LATE) = range(12, 18)
