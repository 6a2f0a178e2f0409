"""Controlled learning rates in Hugging Face Transformers.

One line in the usual first example::

    trainer = Trainer(model=model, args=args, train_dataset=data, callbacks=[GalatuneCallback()])

An Accelerate loop has its own line, ``galatune.attach(optimizer.optimizer)``, after `accelerator.prepare`.
"""

from galatune_transformers.callback import GalatuneCallback as GalatuneCallback
from galatune_transformers.objective import objective as objective

__all__ = ["GalatuneCallback", "objective"]
