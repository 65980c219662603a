"""`make bench`: what can be measured without data of one's own, about ten minutes."""

from benchmarks import accounts, asking, detectors, streams, worker

print("== A worker against the client's bare poll\n")
worker.main()
print("\n== Detectors: PyOD and compiled\n")
detectors.main()
print("\n== Streams: reading and publishing\n")
streams.main()
print("\n== Accounts: memory, restart, busy accounts\n")
accounts.main()
print("\n== Asking: how long an answer takes\n")
asking.main()
