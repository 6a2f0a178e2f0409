"""Quality against cost, one line per way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from galatune.bench.drawing import INK, look, panels
from galatune.bench.studies.comparisons import Testbed
from galatune.bench.studies.unit import SHARES
from galatune.bench.studies.ways import NULL, WAYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["studies_figures"]

LAST = len(SHARES) - 1

PANELS_IN_A_ROW = 3


def studies_figures(testbed: Testbed) -> dict[str, Figure]:
    """Test loss in relation to the null's at its end, by the share of the null's processor seconds.

    Ways that know the old study have broken lines. A way without a search is one level.
    """

    def draw(axes: Axes, setting: str) -> None:
        axes.axhline(1.0, color=INK, linewidth=0.8)
        for k, way in enumerate(testbed.ways):
            found = [
                testbed.log_ratio([setting], way, NULL.name, share, LAST) for share in range(len(SHARES))
            ]
            ratios = [math.exp(mean.value) for mean in found if mean is not None]
            if len(ratios) == len(SHARES):
                colour, marker = look(k)
                style = "--" if WAYS[way].knows else "-"
                axes.plot(
                    SHARES, ratios, style, color=colour, marker=marker, label=WAYS[way].title, linewidth=1.2
                )

    names = testbed.settings
    return {
        "studies": panels(
            names,
            draw,
            "processor seconds / those of the whole old search",
            "test loss / the null's in the end",
            PANELS_IN_A_ROW,
        )
    }
