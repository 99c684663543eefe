"""The config of an asset as plain values.

Text of a `dg.Config` may also be `{env: NAME}`, which would show any secret of the environment in a log.
"""

from typing import Any, TypeVar

import dagster as dg
from pydantic import BaseModel

_Config = TypeVar("_Config", bound=BaseModel)


def plain(model: type[BaseModel]) -> dict[str, Any]:
    """The argument `config_schema` of an asset that reads `model`, whose fields are text, numbers, flags or lists of text."""
    return {
        name: dg.Field([str] if field.annotation == list[str] else field.annotation, default_value=field.default)
        for name, field in model.model_fields.items()
    }


def config_of(context: dg.AssetExecutionContext, model: type[_Config]) -> _Config:
    """The run's config of this asset.

    Raises:
        pydantic.ValidationError: a value is out of range.
    """
    return model.model_validate(context.op_execution_context.op_config)
