"""`serve`: run a script as it is, with its search replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import optuna

from galatune.errors import ObjectiveError
from galatune.formatting import listed, printable
from galatune.study.search.objective import in_one_line
from galatune.study.search.ranks import check_ranks
from galatune.study.search.scripts.choice import Choice
from galatune.study.search.scripts.leaving import ScriptLeft
from galatune.study.search.scripts.old_studies import OldStudies
from galatune.study.search.scripts.other_processes import refused_in
from galatune.study.search.scripts.running import Script
from galatune.study.search.scripts.session import Search, Session

__all__ = ["Served", "serve"]


@dataclass(frozen=True)
class Served:
    """How a script went.

    Attributes:
        study: What its search has found.
        failed: How the script ended behind the search, in a line; None if it ended well.
    """

    study: optuna.Study | None
    failed: str | None = None


def serve(
    script: Script,
    search: Search,
    *,
    source: str | None = None,
    study: str | None = None,
    say: Callable[[str], None],
    stop_after: bool = False,
) -> Served:
    """Run a script as `__main__`; where it searches, ``search`` is called instead.

    Whatever storage it names lies in memory: nothing that it has stored is opened or written. A study that
    it does not search here has its old trials, if ``source`` holds some of that name; else it runs as the
    script wrote it.

    Args:
        script: The script.
        search: Gets what the script handed to Optuna and returns the smaller study; with None the script
            ends there.
        source: Storage of the old studies, None if there are none.
        study: Name of the old study that is searched.
        say: Says a line about what happens.
        stop_after: Whether the script ends with the search.

    Raises:
        ObjectiveError: There is no such script, or it ended before it searched.
        GalatuneError: The search ended with an error.
        KeyboardInterrupt: Somebody stopped it.
    """
    script.check()
    old = OldStudies(source, study)
    session = Session(script, search, Choice(study, old.names), old, say, stop_after=stop_after)
    ended = _run(script, session)
    if session.error is not None:
        if isinstance(ended, Exception):
            say(f"{script.name} ended with {_words(ended)}.")
        raise session.error
    if isinstance(ended, KeyboardInterrupt):
        raise ended
    if not session.searched:
        check_ranks()
        raise ObjectiveError(_without_search(script, session, ended))
    if line := session.after.text():
        say(line)
    return Served(session.found, None if ended is None else _words(ended))


def _run(script: Script, session: Session) -> BaseException | None:
    """What the script ended with, None if it ended well."""
    ended: BaseException | None = None
    with session.patches.put_on():
        try:
            script.execute()
        except ScriptLeft:
            pass
        except SystemExit as error:
            ended = error if error.code not in (None, 0) else None
        except BaseException as error:
            ended = error
        finally:
            session.end(ended)
    return ended


def _words(ended: BaseException) -> str:
    if isinstance(ended, SystemExit):
        return f"it ended with exit status {printable(str(ended.code))}"
    return printable(in_one_line(ended))


def _without_search(script: Script, session: Session, ended: BaseException | None) -> str:
    if session.starts_processes:
        return str(refused_in(script.name))
    if ended is not None:
        return (
            f"{script.name} ended before it searched: {_words(ended)}. Its own arguments stand behind --: "
            f"{script.name} -- --epochs 3"
        )
    made = listed([printable(name) for name in session.made_names])
    studies = f"it makes {made} and" if made else "it makes no study and"
    return (
        f"{script.name} ended without a search: {studies} calls neither study.optimize nor study.ask of "
        "the one that is searched; name the script that does, or an objective as file.py:function"
    )
