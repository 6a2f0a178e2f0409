"""What it saved. `galatune report digits.db` prints the same as a table."""

from galatune import savings
from galatune.study.storage.reading import open_source

with open_source("digits.db") as old, open_source("digits-gala.db") as new:
    report = savings(old.study("digits"), new.study("digits-gala"), price=2.0, currency="EUR")

match = report.to_match
if match.matched:
    print(f"matched after {match.shrunk_trials} trials instead of {match.baseline_trials}")
else:
    print("the old best was not reached")
print(f"difference in quality: {report.quality.difference} ({report.quality.verdict})")
