"""`derive`: a function's derivation on paper and its rule in code. Exit status 1 where the rule is not right."""

from pathlib import Path
from typing import Annotated

import typer

from .audit import function_and_args
from .console import FAILED, app, print_json
from .options import Json


@app.command("derive")
def derive_command(
    function: Annotated[str, typer.Argument(metavar="FILE.py:FUNCTION", help="A JAX function of arrays.")],
    args: Annotated[
        str | None, typer.Option(metavar="FILE.py:MAKE_ARGS", help="A function that makes its arguments.")
    ] = None,
    latex: Annotated[Path | None, typer.Option(metavar="OUT", help="Write the derivation here, as LaTeX.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="OUT", help="Write it here as Markdown.")] = None,
    code: Annotated[Path | None, typer.Option(metavar="OUT", help="Write the rule here, as Python.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="The rule as a jax.custom_vjp that needs JAX alone.")] = False,
    sums_to_one: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="An argument whose rows sum to 1, as one-hot targets do.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Derive a backward pass by hand's methods: the derivation to read, the rule to use, verified."""
    from ..derivation import derive

    fun, given = function_and_args(function, args)
    derived = derive(fun, *given, sums_to_one=sums_to_one or ())
    for path, text in ((latex, derived.latex), (markdown, derived.markdown)):
        if path is not None:
            path.write_text(text)
    if code is not None:
        code.write_text(derived.to_code("custom_vjp" if plain else "rule"))
    verdict, proof = derived.verify(["gradient"]), derived.proof
    if as_json:
        print_json(
            {
                "name": derived.name,
                "markdown": derived.markdown,
                "code": derived.code,
                "verdict": verdict.verdict,
                "proof": proof.verdict,
                "wrong_rules": [{"name": site.name, "source": site.source} for site in derived.wrong_rules],
            }
        )
    else:
        print(derived)
        print(f"  Proof     {proof.verdict}{': ' * bool(proof.why)}{proof.why}")
        print(f"  Verdict   {verdict.verdict}, compared with autodiff")
    if not verdict.passed or proof.verdict == "refuted":
        raise SystemExit(FAILED)
