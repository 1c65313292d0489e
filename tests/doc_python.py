"""The interpreter that runs the Python of a page: see `doc_pages`. Blocks come in, and what they print goes out."""

import contextlib
import doctest
import io
import json
import sys
import traceback
from typing import Any


def main() -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    for line in sys.stdin:
        language, text = json.loads(line)
        error, examples = None, []
        try:
            if language == "pycon":
                for example in doctest.DocTestParser().get_examples(text):
                    printed = io.StringIO()
                    with contextlib.redirect_stdout(printed):
                        exec(compile(example.source, "<page>", "single"), namespace)
                    examples.append((example.source, example.want, printed.getvalue()))
            else:
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(compile(text, "<page>", "exec"), namespace)
        except BaseException:
            error = traceback.format_exc()
        print("\0" + json.dumps([error, examples]), flush=True)


if __name__ == "__main__":
    main()
