"""Which parameters are learning rates, and what is left without them. Touches nothing."""

import galatune

plan = galatune.scan("digits.db")
for dimension in plan.learning_rate:
    print(f"{dimension.name}: {dimension.role}, {dimension.distribution} ({dimension.evidence})")
print(f"kept: {', '.join(plan.kept)}")
print(f"{plan.unique_configurations} distinct configurations in {plan.trials.total} trials")
