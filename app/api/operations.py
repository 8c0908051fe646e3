"""What can be asked of this service, and how much of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from app.api.deps import RuntimeDep
from app.api.doors import door_path
from app.api.links import link
from app.api.openapi import params_schema
from app.api.routes import Router
from app.ops.base import Runs

router = Router(prefix="/v1", tags=["service"])


class OperationView(BaseModel):
    """One operation: usable as a step of a job, and at its own door."""

    name: str = Field(examples=["compress"])
    summary: str
    door: str = Field(description="Path of its one-shot door.", examples=["/v1/compress"])
    accepts: list[str] = Field(description="Media types that it takes, by content.")
    joins: bool = Field(description="Whether it makes one thing of all the items of a job.")
    runs: Runs = Field(description="Where its work runs: process, thread or event loop.")
    params: dict[str, Any] = Field(description="JSON Schema of its parameters.")
    example: dict[str, Any]


class OperationList(BaseModel):
    """Every operation that this service has."""

    operations: list[OperationView]


class LimitsView(BaseModel):
    """What this service was set up to take."""

    upload_max_bytes: int
    upload_max_files: int
    upload_stall_timeout_s: float
    job_max_items: int
    job_max_streamed_items: int
    job_max_streamed_bytes: int
    job_retention_s: float
    wait_max_s: float
    item_timeout_s: float
    item_max_pixels: int
    item_max_output_bytes: int
    item_max_files: int
    fetch_timeout_s: float
    fetch_max_bytes: int
    fetch_max_redirects: int
    fetch_retries: int


@router.get("/operations", summary="List the operations", operation_id="list_operations")
async def list_operations(runtime: RuntimeDep) -> OperationList:
    """Give every operation with the JSON Schema of its parameters."""
    return OperationList(
        operations=[
            OperationView(
                name=operation.name,
                summary=operation.summary,
                door=link(door_path(operation)),
                accepts=list(operation.accepts),
                joins=operation.joins,
                runs=operation.runs,
                params=params_schema(operation),
                example=operation.example,
            )
            for operation in runtime.operations.values()
        ]
    )


@router.get("/limits", summary="Read the limits", operation_id="get_limits")
async def get_limits(runtime: RuntimeDep) -> LimitsView:
    """Give the limits as they are configured."""
    settings = runtime.settings
    groups = {
        "upload": settings.upload,
        "job": settings.jobs,
        "item": settings.item,
        "fetch": settings.fetch,
    }
    # Of all that is set, the view takes what it names.
    limits = {f"{group}_{name}": value for group, of in groups.items() for name, value in of}
    return LimitsView.model_validate({**limits, "wait_max_s": settings.jobs.wait_max_s})
