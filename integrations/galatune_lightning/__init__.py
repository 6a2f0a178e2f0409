"""Controlled learning rates in Lightning.

One line in the usual first example::

    trainer = L.Trainer(max_epochs=5, callbacks=[GalatuneCallback()])
"""

from galatune_lightning.callback import GalatuneCallback as GalatuneCallback

__all__ = ["GalatuneCallback"]
