"""What a run is given: its arguments, checked before any step."""

from __future__ import annotations

from collections.abc import Mapping

from aieye.pipeline.evaluation.room import NoRoom, Room
from aieye.pipeline.failures import Failure
from aieye.pipeline.language.catalogue import Parameter
from aieye.pipeline.language.values import Json, Unconvertible, convert
from aieye.pipeline.limits import MAX_VALUE_BYTES
from aieye.pipeline.sizes import Sized, Unmeasurable, measure
from aieye.pipeline.steps import Plan


def bind(plan: Plan, arguments: Mapping[str, Json], room: Room) -> list[Sized]:
    """The arguments of a plan in its order, converted where its params are typed.

    They are counted in `room`.

    Raises `RunFailed`: E507 for one that is missing, or null where that is no value; E402 for one that
    cannot be converted, at the param; E510 for one that is too large.
    """
    return [_argument(plan, parameter, arguments, room) for parameter in plan.parameters]


def _argument(plan: Plan, parameter: Parameter, arguments: Mapping[str, Json], room: Room) -> Sized:
    name, type_ = parameter.name, parameter.type
    place = plan.param_places.get(name)
    if name in arguments:
        value = arguments[name]
        takes_null = type_ is None or type_.name == "any" or type_.is_nullable
        if value is None and not takes_null:
            raise Failure("E507", f"the argument '{name}' is null").error(())
    elif parameter.is_required:
        raise Failure("E507", f"the argument '{name}' is missing").error(())
    else:
        value = parameter.default
    try:
        value = convert(value, type_)
        size, memory = measure(value)
        room.take(memory)
    except Unconvertible as error:
        raise Failure("E402", f"wrong value for '{name}': {error}", place).error(()) from error
    except Unmeasurable:
        raise Failure("E510", f"the argument '{name}' is nested too deep", place).error(
            ()
        ) from None
    except NoRoom as error:
        raise Failure("E510", str(error), place).error(()) from error
    if size > MAX_VALUE_BYTES:
        message = f"the argument '{name}' is larger than {MAX_VALUE_BYTES:,} bytes"
        raise Failure("E510", message, place).error(())
    return value, size
