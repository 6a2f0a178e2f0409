"""Controlled learning rates in skorch.

One line in the usual first example::

    net = NeuralNetClassifier(MyModule, max_epochs=20, callbacks=[GalatuneCallback()])
"""

from galatune_skorch.callback import GalatuneCallback as GalatuneCallback

__all__ = ["GalatuneCallback"]
