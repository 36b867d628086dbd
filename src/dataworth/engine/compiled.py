"""Say when kernels are compiled: the first run on a machine, or after an update, takes longer.

Numba itself tells it, where it compiles what its cache does not hold. Dates of files would not do:
installing a package writes the sources again, and Numba goes by what they hold.
"""

from __future__ import annotations

from collections.abc import Callable


def on_compiling(tell: Callable[[], object]) -> None:
    """Call `tell` once, as soon as anything is compiled in this process."""
    from numba.core import event

    class Listener(event.Listener):  # type: ignore[misc]
        """Hears of every compilation and tells the first."""

        told = False

        def on_start(self, _: object) -> None:
            if not self.told:
                self.told = True
                tell()

        def on_end(self, _: object) -> None:
            pass

    event.register("numba:compile", Listener())
