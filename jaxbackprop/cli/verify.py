"""`verify`: are the hand-derived rules right? Exit status 1 where one is not."""

from pathlib import Path
from typing import Annotated

import typer

from .console import FAILED, app, print_json
from .options import Json


@app.command("verify")
def verify_command(
    names: Annotated[list[str] | None, typer.Argument(help="Rules by name; all of them by default.")] = None,
    package: Annotated[str, typer.Option(help="The package whose registered rules are meant.")] = "jaxbackprop",
    prove: Annotated[
        bool, typer.Option(help="Also plant errors in each rule, and fail where they are not found.")
    ] = False,
    strict: Annotated[
        bool, typer.Option(help="Fail also rules that are imprecise, but no more so than autodiff.")
    ] = False,
    jobs: Annotated[int, typer.Option(help="So many processes; 0 for one a core.")] = 0,
    junit_file: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML.")] = None,
    sarif_file: Annotated[Path | None, typer.Option("--sarif", help="Write SARIF, for annotations.")] = None,
    as_json: Json = False,
) -> None:
    """Check hand-derived rules against autodiff and numerical derivatives, in every precision."""
    from ..verification import table, verify_rules
    from .ci_reports import junit, sarif

    results = verify_rules(names or None, package, prove=prove, strict=strict, jobs=jobs)
    if junit_file is not None:
        junit_file.write_text(junit(results))
    if sarif_file is not None:
        sarif_file.write_text(sarif(results, Path.cwd()))
    if as_json:
        print_json({"passed": all(r.passed for r in results), "rules": [r.to_dict() for r in results]})
    else:
        for r in results:
            if r.verdict != "right" or len(results) == 1:
                print(r, end="\n\n")
        if len(results) > 1:
            print(table(results))
    if not all(r.passed for r in results):
        raise SystemExit(FAILED)
