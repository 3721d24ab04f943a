"""Plan and actuator in, outcomes out.

Rule: the actions of a plan are taken one after the other in its order, and the
failure of one stops none of the others. This file decides what counts as a
failure; in which phase the resource is left is for the actuator to say.

Decision: an exception that is no ``ActionError`` becomes an outcome too, also one
that only a defect can raise (``KeyError``, ``TypeError``). A gateway whose code
trips over one listener must go on serving the others, and crash and restart would
trip again. The defect stays visible: the outcome says so and carries the exception.

Cancellation is not a failure. It passes through at once, and the actuator, which
owns the phases, leaves ``observe`` truthful.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import anyio
import anyio.lowlevel

from .actuator import ActionError, Actuator
from .plan import Action, Plan

ACTION_LIMIT: Final = 30.0
"""Seconds after which an action is cancelled and counts as failed: one that hangs must not stop the loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one action. ``error`` is one line for a person, None if all went well."""

    action: Action
    error: str | None = None
    retry: bool = True  # whether trying again soon can help
    reason: str = ""  # one CamelCase word for machines
    defect: Exception | None = field(default=None, compare=False)
    """The exception, if only a mistake in our code can have raised it; log it with its traceback."""


async def execute(plan: Plan, actuator: Actuator, *, limit: float = ACTION_LIMIT) -> tuple[Outcome, ...]:
    """Carry out the plan and say what came of each action, in the order of the plan.

    :param limit: seconds that one action may take.
    """
    outcomes = []
    for action in plan.actions:
        outcomes.append(await _perform(action, actuator, limit))
        # To open a port need not wait for anything, and a thousand of them take long: visitors come between.
        await anyio.lowlevel.checkpoint()
    return tuple(outcomes)


async def _perform(action: Action, actuator: Actuator, limit: float) -> Outcome:
    try:
        with anyio.fail_after(limit):
            await actuator.perform(action)
    except ActionError as error:
        return Outcome(action=action, error=str(error), retry=error.retry, reason=error.reason)
    except TimeoutError as error:
        # Either ours, which says nothing, or one from the system, which does.
        return Outcome(action=action, error=str(error) or f"not done within {limit:g} s")
    except OSError as error:
        return Outcome(action=action, error=error.strerror or str(error) or type(error).__name__)
    except Exception as error:  # noqa: BLE001  the module docstring says why
        message = f"a defect in Tidegate: {type(error).__name__}: {error}; please report it"
        return Outcome(action=action, error=" ".join(message.split()), defect=error)
    return Outcome(action=action)
