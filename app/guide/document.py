"""`guide.json`: all that was measured and what it means, with units.

Durations and sizes carry their unit in their names; the figures of a row are in the row's `unit`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.guide.statistics import Agrees, Better, Kind


class Part(BaseModel):
    """What all of it is: made once, and nothing in it unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(Part):
    """On what it was measured."""

    system: str = Field(description="Kernel and C library.")
    processor: str = Field(description="As the kernel calls it.")
    cores: int = Field(description="Cores that this process may use.")
    memory_bytes: int = Field(description="Memory of the machine.")
    free_bytes: int = Field(description="Memory that was free at the start.")
    load: float = Field(description="Load average of the last minute, at the start.")
    python: str = Field(description="Version of the interpreter.")
    free_threaded: bool = Field(description="Whether it runs without the interpreter lock.")
    libraries: dict[str, str] = Field(description="Versions, by name.")


class Contender(Part):
    """One way to do the work, and how it did."""

    name: str = Field(description="Of the way.")
    judged: bool = Field(description="False for what is there only to compare with.")
    rounds: tuple[float, ...] = Field(
        description="The figure of each round, in the row's unit; the contenders took turns."
    )
    least: float = Field(description="The smallest of them.")
    middle: float = Field(description="Their median.")
    most: float = Field(description="The largest of them.")


class Row(Part):
    """One figure of one piece of work, by contender."""

    key: str = Field(description="Names the row: `situation.case.figure`.")
    title: str = Field(description="Of the work.")
    work: str = Field(description="What each contender did, the same for all.")
    figure: str = Field(description="What was measured.")
    unit: str = Field(description="Of the figures: `ms`, `1/s`, `MB/s`, or nothing for counts.")
    better: Better = Field(description="Whether less or more of it is better.")
    noise_percent: float = Field(
        description="How much the rounds of the leaders differed from their own medians: nine "
        "tenths of them lie within so much; 0 for counts."
    )
    contenders: tuple[Contender, ...] = Field(description="In the order of the race.")
    verdict: Kind = Field(
        description="`winner`: the first leader is ahead of all. `shared`: some are ahead and "
        "cannot be told apart. `no_difference`: none can. `too_noisy`: none can, and rounds of the "
        "same differ so much that there may be a difference. `too_few_rounds`: none can, for want "
        "of rounds."
    )
    leaders: tuple[str, ...] = Field(
        description="The best by its median, then those that cannot be told from it."
    )
    next_best: str | None = Field(description="The best of those that are behind.")
    times: float | None = Field(
        description="How many times better the first leader is than `next_best`, by medians."
    )
    recommended: tuple[str, ...] = Field(description="Contenders that the guide recommends.")
    agrees: Agrees = Field(
        description="Whether this machine agrees: one of the leaders is recommended, and if they "
        "cannot be told apart for noise, all are. `nothing_said`: the guide says nothing of this "
        "row."
    )
    sentence: str = Field(description="The verdict in words.")
    brief: str = Field(description="The same in few; empty where nobody is ahead.")


class Missing(Part):
    """What was not measured."""

    what: str = Field(description="A situation, a case or a contender.")
    why: str = Field(description="In a few words.")


class Measured(Part):
    """One situation of the guide."""

    key: str = Field(description="As `--only` takes it.")
    title: str = Field(description="Of the situation.")
    guide_says: str = Field(description="What the guide recommends, in words.")
    explained: str = Field(description="The place in the documentation that says why.")
    noise_percent: float = Field(
        description="How much the same piece of work, on all cores, differed from itself, before "
        "and after; the larger one. It warns; verdicts follow from the rounds."
    )
    others_percent: float = Field(
        description="Of the processors, what other processes took while that was measured."
    )
    stolen_percent: float = Field(
        description="Of the processors, what the hypervisor took in the whole situation."
    )
    held_up_percent: float = Field(
        description="Of the processors, what this container's quota held back meanwhile."
    )
    noise_explained: str = Field(description="What is known of where the noise comes from.")
    took_s: float = Field(description="Seconds that this situation took.")
    complete: bool = Field(description="False if it was broken off.")
    rows: tuple[Row, ...] = Field(description="What was measured.")
    missing: tuple[Missing, ...] = Field(description="What was not.")


class Advice(Part):
    """A setting of this service that follows."""

    variable: str = Field(description="Name of the setting.")
    value: str | None = Field(description="Null where nothing was measured that says anything.")
    default: str = Field(description="What holds where it is not set.")
    because: str = Field(description="The measurement behind it.")
    row: str | None = Field(description="The key of the row that it follows from.")


class Guide(Part):
    """One run of the guide."""

    format: Literal["offload-guide/2"] = Field(
        default="offload-guide/2", description="Changes when a field changes its meaning."
    )
    offload: str = Field(description="Version of this program.")
    made_at: datetime = Field(description="When it began.")
    took_s: float = Field(description="Seconds that all of it took.")
    asked_s: float = Field(description="Seconds that it was asked to take.")
    complete: bool = Field(description="False if it was interrupted.")
    machine: Machine = Field(description="On what.")
    situations: tuple[Measured, ...] = Field(description="In the guide's order.")
    advice: tuple[Advice, ...] = Field(description="What follows for this service.")
