"""Which parameters are learning rates, and what is left without them. Touches nothing."""

import galatune

plan = galatune.scan("digits.db")
print(plan.text())
for dimension in plan.learning_rate:
    print(f"{dimension.name}: {dimension.role}, fixed at {dimension.placeholder:.4g}")
    print(f"because: {dimension.evidence}")
