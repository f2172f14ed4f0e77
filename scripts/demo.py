"""Verify every rule, train both classifiers on built-in data, and write runs/demo/report.html with pictures.

Exits 1 where a rule is wrong or a classifier misses its mark: 97.5 % on digits, logistic regression on docstrings.
"""

import base64
import html
import importlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "runs" / "demo"
DIGITS_MARK = 0.975

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>jaxbackprop: demo</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
  h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.2rem; margin-top: 2.2rem; }}
  pre {{ font-size: .8rem; line-height: 1.35; overflow-x: auto; padding: .8rem; border: 1px solid #8886;
         border-radius: 6px; }}
  table {{ border-collapse: collapse; }} td, th {{ text-align: left; padding: .25rem 1.2rem .25rem 0; }}
  td.number {{ font-variant-numeric: tabular-nums; text-align: right; }}
  figure {{ margin: 1rem 0; background: #fff; border-radius: 6px; padding: .5rem; color: #222; }}
  img {{ max-width: 100%; height: auto; }}
</style></head><body>
<h1>jaxbackprop: what this machine just did</h1>
<p>{when}, in {seconds:.0f} seconds.</p>
<table>{summary}</table>
{sections}
</body></html>
"""


def command(*arguments: str, keep: str | None = None) -> str:
    """Run `jaxbackprop ...`, show what it prints, and answer with it; `keep` names a file for it in the folder."""
    print(f"\n$ jaxbackprop {' '.join(arguments)}", flush=True)
    program = [sys.executable, "-m", "jaxbackprop", *arguments]
    done = subprocess.run(program, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="", flush=True)
    if keep is not None:
        (FOLDER / keep).write_text(done.stdout)
    if done.returncode:
        sys.exit(f"demo: that command ended with status {done.returncode}")
    return done.stdout


def accuracy(run: str) -> float:
    return json.loads((FOLDER / run / "test.json").read_text())["accuracy"]


def figure(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )


def pictures(run: str) -> str:
    captions = {"curves.png": "Learning curves", "confusion.png": "Confusions on the test set"}
    return "".join(figure(FOLDER / run / name, caption) for name, caption in captions.items())


def main() -> int:
    """Run everything; 0 where all marks are reached."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    verified = command("verify", keep="verify.txt")
    drawing = FOLDER / "circuit.svg"
    circuit = command("circuit", "(x + y) * z", "x=-2", "y=5", "z=-4", "--svg", str(drawing))
    command("train", "mlp", "--data", "digits", "--out", str((FOLDER / "digits").relative_to(ROOT)))
    command("train", "text", "--data", "docstrings", "--out", str((FOLDER / "docstrings").relative_to(ROOT)))

    print("\nlogistic regression on the same bags of words, for comparison", flush=True)
    sys.path.insert(0, str(ROOT / "experiments"))
    logistic_regression = importlib.import_module("docstrings_baseline").logistic_regression

    baseline = logistic_regression()
    marks = [
        ("digits: test accuracy, at least 97.5 %", accuracy("digits"), accuracy("digits") >= DIGITS_MARK),
        ("docstrings: largest class", baseline["majority"], True),
        ("docstrings: scikit-learn's logistic regression", baseline["logistic regression"], True),
        (
            "docstrings: bag of words, not below that",
            accuracy("docstrings"),
            accuracy("docstrings") >= baseline["logistic regression"],
        ),
    ]
    rows = "".join(
        f'<tr><td>{what}</td><td class="number">{value:.2%}</td><td>{"yes" if good else "NO"}</td></tr>'
        for what, value, good in marks
    )
    sections = [
        ("Every rule, against autodiff and numerical derivatives", f"<pre>{html.escape(verified)}</pre>"),
        ("A circuit", f"<pre>{html.escape(circuit)}</pre>{drawing.read_text()}"),
        ("A multi-layer perceptron on handwritten digits", pictures("digits")),
        ("A bag of words on Python's own documentation", pictures("docstrings")),
    ]
    seconds = time.monotonic() - started
    page = PAGE.format(
        when=time.strftime("%Y-%m-%d %H:%M"),
        seconds=seconds,
        summary=rows,
        sections="".join(f"<h2>{title}</h2>{body}" for title, body in sections),
    )
    (FOLDER / "report.html").write_text(page)
    for what, value, good in marks:
        print(f"{'ok ' if good else 'NO '} {value:7.2%}  {what}")
    print(f"{seconds:.0f} s; the report with pictures: {(FOLDER / 'report.html').relative_to(ROOT)}")
    return 0 if all(good for _, _, good in marks) else 1


if __name__ == "__main__":
    sys.exit(main())
