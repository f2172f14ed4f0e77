"""The planted cases as `torch.autograd.Function`s, for PyTorch's `gradcheck`; where one translates.

Forward and backward pass are the same programs that are judged elsewhere, in float64: gradcheck sees the very
same numbers. What has no like in PyTorch is named, not counted.
"""

import warnings
from typing import Any

import jax
import numpy as np

from jaxbackprop.jaxprs.inputs import Inputs
from jaxbackprop.verification.problem import Problem, handwritten_function

from .cases import Planted


def untranslatable(case: Planted) -> str:
    """Why a case is none for gradcheck; empty where it is one."""
    point = Inputs(case.args)
    if any(np.iscomplexobj(point.arrays[i]) for i in point.live):
        return "complex: the two conjugate differently"
    if not any(np.size(point.arrays[i]) for i in point.live):
        return "no numbers to differentiate"
    return ""


def by_gradcheck(case: Planted) -> str:
    """right or caught, by `torch.autograd.gradcheck` as it comes, in double precision; or why it was not asked."""
    why = untranslatable(case)
    if why:
        return f"not asked: {why}"
    import torch  # pyright: ignore[reportMissingImports]

    about = handwritten_function(case.fun, case.reference, dict(case.settings))
    made = Problem(about, Inputs(case.args), dtype=np.float64)
    live, shapes = made.inputs.live, [o.shape for o in made.outputs]

    def at(tensors: Any) -> list[Any]:
        arrays = list(made.inputs.arrays)
        for i, t in zip(live, tensors, strict=True):
            arrays[i] = t.detach().numpy()
        return arrays

    class ByHand(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            ctx.save_for_backward(*tensors)
            values, _ = made.handwritten_at(at(tensors), [np.zeros(shape) for shape in shapes])  # by the forward rule
            found = tuple(torch.from_numpy(np.array(y, np.float64)) for y in values)
            return found if len(found) != 1 else found[0]

        @staticmethod
        def backward(ctx: Any, *upstream: Any) -> Any:
            given = [np.array(u.numpy()).reshape(shape) for u, shape in zip(upstream, shapes, strict=True)]
            _, gradients = made.handwritten_at(at(ctx.saved_tensors), given)
            return tuple(torch.from_numpy(np.array(g, np.float64)) for g in gradients)

    inputs = [torch.tensor(np.asarray(made.inputs.arrays[i], np.float64), requires_grad=True) for i in live]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            passed = torch.autograd.gradcheck(ByHand.apply, inputs, raise_exception=False)
        except (RuntimeError, ValueError, jax.errors.JAXTypeError) as error:
            return f"raises {type(error).__name__}: {error}".split("\n")[0]
    return "right" if passed else "caught"
