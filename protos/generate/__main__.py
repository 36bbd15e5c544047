"""Write what `make proto` makes beside stubs: `python -m generate`, after `protos/build.py`."""

from __future__ import annotations

from .documents import ROOT, documents

__all__ = ["main"]


def main() -> None:
    """Write what has changed, and always the last document, so that `make` sees when this was."""
    made = documents()
    last = [*made][-1]
    for name, text in made.items():
        path = ROOT / name
        if name == last or not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
