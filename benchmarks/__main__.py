"""`make bench`: what can be measured without data of one's own."""

from benchmarks import detectors, streams

print("== Detectors: PyOD and compiled\n")
detectors.main()
print("\n== Streams: reading and publishing\n")
streams.main()
