"""The smaller study: the same objective, no learning rate in the search.

The same call continues a run that was interrupted.
"""

import galatune
from galatune.demo.objective import objective

plan = galatune.scan("digits.db")
study = galatune.run(plan, objective, trials=4, seed=0)  # into digits-gala.db
print(f"best {study.best_value:.4f} with {sorted(study.best_params)}")
